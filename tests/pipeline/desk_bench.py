"""A desk on the test bench: scripted stages, and a hand that plays the venue."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import attrs
import msgspec

from ares.account import Account
from ares.events import (
    Cancel,
    CandleClosed,
    Command,
    Event,
    FillBooked,
    MarkPrice,
    OrderUpdate,
    Purpose,
    Submit,
    VenueSnapshot,
    Wake,
    WakeAt,
)
from ares.instrument_tables import default_instrument
from ares.instruments import Side
from ares.market import Candle
from ares.orders import Fill, Order, OrderStatus, OrderType, TimeInForce
from ares.pipeline.desk import Desk, DeskConfig
from ares.pipeline.execution import client_order_id
from ares.protocols import (
    Action,
    AnalysisInput,
    AnalysisResult,
    Assessment,
    AssessmentInput,
    FeatureRow,
    Leg,
    Reason,
    TacticsInput,
    TacticsResult,
    Target,
    TradePlan,
)

SYMBOL = "ETHUSDT"
HOUR = 3_600_000_000_000
SECOND = 1_000_000_000


class OneFeature:
    """A feature stage with one column: the close."""

    warmup = settle = 0
    feature_names = ("close",)
    fingerprint = "one"

    def stream(self, symbol: str, interval: str) -> OneFeature:
        return self

    def update(self, candle: Candle) -> FeatureRow:
        return FeatureRow(
            symbol=candle.symbol,
            interval=candle.interval,
            open_ns=candle.open_ns,
            known_ns=candle.close_ns,
            schema_id="one",
            values=[candle.close],
            ready=True,
            names=("close",),
        )


class Scripted:
    """Analyst, tactician and monitor that say what the test told them to."""

    def __init__(
        self, side: Side | None = Side.BUY, quantities: Sequence[str] = ("1",), limit: str | None = None
    ) -> None:
        """limit: price of the last leg, which is at market without it."""
        self.side = side
        self.quantities = quantities
        self.limit = limit
        self.verdict: dict[str, Any] = {"action": Action.HOLD, "risk": 0.0}
        self.looks: list[AssessmentInput] = []
        self.alarm: Reason | None = None
        self.model_id = "script"

    def activate(self, sha256: str) -> None:
        self.model_id = sha256

    def analyze(self, given: AnalysisInput) -> AnalysisResult:
        return AnalysisResult(
            symbol=given.symbol,
            now_ns=given.now_ns,
            p_up=0.6,
            p_down=0.3,
            p_timeout=0.1,
            side=self.side,
            confidence=0.6 if self.side is not None else 0.0,
            horizon=24,
            horizon_ns=24 * HOUR,
            stop_width=0.05,
            target_width=0.1,
            valid_until_ns=given.now_ns + HOUR,
            model_id=self.model_id,
            alarm=self.alarm,
        )

    def decide(self, given: TacticsInput) -> TacticsResult:
        legs = [Leg(quantity=Decimal(q)) for q in self.quantities]
        if self.limit is not None:
            legs[-1] = attrs.evolve(legs[-1], order_type=OrderType.LIMIT, price=Decimal(self.limit))
        plan = TradePlan(
            trade_id="",
            symbol=given.analysis.symbol,
            side=given.analysis.side or Side.BUY,
            legs=tuple(legs),
            stop=Decimal("1900"),
            targets=(Target(price=Decimal("2200"), fraction=0.5), Target(price=Decimal("2300"), fraction=0.5)),
            leverage=3,
            valid_until_ns=given.market.now_ns + HOUR,
            exit_by_ns=given.market.now_ns + 24 * HOUR,
        )
        return TacticsResult(plan=plan if given.limits.may_enter else None, reasons=given.limits.reasons)

    def assess_position(self, given: AssessmentInput) -> Assessment:
        self.looks.append(given)
        return Assessment(trade_id=given.trade.trade_id, now_ns=given.now_ns, **self.verdict)


class Bench:
    """Numbers events, tells them to the desk, and keeps what it answered."""

    def __init__(self, script: Scripted | None = None, config: DeskConfig | None = None) -> None:
        self.script = script or Scripted()
        self.desk = Desk(
            features=OneFeature(),  # type: ignore[arg-type]  only the stream is used
            analyst=self.script,  # type: ignore[arg-type]
            tactician=self.script,  # type: ignore[arg-type]
            monitor=self.script,
            symbols=[SYMBOL],
            interval="1h",
            config=config,
        )
        self.now = 0
        self.trades = 0
        instrument = default_instrument(SYMBOL)
        zero = Decimal(0)
        account = Account(
            asset="USDT",
            wallet=Decimal(10_000),
            start=Decimal(10_000),
            realised=zero,
            fees=zero,
            funding=zero,
            unrealised=zero,
            margin=zero,
        )
        self.tell(VenueSnapshot(ts_event=0, ts_seen=0, account=account, open_orders=(), instruments=(instrument,)))
        self.tell(MarkPrice(ts_event=0, ts_seen=0, symbol=SYMBOL, price=2000.0))

    def tell(self, event: Event) -> list[Command]:
        return self.desk.handle(msgspec.structs.replace(event, seq=self.desk.seq + 1))

    def later(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)

    def candle(self, close: float = 2000.0, *, history: bool = False) -> list[Command]:
        opened = self.now
        self.now += HOUR
        bar = Candle(
            symbol=SYMBOL,
            interval="1h",
            open_ns=opened,
            close_ns=self.now,
            open=close,
            high=close,
            low=close,
            close=close,
            volume=1.0,
        )
        return self.tell(CandleClosed(ts_event=self.now, ts_seen=self.now, candle=bar, history=history))

    def mark(self, price: float) -> list[Command]:
        return self.tell(MarkPrice(ts_event=self.now, ts_seen=self.now, symbol=SYMBOL, price=price))

    def wake(self, command: WakeAt) -> list[Command]:
        self.now = max(self.now, command.ts_ns)
        return self.tell(Wake(ts_event=self.now, ts_seen=self.now, key=command.key))

    def order(self, submit: Submit, status: OrderStatus, reason: str = "", filled: str = "0") -> list[Command]:
        r = submit.intent.request
        order = Order(
            order_id=submit.intent.intent_id,
            client_order_id=client_order_id(submit.intent.intent_id, 1),
            symbol=r.symbol,
            side=r.side,
            order_type=r.order_type,
            quantity=r.quantity,
            stop_price=r.stop_price,
            reduce_only=r.reduce_only,
            time_in_force=TimeInForce.GTC,
            status=status,
            filled=Decimal(filled),
            updated_ns=self.now,
            reason=reason,
        )
        return self.tell(OrderUpdate(ts_event=self.now, ts_seen=self.now, order=order))

    def fill(self, submit: Submit, price: str = "2000", quantity: str | None = None, **changes: Any) -> list[Command]:
        self.trades += 1
        r = submit.intent.request
        fill = Fill(
            symbol=r.symbol,
            trade_id=str(self.trades),
            order_id=submit.intent.intent_id,
            client_order_id=client_order_id(submit.intent.intent_id, 1),
            side=r.side,
            price=Decimal(price),
            quantity=Decimal(quantity) if quantity is not None else r.quantity,
            fee=Decimal("1"),
            maker=False,
            ts_ns=self.now,
        )
        return self.tell(FillBooked(ts_event=self.now, ts_seen=self.now, fill=attrs.evolve(fill, **changes)))

    def opened(self) -> tuple[Submit, Submit]:
        """A filled and protected position: its entry and its acknowledged stop."""
        entry = submits(self.candle(), Purpose.ENTRY)[0]
        self.order(entry, OrderStatus.NEW)
        stop = submits(self.fill(entry), Purpose.STOP)[0]
        self.order(stop, OrderStatus.NEW)
        return entry, stop


def submits(commands: list[Command], *purposes: Purpose) -> list[Submit]:
    return [c for c in commands if isinstance(c, Submit) and (not purposes or c.intent.purpose in purposes)]


def cancels(commands: list[Command]) -> list[str]:
    return [c.intent_id for c in commands if isinstance(c, Cancel)]


def wakes(commands: list[Command], kind: str) -> list[WakeAt]:
    return [c for c in commands if isinstance(c, WakeAt) and c.key.startswith(kind)]
