"""Compile what an analyst calls, ahead of time."""

from __future__ import annotations

import numpy as np

from ares.analyst.config import RuleConfig, VigilanceConfig
from ares.analyst.dual_model import needed_confidence, pool
from ares.analyst.reference import Columns, read
from ares.analyst.vigilance import Vigilance
from ares.market import Candle
from ares.models.reference import DriftReference

__all__ = ["warm"]


def warm() -> None:
    """Compile the rule of the reference analyst, the pooling of a dual model and its vigilance, or load them."""
    one, rows = np.ones(1), np.ones((1, 3))
    read(one, Columns(volatility=0, places=np.zeros(7, np.int64)), RuleConfig())
    pool(rows / 2, rows[0] / 2, rows[0], 0.5)
    needed_confidence(np.ones(1, np.int64), one, one, one / 2, 0.001)
    reference = DriftReference(edges=np.zeros((1, 1)), share=np.full((1, 2), 0.5), low=one, high=one)
    config = VigilanceConfig(every=1)
    vigilance = Vigilance(reference, 1, 1.0, config)
    for _ in range(config.window):
        vigilance.row(one)
    vigilance.stranger(one)
    vigilance.bet(1, 0.01, 0.01, 0.5)
    candle = Candle(
        symbol="X", interval="1m", open_ns=0, close_ns=60_000_000_000, open=1.0, high=1.0, low=1.0, close=1.0,
        volume=1.0,
    )  # fmt: skip
    vigilance.bar(candle)
