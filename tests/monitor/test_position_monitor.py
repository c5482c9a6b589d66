"""The monitor as a guardian: the stop rests at the venue, exits only reduce, and errors are answered by their kind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from attrs import evolve

from ares import clock as clock_module
from ares.account import Position
from ares.clock import VirtualClock
from ares.errors import AresError, InvalidInput, NotAuthorized, OutcomeUnknown, Rejected, Retryable, TooShort
from ares.instruments import Instrument, Side
from ares.market import Ticker
from ares.monitor.config import MonitorConfig
from ares.monitor.position_monitor import PositionMonitor
from ares.orders import Order, OrderStatus, OrderType
from ares.protocols import AnalysisResult, Leg, Target, TradePlan
from tests.monitor.test_assessment import ETH, opinion
from tests.virtual_time import at_once

HOUR = 3_600_000_000_000
SECOND = 1_000_000_000
T0 = 1_700_000_000_000_000_000


class Venue:
    """One symbol, one position, market orders that fill at the mark, stops that rest; each call can be made to fail."""

    def __init__(self, quantity: str = "1", mark: float = 3000.0) -> None:
        self.clock = VirtualClock(T0)
        self.held = Decimal(quantity)
        self.mark = mark
        self.orders: dict[str, Order] = {}
        self.sent: list[Order] = []
        self.calls: list[str] = []
        self.faults: dict[str, list[tuple[str, Exception]]] = {}  # method -> ("before" or "after" acting, error)
        self.bars = 100
        self.fills = True  # False: market orders stay open

    def fail(self, method: str, error: Exception, when: str = "before") -> None:
        self.faults.setdefault(method, []).append((when, error))

    def position(self) -> Position:
        return Position(
            symbol="ETHUSDT",
            quantity=self.held,
            entry_price=Decimal(3000),
            mark_price=Decimal(repr(self.mark)),
            leverage=4,
            margin=Decimal(750),
            maintenance_margin=Decimal(12),
            unrealised=Decimal(0),
            realised=Decimal(0),
            liquidation_price=None,
            updated_ns=T0,
        )

    def resting(self) -> list[Order]:
        return [o for o in self.orders.values() if o.status.open and o.order_type.conditional]

    def move(self, mark: float) -> None:
        """The mark moves; stops that it reaches fill."""
        self.mark = mark
        for order in self.resting():
            assert order.stop_price is not None
            if (mark - float(order.stop_price)) * order.side.sign >= 0:
                self._fill(order)

    def _fill(self, order: Order) -> None:
        if self.held == 0 or (self.held > 0) == (order.side is Side.BUY):
            self.orders[order.order_id] = order.moved(OrderStatus.EXPIRED)
            return
        quantity = min(order.quantity, abs(self.held))
        self.held += quantity * order.side.sign
        self.orders[order.order_id] = order.moved(OrderStatus.FILLED, filled=quantity)

    def _enter(self, method: str) -> Callable[[], None]:
        self.calls.append(method)
        when, error = self.faults[method].pop(0) if self.faults.get(method) else ("", None)
        if when == "before" and error is not None:
            raise error

        def leave() -> None:
            if when == "after" and error is not None:
                raise error

        return leave

    async def get_positions(self, symbol: str | None = None) -> tuple[Position, ...]:
        self._enter("get_positions")
        return (self.position(),) if self.held else ()

    async def get_instrument(self, symbol: str) -> Instrument:
        self._enter("get_instrument")
        return ETH

    async def get_klines(self, symbol: str, interval: str, limit: int = 500) -> pd.DataFrame:
        self._enter("get_klines")
        steps = np.where(np.arange(self.bars) % 2 == 0, 0.01, -0.01)
        return pd.DataFrame({"close": 3000 * np.exp(np.cumsum(steps))})

    async def get_ticker(self, symbol: str) -> Ticker:
        self._enter("get_ticker")
        quotes = {"bid": self.mark, "ask": self.mark, "bid_quantity": 1.0, "ask_quantity": 1.0, "last": self.mark}
        return Ticker(symbol=symbol, ts_ns=self.clock.now_ns(), **quotes)

    async def get_order(self, symbol: str, order_id: Any = None, *, client_order_id: str | None = None) -> Order:
        self._enter("get_order")
        for order in self.orders.values():
            if client_order_id == order.client_order_id:
                return order
        raise Rejected("no such order", code=-2013)

    async def get_open_orders(self, symbol: str | None = None) -> tuple[Order, ...]:
        self._enter("get_open_orders")
        return tuple(o for o in self.orders.values() if o.status.open)

    async def cancel_order(self, symbol: str, order_id: str | None = None) -> Order:
        leave = self._enter("cancel_order")
        order = self.orders[order_id or ""]
        if not order.status.open:
            raise Rejected("unknown order", code=-2011)
        self.orders[order.order_id] = order.moved(OrderStatus.CANCELED)
        leave()
        return order

    async def create_order(
        self,
        symbol: str,
        side: Side,
        order_type: OrderType,
        quantity: Decimal,
        *,
        stop_price: Decimal | None = None,
        reduce_only: bool = False,
        client_order_id: str = "",
    ) -> Order:
        leave = self._enter("create_order")
        assert reduce_only
        assert not any(o.client_order_id == client_order_id for o in self.orders.values())
        if stop_price is not None and (self.mark - float(stop_price)) * side.sign >= 0:
            raise Rejected("the stop would trigger at once", code=-2021)
        if self.held == 0:
            raise Rejected("reduce-only order is rejected", code=-2022)
        order = Order(
            order_id=str(len(self.orders)),
            client_order_id=client_order_id,
            symbol=symbol,
            side=side,
            order_type=order_type,
            quantity=quantity,
            stop_price=stop_price,
            reduce_only=True,
        )
        self.orders[order.order_id] = order
        self.sent.append(order)
        if order_type is OrderType.MARKET and self.fills:
            self._fill(order)
        leave()
        return self.orders[order.order_id]


def plan(**changes: Any) -> TradePlan:
    fields: dict[str, Any] = {
        "trade_id": "",
        "symbol": "ETHUSDT",
        "side": Side.BUY,
        "legs": (Leg(quantity=Decimal(1)),),
        "stop": Decimal(2910),
        "targets": (Target(price=Decimal(3090), fraction=0.5), Target(price=Decimal(3150), fraction=0.5)),
        "leverage": 4,
        "valid_until_ns": T0 + HOUR,
        "exit_by_ns": T0 + 24 * HOUR,
    }
    return TradePlan(**{**fields, **changes})


def guard(venue: Venue, **settings: Any) -> PositionMonitor:
    return PositionMonitor(MonitorConfig(**settings), exchange=venue)  # type: ignore[arg-type]


async def started(venue: Venue, **changes: Any) -> PositionMonitor:
    monitor = guard(venue)
    monitor.add_position("p", venue.position(), plan=plan(**changes))
    await monitor.start_monitoring()
    return monitor


async def test_the_stop_rests_at_the_venue_when_monitoring_has_started() -> None:
    venue = Venue()
    monitor = await started(venue)
    (stop,) = venue.resting()
    assert (stop.stop_price, stop.quantity, stop.side) == (Decimal(2910), Decimal(1), Side.SELL)
    status = monitor.get_position_status("p")
    assert (status["state"], status["stop"], status["error"]) == ("watched", Decimal(2910), "")
    await monitor.stop_monitoring()
    assert venue.resting() == [stop]  # protection outlives the monitor


async def test_it_looks_every_ten_seconds_and_does_nothing_without_need() -> None:
    venue = Venue()
    monitor = await started(venue)
    await venue.clock.sleep(600.0)
    assert venue.calls.count("get_positions") == 61
    assert len(venue.sent) == 1
    assert len(monitor.get_position_status("p")["assessments"]) == 61  # type: ignore[arg-type]
    await monitor.stop_monitoring()


async def test_targets_are_taken_the_stop_follows_and_nothing_is_left_behind() -> None:
    venue = Venue()
    monitor = await started(venue)
    venue.move(3095.0)
    await venue.clock.sleep(10.0)
    assert venue.held == Decimal("0.5")
    (stop,) = venue.resting()
    assert stop.quantity == Decimal("0.5")
    await venue.clock.sleep(10.0)
    (stop,) = venue.resting()
    assert stop.stop_price == Decimal(3003)  # entry and the costs of the round trip
    venue.move(3160.0)
    await venue.clock.sleep(10.0)
    assert venue.held == 0
    assert venue.resting() == []
    assert monitor.get_position_status("p")["state"] == "closed"
    await monitor.stop_monitoring()


async def test_a_stopped_out_position_is_tidied_up() -> None:
    venue = Venue()
    monitor = await started(venue)
    venue.move(2900.0)
    assert venue.held == 0
    await venue.clock.sleep(10.0)
    status = monitor.get_position_status("p")
    assert (status["state"], status["quantity"], status["stop"]) == ("closed", 0, None)
    assert len(venue.sent) == 1
    await monitor.stop_monitoring()


async def test_the_time_barrier_closes() -> None:
    venue = Venue()
    monitor = await started(venue, exit_by_ns=T0 + 35 * SECOND)
    await venue.clock.sleep(30.0)
    assert venue.held == 1
    await venue.clock.sleep(10.0)
    assert venue.held == 0
    assert venue.resting() == []
    await monitor.stop_monitoring()


async def test_a_lost_stop_is_placed_again_and_a_foreign_order_is_left_alone() -> None:
    venue = Venue()
    foreign = await venue.create_order(
        "ETHUSDT", Side.SELL, OrderType.STOP_MARKET, Decimal(1), stop_price=Decimal(2500), reduce_only=True,
        client_order_id="by-hand",
    )  # fmt: skip
    monitor = await started(venue)
    ours = [o for o in venue.resting() if o != foreign]
    await venue.cancel_order("ETHUSDT", ours[0].order_id)
    await venue.clock.sleep(10.0)
    assert [o.stop_price for o in venue.resting() if o != foreign] == [Decimal(2910)]
    assert foreign in venue.resting()
    await monitor.stop_monitoring()


async def test_a_stop_that_would_trigger_at_once_closes_the_position() -> None:
    venue = Venue(mark=2900.0)
    monitor = await started(venue)
    assert venue.held == 0
    assert [o.order_type for o in venue.sent] == [OrderType.MARKET]
    await venue.clock.sleep(10.0)
    assert monitor.get_position_status("p")["state"] == "closed"
    await monitor.stop_monitoring()


async def test_a_short_is_guarded_the_same_way() -> None:
    venue = Venue(quantity="-1")
    changes = {"side": Side.SELL, "stop": Decimal(3090), "targets": (Target(price=Decimal(2910), fraction=1.0),)}
    monitor = await started(venue, **changes)
    assert venue.resting()[0].side is Side.BUY
    venue.move(2905.0)
    await venue.clock.sleep(10.0)
    assert venue.held == 0
    assert venue.resting() == []
    await monitor.stop_monitoring()


# ---------------------------------------------------------------- errors


async def test_a_retryable_error_waits_for_the_next_look() -> None:
    venue = Venue()
    venue.fail("create_order", Retryable("busy"))
    monitor = await started(venue)
    assert "busy" in str(monitor.get_position_status("p")["error"])
    assert venue.resting() == []
    await venue.clock.sleep(10.0)
    assert len(venue.resting()) == 1
    assert monitor.get_position_status("p")["error"] == ""
    await monitor.stop_monitoring()


@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_order_of_unknown_fate_is_asked_for_before_anything_is_sent_again(when: str) -> None:
    venue = Venue()
    venue.fail("create_order", OutcomeUnknown("no answer"), when)
    monitor = await started(venue)
    before = len(venue.calls)
    await venue.clock.sleep(10.0)
    asked, sent = venue.calls[before:], "create_order"
    assert sent not in asked or asked.index("get_order") < asked.index(sent)
    assert len(venue.resting()) == 1
    assert len(venue.sent) == 1
    await monitor.stop_monitoring()


async def test_an_exit_of_unknown_fate_is_not_sent_twice() -> None:
    venue = Venue()
    monitor = await started(venue)
    venue.move(3095.0)
    venue.fail("create_order", OutcomeUnknown("no answer"), "after")
    await venue.clock.sleep(20.0)
    assert venue.held == Decimal("0.5")
    assert [o.order_type for o in venue.sent].count(OrderType.MARKET) == 1
    assert len(monitor.get_position_status("p")["targets"]) == 1  # type: ignore[arg-type]
    await monitor.stop_monitoring()


async def test_a_rejected_exit_reads_the_position_again() -> None:
    venue = Venue()
    monitor = await started(venue, exit_by_ns=T0 + SECOND)
    stop = venue.resting()[0]

    def stopped_out() -> None:
        venue.held = Decimal(0)
        venue.orders[stop.order_id] = stop.moved(OrderStatus.FILLED)

    # the stop fills between the look's read and its exit
    original = venue.get_ticker

    async def then_stopped(symbol: str) -> Ticker:
        quotes = await original(symbol)
        stopped_out()
        return quotes

    venue.get_ticker = then_stopped  # type: ignore[method-assign]
    await venue.clock.sleep(10.0)
    status = monitor.get_position_status("p")
    assert (status["state"], status["error"]) == ("closed", "")
    await monitor.stop_monitoring()


async def test_an_exit_on_its_way_is_not_sent_again() -> None:
    venue = Venue()
    monitor = await started(venue)
    venue.fills = False
    venue.move(3095.0)
    await venue.clock.sleep(50.0)
    assert [o.order_type for o in venue.sent].count(OrderType.MARKET) == 1
    await monitor.stop_monitoring()


async def test_lost_rights_are_shown_and_the_watch_goes_on() -> None:
    venue = Venue()
    monitor = await started(venue)
    venue.fail("get_positions", NotAuthorized("the key was revoked"))
    await venue.clock.sleep(10.0)
    assert "NotAuthorized" in str(monitor.get_position_status("p")["error"])
    await venue.clock.sleep(10.0)
    assert monitor.get_position_status("p")["error"] == ""
    await monitor.stop_monitoring()


@pytest.mark.parametrize("method", ["get_positions", "get_open_orders", "get_ticker"])
async def test_an_exchange_that_raises_anything_else_ends_no_watch(method: str) -> None:
    """Somebody's connector lets its own errors through: the next look is made all the same."""
    venue = Venue()
    monitor = await started(venue)
    venue.fail(method, ConnectionError("reset by peer"))
    await venue.clock.sleep(10.0)
    assert monitor.get_position_status("p")["error"] == "ConnectionError: reset by peer"
    venue.mark = 3095.0
    await venue.clock.sleep(10.0)
    assert monitor.get_position_status("p")["error"] == "" and venue.held == Decimal("0.5")
    await monitor.stop_monitoring()


