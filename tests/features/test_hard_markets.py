"""In hard markets every feature stays in the range its documentation states, and is NaN only where that says so."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from ares.features.config import FeatureConfig, WaveletConfig
from ares.features.orchestrator import FeatureOrchestrator
from ares.features.sources import FUTURES_COLUMNS
from tests.features.real import candles_of, differences

ROWS = 1_600
LEVELS = (50.0, 99.0, 101.0, 400.0)
EVERYTHING = FeatureConfig(wavelets=WaveletConfig(window=128, exact=True))
SLACK = 1e-9
STILL = ("flat", "flat at the end", "no volume", "volume now and then", "the same volume")  # nothing to divide by


def market(kind: str, seed: int = 5) -> pd.DataFrame:
    """Hourly klines with all columns."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(0, 0.01, ROWS)
    volume = rng.lognormal(2, 1, ROWS)
    scale = 100.0
    if kind == "flat":
        steps[:] = 0.0
    if kind == "flat at the end":
        steps[800:] = 0.0
    if kind == "jumps":
        steps[::97] = rng.choice([-4.0, 4.0], steps[::97].size)
    if kind == "no volume":
        volume[:] = 0.0
    if kind == "volume now and then":
        volume[rng.random(ROWS) < 0.7] = 0.0
        steps[volume == 0] = 0.0
    if kind == "the same volume":
        volume[:] = 3.0
    if kind == "only up":
        steps = np.abs(steps)
    if kind == "up and down":
        steps = 0.01 * (-1.0) ** np.arange(ROWS)
    if kind == "tiny prices":
        scale = 1e-8
    if kind == "huge prices":
        scale, volume = 1e9, volume * 1e9
    if kind == "collapse":
        steps[10] = -14.0  # the average true range is then a million prices, and the profile of volumes begins there
    close = scale * np.exp(np.cumsum(steps))
    open_ = np.concatenate([close[:1], close[:-1]])
    wick = 0.0 if "flat" in kind else 0.003
    high, low = np.maximum(open_, close) * (1 + wick), np.minimum(open_, close) * (1 - wick)
    index = pd.date_range("2024-01-01", periods=ROWS, freq="1h", tz="UTC", unit="ns", name="open_time")
    bought = volume * rng.uniform(0, 1, ROWS)
    columns = {
        "open": open_, "high": high, "low": low, "close": close, "volume": volume, "quote_volume": volume * close,
        "taker_buy_volume": bought, "taker_buy_quote_volume": bought * close, "trades": np.ceil(volume).astype(int),
    }  # fmt: skip
    frame = pd.DataFrame(columns, index=index)
    if kind == "gaps":
        keep = rng.random(ROWS) < 0.8
        keep[400:470] = False
        frame = frame[keep]
    return frame


KINDS = (
    "plain", "flat", "flat at the end", "jumps", "gaps", "no volume", "volume now and then", "the same volume",
    "only up", "up and down", "tiny prices", "huge prices", "collapse",
)  # fmt: skip


def statistics(klines: pd.DataFrame) -> pd.DataFrame:
    """Futures statistics published at every close; funding changes each eighth hour."""
    rng = np.random.default_rng(8)
    n = len(klines)
    published = pd.DataFrame({name: np.exp(rng.normal(0, 0.1, n)) for name in FUTURES_COLUMNS}, index=klines.index)
    published["funding_rate"] = np.repeat(rng.normal(0, 1e-4, n // 8 + 1), 8)[:n]
    published["mark_price"] = published["index_price"] = klines["close"]
    return published.set_axis(klines.index + pd.Timedelta("1h"))


def bounds(text: str) -> tuple[float, float] | None:
    """The closed interval that holds what a documented range allows; None when it allows anything."""
    head = text.partition(";")[0]
    if "about" in head or head.startswith("any"):
        return None
    if found := re.search(r"[\[(](-?[\d.]+), (-?[\d.]+)[\])]", head):
        return float(found[1]), float(found[2])
    if found := re.search(r"\{([-\d, .]+)\}", head):
        values = [float(x) for x in found[1].split(",")]
        return min(values), max(values)
    if found := re.search(r">=? (-?[\d.]+)", head):
        return float(found[1]), np.inf
    return None


@pytest.fixture(scope="module")
def orchestrator() -> FeatureOrchestrator:
    return FeatureOrchestrator(EVERYTHING)


@pytest.mark.parametrize("kind", KINDS)
def test_every_feature_keeps_its_documented_range(orchestrator: FeatureOrchestrator, kind: str) -> None:
    klines = market(kind)
    got = orchestrator.compute(klines, futures_df=statistics(klines), sr_levels=LEVELS)
    schema = orchestrator.current_schema
    wrong = []
    for feature, warmup in zip(schema.features, schema.plan.warmup.tolist(), strict=True):
        values = got[feature.name].to_numpy()
        if np.isinf(values).any():
            wrong.append(f"{feature.name} is infinite")
        limits = bounds(feature.recipe.range)
        if limits is not None:
            low, high = np.nanmin(values, initial=np.inf), np.nanmax(values, initial=-np.inf)
            slack = SLACK * max(1.0, abs(limits[0]))
            if low < limits[0] - slack or high > limits[1] + slack:
                wrong.append(f"{feature.name} in [{low}, {high}], not {feature.recipe.range}")
        if "NaN" in feature.recipe.range or kind in (*STILL, "gaps"):
            continue
        if (rows := np.flatnonzero(np.isnan(values[warmup:]))).size:
            wrong.append(f"{feature.name} is NaN {rows.size} times from row {rows[0] + warmup}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("missing", [0.3, 0.7, 0.95])
def test_many_missing_bars_give_the_same_rows_in_batch_and_bar_by_bar(missing: float) -> None:
    """Few base bars then touch many higher ones, more than when none is missing."""
    rng = np.random.default_rng(11)
    klines = pd.concat([market("plain", seed) for seed in range(3)])
    klines.index = pd.date_range("2024-01-01", periods=len(klines), freq="1h", tz="UTC", unit="ns", name="open_time")
    klines = klines[rng.random(len(klines)) >= missing]
    config = FeatureConfig(groups=("returns", "momentum", "volume"), timeframes=("2h", "4h", "1d"))
    features = FeatureOrchestrator(config)
    whole = features.compute(klines, interval="1h")
    stream = features.stream("ETHUSDT", "1h")
    rows = [stream.update(candle).values for candle in candles_of(klines, "1h")]
    assert differences(pd.DataFrame(rows, klines.index, whole.columns), whole) == []
    assert np.isfinite(whole["momentum.rsi_14@4h"].to_numpy()[-1])
