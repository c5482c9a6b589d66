"""The matching rules one by one, against their definitions in exact fractions."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares.kernels import matching as m

TICKS = st.integers(1, 10**12)
SLIP = st.integers(0, 10**8)


@given(TICKS, SLIP)
def test_slippage_is_rounded_against_the_taker(ticks: int, slip: int) -> None:
    distance = Fraction(ticks * slip, 10**8)
    assert m.slipped_ticks(1, ticks, slip) == ceil(ticks + distance)
    assert m.slipped_ticks(-1, ticks, slip) == max(1, floor(ticks - distance))


@pytest.mark.parametrize(
    ("kind", "sign", "way"),
    [
        (m.LIMIT, 1, -1),  # a buy limit waits below the price
        (m.LIMIT, -1, 1),
        (m.STOP, 1, 1),  # a buy stop closes a short when the price rises
        (m.STOP, -1, -1),
        (m.TAKE_PROFIT, 1, -1),
        (m.TAKE_PROFIT, -1, 1),
    ],
)
def test_reached_only_from_its_own_side(kind: int, sign: int, way: int) -> None:
    assert m.direction(kind, sign) == way
    assert not m.reached(kind, sign, 100, 100 - way, 0)
    assert m.reached(kind, sign, 100, 100, 0)
    assert m.reached(kind, sign, 100, 100 + way, 0)
    assert m.reached(kind, sign, 100, 100, 1) == (kind != m.LIMIT)  # a touch is not enough for a limit


@given(st.sampled_from([1, -1]), TICKS, TICKS, SLIP)
def test_no_limit_fills_beyond_its_price(sign: int, limit: int, price: int, slip: int) -> None:
    assert sign * (limit - m.fill_ticks(m.LIMIT, sign, limit, price, slip)) >= 0
    assert sign * (limit - m.taken_ticks(sign, limit, price, slip)) >= 0


def test_a_gap_fills_at_the_open() -> None:
    assert m.fill_ticks(m.STOP, -1, 100, 90, 0) == 90  # stop jumped over: the worse open
    assert m.fill_ticks(m.LIMIT, 1, 100, 90, 0) == 90  # limit jumped over: the better open
    assert m.fill_ticks(m.LIMIT, 1, 100, 100, 0) == 100


def test_the_adverse_extreme_comes_first() -> None:
    assert m.next_leg(5, True, True, 0, 1) == -1
    assert m.next_leg(-5, True, True, 1, 0) == 1
    assert m.next_leg(5, False, True, 0, 0) == 1
    assert m.next_leg(5, False, False, 0, 0) == 0
    assert m.next_leg(0, True, True, 3, 2) == 1  # flat: the nearer entry
    assert m.next_leg(0, True, True, 2, 2) == -1
    assert m.next_leg(0, True, True, 0, 2) == 1
