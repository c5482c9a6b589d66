"""The ledger kernel against exact fractions, and its conservation law."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ares.kernels import ledger as k
from tests.oracles.slow_ledger import SlowLedger, half_even

UNITS = [Fraction(10_000), Fraction(1), Fraction(1, 7)]  # BTC-like, the finest real one, one that never divides


def new_book(units: list[Fraction], start: int) -> np.ndarray:
    book = np.zeros((1 + len(units), k.FIELDS), np.int64)
    for row, unit in enumerate(units, 1):
        book[row, k.NUM], book[row, k.DEN], book[row, k.LEVERAGE] = unit.numerator, unit.denominator, 1
    book[0, k.START] = book[0, k.WALLET] = start
    return book


def assert_conserved(book: np.ndarray) -> None:
    """I10: wallet + unrealised = start + realised + unrealised - fees + funding; and the parts add up."""
    total = [int(v) for v in book[0]]
    assert total[k.WALLET] == total[k.START] + total[k.REALISED] - total[k.FEES] + total[k.FUNDING]
    for column in (k.REALISED, k.FEES, k.FUNDING, k.MARGIN):
        assert total[column] == sum(int(v) for v in book[1:, column])
    assert (book[1:, k.MARGIN] >= 0).all()
    assert ((book[1:, k.LOTS] != 0) | ((book[1:, k.COST] == 0) & (book[1:, k.MARGIN] == 0))).all()  # flat is flat


ROWS = st.integers(0, len(UNITS) - 1)
LOTS = st.integers(-5000, 5000).filter(bool)
TICKS = st.integers(1, 10**7)
RATES = st.integers(-(10**6), 10**6)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("fill"), ROWS, LOTS, TICKS, st.integers(-(10**9), 10**9), RATES),
        st.tuples(st.just("flat"), ROWS, TICKS, RATES),
        st.tuples(st.just("fund"), ROWS, TICKS, RATES),
        st.tuples(st.just("pay"), ROWS, st.integers(-(10**9), 10**9)),
        st.tuples(st.just("leverage"), ROWS, st.integers(1, 125)),
        st.tuples(st.just("adjust"), st.integers(-(10**12), 10**12)),
    ),
    max_size=40,
)


@given(st.integers(0, 10**14), STEPS, st.lists(TICKS, min_size=len(UNITS), max_size=len(UNITS)))
def test_every_booking_equals_exact_fractions_and_conserves(start: int, steps: list, marks: list[int]) -> None:
    book = new_book(UNITS, start)
    slow = SlowLedger(UNITS, start)
    for kind, *args in steps:
        if kind == "flat":
            row, ticks, rate = args
            if slow.positions[row].lots == 0:
                continue
            kind, args = "fill", [row, -slow.positions[row].lots, ticks, 0, rate]
        if kind == "fill":
            row, lots, ticks, fee, rate = args
            code, *_ = k.ledger_step(book, row + 1, k.FILL, lots, ticks, fee, rate)
            slow.fill(row, lots, ticks, fee, Fraction(rate, k.RATE_ONE))
        elif kind == "fund":
            code, *_ = k.ledger_step(book, args[0] + 1, k.FUNDING_PAID, 0, args[1], 0, args[2])
            slow.fund(args[0], args[1], Fraction(args[2], k.RATE_ONE))
        elif kind == "pay":
            code, *_ = k.ledger_step(book, args[0] + 1, k.FUNDING_PAID, 0, 1, args[1], 0)
            slow.pay(*args)
        elif kind == "leverage":
            code, *_ = k.ledger_step(book, args[0] + 1, k.SET_LEVERAGE, 0, 0, args[1], 0)
            slow.positions[args[0]].leverage = args[1]
        else:
            code, *_ = k.ledger_step(book, 0, k.ADJUST, 0, 0, args[0], 0)
            slow.start += args[0]
        assert code == k.OK
        assert_conserved(book)
        assert int(book[0, k.WALLET]) == slow.wallet
        for row, p in enumerate(slow.positions, 1):
            booked = [int(v) for v in book[row, : k.LEVERAGE]]
            assert booked == [p.lots, p.cost, p.realised, p.fees, p.funding, p.margin]
    for row, mark in enumerate(marks, 1):
        assert k.ledger_step(book, row, k.MARKED, 0, mark, 0, 0)[0] == k.OK
    assert k.unrealised_units(book, 0) == slow.unrealised(marks)


@given(st.integers(0, k.LIMIT), st.integers(0, 10**12), st.integers(1, 10**12), st.integers(1, 10**6))
def test_wide_products_are_exact_or_refused(lots: int, ticks: int, num: int, den: int) -> None:
    exact = Fraction(lots * ticks * num, den)
    value = k.value_units(lots, ticks, num, den)
    if value == -k.LIMIT - 1:
        assert exact > k.LIMIT - 1 or lots * ticks > k.LIMIT
    else:
        assert value == half_even(exact)


@given(st.integers(1, 2**40), st.integers(1, 2**21), st.integers(0, 10**8))
def test_fee_is_rounded_once(lots: int, ticks: int, rate: int) -> None:
    for num, den in ((1, 1), (1, 999_983), (10**4, 1)):
        fee = k.fee_units(lots, ticks, num, den, rate)
        exact = Fraction(lots * ticks * num * rate, den * k.RATE_ONE)
        assert fee == half_even(exact) or (fee == -k.LIMIT - 1 and lots * ticks * num > den * k.LIMIT - den)


@given(
    st.sampled_from([k.FILL, k.FUNDING_PAID, k.ADJUST]),
    st.integers(-(2**62), 2**62),
    st.integers(1, 2**62),
    st.integers(-(2**62), 2**62),
)
def test_overflow_books_nothing(kind: int, lots: int, ticks: int, amount: int) -> None:
    assume(lots != 0)
    book = new_book([Fraction(10**12)], k.LIMIT)
    assert k.ledger_step(book, 1, k.FILL, 1, 1, 0, 0)[0] == k.OK
    before = book.copy()
    code, *_ = k.ledger_step(book, 1 if kind != k.ADJUST else 0, kind, lots, ticks, amount, 0)
    if code != k.OK:
        assert np.array_equal(book, before)
    else:
        assert_conserved(book)
    assert (np.abs(book) <= k.LIMIT).all()


@pytest.mark.parametrize(
    ("kind", "amount"), [(k.SET_LEVERAGE, 0), (k.MARGIN_MOVED, 1), (k.MARGIN_MOVED, -1), (99, 0), (k.MARKED, 0)]
)
def test_nonsense_is_refused(kind: int, amount: int) -> None:
    book = new_book([Fraction(1)], 100)
    before = book.copy()
    assert k.ledger_step(book, 1, kind, 0, 0, amount, 0)[0] == k.BAD
    assert np.array_equal(book, before)


TIERS = np.array(  # quant fixture in units: cap, rate, cum
    [(50_000, 400_000, 0), (600_000, 500_000, 50), (3_000_000, 650_000, 950), (12_000_000, 1_000_000, 11_450)], np.int64
) * np.array([10**8, 1, 10**8])


@given(st.integers(-3000, 3000).filter(bool), st.integers(1000, 1_500_000), st.integers(1, 125), st.integers(0, 10**12))
@settings(max_examples=200)
def test_liquidation_is_the_first_tick_where_maintenance_margin_is_not_covered(
    lots: int, entry: int, leverage: int, extra: int
) -> None:
    num = 10_000
    cost = lots * entry * num
    margin = abs(cost) // leverage + extra

    def healthy(ticks: int) -> bool:
        value = abs(lots) * ticks * num
        cap, rate, cum = next(((c, r, m) for c, r, m in TIERS.tolist() if value < c), TIERS[-1].tolist())
        return margin + lots * ticks * num - cost > half_even(Fraction(value * rate, 10**8)) - cum

    ticks = k.liquidation_ticks(lots, cost, margin, num, 1, TIERS)
    step = 1 if lots > 0 else -1  # towards safety
    if ticks == 0:
        assert all(healthy(t) for t in ((1,) if lots > 0 else (2**39,)))
    else:
        assert not healthy(ticks)
        assert ticks + step == 0 or healthy(ticks + step)
    broke = k.bankruptcy_ticks(lots, cost, margin, num, 1)
    assert margin + lots * broke * num - cost >= 0
    assert broke == 1 or margin + lots * (broke - step) * num - cost < 0
