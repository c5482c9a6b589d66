"""What a dead bot had asked for and not seen done is done by the next one; what an exchange raises ends no session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest
from attrs import evolve

from ares.errors import DataError, NotAuthorized, OutcomeUnknown, Rejected, Retryable
from ares.events import (
    Cancel,
    Command,
    Event,
    FillBooked,
    MarkPrice,
    OperatorOrder,
    OrderUpdate,
    Purpose,
    RunStage,
    StageDone,
    Submit,
    Wake,
)
from ares.orders import OrderStatus, OrderType
from ares.pipeline.desk import Desk
from ares.pipeline.guard import Mode
from ares.pipeline.live import LiveTradingPipeline
from ares.protocols import AnalysisInput, AnalysisResult
from tests.pipeline.crash_bench import (
    MINUTE,
    SECOND,
    START,
    SYMBOLS,
    Book,
    Busy,
    Killed,
    Life,
    Link,
    Market,
    Nakedness,
    World,
    check,
    orders_of,
)

S = "ETHUSDT"
Found = Callable[[Event, list[Command]], bool]


def first(wanted: Found, bars: int = 4) -> int:
    """The first record of an undisturbed session that is so."""

    async def run() -> int:
        world, journal = World(Market(bars)), Book()
        await Life(world, journal).run()
        return next(event.seq for event, commands in journal.records() if wanted(event, commands))

    return asyncio.run(run())


def sends(purpose: Purpose) -> Found:
    return lambda event, said: any(isinstance(c, Submit) and c.intent.purpose is purpose for c in said)


async def killed(record: int, bars: int = 4) -> tuple[World, Book]:
    world, journal = World(Market(bars)), Book()
    journal.kill_at = record
    life = Life(world, journal)
    await life.run()
    assert life.killed
    return world, journal


def later(world: World, seconds: float) -> None:
    """Time goes by without the bot."""
    until = world.clock.now + round(seconds * SECOND)
    while (upcoming := world.market.next_ns()) is not None and upcoming <= until:
        world.step()
    world.clock.set_to(until)


async def revived(world: World, journal: Book, seconds: float) -> tuple[Life, list[Event]]:
    """The next bot, for so many seconds, and what it was told."""
    before = len(journal)
    life = Life(world, journal, Nakedness(world))
    await life.run(until_ns=world.clock.now + round(seconds * SECOND))
    return life, [event for event, _ in journal.records()][before:]


@pytest.mark.parametrize(("down", "entry", "protect"), [(30.0, 90, 90), (1.0, 72, 63)])
async def test_alarms_are_armed_again_and_due_ones_come_at_once(down: float, entry: int, protect: int) -> None:
    """The journal asked for wakes at 63 s and 72 s; it ends at 60 s."""
    world, journal = await killed(await asyncio.to_thread(first, sends(Purpose.STOP)))
    assert world.clock.now == START + MINUTE
    later(world, down)
    _, told = await revived(world, journal, 15)
    wakes = {e.key: e.ts_seen - START for e in reversed(told) if isinstance(e, Wake)}  # the first of each
    assert wakes[f"entry:{S}"] == entry * SECOND and wakes[f"protect:{S}"] == protect * SECOND


async def test_a_cancel_that_was_never_sent_is_sent_after_the_restart() -> None:
    world, journal = await killed(
        await asyncio.to_thread(first, lambda event, said: any(isinstance(c, Cancel) for c in said))
    )
    *_, (_, said) = journal.records()
    wanted = next(c.intent_id for c in said if isinstance(c, Cancel))
    assert ("cancel", f"ares1-{wanted}") not in world.sent
    died = world.clock.now
    await revived(world, journal, 1)
    assert ("cancel", f"ares1-{wanted}") in world.sent and world.clock.now - died <= 1 * SECOND
    assert not any(wanted in order.client_order_id for order in world.venue.open_orders())


@pytest.mark.parametrize(
    "error",
    [Retryable("busy"), Retryable("banned", after=3.0), NotAuthorized("key"), DataError("html"), OSError("broken pipe"),
     OutcomeUnknown("timed out"), Rejected("not now", code=-1)],
    ids=lambda e: f"{type(e).__name__} {e}",
)  # fmt: skip
async def test_a_cancel_that_fails_is_repeated_until_its_order_is_gone(error: Exception) -> None:
    world, journal = World(Market(4)), Book()
    failures = {"cancel_order": 3, "get_order": 1 if not isinstance(error, Rejected) else 0}

    def fault(verb: str) -> Exception | None:
        failures[verb] = failures.get(verb, 0) - 1
        return error if failures[verb] >= 0 else None

    world.fault = fault
    life = Life(world, journal)
    await life.run()
    check_tidy(world, journal, life)
    cancelled = [name for verb, name in world.sent if verb == "cancel"]
    assert len(cancelled) > 3 and len(set(cancelled)) == len(cancelled)


async def test_a_venue_that_neither_cancels_nor_tells_makes_nobody_deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer to a cancel is lost, and reads of orders hang: what happens meanwhile is heard."""
    world, journal = World(Market(3)), Book()
    world.fault = lambda verb: OutcomeUnknown("no answer") if verb == "cancel_order" else None
    hung: list[int] = []

    async def hangs(self: Link, symbol: str, order_id: str | None = None, **_: str | None) -> None:
        hung.append(len(journal))
        await asyncio.Event().wait()

    monkeypatch.setattr(Link, "get_order", hangs)
    life = Life(world, journal)
    await life.run()
    assert hung and not world.market.script and len(journal) > hung[0] + 20


