"""The two instructions: one rounding, and a copy past the cache that touches nothing else."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ares.kernels.jit import jit
from ares.kernels.native import copy_past_cache, fused, publish

number = st.floats(-1e100, 1e100, allow_subnormal=False).filter(lambda x: x == 0.0 or abs(x) > 1e-100)


@jit(cached=False)
def fuse(a: float, b: float, c: float) -> float:
    return fused(a, b, c)  # type: ignore[no-any-return]


@jit(cached=False)
def copied(y: Any, at: int, x: Any, since: int, n: int) -> None:
    copy_past_cache(y[at:], x[since:], n)
    publish()


@given(number, number, number)
def test_a_product_and_a_sum_are_rounded_once(a: float, b: float, c: float) -> None:
    assert fuse(a, b, c) == float(Fraction(a) * Fraction(b) + Fraction(c))


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 70))
def test_a_copy_past_the_cache_is_a_copy(at: int, since: int, n: int) -> None:
    x = np.random.default_rng(n).normal(size=100)
    y = np.zeros(100)
    expected = y.copy()
    expected[at : at + n] = x[since : since + n]
    copied(y, at, x, since, n)
    np.testing.assert_array_equal(y, expected)
