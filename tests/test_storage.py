"""A file is whole or absent, and trouble with it names the file that was meant."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from ares.storage import atomic_path, atomic_write, write_ahead


def write_where_no_room_is(target: Path) -> None:
    with atomic_path(target) as temporary:
        temporary.write_bytes(b"ne")
        raise OSError(errno.ENOSPC, "No space left on device")  # as a write to a full disk does: without a name


def write_from(source: Path, target: Path) -> None:
    with atomic_path(target) as temporary:
        temporary.write_bytes(source.read_bytes())


def test_a_full_disk_leaves_the_old_file_and_names_it(tmp_path: Path) -> None:
    target = tmp_path / "card.md"
    atomic_write(target, b"old")
    with pytest.raises(OSError, match="No space left") as full:
        write_where_no_room_is(target)
    assert full.value.filename == str(target)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_trouble_with_another_file_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as missing:
        write_from(tmp_path / "other", tmp_path / "new")
    assert missing.value.filename == str(tmp_path / "other")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="rights")
@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_others_may_read_it_as_far_as_the_umask_lets_them(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        atomic_write(tmp_path / "card.md", b"a report for everybody")
        (tmp_path / "any").write_text("a new file")
    finally:
        os.umask(before)
    assert (tmp_path / "card.md").stat().st_mode == (tmp_path / "any").stat().st_mode
    assert (tmp_path / "card.md").stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_database_that_another_is_switching_is_waited_for(tmp_path: Path) -> None:
    """Both have found it in its old mode, and one holds the right to write; to SQLite the other is then too late."""
    held, asked = threading.Event(), threading.Event()

    def other() -> None:
        with closing(sqlite3.connect(tmp_path / "new.sqlite", isolation_level=None)) as first:
            first.execute("CREATE TABLE t (x)")
            first.execute("BEGIN IMMEDIATE")
            held.set()
            asked.wait()
            first.execute("COMMIT")

    thread = threading.Thread(target=other, daemon=True)
    thread.start()
    held.wait()
    with closing(sqlite3.connect(tmp_path / "new.sqlite", isolation_level=None, timeout=600.0)) as second:
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            second.execute("PRAGMA journal_mode=WAL")
        second.set_trace_callback(lambda statement: asked.set() if statement.startswith("BEGIN") else None)
        write_ahead(second)
        assert second.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    thread.join()


def test_another_trouble_than_a_lock_is_not_waited_for(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "none", isolation_level=None)) as db:
        db.execute("CREATE TABLE t (x)")
    only_read = sqlite3.connect(f"{(tmp_path / 'none').as_uri()}?mode=ro", uri=True, isolation_level=None)
    with closing(only_read) as db, pytest.raises(sqlite3.OperationalError, match="readonly"):
        write_ahead(db)