def check_tidy(world: World, journal: Book, life: Life) -> None:
    """The session went on to the market's end, and every order that stands belongs to a trade."""
    bot = life.pipeline.desk
    assert not life.killed and not world.market.script and len(orders_of(journal)) > 20
    live = {s.intent.intent_id for t in bot.custody.trades.values() for s in bot.intents.open_of(t.trade_id)}
    assert {o.client_order_id.partition("-")[2] for o in world.venue.open_orders()} <= live


@pytest.mark.parametrize("verb", ["create_order", "set_leverage"])
@pytest.mark.parametrize("error", [NotAuthorized("key"), OSError("broken pipe"), TimeoutError(), Retryable("busy")])
async def test_no_call_ends_the_session(verb: str, error: Exception) -> None:
    world, journal, calls = World(Market(4)), Book(), [0]

    def fault(asked: str) -> Exception | None:
        calls[0] += asked == verb
        return error if asked == verb and calls[0] % 3 == 1 else None

    world.fault = fault
    life = Life(world, journal, naked := Nakedness(world))
    await life.run()
    check_tidy(world, journal, life)
    assert naked.longest <= 3 * SECOND


@pytest.mark.parametrize("down", [0.0, 2.0])
async def test_a_stop_that_was_never_sent_is_sent_at_once(down: float) -> None:
    world, journal = await killed(await asyncio.to_thread(first, sends(Purpose.STOP)))
    *_, (_, said) = journal.records()
    stop = next(c.intent.intent_id for c in said if isinstance(c, Submit))
    later(world, down)
    life, _ = await revived(world, journal, 0.5)
    assert [o.client_order_id for o in world.venue.open_orders(S) if o.order_type is OrderType.STOP_MARKET] == [
        f"ares1-{stop}"
    ]
    assert life.pipeline.desk.custody.trades[S].stop_price is not None
    life, _ = await revived(world, journal, 30)
    check(world, journal, life, starts=3)


async def test_i13_in_a_halt_a_restart_sends_no_lost_order_until_somebody_resumes() -> None:
    """The answer to a stop is lost, a person halts, and the bot dies: nothing is sent before the person resumes."""
    world, journal = World(Market(4)), Book()

    def mute(verb: str) -> Exception | None:
        bought = any(world.venue.position(s).quantity for s in SYMBOLS)
        return OutcomeUnknown("no answer") if bought and verb in ("create_order", "get_order") else None

    def person(action: str) -> Callable[[LiveTradingPipeline], None]:
        said: list[str] = []

        def look(pipeline: LiveTradingPipeline) -> None:
            now = world.clock.now
            if not said and any(world.venue.position(s).quantity for s in SYMBOLS):
                said.append(action)
                pipeline._merger.put(OperatorOrder(ts_event=now, ts_seen=now, action=action))

        return look

    def created() -> int:
        return [verb for verb, _ in world.sent].count("create")

    world.fault = mute
    await Life(world, journal, person("halt")).run(until_ns=START + MINUTE + 7 * SECOND)
    assert any(world.venue.position(s).quantity for s in SYMBOLS)
    before = created()
    world.fault = lambda verb: None
    life, _ = await revived(world, journal, 30)
    assert life.pipeline.desk.guard.mode is Mode.HALT and created() == before
    await Life(world, journal, person("resume")).run(until_ns=world.clock.now + 5 * SECOND)
    assert created() > before
    for symbol in SYMBOLS:
        held = world.venue.position(symbol).quantity
        assert held == 0 or [o.quantity for o in world.venue.open_orders(symbol)] == [abs(held)]


