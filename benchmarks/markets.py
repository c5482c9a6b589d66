"""A made-up market for benchmarks: a random walk with plausible bars, the same every time."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from attrs import frozen

Array = np.ndarray


@frozen(eq=False)
class Market:
    """One-minute bars as arrays."""

    open: Array
    high: Array
    low: Array
    close: Array
    volume: Array
    inputs: Array  # (10, n) in the engine's order
    numbers: Array  # (n,) int64 bar numbers

    def frame(self) -> pd.DataFrame:
        """The bars as a klines frame."""
        index = pd.DatetimeIndex(self.numbers * 60_000_000_000, tz="UTC", name="open_time")
        columns = ("open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume")
        data: dict[str, Any] = {name: self.inputs[i] for i, name in enumerate(columns)}
        return pd.DataFrame({**data, "trades": self.inputs[8].astype(np.int64)}, index=index)


@cache
def made_up(n: int) -> Market:
    """`n` bars; prices near 100 in steps of half a percent, lognormal volume."""
    rng = np.random.default_rng(1)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.005, n)))
    open_ = np.concatenate([[100.0], close[:-1]])
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0, 0.002, n)))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0, 0.002, n)))
    volume = rng.lognormal(3, 1, n)
    taker = volume * rng.uniform(0.3, 0.7, n)
    numbers = 26_000_000 + np.arange(n)
    inputs = np.array(
        [open_, high, low, close, volume, volume * close, taker, taker * close, np.ceil(volume * 3), numbers * 60.0]
    )
    return Market(open_, high, low, close, volume, inputs, numbers)
