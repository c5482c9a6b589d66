"""The classic indicators, 43 outputs, in batch and bar by bar, beside TA-Lib.

The same 43 columns on both sides: ours in one table, TA-Lib's function by function. Skewness and kurtosis, which TA-Lib
lacks, are replaced by outputs that it has. Budgets: at least 1.1 times TA-Lib on one core and 1.8 times on two; under
2.5 us a bar in streaming.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ares.features import expression as ex
from ares.features.plan import Plan, Wanted, make_plan
from ares.kernels.engine import advance
from ares.kernels.layout import BAR_INPUTS
from benchmarks.markets import Market, made_up

NAN = float("nan")
MINUTE_NS = 60_000_000_000


def classic() -> list[Wanted]:
    """The 43 outputs."""
    close, high, low, volume = ex.CLOSE, ex.HIGH, ex.LOW, ex.VOLUME
    found: list[tuple[str, ex.Expression]] = []
    found += [(f"sma_{n}", ex.mean(close, n)) for n in (5, 10, 20, 50, 100)]
    found += [(f"ema_{n}", ex.ema(close, n)) for n in (5, 12, 26, 50)]
    found += [(f"rsi_{n}", ex.Output(ex.node("rsi", close, ints=(n,)))) for n in (7, 14, 28)]
    found += [(f"roc_{n}", ex.change(close, n)) for n in (1, 5, 12)]
    found += [(f"std_{n}", ex.deviation(close, n)[1]) for n in (10, 20, 50)]
    found += [(f"atr_{n}", ex.atr(n)) for n in (7, 14)]
    found.append(("true_range", ex.true_range()))
    line = ex.minus(ex.ema(close, 12), ex.ema(close, 26))
    signal = ex.ema(line, 9)
    found += [("macd", line), ("macd_signal", signal), ("macd_histogram", ex.minus(line, signal))]
    movement = ex.many("direction", high, low, close, outputs=3, ints=(14,))
    found += zip(("adx", "di_plus", "di_minus"), movement, strict=True)
    for n in (20, 55):
        top, bottom = ex.channel(n)
        found += [(f"highest_{n}", top), (f"lowest_{n}", bottom)]
    top, bottom = ex.channel(14)
    fast = ex.position(close, bottom, top)
    found += [("stochastic_k", ex.mean(fast, 3)), ("stochastic_d", ex.mean(ex.mean(fast, 3), 3))]
    found.append(("williams_r", ex.affine(fast, 1.0, -1.0)))
    up, down = ex.channel_ages(26)
    found += [("aroon_up", ex.affine(up, -0.04, 1.0)), ("aroon_down", ex.affine(down, -0.04, 1.0))]
    found += [(f"slope_{n}", ex.many("slope", close, outputs=2, ints=(n,))[0]) for n in (14, 50)]
    found.append(("cci", ex.Output(ex.node("cci", ex.typical(), ints=(20,)))))
    found.append(("mfi", ex.Output(ex.node("mfi", ex.typical(), volume, ints=(14,)))))
    found.append(("volume_sma", ex.mean(volume, 20)))
    found.append(("typical", ex.typical()))
    found.append(("trix", ex.change(ex.ema(ex.ema(ex.ema(close, 15), 15), 15), 1)))
    return [Wanted(name, x) for name, x in found]


def talib_classic(m: Market) -> list[np.ndarray]:
    """The same columns by TA-Lib."""
    import talib as ta

    c, h, low, v = m.close, m.high, m.low, m.volume
    found = [ta.SMA(c, n) for n in (5, 10, 20, 50, 100)]
    found += [ta.EMA(c, n) for n in (5, 12, 26, 50)]
    found += [ta.RSI(c, n) for n in (7, 14, 28)]
    found += [ta.ROCP(c, n) for n in (1, 5, 12)]
    found += [ta.STDDEV(c, n) for n in (10, 20, 50)]
    found += [ta.ATR(h, low, c, n) for n in (7, 14)]
    found.append(ta.TRANGE(h, low, c))
    found += ta.MACD(c, 12, 26, 9)
    found += [ta.ADX(h, low, c, 14), ta.PLUS_DI(h, low, c, 14), ta.MINUS_DI(h, low, c, 14)]
    for n in (20, 55):
        found += [ta.MAX(h, n), ta.MIN(low, n)]
    found += ta.STOCH(h, low, c, 14, 3, 0, 3, 0)
    found.append(ta.WILLR(h, low, c, 14))
    found += ta.AROON(h, low, 25)
    found += [ta.LINEARREG_SLOPE(c, n) for n in (14, 50)]
    found += [ta.CCI(h, low, c, 20), ta.MFI(h, low, c, v, 14), ta.SMA(v, 20), ta.TYPPRICE(h, low, c), ta.TRIX(c, 15)]
    return found


def batch(plan: Plan, m: Market, threads: int) -> float:
    """Seconds for all outputs into fresh memory."""
    n = m.close.size
    flat, numbers = m.inputs.reshape(-1), m.numbers
    begun = time.perf_counter()
    out = np.empty((len(plan.names), n)).reshape(-1)
    settle = int(plan.settle.max()) + 1
    cuts = [n * i // threads for i in range(threads + 1)]

    def part(i: int) -> None:
        e = plan.start()
        first = max(0, cuts[i] - settle)
        advance(
            e.memory, e.table, e.state, flat, numbers, out, first, cuts[i + 1], cuts[i],
            0, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN,
        )  # fmt: skip

    if threads == 1:
        part(0)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(part, range(threads)))
    return time.perf_counter() - begun


def bar_by_bar(plan: Plan, m: Market, bars: int) -> float:
    """Median seconds of one compiled call, one a bar."""
    e = plan.start()
    number, out = np.zeros(1, np.int64), np.empty(len(plan.names))
    rows = [column[:bars].tolist() for column in m.inputs]
    memory, table, state, inputs = e.memory, e.table, e.state, e.inputs
    clock = time.perf_counter_ns
    taken = []
    for k, values in zip(m.numbers[:bars].tolist(), zip(*rows, strict=True), strict=True):
        begun = clock()
        advance(memory, table, state, inputs, number, out, 0, 0, 0, k, *values)
        taken.append(clock() - begun)
    return float(np.median(taken[bars // 10 :])) / 1e9


def run(quick: bool) -> list[dict[str, Any]]:
    """Outputs times bars a second in batch, on one core and on two; microseconds a bar in streaming."""
    n = 100_000 if quick else 1_000_000
    m = made_up(n)
    plan = make_plan(classic(), BAR_INPUTS, MINUTE_NS)
    outputs = len(plan.names)
    batch(plan, m, 1)
    rounds = 3 if quick else 7
    one, two, peer = [], [], []
    try:
        import talib

        name = f"TA-Lib {talib.__version__}"
        assert len(talib_classic(made_up(500))) == outputs
    except ImportError:
        name = ""
    for _ in range(rounds):  # in turns, so that a busy machine disturbs all alike
        one.append(batch(plan, m, 1))
        two.append(batch(plan, m, 2))
        if name:
            begun = time.perf_counter()
            talib_classic(m)
            peer.append(time.perf_counter() - begun)
    rate = outputs * n / 1e6
    theirs = rate / min(peer) if peer else None
    lines = []
    for cores, seconds, target in ((1, min(one), 1.1), (2, min(two), 1.8)):
        lines.append({
            "workload": f"classic indicators, {outputs} outputs, batch of {n:,} bars, {cores} core(s)",
            "ours": rate / seconds,
            "peer": theirs,
            "ratio": rate / seconds / theirs if theirs else None,
            "unit": "M outputs/s",
            "note": f"{name or 'TA-Lib absent'}; target {target}",
        })  # fmt: skip
    lines.append({
        "workload": f"classic indicators, {outputs} outputs, bar by bar",
        "ours": bar_by_bar(plan, m, 20_000 if quick else 100_000) * 1e6,
        "peer": "none",
        "ratio": None,
        "unit": "us per bar",
        "note": "median of one compiled call; target under 2.5",
    })  # fmt: skip
    return lines
