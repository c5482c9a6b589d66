"""What a result is worth: statistics, significance, baselines, and a page to look at it.

Takes arrays and frames and knows no stage. Fractions, not percent; a year has 365 days, for crypto never closes.
"""

from ares._lazy import lazy

_STATISTICS = "ares.report.statistics"
_SIGNIFICANCE = "ares.report.significance"

__all__ = [
    "Baselines",
    "Drawdown",
    "Statistics",
    "baselines",
    "deflated_sharpe_ratio",
    "drawdown",
    "expected_max_sharpe",
    "min_track_record_length",
    "performance",
    "probabilistic_sharpe_ratio",
    "probability_of_backtest_overfitting",
    "sharpe_interval",
    "tear_sheet",
    "write_tear_sheet",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Drawdown": _STATISTICS,
        "Statistics": _STATISTICS,
        "drawdown": _STATISTICS,
        "performance": _STATISTICS,
        "Baselines": "ares.report.baselines",
        "baselines": "ares.report.baselines",
        "deflated_sharpe_ratio": _SIGNIFICANCE,
        "expected_max_sharpe": _SIGNIFICANCE,
        "min_track_record_length": _SIGNIFICANCE,
        "probabilistic_sharpe_ratio": _SIGNIFICANCE,
        "probability_of_backtest_overfitting": _SIGNIFICANCE,
        "sharpe_interval": _SIGNIFICANCE,
        "tear_sheet": "ares.report.tearsheet",
        "write_tear_sheet": "ares.report.tearsheet",
    },
)
