"""Asking a stage something: its answer, or no answer and an alert that says why. A stage is anybody's code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import UnionType
from typing import Any, TypeVar

from attrs import define, field

from ares.errors import InvalidInput
from ares.events import Alert, Command
from ares.pipeline.guard import Guard, Mode
from ares.pipeline.outbox import Outbox

__all__ = ["FAILED", "Calls", "check_verbs", "expected"]

T = TypeVar("T")
_VERBS = {
    "features": ("stream",),
    "analyst": ("analyze", "execute_analysis"),
    "tactician": ("decide", "execute_tactics"),
    "monitor": ("assess_position",),
}
FAILED = "stage.failed"  # code of the alert
_FOLLOW_THE_BARS = ("features", "sources")
_TOO_MANY = 3  # failures of one stage in a row, after which new risk waits until it answers again


def check_verbs(**stages: object) -> None:
    """Refuse something that is no stage at all. Raises InvalidInput, which names the verb it lacks."""
    for name, stage in stages.items():
        if isinstance(stage, type):
            raise InvalidInput(f"the {name} is the class {stage.__name__}: give an instance of it", stage=name)
        if not any(callable(getattr(stage, verb, None)) for verb in _VERBS[name]):
            kind, verbs = type(stage).__name__, " or ".join(f"`{verb}`" for verb in _VERBS[name])
            raise InvalidInput(f"{kind} cannot be the {name}: it has no {verbs}", stage=name, given=kind)


def expected(kind: type[T] | UnionType, said: Any) -> T:
    """`said`, when it is a `kind`. Raises InvalidInput."""
    if not isinstance(said, kind):
        name = getattr(kind, "__name__", str(kind))
        raise InvalidInput(f"the stage answered {type(said).__name__}, not {name}", answered=str(type(said)))
    return said


@define
class Calls:
    """Keeps a stage that raises, or answers something else than it should, from ending the session.

    No answer means no new risk from that stage now; what protects an open position goes on without it. A stage that
    fails three times in a row holds all new risk until it answers again. A failure is a fact of the session, as a slow
    network is: when a journal is replayed, its recorded failures are repeated whatever the stage would say today.
    """

    guard: Guard
    error: Exception | None = None  # what the last failure raised; None when the answer was of a wrong kind
    _in_a_row: dict[str, int] = field(factory=dict)
    _recorded: list[Alert] | None = None  # failures of the event that is being replayed; None: this is no replay

    def replaying(self, commands: Sequence[Command] | None) -> None:
        """The next event is a recorded one that was answered by `commands`; None: the replay is over."""
        failures = [c for c in commands or () if isinstance(c, Alert) and c.code == FAILED]
        self._recorded = None if commands is None else failures

    def answer(
        self, out: Outbox, stage: str, symbol: str, kind: type[T] | UnionType, verb: Callable[..., Any], *given: Any
    ) -> T | None:
        """What `verb(*given)` says; None after an alert when it raises or says something that is no `kind`."""
        failed = self._failed_then(stage, symbol)
        if failed is not None and stage not in _FOLLOW_THE_BARS:
            self.failed(out, stage, symbol, failed)
            return None
        try:
            said = verb(*given)
        except Exception as error:
            self.failed(out, stage, symbol, failed or f"{type(error).__name__}: {error}", error)
            return None
        if failed is not None:  # features were asked, so that they follow the bars; their answer did not count
            self.failed(out, stage, symbol, failed)
            return None
        return self.checked(out, stage, symbol, kind, said)

    def checked(self, out: Outbox, stage: str, symbol: str, kind: type[T] | UnionType, said: Any) -> T | None:
        """The answer, when it is a `kind`; None after an alert otherwise."""
        try:
            found: T = expected(kind, said)
        except InvalidInput as wrong:
            self.failed(out, stage, symbol, str(wrong))
            return None
        self.well(stage)
        return found

    def well(self, stage: str) -> None:
        """The stage answered, or is not needed any more: its failures no longer count."""
        if self._in_a_row.pop(stage, 0) >= _TOO_MANY:
            self.guard.release(f"stage:{stage}")

    def failed(self, out: Outbox, stage: str, symbol: str, error: str, raised: Exception | None = None) -> None:
        """Say that a stage gave no answer, and hold new risk when it does so again and again."""
        self.error = raised
        self._in_a_row[stage] = self._in_a_row.get(stage, 0) + 1
        out.alert(FAILED, symbol, stage=stage, error=error, in_a_row=self._in_a_row[stage])
        if self._in_a_row[stage] >= _TOO_MANY:
            self.guard.hold(f"stage:{stage}", Mode.REDUCE)

    def _failed_then(self, stage: str, symbol: str) -> str | None:
        """What the stage's failure said when this event was recorded; None: it did not fail, or this is no replay."""
        found = self._recorded or []
        for i, alert in enumerate(found):
            if (alert.facts.get("stage"), alert.symbol) == (stage, symbol):
                return str(found.pop(i).facts["error"])
        return None
