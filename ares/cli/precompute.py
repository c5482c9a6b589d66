"""`ares precompute`: all features of many symbols into the feature cache, ahead of time."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from attrs import evolve

from ares.cli import options
from ares.cli.exits import ends_with_exit_code

if TYPE_CHECKING:
    import pandas as pd

    from ares.features.config import FeatureConfig

__all__ = ["precompute"]

DEFAULT_FOLDER = Path("data/wavelet_cache")


@ends_with_exit_code
def precompute(
    symbol: Annotated[list[str] | None, typer.Option(help="What to compute; may be given many times.")] = None,
    exchange: options.ExchangeName = "SIM",
    tape: Annotated[
        str | None,
        typer.Option(help="Recorded klines, Parquet or CSV; {symbol} in the path stands for each symbol."),
    ] = None,
    interval: options.IntervalName = None,
    bars: options.Bars = None,
    seed: options.Seed = 0,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes. None: one a core.")] = None,
    config: options.ConfigFile = None,
    json: options.JsonOut = False,
    progress: options.Progress = None,
    log: options.LogLevel = None,
) -> None:
    """Compute all features and keep them in the cache. A run that was interrupted goes on where it stopped."""
    from concurrent.futures import ProcessPoolExecutor
    from contextlib import nullcontext
    from multiprocessing import get_context

    from ares.cli.market import check_exchange_name
    from ares.cli.screen import note, print_json, progress_bar
    from ares.cli.settings import settings
    from ares.errors import InvalidInput
    from ares.features.orchestrator import FeatureOrchestrator

    check_exchange_name(exchange)
    symbols = list(dict.fromkeys(symbol or ["ETHUSDT"]))
    if tape is not None and len(symbols) > 1 and "{symbol}" not in tape:
        raise InvalidInput("one tape holds one symbol: write {symbol} in the path where the symbol's name stands")
    chosen = _with_folder(settings(config, log=log).features)
    loads = {
        name: partial(_klines, name, tape.replace("{symbol}", name) if tape is not None else None, interval, seed, bars)
        for name in symbols
    }
    pool = (
        ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
        if workers is not None and len(symbols) > 1
        else nullcontext(None)
    )
    with pool as executor, progress_bar("features, %", 100, progress) as advance:
        done = FeatureOrchestrator(chosen).precompute(
            loads,
            executor=executor,
            progress=lambda name, finished, total: advance(100 * finished // total),
            rows=lambda name, rows, total: advance(100 * rows // total),
        )
    folder = str(chosen.wavelet_cache.cache_dir)
    if json:
        rows = {name: {"rows": d.rows, "features": d.features, "resumed": d.resumed} for name, d in done.items()}
        print_json({"cache_dir": folder, "symbols": rows})
        return
    for name, d in done.items():
        note(f"{name}: {d.rows:,} rows of {d.features} features{', continued from the cache' if d.resumed else ''}")
    note(f"cache: {folder}")


def _with_folder(features: FeatureConfig) -> FeatureConfig:
    """The settings with a cache folder: the program's own place unless the file names one."""
    cache = features.wavelet_cache
    return evolve(features, wavelet_cache=evolve(cache, cache_dir=cache.cache_dir or DEFAULT_FOLDER))


def _klines(symbol: str, tape: str | None, interval: str | None, seed: int, bars: int | None) -> pd.DataFrame:
    """One symbol's klines; called in the process that computes them."""
    from ares.cli.market import open_tape

    path = Path(tape) if tape is not None else None
    return open_tape(symbol, tape=path, interval=interval, seed=seed, bars=bars).frame()
