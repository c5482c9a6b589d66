"""Rounding always yields an order the venue accepts, or zero; integers and decimals go back and forth without loss."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares.errors import InvalidInput
from ares.instrument_tables import DEFAULT_SYMBOLS, default_instrument
from ares.instruments import Instrument, Interval, Side, from_units, to_units

INSTRUMENTS = [default_instrument(s) for s in DEFAULT_SYMBOLS] + [
    default_instrument("PEPEUSDT", 1.1e-5),
    default_instrument("BIGUSDC", 9.9e7),
]
ANY_FLOAT = st.floats()
ANY_DECIMAL = st.decimals(allow_nan=True, allow_infinity=True)
NUMBERS = st.one_of(ANY_FLOAT, ANY_DECIMAL, st.floats(1e-9, 1e9))
ONE = st.sampled_from(INSTRUMENTS)


@given(ONE, NUMBERS, st.floats(1e-8, 1e9), st.booleans(), st.booleans())
def test_any_size_becomes_an_accepted_quantity_or_zero(
    instrument: Instrument, size: float | Decimal, price: float, market: bool, reduce_only: bool
) -> None:
    reference = instrument.price(price)
    quantity = instrument.order_quantity(size, reference, market=market, reduce_only=reduce_only)
    if quantity == 0:
        return
    assert quantity <= Decimal(str(size))  # never rounded up into a larger risk
    assert not instrument.violations(
        quantity=quantity, market=market, reduce_only=reduce_only, reference=reference, side=Side.BUY
    )
    assert instrument.from_lots(instrument.lots(quantity)) == quantity


@given(ONE, NUMBERS, st.sampled_from(["down", "up", "nearest"]), st.sampled_from(Side))
def test_any_price_becomes_an_accepted_price_or_an_error(
    instrument: Instrument, value: float | Decimal, rounding: str, side: Side
) -> None:
    if not value > 0 or math.isinf(value) if not Decimal(value).is_nan() else True:
        with pytest.raises(InvalidInput):
            instrument.price(value, rounding)  # type: ignore[arg-type]
        return
    price = instrument.price(value, rounding)  # type: ignore[arg-type]
    stop = instrument.stop_price(value, side)
    for kind in ({"price": price}, {"stop_price": price}, {"stop_price": stop}):
        assert not instrument.violations(
            quantity=instrument.min_quantity, market=False, reduce_only=True, reference=price, side=side, **kind
        )
    assert instrument.from_ticks(instrument.ticks(price)) == price


@given(ONE, st.floats(1e-3, 1e6))
def test_price_rounds_the_way_it_says(instrument: Instrument, value: float) -> None:
    exact, tick = Decimal(repr(value)), instrument.tick_size
    down, up, near = (instrument.price(value, way) for way in ("down", "up", "nearest"))  # type: ignore[arg-type]
    if tick <= exact <= tick * 10**12:
        assert down <= exact <= up
        assert up - down <= tick
        assert near in (down, up)
        assert abs(near - exact) <= tick / 2
    assert instrument.stop_price(value, Side.BUY) == up
    assert instrument.stop_price(value, Side.SELL) == down


@given(st.integers(-(2**62), 2**62))
def test_units_are_the_same_money(units: int) -> None:
    assert to_units(from_units(units)) == units


@pytest.mark.parametrize(("text", "units"), [("0.000000005", 0), ("0.000000015", 2), ("-0.000000015", -2)])
def test_a_half_unit_goes_to_the_even_one(text: str, units: int) -> None:
    assert to_units(Decimal(text)) == units


def test_order_quantity_is_zero_below_the_least_notional() -> None:
    btc = default_instrument("BTCUSDT")
    assert btc.order_quantity(0.001, 60_000) == 0  # 60 quote, the venue wants 100
    assert btc.order_quantity(0.001, 60_000, reduce_only=True) == Decimal("0.001")
    assert btc.order_quantity(0.0029, 60_000) == Decimal("0.002")


@pytest.mark.parametrize(("wrong", "nearest"), [("ETHUDST", "ETHUSDT"), ("btcusdt", "BTCUSDT"), ("SOLUSD", "SOLUSDT")])
def test_an_unknown_symbol_names_the_nearest(wrong: str, nearest: str) -> None:
    with pytest.raises(InvalidInput, match=f"did you mean '{nearest}'"):
        default_instrument(wrong)


@given(st.floats(1e-7, 1e8))
def test_derived_filters_follow_their_rule(price: float) -> None:
    made = default_instrument("NEWUSDT", price)
    assert price / float(made.tick_size) * (1 + 1e-9) >= 1e4
    assert price / float(made.tick_size) < 1e5 * (1 + 1e-9)
    assert 0.1 * (1 - 1e-9) <= float(made.lot_step) * price <= 1 + 1e-9
    assert not made.violations(
        quantity=made.max_market_quantity, market=True, reduce_only=False, reference=made.price(price)
    )


@pytest.mark.parametrize("price", [0.0, -1.0, math.nan, math.inf, 1e9])
def test_a_reference_price_must_make_sense(price: float) -> None:
    with pytest.raises(InvalidInput):
        default_instrument("NEWUSDT", price)


def test_intervals() -> None:
    assert Interval.parse("15m").ns == 900 * 10**9
    assert Interval.of_ns(14_400 * 10**9).name == "4h"
    assert Interval.parse("1h").per_year == 8760
    with pytest.raises(InvalidInput, match="did you mean '1h'"):
        Interval.parse("1hour")
