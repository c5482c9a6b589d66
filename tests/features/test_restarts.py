"""Recursions that begin afresh, over and over, beside the same recursions that never do."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from ares.features import expression as ex
from ares.features.orchestrator import FeatureOrchestrator
from ares.features.plan import Plan, Wanted, make_plan
from ares.kernels.engine import advance
from ares.kernels.layout import BAR_INPUTS

Array = NDArray[np.float64]

BARS = 60_000
RATIO = 15  # of the higher timeframe, which runs several restarts side by side
FIRST = 26_000_010  # a multiple of it, so that no higher bar is left out
NAN = float("nan")


@pytest.fixture(scope="module")
def bars() -> Array:
    """(10, BARS): a random walk of one-minute bars, in the engine's order of columns."""
    rng = np.random.default_rng(8)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.003, BARS)))
    open_ = np.concatenate([[100.0], close[:-1]])
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0, 0.001, BARS)))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0, 0.001, BARS)))
    rest = np.ones((6, BARS))
    return np.vstack([open_, high, low, close, rest])


def wanted(ratio: int) -> list[Wanted]:
    adx = ex.many("direction", ex.HIGH, ex.LOW, ex.CLOSE, outputs=3, ints=(14,))
    return [
        Wanted("ema_50", ex.ema(ex.CLOSE, 50), ratio),
        Wanted("ema_200", ex.ema(ex.CLOSE, 200), ratio),
        Wanted("rsi_14", ex.Output(ex.node("rsi", ex.CLOSE, ints=(14,))), ratio),
        Wanted("atr_14", ex.atr(14), ratio),
        *(Wanted(name, x, ratio) for name, x in zip(("adx", "plus", "minus"), adx, strict=True)),
    ]


def run(plan: Plan, bars: Array) -> Array:
    engine = plan.start()
    out = np.empty((len(plan.names), BARS))
    advance(
        engine.memory, engine.table, engine.state, np.ascontiguousarray(bars).reshape(-1),
        FIRST + np.arange(BARS), out.reshape(-1), 0, BARS, 0, 0, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN,
    )  # fmt: skip
    return out


def wilder(x: Array, alpha: float, begin: float) -> Array:
    """The plain recursion over all rows."""
    mean, out = begin, np.empty(x.size)
    for i, value in enumerate(x):
        mean += alpha * (value - mean)
        out[i] = mean
    return out


def never_restarted(high: Array, low: Array, close: Array) -> dict[str, Array]:
    """The definitions; row 0, which has no row before it, begins the recursions."""
    d = np.diff(close, prepend=close[0])
    up, down = wilder(np.maximum(d, 0), 1 / 14, 0.0), wilder(np.maximum(-d, 0), 1 / 14, 0.0)
    before = np.concatenate([close[:1], close[:-1]])
    rise, fall = np.diff(high, prepend=high[0]), -np.diff(low, prepend=low[0])
    p = wilder(np.where((rise > fall) & (rise > 0), rise, 0.0), 1 / 14, 0.0)
    q = wilder(np.where((fall > rise) & (fall > 0), fall, 0.0), 1 / 14, 0.0)
    reach = wilder(np.maximum(high, before) - np.minimum(low, before), 1 / 14, 0.0)
    with np.errstate(invalid="ignore"):
        apart = np.nan_to_num(np.abs(p - q) / (p + q))
        found = {"rsi_14": up / (up + down), "plus": p / reach, "minus": q / reach, "adx": wilder(apart, 1 / 14, 0.0)}
    found["atr_14"] = reach
    series = pd.Series(close)
    for span in (50, 200):
        found[f"ema_{span}"] = series.ewm(span=span, adjust=False).mean().to_numpy()
    return found


@pytest.mark.parametrize("ratio", [1, RATIO])
def test_restarts_do_not_show(bars: Array, ratio: int) -> None:
    plan = make_plan(wanted(ratio), BAR_INPUTS, 60_000_000_000)
    got = run(plan, bars)[:, ratio - 1 :: ratio]  # the rows that see a new bar
    high = bars[1].reshape(-1, ratio).max(axis=1)
    low = bars[2].reshape(-1, ratio).min(axis=1)
    close = bars[3].reshape(-1, ratio)[:, -1]
    expected = never_restarted(high, low, close)
    for row, name, settle in zip(got, plan.names, plan.settle.tolist(), strict=True):
        since = -(-settle // ratio)
        assert since < 0.9 * close.size, name
        size = np.abs(expected[name][since:]).max()
        assert np.abs(row[since:] - expected[name][since:]).max() <= 1e-9 * size, name


@pytest.mark.parametrize("interval", ["1m", "5m", "15m", "1h", "4h", "1d"])
def test_a_live_start_fetches_little_to_settle(interval: str) -> None:
    """Seven requests of 1,500 bars, whatever the higher timeframe."""
    assert FeatureOrchestrator().schema(interval).settle <= 7 * 1_500
