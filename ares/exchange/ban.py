"""A ban outlives the process that earned it: until when an address may not be asked, in a file named by the config."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from ares.errors import DataError, InvalidInput, Retryable
from ares.storage import FileLock, atomic_write

__all__ = ["BanFile"]


_patiently = Retrying(  # another process writes for a moment only
    retry=retry_if_exception_type(Retryable), stop=stop_after_attempt(200), wait=wait_fixed(0.005), reraise=True
)


class _Ban(msgspec.Struct, frozen=True, kw_only=True):
    until_ns: int
    until: str  # the same for people, UTC


class BanFile:
    """Bans by address of the REST interface. One file serves any number of accounts: a ban is of the whole machine."""

    def __init__(self, path: Path | None, address: str) -> None:
        """path: None keeps nothing."""
        self._path, self._address = path, address
        self._seen: tuple[int, int] | None = None  # time and number of the file when it was read last

    def until_ns(self) -> int:
        """When the ban of this address ends; 0: none is known. Raises DataError for a file that cannot be read."""
        return ban.until_ns if (ban := self._read().get(self._address)) is not None else 0

    def news_ns(self) -> int:
        """When the ban ends, if the file has changed since the last look, else 0. Raises as `until_ns` does."""
        if self._path is None:
            return 0
        try:
            found = self._path.stat()
        except OSError:  # none was ever written
            return 0
        mark = (found.st_mtime_ns, found.st_ino)
        if mark == self._seen:
            return 0
        self._seen = mark
        return self.until_ns()

    def keep(self, until_ns: int, now_ns: int) -> None:
        """Write a ban down, and forget those that have passed; a longer one that is known stays.

        Raises: DataError when the file cannot be written, or other processes hold it for a second.
        """
        if self._path is None:
            return
        until = dt.datetime.fromtimestamp(until_ns / 1e9, dt.UTC).isoformat(timespec="seconds")
        try:
            _patiently(self._merge, self._path, _Ban(until_ns=until_ns, until=until), now_ns)
        except (OSError, InvalidInput, Retryable) as error:
            raise DataError(f"the ban until {until} cannot be kept in {self._path}: {error}") from None

    def _merge(self, path: Path, ban: _Ban, now_ns: int) -> None:
        with FileLock(path.with_name(f"{path.name}.lock")):
            known = {address: kept for address, kept in self._read().items() if kept.until_ns > now_ns}
            before = known.get(self._address, ban)
            known[self._address] = max(before, ban, key=lambda b: b.until_ns)
            atomic_write(path, msgspec.json.format(msgspec.json.encode(known)) + b"\n")

    def _read(self) -> dict[str, _Ban]:
        if self._path is None:
            return {}
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, _Ban])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise DataError(
                f"{self._path} should say until when the venue has banned this machine, and cannot be read ({error}):"
                " delete it if no ban is running",
                path=str(self._path),
            ) from None
