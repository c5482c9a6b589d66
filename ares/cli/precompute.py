"""`ares precompute`: all features of many symbols into the feature cache, ahead of time."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from attrs import evolve

from ares.cli import options
from ares.cli.exits import ends_with_exit_code

if TYPE_CHECKING:
    import pandas as pd

    from ares.exchange.config import BinanceConfig
    from ares.features.config import FeatureConfig

__all__ = ["precompute"]

DEFAULT_FOLDER = Path("data/wavelet_cache")
STORE = Path("data")
_DAY_NS = 86_400_000_000_000


@ends_with_exit_code
def precompute(
    symbol: Annotated[list[str] | None, typer.Option(help="What to compute; may be given many times.")] = None,
    exchange: options.ExchangeName = "SIM",
    tape: Annotated[
        str | None,
        typer.Option(
            help="Recorded klines, Parquet or CSV; {symbol} in the path stands for each symbol. None: SIM's synthetic "
            "market, or BINANCE's klines in ./data, as `ares download` keeps them, and those since."
        ),
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
    """Compute all features and keep them in the cache. A run that was interrupted goes on where it stopped.

    With --exchange BINANCE and no tape the newest closed klines are added to those in ./data first, by REST and without
    keys. Where nothing is kept yet, the last --bars of them are the beginning; None: 5,000.
    """
    from concurrent.futures import ProcessPoolExecutor
    from contextlib import nullcontext
    from multiprocessing import get_context

    from ares.cli.market import known_exchange
    from ares.cli.screen import note, print_json, progress_bar
    from ares.cli.settings import settings
    from ares.errors import InvalidInput
    from ares.features.orchestrator import FeatureOrchestrator
    from ares.features.warm import is_warm

    venue = known_exchange(exchange, "SIM", "BINANCE")
    symbols = list(dict.fromkeys(symbol or ["ETHUSDT"]))
    if tape is not None and len(symbols) > 1 and "{symbol}" not in tape:
        raise InvalidInput("one tape holds one symbol: write {symbol} in the path where the symbol's name stands")
    given = settings(config, log=log)
    chosen = _with_folder(given.features)
    if venue == "BINANCE" and tape is None:
        tape = asyncio.run(_kept(given.exchange, symbols, interval, bars))
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
        if is_warm():
            advance(0)  # what takes long now is the data, and no compiling
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


async def _kept(config: BinanceConfig, symbols: list[str], interval: str | None, bars: int | None) -> str:
    """Bring the stored klines of every symbol up to date by REST; the path of their files, with {symbol} in it.

    A beginning that stays where it is lets a later run go on from the cache. Raises: what the venue's reads raise.
    """
    from ares.cli.market import DEFAULT_BARS, DEFAULT_INTERVAL
    from ares.cli.reach import remembering
    from ares.cli.screen import note
    from ares.download import append_recent
    from ares.exchange.binance import BinanceExchange
    from ares.instruments import Interval

    length = Interval.parse(interval or DEFAULT_INTERVAL)
    days = -(-(bars or DEFAULT_BARS) * length.ns // _DAY_NS)
    note(f"klines from {config.rest}")
    async with BinanceExchange(remembering(evolve(config, api_key=None, api_secret=None))) as source:
        for name in symbols:
            added = await append_recent(source, name, length.name, STORE, days)
            note(f"{name}: {added:,} new bars of {length.name}")
    return str(STORE / "klines" / f"{{symbol}}-{length.name}.parquet")


def _klines(symbol: str, tape: str | None, interval: str | None, seed: int, bars: int | None) -> pd.DataFrame:
    """One symbol's klines; called in the process that computes them."""
    from ares.cli.market import open_tape

    path = Path(tape) if tape is not None else None
    return open_tape(symbol, tape=path, interval=interval, seed=seed, bars=bars).frame()