async def test_an_analyst_that_raises_ends_no_watch() -> None:
    class Analyst:
        def get_analysis_results(self) -> dict[str, tuple[AnalysisResult, ...]]:
            raise ZeroDivisionError("no bars yet")

    venue = Venue()
    monitor = PositionMonitor(exchange=venue, analyst=Analyst(), clock=venue.clock)  # type: ignore[arg-type]
    monitor.add_position("p", venue.position(), plan=plan())
    await monitor.start_monitoring()
    assert len(venue.resting()) == 1
    assert monitor.get_position_status("p")["error"] == "ZeroDivisionError: no bars yet"
    await monitor.stop_monitoring()


async def test_a_wall_clock_that_is_set_back_or_on_stops_no_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    with at_once():
        shift = [0]
        wall = SimpleNamespace(
            time_ns=lambda: T0 + round(loop.time() * 1e9) + shift[0], monotonic_ns=lambda: round(loop.time() * 1e9)
        )
        monkeypatch.setattr(clock_module, "time", wall)
        venue = Venue()
        monitor = PositionMonitor(exchange=venue, clock=clock_module.SystemClock())  # type: ignore[arg-type]
        monitor.add_position("p", venue.position(), plan=plan(exit_by_ns=None))
        await monitor.start_monitoring()
        for moved in (0, -HOUR, HOUR):
            shift[0] = moved
            await asyncio.sleep(65.0)  # for the wait that was under way
            before = venue.calls.count("get_ticker")
            await asyncio.sleep(100.0)
            assert 9 <= venue.calls.count("get_ticker") - before <= 11
        await monitor.stop_monitoring()


