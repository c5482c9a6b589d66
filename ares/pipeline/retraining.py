"""Which model decides: the shell asks a source at each closed bar and tells the desk before the bar itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from ares.errors import InvalidInput
from ares.events import Alert, CandleClosed, Event, ModelActivated
from ares.market import Candle
from ares.protocols import AnalysisStage

__all__ = ["LiveModelSource", "ModelSource", "activation", "check_model"]


class ModelSource(Protocol):
    """Knows which model is to decide when: a schedule trained beforehand, or one that trains as time goes by."""

    def due(self, close_ns: int, current: str) -> str | None:
        """The id of the model that decides on the bar closing at `close_ns`; None: `current` goes on.

        The answer depends on its arguments and on the models there are, so a restart asks again without harm.
        """
        ...


@runtime_checkable
class LiveModelSource(ModelSource, Protocol):
    """A source that trains as time goes by: `ares.training.retrainer.Retrainer`."""

    async def follow(self, candle: Candle) -> Sequence[Alert]:
        """Take each closed bar before `due` is asked about it; what a person should know.

        Where time is virtual it may wait for a training; in real time it must return at once.
        """
        ...

    async def close(self) -> None:
        """Stop what is under way."""
        ...


def activation(source: ModelSource | None, analyst: AnalysisStage, event: Event) -> ModelActivated | None:
    """The event that has to come before `event`: a model that begins with this bar; None when nothing changes."""
    if source is None or not isinstance(event, CandleClosed):
        return None
    chosen = source.due(event.candle.close_ns, str(getattr(analyst, "model_id", "none")))
    if chosen is None:
        return None
    return ModelActivated(ts_event=event.ts_event, ts_seen=event.ts_seen, sha256=chosen)


def check_model(analyst: AnalysisStage, source: ModelSource | None) -> None:
    """Refuse to trade money on a model that cannot be verified; one that is still to come is verified when it comes.

    Raises: InvalidInput with the analyst's own reason, its `live_refusal`.
    """
    ask: Callable[[], str | None] | None = getattr(analyst, "live_refusal", None)
    reason = ask() if ask is not None else None
    if reason is not None and not (source is not None and getattr(analyst, "model_id", "") == "none"):
        raise InvalidInput(f"live trading is refused: {reason}", analyst=type(analyst).__name__)
