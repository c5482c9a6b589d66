"""A part on trial: named checks, each run to its end whatever the one before it did."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ares.errors import InvalidInput
from ares.testing.report import Check, Report

__all__ = ["Trial", "expect", "maker_of"]


class _Unmet(Exception):
    """An expectation that does not hold."""


def expect(holds: bool, detail: str) -> None:
    """Fail the running check with `detail` unless `holds`."""
    if not holds:
        raise _Unmet(detail)


class Trial:
    """Collects checks. What the part raises fails the check it was raised in, and nothing else."""

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self._checks: list[Check] = []

    @contextmanager
    def check(self, name: str) -> Iterator[None]:
        """Run the block as the check `name`."""
        try:
            yield
        except _Unmet as unmet:
            self._checks.append(Check(name=name, passed=False, detail=str(unmet)))
        except Exception as error:  # foreign code may raise anything, and that is the finding
            self._checks.append(Check(name=name, passed=False, detail=f"{type(error).__name__}: {error}"))
        else:
            self._checks.append(Check(name=name, passed=True))

    def report(self) -> Report:
        """Everything that was checked so far."""
        return Report(subject=self.subject, checks=tuple(self._checks))


def maker_of(stage: object, verbs: tuple[str, ...]) -> tuple[str, str, Callable[[], object]]:
    """The verb that makes it a stage, its name, and a function that gives a fresh one.

    stage: a class or a function that makes one, or an instance, which is copied deeply.
    Raises: InvalidInput when it has none of the verbs.
    """
    made = isinstance(stage, type) or (callable(stage) and not any(hasattr(stage, verb) for verb in verbs))
    make: Callable[[], object] = stage if made else lambda: copy.deepcopy(stage)  # type: ignore[assignment]
    sample = make()
    for verb in verbs:
        if callable(getattr(sample, verb, None)):
            return verb, type(sample).__name__, make
    raise InvalidInput(f"{type(sample).__name__} is no stage: it has none of the verbs {', '.join(verbs)}")