# ---------------------------------------------------------------- positions without a plan


async def test_without_a_plan_the_stop_comes_from_recent_volatility() -> None:
    venue = Venue()
    monitor = guard(venue, default_horizon=16)
    monitor.add_position("p", venue.position())
    await monitor.start_monitoring()
    (stop,) = venue.resting()
    assert float(stop.stop_price or 0) == pytest.approx(3000 * np.exp(-0.01 * 4), abs=0.02)
    assert monitor.get_position_status("p")["exit_by_ns"] == T0 + 16 * HOUR
    await monitor.stop_monitoring()


@pytest.mark.parametrize("problem", [None, TooShort("no history"), Retryable("busy")])
async def test_with_too_little_history_the_stop_lies_a_stated_fraction_away(problem: AresError | None) -> None:
    venue = Venue(mark=2950.0)
    venue.bars = 5
    if problem is not None:
        venue.fail("get_klines", problem)
    monitor = guard(venue)
    monitor.add_position("p", venue.position())
    await monitor.start_monitoring()
    assert venue.resting()[0].stop_price == Decimal(2950) * Decimal("0.98")  # from the mark: it is below entry
    await monitor.stop_monitoring()


async def test_the_latest_opinion_of_the_analyst_counts() -> None:
    class Analyst:
        def get_analysis_results(self) -> dict[str, tuple[AnalysisResult, ...]]:
            return {"ETHUSDT": (opinion(Side.SELL, p_up=0.2, p_down=0.7),)}

    venue = Venue()
    monitor = PositionMonitor(exchange=venue, analyst=Analyst())  # type: ignore[arg-type]
    monitor.add_position("p", venue.position(), plan=plan())
    await monitor.start_monitoring()
    assert venue.held == 0
    assert monitor.get_position_status("p")["action"] == "CLOSE"
    await monitor.stop_monitoring()


