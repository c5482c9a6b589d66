"""The journal: every event the desk was told and every command it answered, in order, before anything is sent.

One transaction holds an event and its commands, so after a crash either both are there or neither. Market data rides
along and is made durable with the next private event or order; what concerns money is on disk before a byte leaves.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from attrs import define, field

from ares.errors import DataError
from ares.events import (
    ALPHABET_VERSION,
    Alert,
    Command,
    Event,
    FillBooked,
    OperatorOrder,
    OrderUpdate,
    VenueSnapshot,
    WakeAt,
    decode_command,
    decode_event,
    encode,
)
from ares.storage import FileLock, sqlite_tables, write_ahead

__all__ = ["Journal", "MemoryJournal", "NoJournal", "SqliteJournal"]

_TABLES = {
    "about": "key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "starts": "incarnation INTEGER PRIMARY KEY, first_seq INTEGER NOT NULL)",
    "events": "seq INTEGER PRIMARY KEY, body BLOB NOT NULL, chain INTEGER NOT NULL)",
    "commands": "seq INTEGER NOT NULL, ordinal INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (seq, ordinal)) "
    "WITHOUT ROWID",
}
_FINISHED = "finished"  # the fact that seals a journal: how many events it has, and their checksum
_DURABLE_EVENTS = (OrderUpdate, FillBooked, VenueSnapshot, OperatorOrder)
_UNSENT_COMMANDS = (WakeAt, Alert)
_REFUSED_BY_THE_MACHINE = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
_BATCH = 512  # market events that may ride along before they are committed

Record = tuple[Event, list[Command]]


class Journal(Protocol):
    """Where events and commands go before anything is sent."""

    def append(self, event: Event, commands: Sequence[Command]) -> None:
        """Store one event and its commands; durable on return if either concerns money."""
        ...

    def records(self) -> Iterator[Record]:
        """Everything stored, in order. Raises DataError at the first damaged record."""
        ...

    def start(self) -> int:
        """Note that a program starts on this journal; its incarnation, counted from 1."""
        ...

    def incarnations(self) -> list[tuple[int, int]]:
        """(incarnation, first seq it wrote), oldest first."""
        ...

    def __len__(self) -> int: ...
    def close(self) -> None: ...


@define
class MemoryJournal:
    """A journal that lives as long as its program: for tests and sessions nobody will resume."""

    _records: list[tuple[bytes, list[bytes]]] = field(factory=list)
    _starts: list[tuple[int, int]] = field(factory=list)

    def append(self, event: Event, commands: Sequence[Command]) -> None:
        """Keep the encoded records."""
        self._records.append((encode(event), [encode(c) for c in commands]))

    def records(self) -> Iterator[Record]:
        """Everything kept, decoded afresh."""
        for event, commands in self._records:
            yield decode_event(event), [decode_command(c) for c in commands]

    def start(self) -> int:
        """Count a start."""
        self._starts.append((len(self._starts) + 1, len(self._records)))
        return len(self._starts)

    def incarnations(self) -> list[tuple[int, int]]:
        """Starts so far."""
        return list(self._starts)

    def __len__(self) -> int:
        return len(self._records)

    def close(self) -> None:
        """Nothing to release."""


@define
class NoJournal:
    """Keeps nothing: for sweeps, where a run is cheaper to repeat than to record."""

    _count: int = 0

    def append(self, event: Event, commands: Sequence[Command]) -> None:
        """Count the event."""
        self._count += 1

    def records(self) -> Iterator[Record]:
        """Nothing."""
        return iter(())

    def start(self) -> int:
        """Always the first incarnation."""
        return 1

    def incarnations(self) -> list[tuple[int, int]]:
        """One start at the beginning."""
        return [(1, 0)]

    def __len__(self) -> int:
        return self._count

    def close(self) -> None:
        """Nothing to release."""


class SqliteJournal:
    """A durable journal in one SQLite file (WAL, full sync), held by one process at a time.

    about: facts needed to build the same desk again (settings, symbol, tape); written once, readable by `about()`.

    Raises: Retryable while another process holds the file; DataError when it is no journal or of another alphabet.
    """

    def __init__(self, path: str | Path, about: dict[str, Any] | None = None, *, read_only: bool = False) -> None:
        self.path = Path(path)
        self._exit = contextlib.ExitStack()
        if read_only and not self.path.exists():
            raise DataError(f"there is no journal at {self.path}", path=str(self.path))
        try:
            if not read_only:
                self._refuse_foreign()
                self._exit.enter_context(FileLock(self.path.with_name(self.path.name + ".lock")))
            self._db = self._open(read_only)
            self._exit.callback(self._db.close)
            if not read_only:
                self._prepare(about or {})
            self._check_version()
            row = self._db.execute("SELECT seq, chain FROM events ORDER BY seq DESC LIMIT 1").fetchone()
        except sqlite3.DatabaseError as error:
            self._exit.close()
            refused = getattr(error, "sqlite_errorcode", 0) & 0xFF in _REFUSED_BY_THE_MACHINE
            told = "cannot be opened, mend the disk or name another place" if refused else "is not a journal of ares"
            raise DataError(f"{self.path} {told}: {error}", path=str(self.path)) from error
        except DataError:
            self._exit.close()
            raise
        self._next: int = row[0] + 1 if row is not None else 0
        self._chain: int = row[1] if row is not None else 0
        self._finished = _FINISHED in self.about()
        self._riding = 0
        self._in_transaction = False
        self._durable = self._next, self._chain  # as of the last commit

    def append(self, event: Event, commands: Sequence[Command]) -> None:
        """Store one event and its commands; durable on return if either concerns money.

        Raises: DataError when the event's seq does not follow, the journal is finished, or the disk refuses.
        """
        if self._finished:
            raise DataError(f"journal {self.path} is finished: begin another", path=str(self.path))
        if event.seq != self._next:
            raise DataError(f"journal expects seq {self._next}, not {event.seq}", seq=event.seq)
        body = encode(event)
        bodies = [encode(c) for c in commands]
        chain = zlib.crc32(b"".join(bodies), zlib.crc32(body, self._chain))
        try:
            if not self._in_transaction:
                self._db.execute("BEGIN")
                self._in_transaction = True
            self._db.execute("INSERT INTO events VALUES (?, ?, ?)", (event.seq, body, chain))
            self._db.executemany(
                "INSERT INTO commands VALUES (?, ?, ?)", [(event.seq, n, b) for n, b in enumerate(bodies)]
            )
            self._next, self._chain = event.seq + 1, chain
            self._riding += 1
            durable = isinstance(event, _DURABLE_EVENTS) or any(not isinstance(c, _UNSENT_COMMANDS) for c in commands)
            if durable or self._riding >= _BATCH:
                self.flush()
        except sqlite3.Error as error:
            raise self._refused(error) from error

    def flush(self) -> None:
        """Make everything appended so far durable. Raises: DataError when the disk refuses."""
        if self._in_transaction:
            try:
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                raise self._refused(error) from error
            self._in_transaction, self._riding = False, 0
            self._durable = self._next, self._chain

    def _refused(self, error: sqlite3.Error) -> DataError:
        """Go back to what is durable, so that a later record cannot follow one that is lost; the error to raise."""
        with contextlib.suppress(sqlite3.Error):  # the first error is the one to tell; a full disk has rolled back
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        self._in_transaction, self._riding = False, 0
        self._next, self._chain = self._durable
        return DataError(
            f"cannot write journal {self.path}: {error}. It holds its first {self._next} events, undamaged: mend the "
            "disk and start again",
            path=str(self.path),
            events=self._next,
        )

    @property
    def finished(self) -> bool:
        """Whether the run came to its end, so that nothing may follow."""
        return self._finished

    def finish(self) -> None:
        """Seal the journal, durably: its run came to its end, and a record that is cut off later will be missed."""
        self.note(_FINISHED, self._seal(self._next, self._chain))
        self._finished = True

    @staticmethod
    def _seal(events: int, chain: int) -> dict[str, int]:
        return {"events": events, "checksum": chain}

    def records(self) -> Iterator[Record]:
        """Everything stored, in order.

        Raises: DataError at the first record whose checksum does not fit, and when a finished journal lacks its end.
        """
        good = 0
        try:
            for event, commands in self._checked():
                yield decode_event(event), [decode_command(c) for c in commands]
                good += 1
        except (sqlite3.DatabaseError, TypeError) as error:  # TypeError: a cell that holds no bytes
            raise DataError(f"journal {self.path} is damaged at seq {good}: {error}", row=good) from error

    def _checked(self) -> Iterator[tuple[bytes, list[bytes]]]:
        """Stored bytes, each record checked against the chain of checksums."""
        chain, count = 0, 0
        sealed = self.about().get(_FINISHED)  # before the events, which another process may be writing
        commands = self._db.execute("SELECT seq, body FROM commands ORDER BY seq, ordinal")
        pending: tuple[int, bytes] | None = commands.fetchone()
        stored_events = self._db.execute("SELECT seq, body, chain FROM events ORDER BY seq")
        for expected, (seq, body, stored) in enumerate(stored_events):
            bodies: list[bytes] = []
            while pending is not None and pending[0] == seq:
                bodies.append(pending[1])
                pending = commands.fetchone()
            chain = zlib.crc32(b"".join(bodies), zlib.crc32(body, chain))
            if chain != stored or seq != expected:
                raise DataError(f"journal {self.path} is damaged at seq {expected}", row=expected, path=str(self.path))
            yield body, bodies
            count += 1
        if pending is not None:
            raise DataError(f"journal {self.path} is damaged at seq {count}: its event is missing", row=count)
        if sealed is not None and sealed != self._seal(count, chain):
            raise DataError(
                f"journal {self.path} is damaged at its end: it was finished with {sealed}, "
                f"now it holds {self._seal(count, chain)}",
                row=count,
            )

    def start(self) -> int:
        """Note a start, durably; its incarnation, counted from 1."""
        self.flush()
        try:
            cursor = self._db.execute("INSERT INTO starts (first_seq) VALUES (?)", (self._next,))
        except sqlite3.Error as error:
            raise self._refused(error) from error
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def incarnations(self) -> list[tuple[int, int]]:
        """(incarnation, first seq it wrote), oldest first."""
        return list(self._db.execute("SELECT incarnation, first_seq FROM starts ORDER BY incarnation"))

    def about(self) -> dict[str, Any]:
        """The facts stored when the journal was made."""
        return {key: json.loads(value) for key, value in self._db.execute("SELECT key, value FROM about")}

    def note(self, key: str, value: Any) -> None:
        """Store or replace one fact, durably."""
        self.flush()
        try:
            self._db.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (key, json.dumps(value)))
        except sqlite3.Error as error:
            raise self._refused(error) from error

    def __len__(self) -> int:
        return self._next

    def close(self) -> None:
        """Flush and let go of the file, even when the disk refuses. Safe to call twice."""
        try:
            self.flush()
        finally:
            self._exit.close()

    def _open(self, read_only: bool) -> sqlite3.Connection:
        if read_only:
            uri = f"{self.path.absolute().as_uri()}?mode=ro"
            return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        write_ahead(db)
        db.execute("PRAGMA synchronous=FULL")
        return db

    def _refuse_foreign(self) -> None:
        """Raises: DataError for a file that is somebody else's, before a byte of it is written."""
        found = sqlite_tables(self.path)
        if found and not _TABLES.keys() <= found.keys():
            raise DataError(f"{self.path} is not a journal of ares: it holds {', '.join(found)}", path=str(self.path))

    def _prepare(self, about: dict[str, Any]) -> None:
        facts = {"alphabet": ALPHABET_VERSION, **about}
        self._db.execute("BEGIN IMMEDIATE")
        for name, columns in _TABLES.items():
            self._db.execute(f"CREATE TABLE IF NOT EXISTS {name} ({columns}")
        rows = [(key, json.dumps(value)) for key, value in facts.items()]
        self._db.executemany("INSERT OR IGNORE INTO about VALUES (?, ?)", rows)
        self._db.execute("COMMIT")

    def _check_version(self) -> None:
        stored = self.about().get("alphabet")
        if stored != ALPHABET_VERSION:
            raise DataError(
                f"{self.path} speaks alphabet {stored}, this version speaks {ALPHABET_VERSION}", path=str(self.path)
            )
