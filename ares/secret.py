"""A value that never shows: keys and passwords."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NoReturn

from ares.errors import InvalidInput, NotAuthorized

__all__ = ["HIDDEN", "Secret", "hide_secrets", "read_private_file"]

HIDDEN = "**********"
_SHORTEST = 6  # shorter texts occur by chance in honest output, and no venue hands out keys so short
_seen: set[str] = set()  # every secret this process has met, so that logs can be cleansed of it


class Secret:
    """A secret text. `repr`, `str`, `format` and pickling never show it; only `reveal()` does.

    Two secrets are equal when their texts are. Once made, its text is also blotted out of every log line and
    every message that passes `hide_secrets`.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        if not text.strip():
            raise InvalidInput("a secret may not be empty")
        self._text = text.strip()
        if len(self._text) >= _SHORTEST:
            _seen.add(self._text)

    def reveal(self) -> str:
        """The text itself. Call it where it goes onto the wire, and keep the answer in no attribute."""
        return self._text

    def __repr__(self) -> str:
        return f"Secret('{HIDDEN}')"

    def __str__(self) -> str:
        return HIDDEN

    def __format__(self, spec: str) -> str:
        return HIDDEN

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is neither pickled nor copied into a file")


def hide_secrets(text: str) -> str:
    """`text` with every secret this process has met blotted out, and no end of a longer one left standing."""
    for known in sorted(_seen, key=len, reverse=True):  # of a copy: another thread may meet one meanwhile
        if known in text:
            text = text.replace(known, HIDDEN)
    return text


def read_private_file(path: Path) -> Secret:
    """The secret in a file that only its owner can read (mode 0600 or tighter).

    Raises: InvalidInput when there is no such file or it is empty; NotAuthorized when others can read it.
    """
    if not path.is_file():
        raise InvalidInput(f"no secret file {path}", path=str(path))
    if readable_by_others(path):
        raise NotAuthorized(f"{path} holds a secret but others can read it: chmod 600 {path}", path=str(path))
    return Secret(path.read_text(encoding="utf-8"))


def readable_by_others(path: Path) -> bool:
    """True when the group or the world can read or write the file (never on Windows, which has no such bits)."""
    return os.name == "posix" and bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
