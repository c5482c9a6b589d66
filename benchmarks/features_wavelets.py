"""Wavelet energies over a trailing window of 256 bars, db4, four levels, beside PyWavelets.

The peer decomposes all sliding windows in batches, which is the fastest way to its numbers. Budgets: the streaming
transform at least 25 times that; the exact windowed mode, which gives the peer's own numbers, at least twice it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
import pywt

from ares.features.catalogue.wavelet import recipes
from ares.features.config import WaveletConfig
from ares.features.plan import Plan, Wanted, make_plan
from ares.kernels.engine import advance
from ares.kernels.layout import BAR_INPUTS
from benchmarks.markets import Market, made_up

NAN = float("nan")
WINDOW, LEVELS, FAMILY = 256, 4, "db4"


def plan_of(exact: bool) -> Plan:
    """The energies' shares of every level."""
    config = WaveletConfig(families=(FAMILY,), levels=LEVELS, window=WINDOW, exact=True)
    chosen = [r for r in recipes(config) if "energy" in r.name and ("exact" in r.name) == exact]
    wanted = [Wanted(r.feature_name(v), r.build(*v)) for r in chosen for v in r.defaults]
    return make_plan(wanted, BAR_INPUTS, 60 * 10**9)


def ours(plan: Plan, m: Market, n: int) -> np.ndarray:
    """Shares of energy, (levels + 1, n)."""
    e = plan.start()
    out = np.empty((len(plan.names), m.numbers.size))
    flat = m.inputs.reshape(-1)
    advance(e.memory, e.table, e.state, flat, m.numbers, out.reshape(-1), 0, n, 0, 0, *[NAN] * 10)
    return out[:, :n]


def theirs(m: Market, n: int) -> np.ndarray:
    """The same by `pywt.wavedec` over batches of sliding windows."""
    r = np.diff(np.log(m.close[:n]), prepend=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(r, WINDOW)
    out = np.full((LEVELS + 1, n), np.nan)
    for begin in range(0, windows.shape[0], 4096):
        block = np.ascontiguousarray(windows[begin : begin + 4096])
        parts = pywt.wavedec(block, FAMILY, mode="symmetric", level=LEVELS, axis=1)
        energies = np.array([(p * p).sum(axis=1) for p in [*parts[:0:-1], parts[0]]])
        at = begin + WINDOW - 1
        out[:, at : at + block.shape[0]] = energies / energies.sum(axis=0)
    return out


def fastest(work: Callable[[], Any], rounds: int) -> float:
    """Seconds of the least disturbed round."""
    best = float("inf")
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - begun)
    return best


def run(quick: bool) -> list[dict[str, Any]]:
    """Bars a second of the streaming transform and of the exact windowed mode."""
    n = 20_000 if quick else 200_000
    m = made_up(n)
    streaming, exact = plan_of(False), plan_of(True)
    part = n // 10
    assert np.nanmax(np.abs(ours(exact, m, part) - theirs(m, part))[:, WINDOW:]) < 1e-9  # the same numbers
    rounds = 2 if quick else 4
    peer = part / fastest(lambda: theirs(m, part), rounds)
    fast = n / fastest(lambda: ours(streaming, m, n), rounds)
    same = part / fastest(lambda: ours(exact, m, part), rounds)
    name = f"PyWavelets {version('PyWavelets')}, batched windows"
    return [
        {
            "workload": f"wavelet energies, {FAMILY}, {LEVELS} levels, window {WINDOW}: {what}",
            "ours": rate,
            "peer": peer,
            "ratio": rate / peer,
            "unit": "bars/s",
            "note": f"{name}; target {target}",
        }
        for what, rate, target in (("streaming MODWT", fast, 25), ("exact windows", same, 2))
    ]