# ---------------------------------------------------------------- the register


async def test_a_position_added_later_is_protected_at_once() -> None:
    venue = Venue()
    monitor = guard(venue)
    await monitor.start_monitoring()
    monitor.add_position("p", venue.position(), plan=plan())
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(venue.resting()) == 1
    await monitor.stop_monitoring()


async def test_a_new_position_of_the_symbol_takes_over_the_old_ones_stop() -> None:
    venue = Venue()
    monitor = await started(venue)
    venue.held = Decimal(2)
    monitor.add_position("q", venue.position(), plan=plan(stop=Decimal(2940)))
    await venue.clock.sleep(10.0)
    assert [(o.stop_price, o.quantity) for o in venue.resting()] == [(Decimal(2940), Decimal(2))]
    assert monitor.get_position_status("p")["state"] == "removed"
    await monitor.stop_monitoring()


async def test_what_cannot_be_watched_is_refused() -> None:
    venue = Venue()
    monitor = guard(venue)
    with pytest.raises(InvalidInput, match="flat"):
        monitor.add_position("p", evolve(venue.position(), quantity=Decimal(0)))
    monitor.add_position("position-7", venue.position())
    with pytest.raises(InvalidInput, match="already"):
        monitor.add_position("position-7", venue.position())
    with pytest.raises(InvalidInput, match="position-7"):
        monitor.get_position_status("position-8")
    monitor.remove_position("position-7")
    assert monitor.get_position_status("position-7")["state"] == "removed"
    with pytest.raises(InvalidInput, match="exchange"):
        await PositionMonitor().start_monitoring()
    await monitor.start_monitoring()
    with pytest.raises(InvalidInput, match="running"):
        await monitor.start_monitoring()
    await monitor.stop_monitoring()
    await monitor.stop_monitoring()


async def test_a_plan_for_the_other_side_is_an_error_in_the_status() -> None:
    venue = Venue(quantity="-1")
    monitor = await started(venue)
    assert "BUY" in str(monitor.get_position_status("p")["error"])
    await monitor.stop_monitoring()
