"""One program in every mode: the same tape gives the same commands, byte for byte."""

from __future__ import annotations

import asyncio
from pathlib import Path

import attrs
import msgspec
import pytest

from ares.assembly import Stages, build, stages
from ares.backtesting.backtester import Backtester
from ares.events import Cancel, Command, Event, FillBooked, MarkPrice, OrderUpdate, Submit, encode
from ares.pipeline.desk import Desk
from ares.pipeline.execution import client_order_id, intent_of
from ares.pipeline.journal import MemoryJournal, SqliteJournal
from ares.pipeline.recovery import replay
from ares.protocols import Exchange
from ares.simulation.paper import PaperExchange
from ares.simulation.simulated_exchange import SimulatedExchange
from ares.simulation.tape import Tape

SYMBOL, INTERVAL = "ETHUSDT", "1h"
Commands = list[tuple[int, list[bytes]]]


@pytest.fixture(scope="module")
def tape(real_data: Path) -> Tape:
    """Two years of real hours of ETHUSDT, with the real funding of the second."""
    return Tape.from_file(
        real_data / "market" / "um_ETHUSDT_1h.parquet",
        symbol=SYMBOL,
        funding=real_data / "market" / "um_ETHUSDT_funding.parquet",
    ).slice("2022-03-01", "2024-03-01")


def spoken(event: Event, commands: list[Command]) -> tuple[int, list[bytes]]:
    return event.seq, [encode(c) for c in commands]


def in_backtest(tape: Tape) -> Commands:
    said: Commands = []
    bot = stages()
    Backtester(features=bot.features, analyst=bot.analyst, tactician=bot.tactician, monitor=bot.monitor).run(
        tape, observer=lambda event, commands: said.append(spoken(event, commands))
    )
    return said


def in_pipeline(exchange: Exchange, mode: str, journal: MemoryJournal | SqliteJournal) -> Commands:
    said: Commands = []

    async def play() -> None:
        pipeline = build(mode=mode, exchange=exchange, symbols=[SYMBOL], interval=INTERVAL, journal=journal)
        pipeline.observers.append(lambda event, commands: said.append(spoken(event, commands)))
        async with pipeline:
            await pipeline.run()

    asyncio.run(play())
    return said


@pytest.fixture(scope="module")
def backtest(tape: Tape) -> Commands:
    return in_backtest(tape)


def test_a_backtest_trades(backtest: Commands) -> None:
    assert sum(b"Submit" in body for _, bodies in backtest for body in bodies) > 10


def test_paper_equals_backtest(tape: Tape, backtest: Commands) -> None:
    source = SimulatedExchange(tape, start=tape.start_ns)
    assert in_pipeline(PaperExchange(source), "paper", MemoryJournal()) == backtest


Records = list[tuple[Event, list[Command]]]


@pytest.fixture(scope="module")
def live(tape: Tape, tmp_path_factory: pytest.TempPathFactory) -> tuple[Commands, Records]:
    """What a live session said, and what its journal has of it."""
    path = tmp_path_factory.mktemp("live") / "journal.sqlite"
    said = in_pipeline(SimulatedExchange(tape, start=tape.start_ns), "live", SqliteJournal(path))
    journal = SqliteJournal(path, read_only=True)
    records = list(journal.records())
    journal.close()
    return said, records


def test_live_equals_backtest_and_its_journal_replays(live: tuple[Commands, Records], backtest: Commands) -> None:
    said, records = live
    assert said == backtest
    report = replay(iter(records), fresh_desk(stages()))
    assert report.identical
    assert report.events == len(backtest)


def fresh_desk(bot: Stages) -> Desk:
    return Desk(
        features=bot.features,
        analyst=bot.analyst,
        tactician=bot.tactician,
        monitor=bot.monitor,
        symbols=[SYMBOL],
        interval=INTERVAL,
    )


def test_a_replay_notices_one_changed_number(live: tuple[Commands, Records]) -> None:
    records = list(live[1])
    first = next(n for n, (_, commands) in enumerate(records) if any(isinstance(c, Submit) for c in commands))
    event, commands = records[first]
    records[first] = (event, [c for c in commands if not isinstance(c, Submit)])
    report = replay(iter(records), fresh_desk(stages()))
    assert report.difference == event.seq


def test_a_dense_play_of_the_monitor_equals_a_sparse_one(live: tuple[Commands, Records]) -> None:
    """Between two candles an unchanged mark price, told every ten seconds, changes no command."""
    sparse, dense = fresh_desk(stages()), fresh_desk(stages())
    names: dict[str, str] = {}  # the sparse play's intent -> the dense play's, whose events have other numbers
    mark: MarkPrice | None = None
    repeats = 0
    for event, _ in live[1]:
        for step in range(1, 12) if mark is not None and dense.custody.trades else ():
            ts = sparse.now_ns + step * 10_000_000_000
            if ts >= event.ts_seen:
                break
            again = msgspec.structs.replace(mark, ts_event=ts, ts_seen=ts, seq=dense.seq + 1)
            assert dense.handle(again) == []
            repeats += 1
        said_sparse = sparse.handle(event)
        said_dense = dense.handle(msgspec.structs.replace(renamed(event, names), seq=dense.seq + 1))
        names.update(zip(intents(said_sparse), intents(said_dense), strict=True))
        assert [plain(c) for c in said_dense] == [plain(c) for c in said_sparse]
        mark = event if isinstance(event, MarkPrice) else mark
    assert repeats > 1000


def intents(commands: list[Command]) -> list[str]:
    return [c.intent.intent_id for c in commands if isinstance(c, Submit)]


def renamed(event: Event, names: dict[str, str]) -> Event:
    """The event as the venue would tell it of the dense play's order."""
    noun = event.order if isinstance(event, OrderUpdate) else event.fill if isinstance(event, FillBooked) else None
    intent_id = intent_of(noun.client_order_id) if noun is not None else None
    if noun is None or intent_id is None:
        return event
    mine = attrs.evolve(noun, client_order_id=client_order_id(names[intent_id], 1))
    return msgspec.structs.replace(event, **{"order" if isinstance(event, OrderUpdate) else "fill": mine})


def plain(command: Command) -> bytes:
    """A command without the event numbers inside its ids, which a denser tape shifts."""
    if isinstance(command, Submit):
        intent = msgspec.structs.replace(command.intent, intent_id="", trade_id="")
        return encode(msgspec.structs.replace(command, intent=intent))
    return encode(msgspec.structs.replace(command, intent_id="") if isinstance(command, Cancel) else command)
