"""Chances of a driftless walk and the beta distribution against their definitions and a peer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from ares.kernels.beta import beta_cdf, beta_quantile
from ares.kernels.outcomes import driftless_chances


def lattice(target: float, stop: float, cells: int = 60) -> tuple[float, float, float]:
    """The same chances for a coin-tossing walk on a fine lattice, by counting paths."""
    step = min(target, stop) / cells
    up, down = round(target / step), round(stop / step)
    density = np.zeros(up + down + 1)
    density[down] = 1.0
    for _ in range(round(1.0 / step**2)):
        moved = np.zeros_like(density)
        moved[2:] += 0.5 * density[1:-1]
        moved[:-2] += 0.5 * density[1:-1]
        moved[0] += density[0]
        moved[-1] += density[-1]
        density = moved
    return float(density[-1]), float(density[0]), float(density[1:-1].sum())


@pytest.mark.parametrize("barriers", [(1.0, 1.0), (2.0, 1.0), (0.5, 1.5)])
def test_driftless_chances_are_those_of_a_fine_coin_tossing_walk(barriers: tuple[float, float]) -> None:
    assert driftless_chances(*barriers) == pytest.approx(lattice(*barriers), abs=2e-3)


@given(st.floats(0.02, 6.0), st.floats(0.02, 6.0))
def test_driftless_chances_sum_to_one_and_mirror(target: float, stop: float) -> None:
    chances = driftless_chances(target, stop)
    assert sum(chances) == pytest.approx(1.0, abs=1e-12)
    assert min(chances) >= 0.0
    assert driftless_chances(stop, target) == pytest.approx((chances[1], chances[0], chances[2]), abs=1e-9)


def test_without_a_horizon_the_near_barrier_wins_by_the_ratio() -> None:
    assert driftless_chances(0.02, 0.01) == pytest.approx((1 / 3, 2 / 3, 0.0))


@given(st.floats(0.2, 3000.0), st.floats(0.2, 3000.0), st.floats(0.01, 0.99))
def test_the_beta_distribution_agrees_with_scipy(a: float, b: float, q: float) -> None:
    x = beta_quantile(q, a, b)
    assert x == pytest.approx(special.betaincinv(a, b, q), abs=1e-9, rel=1e-9)
    assert beta_cdf(x, a, b) == pytest.approx(special.betainc(a, b, x), abs=1e-10)
