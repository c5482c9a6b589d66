"""Settings of a backtest."""

from __future__ import annotations

from attrs import field, frozen

from ares.pipeline.config import DeskConfig
from ares.simulation.config import VenueConfig

__all__ = ["BacktestConfig"]


@frozen(kw_only=True)
class BacktestConfig:
    """The simulated venue and the desk of a backtest. Costs are on by default."""

    venue: VenueConfig = field(factory=VenueConfig)
    desk: DeskConfig = field(factory=DeskConfig)
    history: int | None = None  # bars before `start` that warm the features; None: what they need
    random_draws: int = 1000  # of the random-entry baseline
    stop_on_failure: bool = True  # a stage that raises ends the run; False: it is an alert, as it would be live
