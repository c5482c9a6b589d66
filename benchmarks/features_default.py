"""The whole default set: throughput, memory and linearity in batch, latency bar by bar, cold and warm start.

Budgets: at least 80 million values a second on one core, peak memory under 2.5 times the result, ten times the bars in
at most eleven times the time; under 20 us a bar at the median, in one compiled call; ready within a second when the
compile cache is warm.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np

from ares.features.orchestrator import FeatureOrchestrator
from ares.market import Candle
from benchmarks.features_classic import bar_by_bar
from benchmarks.markets import made_up

MEMORY = """
import pathlib
from ares.features.orchestrator import FeatureOrchestrator
from benchmarks.markets import made_up
def kilobytes(key):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))
features = FeatureOrchestrator()
features.compute(made_up(2_000).frame())
frame = made_up({n}).frame()
before = kilobytes("VmRSS")
got = features.compute(frame)
print((kilobytes("VmHWM") - before) * 1024 / got.to_numpy().nbytes)
"""

START = """
import time
begun = time.perf_counter()
from ares.features.orchestrator import FeatureOrchestrator
from ares.market import Candle
stream = FeatureOrchestrator().stream("X", "1h")
row = stream.update(Candle(symbol="X", interval="1h", open_ns=0, close_ns=3600 * 10**9, open=1.0, high=1.0, low=1.0,
                           close=1.0, volume=1.0))
print(time.perf_counter() - begun)
"""


def fresh(program: str, **environment: str) -> float:
    """What a new process prints."""
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[-1])


def line(workload: str, value: float, unit: str, target: str) -> dict[str, Any]:
    peer = {"peer": "none", "ratio": None}
    return {"workload": workload, "ours": value, **peer, "unit": unit, "note": f"target {target}"}


def run(quick: bool) -> list[dict[str, Any]]:
    """Figures of the default set."""
    n = 100_000 if quick else 1_000_000
    frame, small = made_up(n).frame(), made_up(n // 10).frame()
    features = FeatureOrchestrator()
    features.compute(small)
    whole = min(_seconds(lambda: features.compute(frame)) for _ in range(2 if quick else 4))
    tenth = min(_seconds(lambda: features.compute(small)) for _ in range(3))
    schema = features.current_schema
    count = len(schema.names)
    lines = [
        line(f"default set, {count} features, batch of {n:,} bars", count * n / whole / 1e6, "M values/s", ">= 80"),
        line(f"default set, time of {n:,} bars over that of a tenth", whole / tenth, "x", "<= 11"),
        line("default set, bar by bar", bar_by_bar(schema.plan, made_up(n), n // 10) * 1e6, "us per bar", "< 20"),
        line("default set, candle in, checked row out", _updates(features, n // 20) * 1e6, "us per bar", "< 40"),
    ]
    if sys.platform == "linux":
        memory = fresh(MEMORY.replace("{n}", str(n)))
        lines.append(line("default set, peak memory over the result", memory, "x", "< 2.5"))
    with tempfile.TemporaryDirectory() as folder:
        cold = fresh(START, NUMBA_CACHE_DIR=folder)
        warm = min(fresh(START, NUMBA_CACHE_DIR=folder) for _ in range(3))
    lines.append(line("first row in a fresh process, nothing compiled", cold, "s", "< 20"))
    lines.append(line("first row in a fresh process, compile cache warm", warm, "s", "< 1"))
    return lines


def _updates(features: FeatureOrchestrator, bars: int) -> float:
    """Median seconds of `Stream.update`."""
    stream = features.stream("X", "1m")
    taken = []
    m = made_up(bars)
    for number, row in zip(m.numbers.tolist(), m.inputs.T.tolist(), strict=True):
        open_ns = number * 60_000_000_000
        candle = Candle(
            symbol="X", interval="1m", open_ns=open_ns, close_ns=open_ns + 60_000_000_000,
            open=row[0], high=row[1], low=row[2], close=row[3], volume=row[4], quote_volume=row[5],
            taker_buy_volume=row[6], taker_buy_quote_volume=row[7], trades=int(row[8]),
        )  # fmt: skip
        begun = time.perf_counter_ns()
        stream.update(candle)
        taken.append(time.perf_counter_ns() - begun)
    return float(np.median(taken)) / 1e9


def _seconds(work: Any) -> float:
    begun = time.perf_counter()
    np.asarray(work())
    return time.perf_counter() - begun