async def test_an_entry_that_was_never_sent_is_not_sent_later() -> None:
    world, journal = await killed(await asyncio.to_thread(first, sends(Purpose.ENTRY)))
    *_, (_, said) = journal.records()
    lost = {c.intent.intent_id for c in said if isinstance(c, Submit)}
    life, told = await revived(world, journal, 30)
    refused = {e.order.client_order_id: e for e in told if isinstance(e, OrderUpdate)}
    for intent_id in lost:
        report = refused[f"ares1-{intent_id}"]
        assert report.order.status is OrderStatus.REJECTED and report.ts_seen - START >= 80 * SECOND
    held = next(e for e in told if isinstance(e, OperatorOrder))
    goes_on = next(e for e in told if isinstance(e, OperatorOrder) and e.action == "start")
    assert held.action == "stop" and goes_on.seq > max(e.seq for e in refused.values())
    assert not any(name.partition("-")[2] in lost for _, name in world.sent)


async def test_events_are_heard_while_a_lost_order_is_asked_about() -> None:
    world, journal = await killed(await asyncio.to_thread(first, sends(Purpose.ENTRY)))
    _, told = await revived(world, journal, 10)
    assert sum(type(e).__name__ == "MarkPrice" for e in told) >= 2


async def test_an_order_that_ended_unfilled_while_nobody_listened_is_told() -> None:
    """A stop is cancelled by hand while the bot is dead: the position gets another one."""
    record = await asyncio.to_thread(
        first,
        lambda event, said: isinstance(event, OrderUpdate)
        and event.order.order_type is OrderType.STOP_MARKET and event.order.status is OrderStatus.NEW,
    )  # fmt: skip
    world, journal = await killed(record)
    stop = next(o for o in world.venue.open_orders(S) if o.order_type is OrderType.STOP_MARKET)
    world.venue.cancel(S, stop.order_id)
    world.drain()
    _, told = await revived(world, journal, 3)
    assert any(isinstance(e, OrderUpdate) and e.order.order_id == stop.order_id for e in told)
    stops = [o for o in world.venue.open_orders(S) if o.order_type is OrderType.STOP_MARKET]
    assert world.venue.position(S).quantity == 0 or [o.quantity for o in stops] == [world.venue.position(S).quantity]


async def test_one_of_our_orders_that_no_trade_knows_is_taken_back() -> None:
    """An order that arrives after it was called absent: the next bot finds it standing."""
    world, journal = await killed(await asyncio.to_thread(first, sends(Purpose.ENTRY)))
    *_, (_, said) = journal.records()
    late = next(c.intent for c in said if isinstance(c, Submit) and c.intent.request.order_type is OrderType.LIMIT)
    life, _ = await revived(world, journal, 25)
    assert life.pipeline.desk.intents.get(late.intent_id) is None
    price = life.pipeline.desk.instrument(S).price(float(late.request.price) * 0.9, "down")
    world.venue.submit(evolve(late.request, price=price), f"ares1-{late.intent_id}")
    world.drain()
    life, _ = await revived(world, journal, 5)
    assert not world.venue.open_orders(S) and not world.venue.position(S).quantity
    assert "order.forgotten" in {alert.code for alert in life.pipeline.alerts}


async def test_missed_bars_that_cannot_be_read_delay_no_protection() -> None:
    world, journal = await killed(await asyncio.to_thread(first, sends(Purpose.STOP)))
    world.fault = lambda verb: Retryable("maintenance") if verb == "get_klines" else None
    naked = Nakedness(world)
    life = Life(world, journal, naked)
    await life.run(until_ns=world.clock.now + 40 * SECOND)
    assert naked.longest <= 3 * SECOND and "stopped" in life.pipeline.desk.guard.latches
    lived = [e for e, _ in journal.records() if e.seq >= journal.incarnations()[1][1]]
    assert any(isinstance(e, FillBooked | OrderUpdate) for e in lived)
    world.fault = lambda verb: None
    life = Life(world, journal)
    await life.run(until_ns=world.clock.now + MINUTE)
    assert life.pipeline.desk.guard.latches == {}


