"""The kit passes our exchanges, and finds each fault that an exchange of somebody else may have."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from attrs import evolve

from ares.account import Account, Position
from ares.errors import Rejected
from ares.events import Event, FillBooked
from ares.market import OrderBook, Ticker
from ares.orders import Order
from ares.protocols import Capabilities
from ares.simulation.listeners import Listener
from ares.simulation.paper import PaperExchange
from ares.simulation.simulated_exchange import SimulatedExchange
from ares.simulation.tape import Tape
from ares.testing import check_exchange
from tests.simulation.market import random_bars, tape


def market() -> Tape:
    return tape(random_bars(11, 120), funding={8: 0.0001})


async def test_the_simulated_exchange_conforms() -> None:
    report = await check_exchange(SimulatedExchange(market()))
    report.raise_for_failures()
    assert len(report.checks) > 40


async def test_paper_conforms() -> None:
    paper = PaperExchange(SimulatedExchange(market()), symbols=["ETHUSDT"], interval="1h")
    (await check_exchange(paper)).raise_for_failures()


async def test_both_conform_on_real_klines(real_data: Path) -> None:
    klines = Tape.from_file(real_data / "market" / "um_BTCUSDT_1h.parquet", symbol="BTCUSDT", interval="1h")
    (await check_exchange(SimulatedExchange(klines), "BTCUSDT")).raise_for_failures()
    paper = PaperExchange(SimulatedExchange(klines), symbols=["BTCUSDT"], interval="1h")
    (await check_exchange(paper, "BTCUSDT")).raise_for_failures()


async def test_a_read_only_exchange_is_not_asked_to_trade() -> None:
    class ReadOnly(SimulatedExchange):
        @property
        def capabilities(self) -> Capabilities:
            return Capabilities(name="RO", trading=False)

        async def create_order(self, *_: Any, **__: Any) -> Order:
            raise AssertionError("it was asked to trade")

    report = await check_exchange(ReadOnly(market()))
    report.raise_for_failures()
    assert not [c for c in report.checks if "order" in c.name and "market" in c.name]


async def test_real_money_is_never_traded() -> None:
    class Real(SimulatedExchange):
        @property
        def capabilities(self) -> Capabilities:
            return Capabilities(name="REAL", real_money=True)

        async def create_order(self, *_: Any, **__: Any) -> Order:
            raise AssertionError("it was asked to trade real money")

    (await check_exchange(Real(market()))).raise_for_failures()


class PeeksAhead(SimulatedExchange):
    async def get_klines(self, symbol: str, interval: str, limit: int = 500, **more: Any) -> pd.DataFrame:
        return await super().get_klines(symbol, interval, limit, **{**more, "closed_only": False})


class Inclusive(SimulatedExchange):
    async def get_klines(self, symbol: str, interval: str, limit: int = 500, **more: Any) -> pd.DataFrame:
        frame = await super().get_klines(symbol, interval, limit, **more)
        return frame.assign(close_time=frame["close_time"] - pd.Timedelta(1, "ms"))


class Crossed(SimulatedExchange):
    async def get_ticker(self, symbol: str) -> Ticker:
        ticker = await super().get_ticker(symbol)
        return evolve(ticker, bid=ticker.ask, ask=ticker.bid)


class Upside(SimulatedExchange):
    async def get_order_book(self, symbol: str, limit: int = 20) -> OrderBook:
        book = await super().get_order_book(symbol, limit)
        return evolve(book, bids=[(1.0, 1.0), (2.0, 1.0)])


class Untyped(SimulatedExchange):
    async def get_ticker(self, symbol: str) -> Ticker:
        if symbol not in self.tape.symbols:
            raise KeyError(symbol)
        return await super().get_ticker(symbol)


class Leaky(SimulatedExchange):
    async def get_account(self) -> Account:
        account = await super().get_account()
        return evolve(account, wallet=account.wallet - Decimal("0.01") if account.fees else account.wallet)


class Forgetful(SimulatedExchange):
    """Conditional orders are missing from the list."""

    async def get_open_orders(self, symbol: str | None = None) -> tuple[Order, ...]:
        return tuple(o for o in await super().get_open_orders(symbol) if o.stop_price is None)


class Flipping(SimulatedExchange):
    """Ignores reduce-only."""

    async def create_order(self, *args: Any, **more: Any) -> Order:
        return await super().create_order(*args, **{**more, "reduce_only": False})


class Patient(SimulatedExchange):
    """Cancels again and again."""

    async def cancel_order(self, symbol: str, order_id: str | None = None, **more: Any) -> Order:
        try:
            return await super().cancel_order(symbol, order_id, **more)
        except Rejected:
            return await self.get_order(symbol, order_id, **more)


class Impatient(SimulatedExchange):
    """wait_filled does not wait."""

    async def wait_filled(self, order: Order, timeout: float | None = None) -> Position:
        return self.session.venue.position(order.symbol)


class Stutter(SimulatedExchange):
    """Tells every fill twice."""

    def stream_account(self) -> Any:
        stream = super().stream_account()
        assert isinstance(stream, Listener)
        push = stream.push

        def twice(event: Event) -> None:
            push(event)
            if isinstance(event, FillBooked):
                push(event)

        stream.push = twice  # type: ignore[method-assign]
        return stream


class Mute(SimulatedExchange):
    def stream_market(self, symbols: Any, interval: str) -> Any:
        async def nothing() -> Any:
            return
            yield

        return nothing()


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (PeeksAhead, "only closed klines"),
        (Inclusive, "close_time is the open time"),
        (Crossed, "the ticker is"),
        (Upside, "the book is sorted"),
        (Untyped, "unknown symbol's ticker"),
        (Leaky, "the account adds up with an open position"),
        (Forgetful, "a reduce-only stop rests"),
        (Flipping, "reduce-only is refused while flat"),
        (Patient, "cancelling works once"),
        (Impatient, "wait_filled gives the position"),
        (Stutter, "told of every fill once"),
        (Mute, "the market stream speaks"),
    ],
)
async def test_each_fault_is_found(fault: type[SimulatedExchange], found: str) -> None:
    report = await check_exchange(fault(market()))
    assert not report.passed
    assert [c for c in report.failures if found in c.name], str(report)
