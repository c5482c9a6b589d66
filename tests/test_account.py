"""Liquidation and funding fixtures, and the ledger's Decimal views."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares.account import Ledger, LedgerOverflow, liquidation_price, maintenance_margin
from ares.errors import InvalidInput
from ares.instrument_tables import DEFAULT_TIERS, default_instrument
from ares.instruments import MarginTier, Side
from ares.orders import Fill

D = Decimal
BTC = default_instrument("BTCUSDT")
ETH = default_instrument("ETHUSDT")


def one_tier(rate: str, cum: str) -> tuple[MarginTier, ...]:
    return (MarginTier(floor=D(0), cap=D(10**12), rate=D(rate), cum=D(cum), max_leverage=20),)


def fill(side: Side, quantity: str, price: str, fee: str = "0", symbol: str = "BTCUSDT", **more: object) -> Fill:
    return Fill(
        symbol=symbol,
        trade_id="1",
        order_id="1",
        client_order_id="a",
        side=side,
        price=D(price),
        quantity=D(quantity),
        fee=D(fee),
        maker=False,
        ts_ns=0,
        **more,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("quantity", "entry", "rate", "cum", "wallet", "maintenance", "unrealised", "expected"),
    [  # the venue's published examples, cross margin
        ("3683.979", "1456.84", "0.10", "135365", "1535443.01", "71200.81144", "-56354.57", "1153.26"),
        ("109.488", "32481.98", "0.025", "16300", "1535443.01", "356512.508", "-448192.89", "26316.89"),
    ],
)
def test_cross_liquidation_price_of_the_published_examples(
    quantity: str, entry: str, rate: str, cum: str, wallet: str, maintenance: str, unrealised: str, expected: str
) -> None:
    price = liquidation_price(
        side=Side.LONG,
        quantity=D(quantity),
        entry_price=D(entry),
        margin=D(wallet),
        tiers=one_tier(rate, cum),
        other_maintenance=D(maintenance),
        other_unrealised=D(unrealised),
    )
    assert price is not None
    assert round(price, 2) == D(expected)


@pytest.mark.parametrize(
    ("side", "quantity", "leverage", "expected"),
    [
        (Side.LONG, "1", 10, "54221.11"),
        (Side.SHORT, "1", 10, "65721.39"),
        (Side.LONG, "0.1", 50, "59036.14"),
        (Side.LONG, "0.1", 100, "59638.55"),
    ],
)
def test_isolated_liquidation_price(side: Side, quantity: str, leverage: int, expected: str) -> None:
    price = liquidation_price(
        side=side,
        quantity=D(quantity),
        entry_price=D(60_000),
        margin=D(quantity) * 60_000 / leverage,
        tiers=DEFAULT_TIERS,
    )
    assert price is not None
    assert round(price, 2) == D(expected)
    ledger = Ledger(start=D(100_000))
    ledger.add(BTC, leverage)
    ledger.book_fill(BTC, fill(side, quantity, "60000"))
    position = ledger.position("BTCUSDT")
    assert position.liquidation_price is not None
    assert abs(position.liquidation_price - price) <= BTC.tick_size
    assert (position.liquidation_price - price) * side.sign <= 0  # the first tick on the grid that is bad enough


@given(
    st.sampled_from(Side),
    st.decimals("0.001", "200", places=3),
    st.decimals("100", "100000", places=1),
    st.integers(1, 125),
)
def test_at_the_liquidation_price_margin_plus_profit_is_maintenance_margin(
    side: Side, quantity: Decimal, entry: Decimal, leverage: int
) -> None:
    margin = quantity * entry / leverage
    price = liquidation_price(side=side, quantity=quantity, entry_price=entry, margin=margin, tiers=DEFAULT_TIERS)
    if price is None:
        assert side is Side.LONG
        assert margin - quantity * entry >= -maintenance_margin(D(0), DEFAULT_TIERS)
        return
    left = margin + side.sign * quantity * (price - entry)
    assert abs(left - maintenance_margin(quantity * price, DEFAULT_TIERS)) < D("1e-12")


def test_maintenance_margin_is_continuous_over_tiers() -> None:
    for low, high in zip(DEFAULT_TIERS, DEFAULT_TIERS[1:], strict=False):
        assert low.cap * low.rate - low.cum == high.floor * high.rate - high.cum


@pytest.mark.parametrize(("side", "received"), [(Side.LONG, "-6"), (Side.SHORT, "6")])
def test_funding_of_the_published_example(side: Side, received: str) -> None:
    ledger = Ledger(start=D(100_000), instruments=[BTC])
    ledger.book_fill(BTC, fill(side, "1", "60000"))
    assert ledger.book_funding(BTC, rate=D("0.0001"), mark_price=60_000) == D(received)
    assert ledger.account().funding == D(received)
    assert ledger.book_funding(ETH, rate=D("0.0001"), mark_price=3_000) == 0  # nothing held, nothing paid


def test_round_trip_of_the_published_example_costs_sixty() -> None:
    ledger = Ledger(start=D(100_000), instruments=[BTC])
    for side in (Side.BUY, Side.SELL):
        ledger.book_fill(BTC, fill(side, "1", "60000", fee=str(BTC.taker_fee * 60_000)))
    account = ledger.account()
    assert account.fees == 60
    assert account.wallet == account.equity == D(99_940)
    assert account.positions == ()


def test_a_flip_closes_and_then_opens() -> None:
    ledger = Ledger(start=D(100_000))
    ledger.add(BTC, 10)
    assert ledger.book_fill(BTC, fill(Side.BUY, "2", "50000")) == 0
    assert ledger.account().margin == D(10_000)
    assert ledger.book_fill(BTC, fill(Side.SELL, "3", "51000")) == D(2_000)
    position = ledger.position("BTCUSDT")
    assert (position.quantity, position.entry_price, position.margin) == (D(-1), D(51_000), D(5_100))
    ledger.mark("BTCUSDT", 50_000.0)
    account = ledger.account(7)
    assert account.unrealised == D(1_000)
    assert account.equity == D(103_000)
    assert account.available == account.wallet - account.margin == D(96_900)
    assert account.position("BTCUSDT") == ledger.position("BTCUSDT", 7)


def test_reducing_releases_margin_in_proportion() -> None:
    ledger = Ledger(start=D(10_000))
    ledger.add(ETH, 4)
    ledger.book_fill(ETH, fill(Side.SELL, "3", "2000", symbol="ETHUSDT"))
    ledger.book_fill(ETH, fill(Side.BUY, "1", "1900", symbol="ETHUSDT"))
    position = ledger.position("ETHUSDT")
    assert (position.margin, position.realised, position.entry_price) == (D(1_000), D(100), D(2_000))
    ledger.move_margin(ETH, D("-400"))
    assert ledger.position("ETHUSDT").margin == D(600)
    with pytest.raises(InvalidInput):
        ledger.move_margin(ETH, D("-601"))


def test_state_goes_out_and_comes_back() -> None:
    ledger = Ledger("USDT", D(5_000), [BTC, ETH])
    ledger.set_leverage(ETH, 3)
    ledger.book_fill(ETH, fill(Side.BUY, "1.5", "2000", "1", symbol="ETHUSDT"))
    ledger.mark("ETHUSDT", 2_100)
    copy = Ledger()
    copy.load_state(ledger.save_state(), [ETH, BTC])
    assert copy == ledger
    assert copy.account() == ledger.account()
    copy.adjust(D(1))
    assert copy != ledger
    with pytest.raises(InvalidInput):
        copy.load_state(ledger.save_state(), [ETH])


def test_what_cannot_be_booked_changes_nothing() -> None:
    ledger = Ledger(start=D(100), instruments=[BTC])
    before = ledger.save_state()
    with pytest.raises(LedgerOverflow):
        ledger.book_lots(BTC, 10**18, 10**18, 0)
    with pytest.raises(OverflowError):
        ledger.adjust(D("1e12"))
    with pytest.raises(InvalidInput):
        ledger.book_fill(BTC, fill(Side.BUY, "0.0001", "60000"))
    with pytest.raises(InvalidInput, match="did you mean 'BTCUSDT'"):
        ledger.position("BTCUSD")
    with pytest.raises(InvalidInput, match="quoted in USDC"):
        ledger.add(default_instrument("BTCUSDC"))
    assert ledger.save_state() == before
