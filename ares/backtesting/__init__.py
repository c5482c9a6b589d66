"""Backtests: the desk on recorded data, driven without an event loop, and what came of it."""

from ares._lazy import lazy

__all__ = ["BacktestConfig", "BacktestResult", "Backtester"]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "BacktestConfig": "ares.backtesting.config",
        "BacktestResult": "ares.backtesting.result",
        "Backtester": "ares.backtesting.backtester",
    },
)
