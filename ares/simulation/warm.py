"""Compile the rules of the venue that a short session may not meet, ahead of time."""

from __future__ import annotations

from ares.kernels.ledger import bankruptcy_ticks
from ares.kernels.matching import fill_ticks, taken_ticks

__all__ = ["warm"]


def warm() -> None:
    """Compile how limit orders fill and where a liquidation ends, or load it from the compile cache."""
    fill_ticks(0, 1, 1, 1, 0)
    taken_ticks(1, 1, 1, 0)
    bankruptcy_ticks(1, 1, 1, 1, 1)
