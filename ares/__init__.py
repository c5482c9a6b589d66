"""ares: pipeline stages for machine-learning trading bots on crypto perpetual futures.

One program, fed events and answering with commands, runs on recorded data (backtest), on live data with a simulated
venue (paper) and on a real venue (live). Every name below is imported from here; each loads its module on first use.
"""

from typing import TYPE_CHECKING

from ares._lazy import lazy

if TYPE_CHECKING:
    from ares.analyst.analyst import Analyst
    from ares.analyst.rules import RuleAnalyst
    from ares.backtesting.backtester import Backtester
    from ares.backtesting.result import BacktestResult
    from ares.config import AresConfig, load_config
    from ares.exchange.binance import BinanceExchange
    from ares.exchange.config import BinanceConfig
    from ares.features.orchestrator import FeatureOrchestrator
    from ares.instruments import Instrument, Side
    from ares.monitor.position_monitor import PositionMonitor
    from ares.pipeline.live import LiveTradingPipeline
    from ares.protocols import AnalysisStage, Exchange, FeatureStage, MonitoringStage, TacticsStage
    from ares.simulation.paper import PaperExchange
    from ares.simulation.simulated_exchange import SimulatedExchange
    from ares.simulation.tape import Tape
    from ares.tactician.tactician import Tactician
    from ares.testing.causality import check_causality
    from ares.training.trainer import train
    from ares.values import (
        AnalysisInput,
        AnalysisResult,
        Assessment,
        AssessmentInput,
        FeatureRow,
        TacticsInput,
        TacticsResult,
        TradePlan,
    )

__version__ = "0.1.0"

__all__ = [
    "AnalysisInput",
    "AnalysisResult",
    "AnalysisStage",
    "Analyst",
    "AresConfig",
    "Assessment",
    "AssessmentInput",
    "BacktestResult",
    "Backtester",
    "BinanceConfig",
    "BinanceExchange",
    "Exchange",
    "FeatureOrchestrator",
    "FeatureRow",
    "FeatureStage",
    "Instrument",
    "LiveTradingPipeline",
    "MonitoringStage",
    "PaperExchange",
    "PositionMonitor",
    "RuleAnalyst",
    "Side",
    "SimulatedExchange",
    "Tactician",
    "TacticsInput",
    "TacticsResult",
    "TacticsStage",
    "Tape",
    "TradePlan",
    "__version__",
    "check_causality",
    "load_config",
    "train",
]

_HOMES = {
    "AnalysisInput": "ares.values",
    "AnalysisResult": "ares.values",
    "AnalysisStage": "ares.protocols",
    "Analyst": "ares.analyst.analyst",
    "AresConfig": "ares.config",
    "Assessment": "ares.values",
    "AssessmentInput": "ares.values",
    "BacktestResult": "ares.backtesting.result",
    "Backtester": "ares.backtesting.backtester",
    "BinanceConfig": "ares.exchange.config",
    "BinanceExchange": "ares.exchange.binance",
    "Exchange": "ares.protocols",
    "FeatureOrchestrator": "ares.features.orchestrator",
    "FeatureRow": "ares.values",
    "FeatureStage": "ares.protocols",
    "Instrument": "ares.instruments",
    "LiveTradingPipeline": "ares.pipeline.live",
    "MonitoringStage": "ares.protocols",
    "PaperExchange": "ares.simulation.paper",
    "PositionMonitor": "ares.monitor.position_monitor",
    "RuleAnalyst": "ares.analyst.rules",
    "Side": "ares.instruments",
    "SimulatedExchange": "ares.simulation.simulated_exchange",
    "Tactician": "ares.tactician.tactician",
    "TacticsInput": "ares.values",
    "TacticsResult": "ares.values",
    "TacticsStage": "ares.protocols",
    "Tape": "ares.simulation.tape",
    "TradePlan": "ares.values",
    "check_causality": "ares.testing.causality",
    "load_config": "ares.config",
    "train": "ares.training.trainer",
}

if not TYPE_CHECKING:  # so that a type checker finds a misspelt name instead of a lazy one
    __getattr__, __dir__ = lazy(__name__, _HOMES)
