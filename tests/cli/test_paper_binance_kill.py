"""`kill -9` of `ares paper --exchange BINANCE`: each start goes on where the last one died, over real sockets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ares.assembly import stages
from ares.cli.replay import stored_settings
from ares.events import (
    Alert,
    Command,
    Event,
    FillBooked,
    OrderUpdate,
    Purpose,
    Submit,
    VenueSnapshot,
)
from ares.orders import OrderStatus, OrderType
from ares.pipeline.desk import Desk
from ares.pipeline.execution import intent_of
from ares.pipeline.journal import SqliteJournal

Run = Callable[..., Any]

pytest.importorskip("uvicorn")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals")
S = "ETHUSDT"

# A bot that trades at almost every bar: it believes in its targets, and calls no bar of the fast market stale.
EAGER = """
binance_exchange:
  rest_url: {rest}
  stream_url: {streams}
  streams: [candles, mark_price, book_top]
analyst:
  round_trip_cost: 0.0
  horizon: 4
  valid_bars: 100000
  rules: {{prior_win: 0.7, prior_strength: 100000.0, min_matured: 0}}
"""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A settings file that points at a local venue, which plays ten hours a second and does not end before the test."""
    market = ["--interval", "1h", "--pace", "36000", "--bars", "60000"]
    command = [sys.executable, "-m", "ares", "simulate", "--port", "0", *market]
    venue = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert venue.stdout is not None
    path = tmp_path_factory.mktemp("kill") / "bot.yaml"
    try:
        path.write_text(EAGER.format(**json.loads(venue.stdout.readline())))
        yield path
    finally:
        venue.terminate()
        venue.communicate(timeout=PATIENCE)


# A bot that is killed right after it has written down something, between the disk and what comes next.
DYING = """
import os, signal, sys
from ares.cli.program import program
from ares.pipeline.journal import SqliteJournal
from tests.cli.test_paper_binance_kill import MOMENTS

reached, append = MOMENTS[sys.argv[1]], SqliteJournal.append

def append_and_die(journal, event, commands):
    append(journal, event, commands)
    if any(reached(e) for e in (event, *commands)):
        os.kill(os.getpid(), signal.SIGKILL)

SqliteJournal.append = append_and_die
program(sys.argv[2:], prog_name="ares")
"""
PATIENCE = 240.0  # seconds for what takes ten on a quiet machine

# When to die, by what was just written down.
MOMENTS: dict[str, Callable[[Event | Command], bool]] = {
    "an entry is about to be sent": lambda e: isinstance(e, Submit) and e.intent.purpose is Purpose.ENTRY,
    "a position and its stop rest": lambda e: (
        isinstance(e, OrderUpdate) and e.order.order_type is OrderType.STOP_MARKET and e.order.status is OrderStatus.NEW
    ),
    "an exit has traded": lambda e: (
        isinstance(e, OrderUpdate) and e.order.reduce_only and e.order.status is OrderStatus.FILLED
    ),
}


def arguments(settings: Path, book: Path, *more: str) -> list[str]:
    chosen = ["--exchange", "BINANCE", "--interval", "1h", "--config", str(settings), "--journal", str(book)]
    return ["paper", *chosen, "--json", *more]


def dies_when(moment: str, settings: Path, book: Path) -> None:
    """Start the bot, which is killed without a word right after it has written down what makes the moment."""
    told = book.with_suffix(".log")
    with told.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", DYING, moment, *arguments(settings, book)],
            cwd=Path(__file__).parents[2], stdout=log, stderr=log,
        )  # fmt: skip
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
        late = process.poll() is None
        process.kill()
        ended = "none" if late else process.wait()
        process.wait()
    if ended != -signal.SIGKILL or not found(moment, book):
        raise AssertionError(f"no moment when {moment}, exit {ended}:\n{story(book)}\n{told.read_text()[-4000:]}")


def found(moment: str, book: Path) -> bool:
    """Whether the journal ends with the moment."""
    *_, (event, commands) = read(book)
    return any(MOMENTS[moment](e) for e in (event, *commands))


def read(book: Path) -> list[tuple[Event, list[Command]]]:
    if not book.exists():
        return []
    journal = SqliteJournal(book, read_only=True)
    try:
        return list(journal.records())
    finally:
        journal.close()


