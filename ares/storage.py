"""Files that are whole or absent: atomic write, checksum, file lock; and whose an SQLite file is."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ares.errors import InvalidInput, Retryable

__all__ = [
    *("FileLock", "atomic_path", "atomic_write", "sha256_bytes", "sha256_file"),
    *("sqlite_tables", "sync_folder", "write_ahead"),
]

_SWITCHES = 100  # each one that fails has waited for another process


def sha256_bytes(data: bytes) -> str:
    """Hex SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's content, read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def atomic_write(path: Path, data: bytes) -> None:
    """Write `data` so that a reader, now or after a crash, sees the old file or the new one, never a part."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`; on leaving without an error it is flushed to disk and renamed onto `path`.

    The file has the rights that any new file of this process has (its umask).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{os.urandom(8).hex()}.tmp"
    name = str(temporary)
    try:
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    except OSError as error:
        error.filename = str(path)
        raise
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        if error.filename in (None, name):  # a full disk names no file, and nobody knows the temporary one
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make a rename durable. Windows has no such call and needs none."""
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sqlite_tables(path: Path) -> dict[str, tuple[str, ...]]:
    """Columns of each table and view in an SQLite file, by its name; the file is only read. Empty when there is none.

    Raises: sqlite3.DatabaseError when it is no SQLite file.
    """
    if not path.exists() or path.stat().st_size == 0:
        return {}
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30.0)) as db:
        names = [name for name, kind in db.execute("SELECT name, type FROM sqlite_master") if kind in ("table", "view")]
        return {
            name: tuple(column for (column,) in db.execute("SELECT name FROM pragma_table_info(?)", (name,)))
            for name in names
            if not name.startswith("sqlite_")
        }


def write_ahead(db: sqlite3.Connection) -> None:
    """Switch a database to its write-ahead log, after whoever is reading it or switching it too.

    SQLite waits for nobody in the middle of that switch, whatever the connection's timeout; before a transaction it
    does.
    Raises: sqlite3.OperationalError when it stays locked for longer than the timeout.
    """
    for _ in range(_SWITCHES):
        try:
            db.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            db.execute("BEGIN EXCLUSIVE")
            db.execute("ROLLBACK")
        else:
            return
    db.execute("PRAGMA journal_mode=WAL")


class FileLock:
    """One holder per path across processes; freed by the system when its process dies.

    Raises: Retryable on entering while another process holds it, InvalidInput when the folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    def __enter__(self) -> FileLock:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise InvalidInput(f"cannot open lock file {self._path}: {error.strerror}", path=str(self._path)) from error
        try:
            _lock(handle)
        except OSError as error:
            os.close(handle)
            raise Retryable(f"{self._path} is held by another process; stop it first", path=str(self._path)) from error
        self._handle = handle
        return self

    def __exit__(self, *_: object) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
