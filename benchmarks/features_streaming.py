"""A new bar through the front door: `Stream.update`, candle in, feature row out; and a million of them without growth.

`features_classic` and `features_default` measure the compiled call alone. Here is what a bot pays: checks, the call, a
row of its own memory. Budgets: the whole default set under 20 us a bar at the median; after a million bars less than
a megabyte and a hundred objects more than after the first fifty thousand, and not slower.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ares.features.config import FeatureConfig
from ares.features.orchestrator import FeatureOrchestrator
from ares.features.stream import Stream
from ares.market import Candle
from benchmarks.markets import made_up

MINUTE_NS = 60_000_000_000
BLOCK = 50_000
CHUNK = 1_000  # bars that are Python objects at a time


def candles(bars: int) -> Iterator[Candle]:
    """The bars of the made-up market one by one, so that none is kept."""
    m = made_up(bars)
    for begin in range(0, bars, CHUNK):
        columns = [column[begin : begin + CHUNK].tolist() for column in m.inputs[:9]]
        for number, *values in zip(m.numbers[begin : begin + CHUNK].tolist(), *columns, strict=True):
            o, h, low, c, v, quote, taker, taker_quote, trades = values
            open_ns = number * MINUTE_NS
            yield Candle(
                symbol="X", interval="1m", open_ns=open_ns, close_ns=open_ns + MINUTE_NS, open=o, high=h, low=low,
                close=c, volume=v, quote_volume=quote, taker_buy_volume=taker, taker_buy_quote_volume=taker_quote,
                trades=int(trades),
            )  # fmt: skip


def updates(stream: Stream, bars: int) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Nanoseconds of each update; after each block of bars the resident kilobytes and the blocks Python has in use."""
    taken = np.full(bars, np.nan)  # written to, so that its pages are there before memory is looked at
    held = []
    clock = time.perf_counter_ns
    for i, candle in enumerate(candles(bars)):
        begun = clock()
        stream.update(candle)
        taken[i] = clock() - begun
        if (i + 1) % BLOCK == 0:
            held.append((kilobytes(), sys.getallocatedblocks()))
    return taken, held


def kilobytes() -> int:
    """Resident memory of this process; 0 where the system does not tell."""
    if sys.platform != "linux":
        return 0
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def line(workload: str, value: float, unit: str, note: str) -> dict[str, Any]:
    return {"workload": workload, "ours": value, "peer": "none", "ratio": None, "unit": unit, "note": note}


def run(quick: bool) -> list[dict[str, Any]]:
    """Microseconds a bar at the median and the 99th percentile, growth of memory and of time."""
    bars = 4 * BLOCK if quick else 1_000_000
    lines = []
    sets = {
        "classic families": FeatureConfig(enable_advanced_features=False, timeframes=()),
        "default set": FeatureConfig(),
    }
    for name, config in sets.items():
        stream = FeatureOrchestrator(config).stream("X", "1m")
        count = len(stream.feature_names)
        n = bars if name == "default set" else bars // 5
        taken, held = updates(stream, n)
        median, late = np.percentile(taken[BLOCK // 2 :], [50, 99]) / 1e3
        target = "target < 20 at the median; " if name == "default set" else ""
        note = f"{target}99 % within {late:.3g}"
        lines.append(line(f"Stream.update, {name}, {count} features", float(median), "us per bar", note))
    (resident, blocks), (resident_then, blocks_then) = held[0], held[-1]
    if resident:
        grown = (resident_then - resident) / 1024
        lines.append(line(f"memory gained from bar {BLOCK:,} to {n:,}", grown, "MB", "target < 1"))
    more = float(blocks_then - blocks)
    lines.append(line(f"Python objects gained from bar {BLOCK:,} to {n:,}", more, "objects", "target < 100"))
    slower = float(np.median(taken[-BLOCK:]) / np.median(taken[BLOCK // 2 : BLOCK + BLOCK // 2]))
    lines.append(line(f"time of the last {BLOCK:,} bars over that of early ones", slower, "x", "target 1"))
    return lines
