"""Which model decides: the shell asks a source at each closed bar and tells the desk before the bar itself."""

from __future__ import annotations

from typing import Protocol

from ares.events import CandleClosed, Event, ModelActivated
from ares.protocols import AnalysisStage

__all__ = ["ModelSource", "activation"]


class ModelSource(Protocol):
    """Knows which model is to decide when: a schedule trained beforehand, or one that trains as time goes by."""

    def due(self, close_ns: int, current: str) -> str | None:
        """The id of the model that decides on the bar closing at `close_ns`; None: `current` goes on.

        The answer depends on its arguments and on the models there are, so a restart asks again without harm.
        """
        ...


def activation(source: ModelSource | None, analyst: AnalysisStage, event: Event) -> ModelActivated | None:
    """The event that has to come before `event`: a model that begins with this bar; None when nothing changes."""
    if source is None or not isinstance(event, CandleClosed):
        return None
    chosen = source.due(event.candle.close_ns, str(getattr(analyst, "model_id", "none")))
    if chosen is None:
        return None
    return ModelActivated(ts_event=event.ts_event, ts_seen=event.ts_seen, sha256=chosen)