@pytest.mark.parametrize("error", [ConnectionError("reset"), OutcomeUnknown("no answer"), Retryable("busy", after=2.0)])
async def test_one_failed_read_of_missed_bars_ends_no_session(error: Exception) -> None:
    world, journal = await killed(await asyncio.to_thread(first, sends(Purpose.STOP)))
    later(world, 5)
    asked: list[str] = []

    def fault(verb: str) -> Exception | None:
        asked.extend([verb] if verb == "get_klines" else [])
        return error if len(asked) == 1 and verb == "get_klines" else None

    world.fault = fault
    life, told = await revived(world, journal, 60)
    assert len(asked) == 3 and [a.code for a in life.pipeline.alerts].count("history.postponed") == 1
    assert "stopped" not in life.pipeline.desk.guard.latches and any(isinstance(e, MarkPrice) for e in told)


@pytest.mark.parametrize(
    ("error", "failures", "reads"),
    [(ConnectionError("reset"), 1, 2), (Retryable("busy"), 99, 3), (Rejected("no such symbol"), 99, 1)],
)
async def test_statistics_that_cannot_be_read_delay_a_restart_but_do_not_end_it(
    monkeypatch: pytest.MonkeyPatch, error: Exception, failures: int, reads: int
) -> None:
    world, journal = await killed(await asyncio.to_thread(first, sends(Purpose.STOP)))
    later(world, 125)
    asked: list[str] = []

    async def statistics(self: Link, symbol: str, start: int) -> tuple[Event, ...]:
        asked.append(symbol)
        if len(asked) <= failures:
            raise error
        return ()

    monkeypatch.setattr(Link, "get_futures_statistics", statistics, raising=False)
    able = evolve(Link(world).capabilities, on_request=frozenset({"futures"}))
    monkeypatch.setattr(Link, "capabilities", property(lambda self: able))
    monkeypatch.setattr(Desk, "kinds", property(lambda self: frozenset({"futures"})))
    life, _ = await revived(world, journal, 60)
    assert asked.count(S) == reads
    missing = [a.symbol for a in life.pipeline.alerts if a.code == "statistics.missing"]
    assert missing == ([] if failures == 1 else [S, "BTCUSDT"])
    assert "stopped" not in life.pipeline.desk.guard.latches


class Remote:
    """The stages of `Busy`, whose analyst is asked over a wire; `hangs` once the wire is dead."""

    model_id = "busy"
    decide, assess_position = Busy.decide, Busy.assess_position
    hangs = False

    def __init__(self, needs_history: bool) -> None:
        self.needs_history = needs_history

    async def execute_analysis(self, given: AnalysisInput) -> AnalysisResult:
        if self.hangs:
            await asyncio.Event().wait()
        return Busy().analyze(given)


@pytest.mark.parametrize("history", [False, True], ids=["of a bar", "of history"])
async def test_a_stage_that_hangs_when_it_is_asked_again_makes_nobody_deaf(
    monkeypatch: pytest.MonkeyPatch, history: bool
) -> None:
    remote = Remote(needs_history=history)
    monkeypatch.setattr("tests.pipeline.crash_bench.Busy", lambda: remote)
    world, journal = await killed(await asyncio.to_thread(first, sends(Purpose.STOP)), bars=8)
    later(world, 65)  # the next bot has bars to read
    append, lost = Book.append, list[str]()

    def fatal(self: Book, event: Event, said: Sequence[Command]) -> None:
        append(self, event, said)
        lost.extend(c.request for c in said if isinstance(c, RunStage) and c.history == history)
        if lost:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Book, "append", fatal)
        life = Life(world, journal)
        await life.run()
    assert life.killed and len(lost) == 1
    later(world, 65)
    remote.hangs = True
    life, told = await revived(world, journal, 60)
    assert sum(isinstance(e, MarkPrice) for e in told) > 10
    assert "stopped" not in life.pipeline.desk.guard.latches
    answers = {e.request: e for e in told if isinstance(e, StageDone)}
    assert (lost[0] in answers) == history and all("timed out" in e.error for e in answers.values())


async def test_a_stage_that_never_answers_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody gathers questions for weeks, and somebody is told that no opinion comes."""
    remote = Remote(needs_history=False)
    remote.hangs = True
    monkeypatch.setattr("tests.pipeline.crash_bench.Busy", lambda: remote)
    world, journal, waiting = World(Market(12)), Book(), list[int]()
    life = Life(world, journal, lambda pipeline: waiting.append(len(pipeline._merger._outside)))
    await life.run()
    asked = sum(isinstance(c, RunStage) for _, said in journal.records() for c in said)
    assert asked > 20 and max(waiting) <= 2 * 3  # two symbols, a bar a minute, two minutes of patience
    assert life.pipeline.desk.guard.latches.keys() == {"stage:analyst"}
