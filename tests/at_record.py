"""A process that does something to itself once its journal has come so far, however fast or slow the machine is.

A test that watches a journal from outside and then sends a signal comes too late once in many runs: it slept while the
other process went on to its end.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence

from ares.events import Command, Event
from ares.pipeline.journal import SqliteJournal

__all__ = ["DEAD", "at_record", "die_soon"]

DEAD = -14
"""The exit code of a process that `die_soon` has killed: by SIGALRM, 14 on Linux and macOS."""


def at_record(reached: Callable[[SqliteJournal, Event], bool], then: Callable[[], object]) -> None:
    """Call `then` once: right after the first record of this process's journal for which it is `reached`."""
    append, waiting = SqliteJournal.append, [then]

    def append_and_look(journal: SqliteJournal, event: Event, commands: Sequence[Command]) -> None:
        append(journal, event, commands)
        if waiting and reached(journal, event):
            waiting.pop()()

    SqliteJournal.append = append_and_look  # type: ignore[method-assign]


def die_soon() -> None:
    """In two milliseconds this process is dead, wherever it is then: nobody handles the signal, as with `kill -9`."""
    signal.setitimer(signal.ITIMER_REAL, 0.002)
