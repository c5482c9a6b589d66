"""Fill the feature cache ahead of time, many symbols in parallel; and compile every kernel ahead of time."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from ares.errors import InvalidInput
from ares.features.config import FeatureConfig

if TYPE_CHECKING:
    import pandas as pd

    Frames = pd.DataFrame | Callable[[], pd.DataFrame]

__all__ = ["Precomputed", "precompute", "warm"]


@frozen(kw_only=True)
class Precomputed:
    """What was done for one symbol."""

    symbol: str
    rows: int
    features: int
    resumed: bool  # the cache already held the leading rows


def precompute(
    config: FeatureConfig,
    klines: Mapping[str, Frames],
    *,
    executor: Executor | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Precomputed]:
    """Compute and cache all features of each symbol's klines.

    klines: symbol to a klines frame, or to a picklable function that loads it (so that workers load their own).
    executor: any `concurrent.futures.Executor`; None takes local processes, or this one for a single symbol.
    progress: called as (symbol, done, total) when a symbol is finished. A symbol whose bars are cached costs a read;
    one with new bars is extended, so an interrupted run resumes. Raises InvalidInput when the configuration names no
    cache folder, and whatever a symbol's data raise.
    """
    if config.wavelet_cache.cache_dir is None or not config.wavelet_cache.cache_enabled:
        raise InvalidInput("precomputing needs wavelet_cache.cache_dir, and cache_enabled: true")
    done: dict[str, Precomputed] = {}
    if executor is None and len(klines) <= 1:
        for symbol, frame in klines.items():
            done[symbol] = _one(config, symbol, frame)
            if progress:
                progress(symbol, len(done), len(klines))
        return done
    own = executor is None
    workers = min(len(klines), os.cpu_count() or 1)
    pool = executor or ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    try:
        futures = {pool.submit(_one, config, symbol, frame): symbol for symbol, frame in klines.items()}
        for future in as_completed(futures):
            symbol = futures[future]
            done[symbol] = future.result()
            if progress:
                progress(symbol, len(done), len(klines))
    finally:
        if own:
            pool.shutdown(cancel_futures=True)
    return {symbol: done[symbol] for symbol in klines}


def _one(config: FeatureConfig, symbol: str, klines: Frames) -> Precomputed:
    from ares.features.orchestrator import FeatureOrchestrator

    orchestrator = FeatureOrchestrator(config)
    frame = klines() if callable(klines) else klines
    features = orchestrator.compute(frame)
    hits = orchestrator.get_feature_status()["cache"]["hits"]
    return Precomputed(symbol=symbol, rows=len(features), features=features.shape[1], resumed=bool(hits))


def warm() -> None:
    """Compile every feature kernel, or load it from the compile cache; afterwards nothing compiles while trading."""
    from ares.features.orchestrator import FeatureOrchestrator
    from ares.kernels.encoder import encode
    from ares.kernels.engine import advance
    from ares.kernels.volume import gather_book, gather_trades, join_latest

    nan = float("nan")
    plan = FeatureOrchestrator().schema().plan
    engine = plan.start()
    one, flags = np.ones(1), np.ones(1, np.bool_)
    instants = np.zeros(1, np.int64)
    advance(
        engine.memory, engine.table, engine.state, engine.inputs, instants, np.empty(len(plan.names)), 0, 0, 0,
        1, 1.0, 1.0, 1.0, 1.0, 1.0, nan, nan, nan, nan, 3600.0,
    )  # fmt: skip
    gather_trades(instants, one, flags, 0, 1, instants, 1, 5.0, np.empty((6, 1)))
    gather_book(instants, one, one, one, one, instants, 1, np.empty((6, 1)))
    join_latest(instants, one, instants, 1, np.empty(1))
    widths = np.ones(3, np.int64)
    encode(one.reshape(1, 1), one, one, widths, np.ones(2), np.ones(2), 1, 0.0, 1.0, np.empty((2, 1)), np.empty((3, 1)))
