"""What training does in compiled loops: labels, overlap weights, and the regime filter."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from ares.models.model import ModelSpec
from ares.models.regime import RegimeFilter, RegimeModel
from ares.training.labels import BarrierConfig, Labels, triple_barrier


def run(quick: bool) -> list[dict[str, Any]]:
    """One line a workload; the peer of labelling is the usual loop over pandas slices."""
    bars = 50_000 if quick else 1_000_000
    klines = market(bars)
    sigma = np.full(bars, 0.005)
    config = BarrierConfig(horizon=24, least_width=0.0)
    triple_barrier(klines.iloc[:1000], side=1, volatility=sigma[:1000], config=config).uniqueness()
    labels: list[Labels] = []
    label_speed = bars / seconds(lambda: labels.append(triple_barrier(klines, side=1, volatility=sigma, config=config)))
    weight_speed = bars / seconds(lambda: labels[0].uniqueness())
    few = 2_000
    pandas_speed = few / seconds(lambda: by_pandas(klines, few, 0.005 * np.sqrt(24), 24))
    return [
        {
            "workload": f"triple barrier with costs and funding, {bars:,} events, horizon 24",
            "ours": label_speed,
            "peer": pandas_speed,
            "ratio": label_speed / pandas_speed,
            "unit": "events/s",
            "note": f"a pandas slice an event, without costs or funding, pandas {pd.__version__}",
        },
        {
            "workload": f"uniqueness weights, {bars:,} labels",
            "ours": weight_speed,
            "peer": None,
            "ratio": None,
            "unit": "labels/s",
            "note": "no peer",
        },
        regime_line(quick),
    ]


def market(bars: int) -> pd.DataFrame:
    """A random walk of one-minute bars."""
    rng = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.005, bars)))
    open_ = np.r_[100.0, close[:-1]]
    spread = np.exp(rng.exponential(0.002, bars))
    frame = {"open": open_, "high": np.maximum(open_, close) * spread, "low": np.minimum(open_, close) / spread}
    index = pd.date_range("2022-01-01", periods=bars, freq="min", tz="UTC").as_unit("ns")
    return pd.DataFrame({**frame, "close": close, "volume": 1.0}, index=index)


def by_pandas(klines: pd.DataFrame, events: int, width: float, horizon: int) -> int:
    """First touch of either barrier, one slice of the frame an event."""
    wins = 0
    for i in range(events):
        window = klines.iloc[i + 1 : i + 1 + horizon]
        entry = window["open"].iloc[0]
        up = window.index[window["high"] >= entry * np.exp(width)]
        down = window.index[window["low"] <= entry * np.exp(-width)]
        wins += bool(len(up)) and (not len(down) or up[0] < down[0])
    return wins


def seconds(call: Callable[[], Any]) -> float:
    """Duration of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def regime_line(quick: bool) -> dict[str, Any]:
    """One bar of a filter of 3 states on 3 observations, through the public class."""
    k = d = 3
    whiten = np.tile(np.eye(d), (k, 1, 1)) * np.array([2.0, 1.0, 0.5])[:, None, None]
    model = RegimeModel(
        spec=ModelSpec(columns=["a", "b", "c"], classes=["calm", "normal", "stressed"]),
        low=np.full(d, -9.0),
        high=np.full(d, 9.0),
        shift=np.zeros(d),
        scale=np.ones(d),
        log_start=np.log(np.full(k, 1 / k)),
        log_move=np.log(np.full((k, k), 0.02) + 0.94 * np.eye(k)),
        mean=np.zeros((k, d)),
        whiten=whiten,
        log_det=np.log(np.einsum("kii->ki", whiten)).sum(axis=1),
    )
    rows = np.random.default_rng(0).normal(size=(1_000 if quick else 20_000, d))
    stream = RegimeFilter(model, 10**9)
    stream.update(0, rows[0])
    times = []
    for t, row in enumerate(rows):
        start = time.perf_counter_ns()
        stream.update(t * 10**9, row)
        times.append(time.perf_counter_ns() - start)
    return {
        "workload": "regime filter, 3 states, 3 observations, one bar",
        "ours": float(np.median(times)) / 1e3,
        "peer": None,
        "ratio": None,
        "unit": "us",
        "note": "no peer that filters",
    }
