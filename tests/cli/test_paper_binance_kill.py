"""`kill -9` of `ares paper --exchange BINANCE`: each start goes on where the last one died, over real sockets."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
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
    decode_command,
    decode_event,
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
    """A settings file that points at a local venue, which plays ten hours a second."""
    command = [sys.executable, "-m", "ares", "simulate", "--port", "0", "--interval", "1h", "--pace", "36000"]
    venue = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert venue.stdout is not None
    path = tmp_path_factory.mktemp("kill") / "bot.yaml"
    path.write_text(EAGER.format(**json.loads(venue.stdout.readline())))
    yield path
    venue.terminate()
    venue.communicate(timeout=20)


# When to kill, by what the dying process has just written down.
MOMENTS: dict[str, Callable[[Event | Command], bool]] = {
    "an entry is about to be sent": lambda e: isinstance(e, Submit) and e.intent.purpose is Purpose.ENTRY,
    "a position and its stop rest": lambda e: (
        isinstance(e, OrderUpdate) and e.order.order_type is OrderType.STOP_MARKET and e.order.status is OrderStatus.NEW
    ),
    "a trade has ended": lambda e: isinstance(e, OrderUpdate) and e.order.reduce_only and e.order.status.terminal,
}


def written(book: Path, after: int) -> Iterator[Event | Command]:
    """Durable events and commands with a greater number, of a journal that another process may be writing."""
    with closing(sqlite3.connect(f"{book.as_uri()}?mode=ro", uri=True, timeout=5)) as db, suppress(
        sqlite3.OperationalError  # its tables are being made
    ):
        for table, decode in (("events", decode_event), ("commands", decode_command)):
            yield from (decode(body) for (body,) in db.execute(f"SELECT body FROM {table} WHERE seq > ?", (after,)))


def last_of(book: Path) -> int:
    return max((e.seq for e in written(book, -1) if hasattr(e, "seq")), default=-1) if book.exists() else -1


def arguments(settings: Path, book: Path, *more: str) -> list[str]:
    chosen = ["--exchange", "BINANCE", "--interval", "1h", "--config", str(settings), "--journal", str(book)]
    return ["paper", *chosen, "--json", *more]


def killed_when(reached: Callable[[Event | Command], bool], settings: Path, book: Path) -> None:
    """Start the bot, and kill it without a word once its journal says so."""
    before = last_of(book)
    process = subprocess.Popen(
        [sys.executable, "-m", "ares", *arguments(settings, book)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 60
    while not (book.exists() and any(reached(e) for e in written(book, before))):
        assert process.poll() is None, process.communicate()[1].decode()
        if time.monotonic() > deadline:
            process.kill()
            raise AssertionError("the bot does not trade:\n" + process.communicate()[1].decode())
        time.sleep(0.005)
    process.kill()
    process.communicate()


def test_three_kills_lose_nothing_and_send_nothing_twice(ares: Run, settings: Path, tmp_path: Path) -> None:
    book = tmp_path / "bot.sqlite"
    for reached in MOMENTS.values():
        killed_when(reached, settings, book)
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
        known = open_orders(records[: first[event.seq]])
        since = range(first[event.seq], event.seq + 1)  # what came of asking about intents may have sent orders
        sent = {c.intent.intent_id for at in since for c in records[at][1] if isinstance(c, Submit)}
        standing = {o.client_order_id for o in event.open_orders}
        assert known <= standing and {intent_of(name) for name in standing - known} <= sent
        restored += bool(theirs.positions) and bool(known)
    assert restored, "no start found a position with its stop"
    journal.close()


def open_orders(records: list[tuple[Event, list[Command]]]) -> set[str]:
    """Client ids of the orders that were open when these records were told."""
    last = {e.order.client_order_id: e.order for e, _ in records if isinstance(e, OrderUpdate)}
    return {name for name, order in last.items() if order.status.open}
