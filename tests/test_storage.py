"""A file is whole or absent, and trouble with it names the file that was meant."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from ares.storage import atomic_path, atomic_write


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
