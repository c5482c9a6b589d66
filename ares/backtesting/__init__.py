"""Backtests: the desk on recorded data, driven without an event loop, and what came of it."""

from ares._lazy import lazy

__all__ = ["BacktestResult", "Backtester"]

__getattr__, __dir__ = lazy(
    __name__,
    {"Backtester": "ares.backtesting.backtester", "BacktestResult": "ares.backtesting.result"},
)
