"""Putting the parts together: the one place that knows every room.

A person who wires stages by hand needs nothing from here; the command line and most scripts do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import frozen

from ares.analyst.analyst import Analyst
from ares.analyst.rules import RuleAnalyst
from ares.backtesting.backtester import Backtester
from ares.config import AresConfig
from ares.errors import InvalidInput, unknown_name
from ares.features.orchestrator import FeatureOrchestrator
from ares.models.registry import inspect
from ares.monitor.position_monitor import PositionMonitor
from ares.pipeline.journal import Journal
from ares.pipeline.live import LiveTradingPipeline, PipelineConfig
from ares.pipeline.retraining import ModelSource
from ares.protocols import AnalysisStage, Exchange, FeatureStage, MonitoringStage, TacticsStage
from ares.simulation.tape import Tape
from ares.tactician.tactician import Tactician
from ares.training.trials import TrialLedger

__all__ = ["Stages", "analyst_of", "build", "build_backtester", "live_gaps", "stages", "trading_starts"]


@frozen(kw_only=True)
class Stages:
    """The four stages of one bot. Replace any of them with `attrs.evolve`."""

    features: FeatureStage
    analyst: AnalysisStage
    tactician: TacticsStage
    monitor: MonitoringStage


def stages(config: AresConfig | None = None) -> Stages:
    """The reference stages with these settings; the defaults when there are none."""
    chosen = config or AresConfig()
    return Stages(
        features=FeatureOrchestrator(chosen.features),
        analyst=analyst_of(chosen),
        tactician=Tactician(chosen.tactician),
        monitor=PositionMonitor(chosen.monitor),
    )


def analyst_of(config: AresConfig) -> AnalysisStage:
    """The trained analyst when the settings name a model, else the reference rules. Raises ModelError."""
    if config.analyst.model is None:
        return RuleAnalyst(config=config.analyst)
    return Analyst(config.analyst, model=config.analyst.model)


def trading_starts(config: AresConfig, market: Tape) -> int:
    """When a session on recorded data may begin to trade, ns UTC: a model never trades the bars it was trained on.

    Without a model, or on a market that lies elsewhere in time, that is the market's start; what comes before only
    warms the features. Raises: InvalidInput when the training window covers the whole market; ModelError.
    """
    if config.analyst.model is None:
        return market.start_ns
    record = inspect(config.analyst.model).record
    first, last = record.trained_from_ns, record.trained_to_ns
    if first is None or last is None or last <= market.start_ns or first >= market.end_ns:
        return market.start_ns
    if last >= market.end_ns:
        raise InvalidInput("the model was trained on all of this market: nothing is left that it has not seen")
    return last


def build_backtester(
    config: AresConfig | None = None, parts: Stages | None = None, trials: TrialLedger | None = None
) -> Backtester:
    """A backtester with these settings; `parts` replaces the reference stages, `trials` is where runs are noted."""
    chosen = config or AresConfig()
    bot = parts or stages(chosen)
    return Backtester(
        features=bot.features,
        analyst=bot.analyst,
        tactician=bot.tactician,
        monitor=bot.monitor,
        config=chosen.backtest,
        trials=trials,
    )


def build(
    config: AresConfig | None = None,
    mode: str = "paper",
    *,
    exchange: Exchange,
    symbols: Sequence[str],
    interval: str,
    journal: Journal | None = None,
    parts: Stages | None = None,
    models: ModelSource | None = None,
) -> LiveTradingPipeline:
    """A pipeline on this exchange. The stages never learn the mode; it only decides what must be switched on.

    mode: "paper" or "live". models: which model decides when, such as `ares.models.Succession`; None: the analyst keeps
    its own. Raises: InvalidInput when a venue with real money meets mode "paper", or when live lacks sizing, risk
    management or predictions, or a model that was saved as data.
    """
    chosen = config or AresConfig()
    if mode not in ("paper", "live"):
        raise unknown_name("mode", mode, ("paper", "live"))
    if mode == "paper" and exchange.capabilities.real_money:
        name = exchange.capabilities.name
        raise InvalidInput(f"{name} trades real money: wrap it in PaperExchange for paper trading", exchange=name)
    if mode == "live":
        _check_live(chosen)
    bot = parts or stages(chosen)
    if mode == "live":
        _check_model(bot.analyst, changes=models is not None)
    return LiveTradingPipeline(
        PipelineConfig(desk=chosen.desk),
        exchange=exchange,
        features=bot.features,
        analyst=bot.analyst,
        tactician=bot.tactician,
        monitor=bot.monitor,
        symbols=symbols,
        interval=interval,
        journal=journal,
        models=models,
    )


def _check_model(analyst: AnalysisStage, *, changes: bool) -> None:
    """Refuse to trade real money on a model that could not be verified; one still to come is verified when it comes."""
    ask: Callable[[], str | None] | None = getattr(analyst, "live_refusal", None)
    reason = ask() if ask is not None else None
    if reason is not None and not (changes and getattr(analyst, "model_id", "") == "none"):
        raise InvalidInput(f"live trading is refused: {reason}", analyst=type(analyst).__name__)


def live_gaps(config: AresConfig) -> list[str]:
    """The switches that are off and without which live trading is refused."""
    return [
        name
        for name, on in (
            ("tactician.enable_position_sizing", config.tactician.enable_position_sizing),
            ("tactician.enable_risk_management", config.tactician.enable_risk_management),
            ("analyst.enable_ml_predictions", config.analyst.enable_ml_predictions),
        )
        if not on
    ]


def _check_live(config: AresConfig) -> None:
    """Refuse to trade real money with a part switched off that keeps it safe."""
    missing = live_gaps(config)
    if missing:
        raise InvalidInput(f"live trading needs {', '.join(missing)} switched on", missing=missing)
