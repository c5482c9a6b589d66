"""Fill the feature cache ahead of time, many symbols in parallel."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING

from attrs import frozen

from ares.errors import InvalidInput
from ares.features.config import FeatureConfig

if TYPE_CHECKING:
    import pandas as pd

    Frames = pd.DataFrame | Callable[[], pd.DataFrame]

__all__ = ["Precomputed", "precompute"]


@frozen(kw_only=True)
class Precomputed:
    """What was done for one symbol."""

    symbol: str
    rows: int
    features: int
    resumed: bool  # the cache already held the leading rows


def precompute(
    one: Callable[..., Precomputed],
    config: FeatureConfig,
    klines: Mapping[str, Frames],
    *,
    executor: Executor | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    rows: Callable[[str, int, int], None] | None = None,
) -> dict[str, Precomputed]:
    """Compute and cache all features of each symbol's klines.

    one: does it for one symbol (configuration, symbol, frame, and whom to tell of rows); picklable. klines: symbol to a
    klines frame, or to a picklable function that loads it (so that workers load their own).
    executor: any `concurrent.futures.Executor`; None takes local processes, or this one for a single symbol.
    progress: called as (symbol, done, total) when a symbol is finished. rows: called as (symbol, rows done, rows in
    all) on the way through a symbol, when it is computed in this process. A symbol whose bars are cached costs a read;
    one with new bars is extended, and a long one is kept in parts, so an interrupted run resumes. Raises InvalidInput
    when the configuration names no cache folder or one that cannot be used, and whatever a symbol's data raise.
    """
    if config.wavelet_cache.cache_dir is None or not config.wavelet_cache.cache_enabled:
        raise InvalidInput("precomputing needs wavelet_cache.cache_dir, and cache_enabled: true")
    if not isinstance(klines, Mapping):
        raise InvalidInput(f"klines must map symbols to frames, not be a {type(klines).__name__}")
    done: dict[str, Precomputed] = {}
    if executor is None and len(klines) <= 1:
        for symbol, frame in klines.items():
            done[symbol] = one(config, symbol, frame, None if rows is None else partial(rows, symbol))
            if progress:
                progress(symbol, len(done), len(klines))
        return done
    own = executor is None
    workers = min(len(klines), os.cpu_count() or 1)
    pool = executor or ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    try:
        futures = {pool.submit(one, config, symbol, frame): symbol for symbol, frame in klines.items()}
        for future in as_completed(futures):
            symbol = futures[future]
            done[symbol] = future.result()
            if progress:
                progress(symbol, len(done), len(klines))
    finally:
        if own:
            pool.shutdown(cancel_futures=True)
    return {symbol: done[symbol] for symbol in klines}
