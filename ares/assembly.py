"""Putting the parts together: the one place that knows every room.

A person who wires stages by hand needs nothing from here; the command line and most scripts do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING

from attrs import frozen

from ares.analyst.analyst import Analyst
from ares.analyst.rules import RuleAnalyst
from ares.backtesting.backtester import Backtester
from ares.clock import Clock, SystemClock
from ares.config import AresConfig
from ares.errors import InvalidInput, ModelError, TooShort, unknown_name
from ares.features.orchestrator import FeatureOrchestrator
from ares.models.registry import Registry, inspect
from ares.monitor.position_monitor import PositionMonitor
from ares.pipeline.journal import Journal, SqliteJournal
from ares.pipeline.live import LiveTradingPipeline, PipelineConfig
from ares.pipeline.retraining import ModelSource, check_model
from ares.protocols import AnalysisStage, Exchange, FeatureStage, MarketData, MonitoringStage, TacticsStage
from ares.simulation.tape import Tape
from ares.tactician.tactician import Tactician
from ares.training.cuts import FIRST_TRADING, RetrainingConfig, ScheduleConfig
from ares.training.trials import TrialLedger

if TYPE_CHECKING:
    from ares.training.dataset import TrainConfig
    from ares.training.folds import Progress
    from ares.training.retrainer import Retrainer
    from ares.training.schedule import ModelSchedule

__all__ = [
    "Stages",
    "analyst_of",
    "build",
    "build_backtester",
    "live_gaps",
    "retrainer_of",
    "schedule_of",
    "stages",
    "trading_starts",
    "training_plan",
]

_LEARN_FROM = "learn_from_ns"  # the fact in a journal that says where retraining's history begins


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
    """The trained analyst when the settings name a model or have models retrained, else the reference rules.

    Raises ModelError.
    """
    if config.retraining is not None:
        return Analyst(config.analyst, model=config.analyst.model, library=Registry(config.retraining.models))
    if config.analyst.model is None:
        return RuleAnalyst(config=config.analyst)
    return Analyst(config.analyst, model=config.analyst.model)


def trading_starts(config: AresConfig, market: Tape) -> int:
    """When a session on recorded data may begin to trade, ns UTC: a model never trades the bars it was trained on.

    Retraining without a model to begin with starts where its first model does. Without a model, or on a market that
    lies elsewhere in time, that is the market's start; what comes before only warms the features.
    Raises: InvalidInput when the training window covers the whole market; TooShort when no model would begin in it;
    ModelError.
    """
    if config.analyst.model is None and config.retraining is not None:
        return _first_model(config.retraining.schedule(market.interval), market)
    if config.analyst.model is None:
        return market.start_ns
    record = inspect(config.analyst.model).record
    first, last = record.trained_from_ns, record.trained_to_ns
    if first is None or last is None or last <= market.start_ns or first >= market.end_ns:
        return market.start_ns
    if last >= market.end_ns:
        raise InvalidInput("the model was trained on all of this market: nothing is left that it has not seen")
    return last


def _first_model(plan: ScheduleConfig, market: Tape) -> int:
    """When the first model of a schedule begins, ns UTC. Raises TooShort when it would not on this market."""
    opened, step = market.tracks[0].open_ns, market.interval.ns
    begun = plan.begun(opened, step) >= FIRST_TRADING
    starts = plan.begins(FIRST_TRADING, opened, step) if begun else market.end_ns
    if starts >= market.end_ns:
        raise TooShort(
            f"{opened.size} bars are too few to retrain on: the first model begins after {plan.needed} (first "
            f"{plan.first}, every {plan.every}, delay {plan.delay}); give more bars, or `retraining` shorter lengths",
            rows=int(opened.size),
        )
    return starts


def training_plan(config: AresConfig) -> TrainConfig:
    """How models are trained: for the bet that the settings of the analyst describe."""
    from ares.training.dataset import TrainConfig
    from ares.training.labels import BarrierConfig

    bet = config.analyst
    return TrainConfig(
        barriers=BarrierConfig(horizon=bet.horizon, target=bet.target_multiple, stop=bet.stop_multiple),
        side_timeframe=bet.side_timeframe,
        time_to_live=bet.time_to_live,
    )


def schedule_of(config: AresConfig, market: Tape, progress: Progress | None = None) -> ModelSchedule:
    """The models that retraining makes of a recorded market; those already in its folder are read instead.

    A `Retrainer` that follows the same market makes the same ones. progress: called with (stage, done, in all).
    Raises: InvalidInput without retraining, or on several symbols; TooShort, DataError, ModelError.
    """
    from ares.training.schedule import schedule_models

    wanted, symbol = _retraining(config), _one_symbol(market.symbols)
    return schedule_models(
        market,
        schedule=wanted.schedule(market.interval),
        config=training_plan(config),
        features=FeatureOrchestrator(config.features),
        symbol=symbol,
        interval=market.interval,
        progress=progress,
        store=Registry(wanted.models),
    )


def retrainer_of(
    config: AresConfig,
    *,
    market: MarketData,
    clock: Clock,
    symbols: Sequence[str],
    interval: str,
    since_ns: int | None = None,
    journal: Journal | None = None,
) -> Retrainer:
    """What trains models while a bot runs; see `ares.training.retrainer`.

    since_ns: open time of the first bar to learn from, the same after a restart; None: as the journal says since its
    first start, and at that start so that the first model can be trained at once. Raises: InvalidInput as
    `schedule_of`.
    """
    from ares.training.job import TrainingJob
    from ares.training.retrainer import Retrainer

    wanted, symbol = _retraining(config), _one_symbol(symbols)
    job = TrainingJob(
        symbol=symbol,
        interval=interval,
        number=FIRST_TRADING,
        schedule=wanted.schedule(interval),
        models=wanted.models,
        features=config.features,
        training=training_plan(config),
        nice=wanted.nice,
    )
    remember: Callable[[int], None] | None = None
    if since_ns is None and isinstance(journal, SqliteJournal):
        since_ns, remember = journal.about().get(_LEARN_FROM), partial(journal.note, _LEARN_FROM)
    return Retrainer(market=market, clock=clock, job=job, since_ns=since_ns, remember=remember)


def _retraining(config: AresConfig) -> RetrainingConfig:
    if config.retraining is None:
        raise InvalidInput("retraining is off: give the settings a section `retraining`, or --retrain")
    if config.features.sources:
        named = ", ".join(config.features.sources)
        raise InvalidInput(f"retraining learns from klines alone: leave {named} out of the features' `sources`")
    return config.retraining


def _one_symbol(symbols: Sequence[str]) -> str:
    if len(symbols) != 1:
        raise InvalidInput(f"models are retrained for one symbol, not {len(symbols)}", symbols=tuple(symbols))
    return symbols[0]


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
    learn_from: int | None = None,
    carried: Collection[str] | None = None,
) -> LiveTradingPipeline:
    """A pipeline on this exchange. The stages never learn the mode; it only decides what must be switched on.

    mode: "paper" or "live". models: which model decides when, such as `ares.models.Succession`; None: what the
    settings' `retraining` trains as time goes by, and without it the analyst keeps its own. learn_from: open time of
    the first bar that retraining learns from (ns UTC), the same after a restart; None: see `retrainer_of`. carried: the
    kline columns that the exchange's bars have, which decide the features; None: not known.
    Raises: InvalidInput when a venue with real money meets mode "paper", or when live lacks sizing, risk management or
    predictions, or a model that was saved as data; when retraining meets `parts` that could not use its models.
    ModelError when a new session would begin with a model of other features than the bot computes.
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
    if models is None and chosen.retraining is not None:
        _check_retrained(chosen, bot, interval)
        clock: Clock = getattr(exchange, "clock", None) or SystemClock()
        models = retrainer_of(
            chosen,
            market=exchange,
            clock=clock,
            symbols=symbols,
            interval=interval,
            since_ns=learn_from,
            journal=journal,
        )
    if mode == "live":
        check_model(bot.analyst, models)
    if journal is None or len(journal) == 0:  # a session that goes on has positions to look after, model or no model
        _check_fit(bot, interval, carried)
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


