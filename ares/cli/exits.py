"""How a command ends: one exit code for each family of errors, one line that says what to do."""

from __future__ import annotations

import errno
import functools
import sqlite3
import sys
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import typer

from ares.errors import (
    AresError,
    DataError,
    InvalidInput,
    ModelError,
    NotAuthorized,
    OutcomeUnknown,
    Rejected,
    Retryable,
)
from ares.log import hush
from ares.secret import hide_secrets

__all__ = ["EXIT_CODES", "INTERRUPTED", "UNWRITABLE", "ends_with_exit_code", "exit_code"]

P = ParamSpec("P")
R = TypeVar("R")

INTERRUPTED = 130  # 128 + SIGINT, as shells expect
UNWRITABLE = 74  # EX_IOERR: the machine refused a file
EXIT_CODES: dict[type[AresError], int] = {
    InvalidInput: 2,  # also what a misspelt option gives
    DataError: 3,
    ModelError: 4,
    NotAuthorized: 5,
    Rejected: 6,
    OutcomeUnknown: 7,
    Retryable: 75,  # EX_TEMPFAIL
}


_OF_THE_MACHINE = frozenset(
    (
        *(errno.EACCES, errno.EPERM, errno.EROFS),  # rights
        *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EMFILE),  # room
        *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG),  # the path
    )
)


_OF_THE_MACHINE_BY_SQLITE = frozenset(
    (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM)
)


def _refused_by_the_machine(cause: BaseException | None) -> bool:
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorcode", 0) & 0xFF in _OF_THE_MACHINE_BY_SQLITE  # the low byte is the kind
    return isinstance(cause, OSError) and cause.errno in _OF_THE_MACHINE


def exit_code(error: AresError) -> int:
    """The exit code of the family that an error belongs to, or of files that the machine refuses when that caused it.

    1 for an error without a family.
    """
    if _refused_by_the_machine(error.__cause__):
        return UNWRITABLE
    return next((code for family, code in EXIT_CODES.items() if isinstance(error, family)), 1)


_as_python_does = warnings.showwarning


def _told(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
    """A warning meant for the user as a line of news; any other with its place in the code, as Python does."""
    if category is UserWarning:
        print(f"ares: {hide_secrets(str(message))}", file=sys.stderr)  # noqa: T201
    else:
        _as_python_does(message, category, *place, **more)


def ends_with_exit_code(command: Callable[P, R]) -> Callable[P, R]:
    """A command whose errors become one line on standard error and an exit code.

    Only errors that ares raises on purpose are treated so, and files that the machine refuses (no room, no right); any
    other one is a defect and shows its traceback.
    """

    @functools.wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        hush()  # progress bars and notes say what takes long
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _told
                return command(*args, **kwargs)
        except AresError as error:
            print(f"ares: {hide_secrets(str(error))}", file=sys.stderr)  # noqa: T201  the program speaks here
            raise typer.Exit(exit_code(error)) from None
        except OSError as error:
            if not _refused_by_the_machine(error):
                raise
            place = f"{error.filename}: " if error.filename is not None else ""
            print(  # noqa: T201
                f"ares: {place}{error.strerror}: make room or give the right to write, or name another place",
                file=sys.stderr,
            )
            raise typer.Exit(UNWRITABLE) from None
        except KeyboardInterrupt:
            print("ares: interrupted", file=sys.stderr)  # noqa: T201
            raise typer.Exit(INTERRUPTED) from None

    return guarded
