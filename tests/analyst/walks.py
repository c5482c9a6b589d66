"""Bars of random walks, rows of two columns on them, and questions to a rule analyst."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ares.analyst.rules import RuleAnalyst
from ares.market import Candle, MarketView
from ares.protocols import AnalysisInput, AnalysisResult, FeatureRow

HOUR = 3_600_000_000_000
T0 = 1_699_999_200_000_000_000
NAMES = ("volatility.ewma_128", "signal")
REFERENCE = (
    "volatility.ewma_32",
    "volatility.ewma_128",
    "trend.ema_distance_50",
    "wavelet.db4_slope",
    "trend.ema_distance_50@4h",
    "trend.di_plus_14",
    "trend.di_minus_14",
)
Bar = tuple[int, float, float, float, float, float]


def question(bar: Bar, values: Sequence[float], names: tuple[str, ...] = NAMES, ready: bool = True) -> AnalysisInput:
    open_ns = bar[0]
    row = FeatureRow(
        symbol="ETHUSDT",
        interval="1h",
        open_ns=open_ns,
        known_ns=open_ns + HOUR,
        schema_id="|".join(names),
        values=np.array(values),
        ready=ready,
        names=names,
    )
    candle = Candle(
        symbol="ETHUSDT",
        interval="1h",
        open_ns=open_ns,
        close_ns=open_ns + HOUR,
        open=bar[1],
        high=bar[2],
        low=bar[3],
        close=bar[4],
        volume=bar[5],
    )
    market = MarketView(symbol="ETHUSDT", now_ns=open_ns + HOUR, candle=candle, mark_price=bar[4])
    return AnalysisInput(symbol="ETHUSDT", now_ns=open_ns + HOUR, row=row, market=market)


def walk(n: int, seed: int = 0, drift: float = 0.0, gaps: bool = False) -> list[Bar]:
    """Hourly bars of a random walk; with `gaps` some are missing, have no volume, or open away from the last close."""
    rng = np.random.default_rng(seed)
    bars: list[Bar] = []
    price, hour = 3000.0, 0
    for _ in range(n):
        hour += 1 if not gaps or rng.random() > 0.05 else int(rng.integers(2, 6))
        if gaps and rng.random() < 0.1:
            price *= math.exp(0.02 * rng.standard_normal())
        path = price * np.exp(np.cumsum(0.0025 * rng.standard_normal(16) + drift / 16))
        volume = 0.0 if gaps and rng.random() < 0.05 else 10.0
        high, low = max(price, path.max()), min(price, path.min())
        bars.append((T0 + hour * HOUR, price, float(high), float(low), float(path[-1]), volume))
        price = float(path[-1])
    return bars


def signal(row: FeatureRow) -> float | None:
    value = row["signal"]
    return None if value == 0.0 else value


def run(
    analyst: RuleAnalyst, bars: Sequence[Bar], rows: NDArray[np.float64], names: tuple[str, ...] = NAMES
) -> list[AnalysisResult]:
    return [analyst.analyze(question(bar, row, names)) for bar, row in zip(bars, rows, strict=True)]


def rows_for(bars: Sequence[Bar], seed: int = 1) -> NDArray[np.float64]:
    """Volatility near 0.01 and a signal that changes at random."""
    rng = np.random.default_rng(seed)
    signals = rng.choice([-0.9, -0.5, 0.0, 0.1, 0.5, 1.0], size=len(bars))
    return np.column_stack([0.01 * np.exp(0.2 * rng.standard_normal(len(bars))), signals])


def reasons(result: AnalysisResult) -> list[str]:
    return [reason.code for reason in result.reasons]