def _check_fit(bot: Stages, interval: str, carried: Collection[str] | None) -> None:
    """Refuse a model of other features than the bot can compute: it would fail at each bar, and the bot never trade."""
    if not (isinstance(bot.analyst, Analyst) and isinstance(bot.features, FeatureOrchestrator)):
        return
    status = bot.analyst.get_analysis_status()
    wanted = status.get("fingerprint")
    if not isinstance(wanted, str) or bot.features.may_settle_on(wanted, interval, carried):
        return
    of_other_bars = carried is not None and bot.features.may_settle_on(wanted, interval)
    columns = ", ".join(sorted(carried or ()))
    own = bot.features.schema(interval).fingerprint
    raise ModelError(
        f"model {status['model_id']} was trained on bars with other columns than these have ({columns}): train it on "
        "bars such as these"
        if of_other_bars
        else f"model {status['model_id']} was trained on features {wanted}, the bot computes {own} of {interval} bars: "
        "use the settings and the version of ares that it was trained with, or train it again",
        expected=wanted,
        found=own,
    )


def _check_retrained(config: AresConfig, bot: Stages, interval: str) -> None:
    """Refuse stages that the models of the settings' retraining would not fit."""
    analyst = bot.analyst
    if not hasattr(analyst, "activate") or (isinstance(analyst, Analyst) and analyst.library is None):
        raise InvalidInput(
            f"retraining makes models, but {type(analyst).__name__} takes none: give "
            "Analyst(library=Registry(retraining.models)), or leave `retraining` out",
            analyst=type(analyst).__name__,
        )
    trained = FeatureOrchestrator(config.features).schema(interval).fingerprint
    own = bot.features.schema(interval).fingerprint if isinstance(bot.features, FeatureOrchestrator) else None
    if own != trained:
        raise InvalidInput(
            f"retraining learns from the settings' features {trained}, but the bot computes "
            f"{own or type(bot.features).__name__}: describe its features in the settings, or give `models`",
            expected=trained,
            found=own,
        )


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
