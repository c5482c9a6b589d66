"""A ban outlives the process that earned it: until when an address may not be asked, in a file named by the config."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec

from ares.errors import DataError
from ares.storage import atomic_write

__all__ = ["BanFile"]


class _Ban(msgspec.Struct, frozen=True, kw_only=True):
    until_ns: int
    until: str  # the same for people, UTC


class BanFile:
    """Bans by address of the REST interface. One file serves any number of accounts: a ban is of the whole machine."""

    def __init__(self, path: Path | None, address: str) -> None:
        """path: None keeps nothing."""
        self._path, self._address = path, address

    def until_ns(self) -> int:
        """When the ban of this address ends; 0: none is known. Raises DataError for a file that cannot be read."""
        return ban.until_ns if (ban := self._read().get(self._address)) is not None else 0

    def keep(self, until_ns: int, now_ns: int) -> None:
        """Write a ban down, and forget those that have passed. Raises DataError when the file cannot be written."""
        if self._path is None:
            return
        known = {address: ban for address, ban in self._read().items() if ban.until_ns > now_ns}
        until = dt.datetime.fromtimestamp(until_ns / 1e9, dt.UTC).isoformat(timespec="seconds")
        known[self._address] = _Ban(until_ns=until_ns, until=until)
        try:
            atomic_write(self._path, msgspec.json.format(msgspec.json.encode(known)) + b"\n")
        except OSError as error:
            raise DataError(f"the ban until {until} cannot be kept in {self._path}: {error}") from None

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
