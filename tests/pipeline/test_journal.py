"""The journal: what was appended comes back, damage is found, and only one process holds it."""

import contextlib
import sqlite3
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from ares.errors import DataError, Retryable
from ares.events import (
    Alert,
    CandleClosed,
    Command,
    Event,
    FillBooked,
    Intent,
    OperatorOrder,
    Purpose,
    Submit,
    Wake,
    WakeAt,
    encode,
)
from ares.instruments import Side
from ares.market import Candle
from ares.orders import Fill, OrderRequest, OrderType
from ares.pipeline.journal import Journal, MemoryJournal, SqliteJournal


def candle(seq: int) -> Event:
    bar = Candle(
        symbol="ETHUSDT",
        interval="1h",
        open_ns=seq,
        close_ns=seq + 1,
        open=1.0,
        high=2.0,
        low=0.5,
        close=1.5,
        volume=3.0,
    )
    return CandleClosed(ts_event=seq, ts_seen=seq, seq=seq, candle=bar)


def fill(seq: int) -> Event:
    booked = Fill(
        symbol="ETHUSDT",
        trade_id=str(seq),
        order_id="1",
        client_order_id="ares1-ETHUSDT-0-0",
        side=Side.SELL,
        price=Decimal("1.25"),
        quantity=Decimal("0.001"),
        fee=Decimal("0.00000001"),
        maker=True,
        ts_ns=seq,
    )
    return FillBooked(ts_event=seq, ts_seen=seq, seq=seq, fill=booked)


def submit(seq: int) -> Command:
    request = OrderRequest(symbol="ETHUSDT", side="BUY", order_type=OrderType.MARKET, quantity=Decimal("0.5"))
    made = f"ETHUSDT-{seq}-0"
    return Submit(intent=Intent(intent_id=made, trade_id=made, purpose=Purpose.ENTRY, request=request))


def story() -> list[tuple[Event, list[Command]]]:
    return [
        (candle(0), []),
        (candle(1), [submit(1), WakeAt(ts_ns=5, key="entry:ETHUSDT")]),
        (fill(2), [Alert(code="x.happened", symbol="ETHUSDT", facts={"n": 1, "text": "a", "f": 0.5})]),
        (Wake(ts_event=3, ts_seen=3, seq=3, key="look:ETHUSDT"), []),
        (OperatorOrder(ts_event=4, ts_seen=4, seq=4, action="stop"), []),
    ]


def told(journal: Journal) -> list[tuple[bytes, list[bytes]]]:
    return [(encode(event), [encode(c) for c in commands]) for event, commands in journal.records()]


def test_both_journals_give_back_what_they_were_told(tmp_path: Path) -> None:
    expected = [(encode(event), [encode(c) for c in commands]) for event, commands in story()]
    journals: list[Journal] = [MemoryJournal(), SqliteJournal(tmp_path / "j.sqlite")]
    for journal in journals:
        for event, commands in story():
            journal.append(event, commands)
        assert told(journal) == expected
        assert len(journal) == 5
        journal.close()


