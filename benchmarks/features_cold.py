"""From nothing to the first row: importing, compiling everything once, starting with what was compiled.

Each figure is that of new processes; compiled code goes to a folder of its own, so that nothing is warm by accident.
Budgets: `import ares` within 0.25 s, `ares warm` within 20 s for features and backtest together, the first feature row
of a later process within a second, imports included.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

IMPORT = "import ares"
NUMPY = "import numpy, msgspec, attrs"
NOTHING = "pass"
READY = """
from ares.features.orchestrator import FeatureOrchestrator
from ares.market import Candle
stream = FeatureOrchestrator().stream("X", "1h")
stream.update(Candle(symbol="X", interval="1h", open_ns=0, close_ns=3600 * 10**9, open=1.0, high=1.0, low=1.0,
                     close=1.0, volume=1.0))
"""


def seconds(*arguments: str, **environment: str) -> float:
    """Wall time of a new interpreter, its start included."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, *arguments], env=surroundings(**environment), capture_output=True, check=True)
    return time.perf_counter() - begun


def processor() -> float:
    """Processor seconds of all finished children: what a busy machine does not stretch."""
    used = os.times()
    return used.children_user + used.children_system


def surroundings(**environment: str) -> dict[str, str]:
    """This process's environment, with bytecode kept as an installed package has it."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, **environment}


def middle(*arguments: str, rounds: int, **environment: str) -> float:
    """Median of several, after one that fills the disk's cache."""
    seconds(*arguments, **environment)
    return statistics.median(seconds(*arguments, **environment) for _ in range(rounds))


def line(workload: str, value: float, note: str, peer: float | None = None) -> dict[str, Any]:
    return {
        "workload": workload,
        "ours": value,
        "peer": "none" if peer is None else peer,
        "ratio": None if peer is None else peer / value,
        "unit": "s",
        "note": note,
    }


def run(quick: bool) -> list[dict[str, Any]]:
    """Seconds to import, to compile everything and to the first feature row."""
    rounds = 3 if quick else 9
    bare = middle("-c", NOTHING, rounds=rounds)
    ours = middle("-c", IMPORT, rounds=rounds) - bare
    least = middle("-c", NUMPY, rounds=rounds) - bare
    with tempfile.TemporaryDirectory() as folder:
        before = processor()
        cold = seconds("-m", "ares", "warm", "--json", NUMBA_CACHE_DIR=folder)
        spent = processor() - before
        warm = middle("-m", "ares", "warm", "--json", rounds=rounds // 2, NUMBA_CACHE_DIR=folder)
        ready = middle("-c", READY, rounds=rounds // 2, NUMBA_CACHE_DIR=folder)
    return [
        line("import ares", ours, "target <= 0.25; beside the import of numpy, msgspec and attrs", least),
        line("ares warm, nothing compiled", cold, f"target < 20; {spent:.1f} s of processors, two when there are two"),
        line("ares warm, everything compiled", warm, "loads it all, and runs a short backtest"),
        line("first feature row of a new process, everything compiled", ready, "target < 1, imports included"),
    ]
