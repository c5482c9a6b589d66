"""Recorded klines as frames and as candles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ares.market import Candle


def read_klines(path: Path) -> pd.DataFrame:
    """A klines frame as ares takes it."""
    frame = pd.read_parquet(path).set_index("open_time")
    frame.index = pd.DatetimeIndex(frame.index).as_unit("ns")
    return frame.drop(columns=[c for c in ("close_time",) if c in frame.columns])


def candles_of(frame: pd.DataFrame, interval: str, symbol: str = "ETHUSDT") -> list[Candle]:
    """The rows of a klines frame as candles."""
    step = pd.Timedelta(interval.replace("m", "min")).value
    optional = [c for c in ("quote_volume", "taker_buy_volume", "taker_buy_quote_volume", "trades") if c in frame]
    found = []
    for open_ns, row in zip(frame.index.as_unit("ns").asi8.tolist(), frame.itertuples(index=False), strict=True):
        more = {c: getattr(row, c) for c in optional}
        if "trades" in more:
            more["trades"] = int(more["trades"])
        more |= {c: getattr(row, c) for c in ("open", "high", "low", "close", "volume")}
        times = {"open_ns": open_ns, "close_ns": open_ns + step}
        found.append(Candle(symbol=symbol, interval=interval, **times, **more))
    return found


def differences(a: pd.DataFrame, b: pd.DataFrame) -> list[str]:
    """Columns that are not the same bits (NaN equals NaN)."""
    x, y = a.to_numpy(), b.to_numpy()
    same = ((x == y) | (np.isnan(x) & np.isnan(y))).all(axis=0)
    return [str(name) for name in a.columns[~same]]