def test_a_closed_journal_is_continued_where_it_ended(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    first = SqliteJournal(path, {"symbol": "ETHUSDT"})
    assert first.start() == 1
    for event, commands in story()[:3]:
        first.append(event, commands)
    first.close()
    second = SqliteJournal(path, {"symbol": "ignored: the journal exists"})
    assert second.start() == 2
    assert second.incarnations() == [(1, 0), (2, 3)]
    assert second.about()["symbol"] == "ETHUSDT"
    for event, commands in story()[3:]:
        second.append(event, commands)
    assert [seq for seq, _ in enumerate(told(second))] == [0, 1, 2, 3, 4]
    second.close()


def test_a_gap_in_the_numbers_is_refused(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "j.sqlite")
    with pytest.raises(DataError, match="expects seq 0"):
        journal.append(candle(1), [])
    journal.close()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE events SET body = 'text instead of bytes' WHERE seq = 2",
        "UPDATE events SET body = CAST(substr(body, 1, length(body) - 1) || x'00' AS BLOB) WHERE seq = 2",
        "DELETE FROM events WHERE seq = 1",
        "DELETE FROM commands WHERE seq = 1 AND ordinal = 1",
        "UPDATE commands SET body = (SELECT body FROM commands WHERE seq = 1 AND ordinal = 1) "
        "WHERE seq = 1 AND ordinal = 0",
    ],
)
def test_damage_is_found(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "j.sqlite"
    journal = SqliteJournal(path)
    for event, commands in story():
        journal.append(event, commands)
    journal.close()
    with sqlite3.connect(path) as db:
        db.execute(damage)
    db.close()
    reopened = SqliteJournal(path)
    with pytest.raises(DataError, match="damaged"):
        list(reopened.records())
    reopened.close()


def test_what_concerns_money_is_durable_at_once_and_market_data_rides_along(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    journal = SqliteJournal(path)

    def durable() -> int:
        reader = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
        try:
            return int(reader.execute("SELECT count(*) FROM events").fetchone()[0])
        finally:
            reader.close()

    journal.append(candle(0), [])
    assert durable() == 0
    journal.append(candle(1), [submit(1)])
    assert durable() == 2
    journal.append(fill(2), [])
    assert durable() == 3
    journal.close()


def test_one_process_holds_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    journal = SqliteJournal(path)
    program = (
        "import sys; from ares.pipeline.journal import SqliteJournal; from ares.errors import Retryable\n"
        "try: SqliteJournal(sys.argv[1])\n"
        "except Retryable: sys.exit(75)\n"
    )
    assert subprocess.run([sys.executable, "-c", program, str(path)], check=False).returncode == 75
    journal.close()
    assert subprocess.run([sys.executable, "-c", program, str(path)], check=False).returncode == 0


def test_in_one_process_too(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "j.sqlite")
    with pytest.raises(Retryable, match="held"):
        SqliteJournal(tmp_path / "j.sqlite")
    journal.close()


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    path.write_bytes(b"not a database at all, but long enough to be read as one" * 40)
    with pytest.raises(DataError, match="not a journal"):
        SqliteJournal(path)


def test_another_alphabet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    journal = SqliteJournal(path)
    journal.note("alphabet", 0)
    journal.close()
    with pytest.raises(DataError, match="alphabet 0"):
        SqliteJournal(path)


def test_a_missing_journal_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no journal"):
        SqliteJournal(tmp_path / "none.sqlite", read_only=True)


@pytest.mark.parametrize("mode", ["delete", "wal"])
@pytest.mark.parametrize("table", ["books (title TEXT)", "events (seq INTEGER, body TEXT)"])
def test_a_database_of_somebody_else_is_left_alone(tmp_path: Path, table: str, mode: str) -> None:
    path = tmp_path / "books.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA journal_mode={mode}")
        database.execute(f"CREATE TABLE {table}")
        database.commit()
    before = path.read_bytes()
    with pytest.raises(DataError, match=f"it holds {table.split()[0]}"):
        SqliteJournal(path)
    assert path.read_bytes() == before
    assert mode == "wal" or list(tmp_path.iterdir()) == [path]  # whoever reads a WAL file makes its two neighbours


CUTS = {
    "the last event": "DELETE FROM events WHERE seq = 4",
    "the last event and its commands": "DELETE FROM events WHERE seq >= 2; DELETE FROM commands WHERE seq >= 2",
    "all": "DELETE FROM events; DELETE FROM commands",
}


@pytest.mark.parametrize("cut", CUTS)
def test_a_finished_journal_misses_its_end(tmp_path: Path, cut: str) -> None:
    path = tmp_path / "j.sqlite"
    journal = SqliteJournal(path)
    for event, commands in story():
        journal.append(event, commands)
    assert not journal.finished
    journal.finish()
    with pytest.raises(DataError, match="finished"):
        journal.append(candle(5), [])
    journal.close()
    whole = SqliteJournal(path, read_only=True)
    assert whole.finished
    assert len(list(whole.records())) == 5
    whole.close()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript(CUTS[cut])
    short = SqliteJournal(path, read_only=True)
    with pytest.raises(DataError, match=r"damaged at its end: it was finished with \{'events': 5"):
        list(short.records())
    short.close()


def test_an_unfinished_journal_may_end_anywhere_but_not_inside_a_record(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    journal = SqliteJournal(path)
    for event, commands in story():
        journal.append(event, commands)
    journal.close()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript("DELETE FROM events WHERE seq >= 3")  # as a crash would leave it: seq 3 and 4 have no commands
    shorter = SqliteJournal(path, read_only=True)
    assert len(list(shorter.records())) == 3
    shorter.close()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript("DELETE FROM events WHERE seq >= 2")
    with contextlib.closing(SqliteJournal(path, read_only=True)) as torn, pytest.raises(DataError, match="missing"):
        list(torn.records())


def test_a_full_disk_is_told_once_and_leaves_a_sound_journal(tmp_path: Path) -> None:
    """SQLite's own limit of pages answers like a full disk: SQLITE_FULL, and it rolls back by itself."""
    path = tmp_path / "j.sqlite"
    journal = SqliteJournal(path)
    for event, commands in story():
        journal.append(event, commands)  # the last is an operator's order: durable
    pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
    journal._db.execute(f"PRAGMA max_page_count={pages + 1}")
    large = Alert(code="x.happened", symbol="ETHUSDT", facts={"text": "a" * 3000})
    journal.append(candle(5), [])  # rides along, and is lost with what follows
    with pytest.raises(DataError, match=r"full.*first 5 events"):
        journal.append(candle(6), [large] * 9)
    assert len(journal) == 5
    with pytest.raises(DataError, match="expects seq 5"):
        journal.append(candle(7), [])  # nothing may follow what is lost
    with pytest.raises(DataError, match="full"):
        journal.note("large", "a" * 30_000)
    journal.close()
    again = SqliteJournal(path)
    assert told(again) == [(encode(event), [encode(c) for c in commands]) for event, commands in story()]
    again.append(candle(5), [large])
    again.close()


def test_a_commit_that_fails_lets_go_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    journal = SqliteJournal(path)
    journal.append(candle(0), [])
    journal._db.execute("PRAGMA query_only=1")
    journal._db.execute("ROLLBACK")  # so that there is nothing to commit
    with pytest.raises(DataError, match="cannot write"):
        journal.close()
    SqliteJournal(path).close()  # neither the lock nor the file is held


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of a process")
def test_a_disk_without_room_for_a_journal_does_not_make_it_a_foreign_file(tmp_path: Path) -> None:
    beginning = """
import resource, sys
from ares.errors import DataError
from ares.pipeline.journal import SqliteJournal

resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
try:
    SqliteJournal(sys.argv[1], {"settings": "x" * 100_000})
except DataError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", beginning, str(tmp_path / "bot.sqlite")], capture_output=True, text=True, check=True
    )
    assert "bot.sqlite cannot be opened, mend the disk or name another place" in done.stdout
