"""Which of the models in a folder decides when: each begins a fixed time after the window that it was trained on.

Training is another process, `ares train` by a timer for instance: it adds directories, and a bot that runs takes each
model up at its bar. Nobody decides by hand, and a backtest over the same folder changes models at the same bars.
"""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import ge

from ares.models.registry import Registry

__all__ = ["Succession"]


@frozen(kw_only=True)
class Succession:
    """A source of models for `LiveTradingPipeline(models=...)` and `Backtester.run(models=...)`.

    The analyst needs the same registry as its library. delay_ns: from the end of a model's training window to the
    first bar it decides on; long enough for its training to be over, whichever machine it runs on.
    """

    registry: Registry
    delay_ns: int = field(default=86_400 * 10**9, validator=ge(0))

    def due(self, close_ns: int, current: str) -> str | None:
        """The model that decides on the bar closing at `close_ns`; None: `current` goes on.

        Raises: ModelError when a directory of the registry is damaged.
        """
        chosen = self.registry.latest(close_ns - self.delay_ns)
        return chosen.model_id if chosen is not None and chosen.model_id != current else None