def story(book: Path) -> str:
    """What a journal says, in short."""
    records = read(book)
    said = [command for _, commands in records for command in commands]
    counts = Counter(type(x).__name__ for x in (*(event for event, _ in records), *said))
    last = [f"{a.code} {a.symbol} {a.facts}" for a in said if isinstance(a, Alert)][-8:]
    return "\n".join([f"{len(records)} records: {dict(counts)}", *last])


def test_three_kills_lose_nothing_and_send_nothing_twice(ares: Run, settings: Path, tmp_path: Path) -> None:
    book = tmp_path / "bot.sqlite"
    for moment in MOMENTS:
        dies_when(moment, settings, book)
    done = ares(*arguments(settings, book, "--bars", "15"))
    assert "continued" in done.stderr and done.answer["finished"] is True
    assert ares("replay", "--journal", book, "--json").answer["identical"] is True

    journal = SqliteJournal(book, read_only=True)
    starts, records = journal.incarnations(), list(journal.records())
    assert len(starts) == len(MOMENTS) + 1
    intents = [c.intent for _, commands in records for c in commands if isinstance(c, Submit)]
    ids = [i.intent_id for i in intents]
    assert len(ids) == len(set(ids)) and {i.purpose for i in intents} >= {Purpose.ENTRY, Purpose.STOP}
    fills = [e.fill for e, _ in records if isinstance(e, FillBooked)]
    assert len(fills) >= 2 and len({f.trade_id for f in fills}) == len(fills)
    orders: dict[str, set[str]] = {}  # venue orders of each intent
    for event, _ in records:
        if isinstance(event, OrderUpdate) and not event.order.order_id.startswith("none:"):
            orders.setdefault(intent_of(event.order.client_order_id) or "", set()).add(event.order.order_id)
    assert orders.keys() <= set(ids) and all(len(found) == 1 for found in orders.values())
    alarms = [c.code for _, commands in records for c in commands if isinstance(c, Alert)]
    assert not {"position.differs", "position.foreign_fill"} & set(alarms)
    check_each_start(book, starts[1:], records)
    journal.close()


def check_each_start(
    book: Path, starts: list[tuple[int, int]], records: list[tuple[Event, list[Command]]]
) -> None:
    """At every start the venue has the money, the position and the stops that the journal says it had."""
    journal = SqliteJournal(book, read_only=True)
    settings = stored_settings(journal.about(), book)
    first: dict[int, int] = {}  # seq of each start's snapshot -> seq of the start
    for _, began in starts:
        snapshot = next(e for e, _ in records[began:] if isinstance(e, VenueSnapshot))
        first[snapshot.seq] = began
    restored = 0
    bot = stages(settings)
    desk = Desk(
        features=bot.features, analyst=bot.analyst, tactician=bot.tactician, monitor=bot.monitor,
        symbols=[S], interval="1h", config=settings.desk,
    )  # fmt: skip
    for event, _ in records:
        desk.handle(event)
        if event.seq not in first or not isinstance(event, VenueSnapshot):
            continue
        ours, theirs = desk.account(), event.account
        assert theirs.wallet == ours.wallet
        assert [(p.symbol, p.quantity, p.entry_price) for p in theirs.positions] == [
            (p.symbol, p.quantity, p.entry_price) for p in ours.positions
        ]
        known = open_orders(records[: first[event.seq]], flat=not ours.positions)
        since = range(first[event.seq], event.seq + 1)  # what came of asking about intents may have sent orders
        sent = {c.intent.intent_id for at in since for c in records[at][1] if isinstance(c, Submit)}
        standing = {o.client_order_id for o in event.open_orders}
        assert known <= standing and {intent_of(name) for name in standing - known} <= sent
        restored += bool(theirs.positions) and bool(known)
    assert restored, "no start found a position with its stop"
    journal.close()


def open_orders(records: list[tuple[Event, list[Command]]], *, flat: bool) -> set[str]:
    """Client ids of the orders that were open when these records were told. flat: what reduces has ended untold."""
    last = {e.order.client_order_id: e.order for e, _ in records if isinstance(e, OrderUpdate)}
    return {name for name, order in last.items() if order.status.open and not (flat and order.reduce_only)}
