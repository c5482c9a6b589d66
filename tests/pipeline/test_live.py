"""The shell: what a venue refuses, delays or leaves unanswered reaches the desk, and nothing is sent twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from ares.analyst.config import AnalystConfig, RuleConfig
from ares.analyst.rules import RuleAnalyst
from ares.assembly import Stages, build, stages
from ares.errors import DataError, InvalidInput, OutcomeUnknown, Rejected, Retryable
from ares.events import Alert, Command, Event, OperatorOrder, OrderUpdate, Purpose, Submit
from ares.orders import Order, OrderStatus
from ares.pipeline.journal import MemoryJournal, SqliteJournal
from ares.pipeline.live import LiveTradingPipeline
from ares.pipeline.trade import Trade
from ares.protocols import Capabilities, FeatureRow
from ares.simulation.paper import PaperExchange
from ares.simulation.simulated_exchange import SimulatedExchange
from ares.simulation.tape import Tape

Fate = Callable[[int, dict[str, Any]], Exception | None]


def lively(row: FeatureRow) -> float:
    return 1.0 if row["momentum.rsi_14"] <= 1.0 else -1.0  # always long once the index is warm


def bot() -> Stages:
    """Stages that trade soon and often."""
    config = AnalystConfig(horizon=6, rules=RuleConfig(min_matured=0, prior_win=0.9))
    return evolve(stages(), analyst=RuleAnalyst(lively, config=config))


class Moody(SimulatedExchange):
    """A venue whose answers get lost: `before` may raise instead of taking an order, `after` after taking it."""

    def __init__(self, tape: Tape, *, before: Fate | None = None, after: Fate | None = None) -> None:
        super().__init__(tape, start=tape.start_ns)
        self.before, self.after = before, after
        self.asked: list[str] = []

    async def create_order(self, *args: Any, **kwargs: Any) -> Order:
        self.asked.append(kwargs["client_order_id"])
        number = len(self.asked)
        if self.before is not None and (error := self.before(number, kwargs)) is not None:
            raise error
        order = await super().create_order(*args, **kwargs)
        if self.after is not None and (error := self.after(number, kwargs)) is not None:
            raise error
        return order


class Closing(Moody):
    """Counts how often it is closed."""

    closed = 0

    async def __aexit__(self, *exc: object) -> None:
        self.closed += 1
        await super().__aexit__(*exc)


@pytest.fixture(scope="module")
def tape() -> Tape:
    return Tape.synthetic("ETHUSDT", "1h", bars=900, seed=2)


Story = list[tuple[Event, list[Command]]]


def play(exchange: SimulatedExchange, **build_with: Any) -> tuple[LiveTradingPipeline, Story]:
    said: Story = []

    async def run() -> LiveTradingPipeline:
        pipeline = build(exchange=exchange, symbols=["ETHUSDT"], interval="1h", parts=bot(), **build_with)
        pipeline.observers.append(lambda event, commands: said.append((event, commands)))
        async with pipeline:
            await pipeline.run()
        return pipeline

    return asyncio.run(run()), said


def alerts(said: Story) -> list[str]:
    return [c.code for _, commands in said for c in commands if isinstance(c, Alert)]


def test_an_undisturbed_session_trades(tape: Tape) -> None:
    pipeline, _ = play(Moody(tape))
    assert pipeline.desk.records.closed_trades > 5


def test_n1_an_order_whose_answer_was_lost_is_found_and_not_sent_again(tape: Tape) -> None:
    exchange = Moody(tape, after=lambda n, k: OutcomeUnknown("timeout") if n % 3 == 0 else None)
    pipeline, said = play(exchange)
    assert pipeline.desk.records.closed_trades > 5
    assert len(exchange.asked) == len(set(exchange.asked))
    unknown = [e for e, _ in said if isinstance(e, OrderUpdate) and e.order.status is OrderStatus.UNKNOWN]
    assert unknown
    assert pipeline.desk.intents.unresolved() == []
    assert pipeline.desk.account() == exchange.session.venue.account()


def test_n1_an_order_that_never_arrived_is_declared_absent(tape: Tape) -> None:
    exchange = Moody(tape, before=lambda n, k: OutcomeUnknown("timeout") if n % 4 == 1 else None)
    pipeline, _ = play(exchange)
    assert len(exchange.asked) == len(set(exchange.asked))
    assert pipeline.desk.intents.unresolved() == []
    assert pipeline.desk.account().positions == exchange.session.venue.account().positions


def test_a_refused_entry_is_told_and_forgotten(tape: Tape) -> None:
    exchange = Moody(tape, before=lambda n, k: None if k["reduce_only"] else Rejected("margin", code=-2019))
    pipeline, said = play(exchange)
    assert "entry.rejected" in alerts(said)
    assert pipeline.desk.records.closed_trades == 0 and pipeline.desk.custody.trades == {}
    assert exchange.session.venue.account().positions == ()


def test_o8_when_no_stop_can_be_placed_the_position_is_closed(tape: Tape) -> None:
    def no_stops(number: int, order: dict[str, Any]) -> Exception | None:
        return Rejected("no stops today", code=-4045) if order["stop_price"] is not None else None

    pipeline, said = play(Moody(tape, before=no_stops))
    assert pipeline.desk.records.closed_trades > 0
    assert {t.exit_reason for t in pipeline.desk.records.trades} == {"stop.refused"}
    held = [(t.closed_ns - t.opened_ns) for t in pipeline.desk.records.trades]
    assert max(held) <= 3_000_000_000
    assert "stop.lost" in alerts(said)


def test_n3_a_protective_order_is_tried_again_and_an_entry_is_not(tape: Tape) -> None:
    def busy(number: int, order: dict[str, Any]) -> Exception | None:
        return Retryable("busy", after=0.0) if number % 2 == 1 else None

    exchange = Moody(tape, before=busy)
    pipeline, said = play(exchange)
    intents = [c.intent for _, commands in said for c in commands if isinstance(c, Submit)]
    tries = {i.intent_id: exchange.asked.count(f"ares1-{i.intent_id}") for i in intents}
    assert {tries[i.intent_id] for i in intents if i.purpose is Purpose.ENTRY} == {1}
    assert max(tries.values()) == 2
    assert pipeline.desk.account() == exchange.session.venue.account()


def test_an_entry_whose_leverage_cannot_be_set_is_not_sent(tape: Tape) -> None:
    class Stubborn(Moody):
        async def set_leverage(self, symbol: str, leverage: int) -> int:
            raise Rejected("not now", code=-4028)

    exchange = Stubborn(tape)
    pipeline, said = play(exchange)
    assert exchange.asked == []
    assert "entry.rejected" in alerts(said)
    assert any(a.code == "leverage.refused" for a in pipeline.alerts)


def test_without_stop_orders_it_does_not_start(tape: Tape) -> None:
    class Bare(Moody):
        @property
        def capabilities(self) -> Capabilities:
            return Capabilities(name="BARE", stop_orders=False)

    with pytest.raises(InvalidInput, match="stop orders"):
        play(Bare(tape))


def stopped(
    exchange: Moody, when: Callable[[Trade], bool], *, flatten: bool, halt: bool = False
) -> LiveTradingPipeline:
    """A session that is told to stop at the first event after which the trade is so; then `run` once more."""

    async def run() -> LiveTradingPipeline:
        async with build(exchange=exchange, symbols=["ETHUSDT"], interval="1h", parts=bot()) as pipeline:
            asked: list[asyncio.Task[None]] = []

            def watch(event: Event, commands: list[Command]) -> None:
                trade = pipeline.desk.custody.trades.get("ETHUSDT")
                if trade is not None and when(trade) and not asked:
                    if halt:
                        order = OperatorOrder(ts_event=event.ts_seen, ts_seen=event.ts_seen, action="halt")
                        pipeline._merger.put(order)
                    asked.append(asyncio.ensure_future(pipeline.stop(flatten=flatten)))

            pipeline.observers.append(watch)
            await pipeline.run()
            await pipeline.run()
        return pipeline

    return asyncio.run(run())


def test_stopping_ends_entries_and_leaves_the_stop_at_the_venue(tape: Tape) -> None:
    exchange = Moody(tape)
    pipeline = stopped(exchange, lambda trade: trade.stop_price is not None, flatten=False)
    assert "stopped" in pipeline.desk.guard.latches
    assert pipeline.desk.now_ns < tape.end_ns
    assert len(exchange.session.venue.open_orders("ETHUSDT")) == 1


def test_stopping_flat_closes_first(tape: Tape) -> None:
    exchange = Moody(tape)
    pipeline = stopped(exchange, lambda trade: True, flatten=True)
    assert pipeline.desk.custody.trades == {}
    assert exchange.session.venue.account().positions == () and exchange.session.venue.open_orders("ETHUSDT") == ()


def test_stopping_flat_in_a_halt_ends_with_what_is_held_under_its_stop(tape: Tape) -> None:
    exchange = Moody(tape)
    pipeline = stopped(exchange, lambda t: t.held > 0 and t.stop_price is not None, flatten=True, halt=True)
    assert pipeline.desk.now_ns < tape.end_ns
    (position,) = exchange.session.venue.account().positions
    (alert,) = [a for a in pipeline.alerts if a.code == "flatten.withheld"]
    assert (alert.symbol, alert.facts) == ("ETHUSDT", {"held": str(abs(position.quantity))})
    (stop,) = exchange.session.venue.open_orders("ETHUSDT")
    assert stop.reduce_only and stop.quantity == abs(position.quantity)


def test_the_status_names_every_component(tape: Tape) -> None:
    pipeline, _ = play(Moody(tape))
    status = pipeline.get_trading_status()
    assert {"desk", "exchange", "features", "analyst", "tactician", "journal", "alerts"} <= set(status)


def test_history_before_the_start_is_fetched_once(tape: Tape) -> None:
    exchange = SimulatedExchange(tape, start=int(tape.track("ETHUSDT").close_ns[799]))
    pipeline, said = play(exchange)
    history = [e for e, _ in said if getattr(e, "history", False)]
    assert len(history) == 800
    assert pipeline.desk.last_open_ns("ETHUSDT") == int(tape.track("ETHUSDT").open_ns[-1])


def test_a_paper_account_lives_in_the_journal(tape: Tape) -> None:
    """Paper over somebody's live market: after a restart the new process holds the old position, stop and money."""
    journal = MemoryJournal()

    def session(start: int, until: int | None) -> tuple[LiveTradingPipeline, PaperExchange]:
        exchange = PaperExchange(SimulatedExchange(tape, start=start))

        async def run() -> LiveTradingPipeline:
            async with build(
                exchange=exchange, symbols=["ETHUSDT"], interval="1h", parts=bot(), journal=journal
            ) as pipeline:
                await pipeline.run(until)
            return pipeline

        return asyncio.run(run()), exchange

    closes = tape.track("ETHUSDT").close_ns
    for row in range(700, 880):
        journal = MemoryJournal()
        first, before = session(tape.start_ns, int(closes[row]))
        if first.desk.custody.trades:
            break
    held = first.desk.account().positions
    assert held and first.desk.custody.trades["ETHUSDT"].stop_price is not None
    second, after = session(int(closes[row]), None)
    assert second.desk.records.closed_trades > first.desk.records.closed_trades
    assert second.desk.account().equity == after._venue.account().equity
    sent = [c.intent.intent_id for _, cs in journal.records() for c in cs if isinstance(c, Submit)]
    assert len(sent) == len(set(sent))
    assert not [a for a in second.alerts if a.code == "position.differs"]


def test_a_full_disk_ends_the_session_with_its_own_error_and_closes_everything(tape: Tape, tmp_path: Path) -> None:
    path, exchange = tmp_path / "j.sqlite", Closing(tape)
    journal = SqliteJournal(path)
    pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
    journal._db.execute(f"PRAGMA max_page_count={pages + 30}")
    with pytest.raises(DataError, match="full"):
        play(exchange, journal=journal)
    assert exchange.closed == 1
    again = SqliteJournal(path)  # its lock is free
    assert len(list(again.records())) == len(again)
    again.close()


def test_what_cannot_be_closed_does_not_keep_the_rest_open(tape: Tape) -> None:
    class Stuck(MemoryJournal):
        def close(self) -> None:
            raise DataError("the journal cannot be closed")

    exchange = Closing(tape)
    with pytest.raises(DataError, match="cannot be closed"):
        play(exchange, journal=Stuck())
    assert exchange.closed == 1
