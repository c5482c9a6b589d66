"""Compile every feature kernel ahead of time."""

from __future__ import annotations

import numpy as np

from ares.features.orchestrator import FeatureOrchestrator
from ares.kernels.encoder import encode
from ares.kernels.engine import advance
from ares.kernels.jit import is_compiled
from ares.kernels.volume import gather_book, gather_trades, join_latest

__all__ = ["is_warm", "warm", "warm_engine", "warm_sources"]


def is_warm() -> bool:
    """True when the kernel that takes nearly all of the time to compile need not be compiled."""
    return is_compiled(advance)


def warm() -> None:
    """Compile every feature kernel, or load it from the compile cache; afterwards nothing compiles while trading."""
    warm_engine()
    warm_sources()


def warm_engine() -> None:
    """Compile the kernel that interprets the table: it takes nearly all of the time."""
    nan = float("nan")
    plan = FeatureOrchestrator().schema().plan
    engine = plan.start()
    instants = np.zeros(1, np.int64)
    advance(
        engine.memory, engine.table, engine.state, engine.inputs, instants, np.empty(len(plan.names)), 0, 0, 0,
        1, 1.0, 1.0, 1.0, 1.0, 1.0, nan, nan, nan, nan, 3600.0,
    )  # fmt: skip


def warm_sources() -> None:
    """Compile the small kernels around the table: what gathers its inputs, and the autoencoder."""
    one, flags, instants = np.ones(1), np.ones(1, np.bool_), np.zeros(1, np.int64)
    gather_trades(instants, one, flags, 0, 1, instants, 1, 5.0, np.empty((6, 1)))
    gather_book(instants, one, one, one, one, instants, 1, np.empty((6, 1)))
    join_latest(instants, one, instants, 1, np.empty(1))
    widths = np.ones(3, np.int64)
    encode(one.reshape(1, 1), one, one, widths, np.ones(2), np.ones(2), 1, 0.0, 1.0, np.empty((2, 1)), np.empty((3, 1)))
