"""Compile what training calls, ahead of time."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ares.training.bootstrap import sequential_bootstrap
from ares.training.labels import cusum, triple_barrier
from ares.training.regime import RegimeConfig, fit_regimes

__all__ = ["warm"]

_BARS = 300


def warm() -> None:
    """Compile labels, their weights and the fit of regimes, or load them from the compile cache."""
    up = np.arange(_BARS)
    index = pd.date_range("2020-01-01", periods=_BARS, freq="h", tz="UTC")
    close = 100.0 + up % 7
    klines = pd.DataFrame({"open": close, "high": close, "low": close, "close": close, "volume": 1.0}, index=index)
    cusum(klines)
    labels = triple_barrier(klines, side=1)
    labels.uniqueness()
    sequential_bootstrap(labels.first, labels.last, 1)
    apart = np.column_stack([up % 7, up % 5]).astype(np.float64)
    fit_regimes(apart, columns=("a", "b"), config=RegimeConfig(states=2, restarts=1, iterations=1))
