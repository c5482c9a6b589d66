"""The interpreter of the feature table: one compilation serves every choice of features.

A block of new bars goes through all nodes of the table, node by node, each in one loop over the block; streaming is a
block of one bar. The same loops run in the same order on the same numbers, so both rhythms give the same bits.

Nothing remembers where history began. A `WINDOW` node sums afresh at the first row of each 1,024 base bars, counted
from the epoch. A `RESTARTED` node begins its recursion anew `LEAD` base bars before each multiple of `PERIOD` bars and
takes the new run's values from that multiple on, when what it lacks from before weighs less than 1e-8. Where `LEAD` is
longer than `PERIOD`, several runs go on side by side, each with a state of its own.
"""

from __future__ import annotations

from typing import Any

from ares.kernels import (
    calendar,
    elementwise,
    extremes,
    levels,
    meta,
    momentum,
    moving,
    patterns,
    regression,
    volatility,
    volume,
    wavelet,
)
from ares.kernels.jit import inner, jit, woven
from ares.kernels.layout import (
    ANCHOR,
    AT_DELIVER,
    AT_INPUTS,
    AT_NODES,
    AT_SLIDE,
    AT_SLOTS,
    AT_TRASH,
    BLOCK,
    BUCKET,
    DUE,
    FILLED,
    FIRST,
    KIND,
    LAG,
    LEAD,
    LOS,
    N_DELIVER,
    N_INPUTS,
    N_NODES,
    N_SLOTS,
    NEWEST,
    NODE,
    NSLOT,
    OLDEST,
    OP,
    OUT,
    PERIOD,
    POS,
    PURE,
    RUNS,
    S_ABS,
    S_COLUMNS,
    S_HISTORY,
    S_LENGTH,
    S_OFFSET,
    S_PARTIAL,
    S_RATIO,
    S_SEEN,
    S_SLIDE,
    S_STATE,
    S_WIDTH,
    SLOT,
    SPARE,
    START,
    STATE,
    STATE_SIZE,
    TAKE_FIRST,
    TAKE_LAST,
    TAKE_MAX,
    TAKE_MIN,
    TURN,
    WINDOW,
)
from ares.kernels.native import copy_past_cache, publish

LARGE = 1 << 22  # float64 in a result that no cache holds


@woven
def run_op(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """Call the kernel that node `k` names."""
    op = t[k + OP]
    if op == elementwise.COMBINE:
        elementwise.combine(m, t, k, so, oo, lo, hi, first, fresh)
    elif op == elementwise.LAGGED:
        elementwise.lagged(m, t, k, so, oo, lo, hi, first, fresh)
    elif op == moving.MEAN:
        moving.mean(m, t, k, so, oo, lo, hi, first, fresh)
    elif op == moving.MEAN_SQUARE:
        moving.mean_square(m, t, k, so, oo, lo, hi, first, fresh)
    elif op == moving.SPREAD:
        moving.spread(m, t, k, so, oo, lo, hi, first, fresh)
    elif op == moving.SHAPE:
        moving.shape(m, t, k, so, oo, lo, hi, first, fresh)
    elif op == extremes.EXTREMES:
        extremes.extremes(m, t, k, so, oo, lo, hi, first, fresh)
    elif op == extremes.AGES:
        extremes.ages(m, t, k, so, oo, lo, hi, first, fresh)
    elif op == moving.EWM:
        moving.ewm(m, t, k, so, oo, lo, hi, first, fresh)
    elif op == regression.SLOPE:
        regression.slope(m, t, k, so, oo, lo, hi, first, fresh)
    elif op == momentum.RSI:
        momentum.rsi(m, t, k, so, oo, lo, hi, first, fresh)
    elif op == momentum.DIRECTION:
        momentum.direction(m, t, k, so, oo, lo, hi, first, fresh)
    elif op == momentum.CCI:
        momentum.cci(m, t, k, so, oo, lo, hi, first, fresh)
    elif op == momentum.SUPERTREND:
        momentum.supertrend(m, t, k, so, oo, lo, hi, first, fresh)
    elif op == momentum.MFI:
        momentum.mfi(m, t, k, so, oo, lo, hi, first, fresh)
    elif op == volatility.TRUE_RANGE:
        volatility.true_range(m, t, k, so, oo, lo, hi, first, fresh)
    elif op == volatility.BAR_VARIANCE:
        volatility.bar_variance(m, t, k, so, oo, lo, hi, first, fresh)
    elif op == volatility.YANG_ZHANG:
        volatility.yang_zhang(m, t, k, so, oo, lo, hi, first, fresh)
    elif op == volatility.CORWIN_SCHULTZ:
        volatility.corwin_schultz(m, t, k, so, oo, lo, hi, first, fresh)
    elif op == wavelet.MODWT_LEVEL:
        wavelet.modwt_level(m, t, k, so, oo, lo, hi, first, fresh)
    elif op == wavelet.BANDS:
        wavelet.bands(m, t, k, so, oo, lo, hi, first, fresh)
    elif op == calendar.CALENDAR:
        calendar.calendar(m, t, k, so, oo, lo, hi, first, fresh)
    elif op == regression.COVARY:
        regression.covary(m, t, k, so, oo, lo, hi, first, fresh)
    elif op == wavelet.WINDOWED:
        wavelet.windowed(m, t, k, so, oo, lo, hi, first, fresh)
    elif op == calendar.UNTIL:
        calendar.until(m, t, k, so, oo, lo, hi, first, fresh)
    elif op == volume.OBV_SLOPE:
        volume.obv_slope(m, t, k, so, oo, lo, hi, first, fresh)
    elif op == volume.CLOSE_LOCATION:
        volume.close_location(m, t, k, so, oo, lo, hi, first, fresh)
    elif op == patterns.CANDLES:
        patterns.candles(m, t, k, so, oo, lo, hi, first, fresh)
    elif op == patterns.PATTERNS:
        patterns.patterns(m, t, k, so, oo, lo, hi, first, fresh)
    elif op == meta.DETECT:
        meta.detect(m, t, k, so, oo, lo, hi, first, fresh)
    elif op == meta.SUCCESS:
        meta.success(m, t, k, so, oo, lo, hi, first, fresh)
    elif op == levels.PIVOTS:
        levels.pivots(m, t, k, so, oo, lo, hi, first, fresh)
    elif op == levels.PROFILE:
        levels.profile(m, t, k, so, oo, lo, hi, first, fresh)
    elif op == levels.GIVEN:
        levels.given(m, t, k, so, oo, lo, hi, first, fresh)


@inner
def first_at(s: Any, at: int, lo: int, hi: int, bound: int) -> int:
    """First row in [lo, hi) whose bar number reaches `bound`, else `hi`; bar numbers rise."""
    if s[at + hi - 1] < bound:
        return hi
    while lo < hi:
        mid = (lo + hi) >> 1
        if s[at + mid] < bound:
            lo = mid + 1
        else:
            hi = mid
    return lo


@inner
def turn(m: Any, t: Any, s: Any, k: int, now: int) -> int:
    """Begin afresh at bar number `now` what is due there, note when that is next, and say whether sums are due."""
    at = t[k + TURN]
    if t[k + KIND] == WINDOW:
        s[at + DUE] = now - now % ANCHOR + ANCHOR
        return 1
    period = t[k + PERIOD]
    lead = t[k + LEAD]
    runs = t[k + RUNS]
    size = t[k + STATE_SIZE]
    oldest = now // period
    newest = (now + lead) // period
    for run in range(max(s[at + NEWEST] + 1, newest - runs + 1), newest + 1):
        state = t[k + STATE] + run % runs * size
        for j in range(size):
            m[state + j] = 0.0
    s[at + OLDEST] = oldest
    s[at + NEWEST] = newest
    s[at + DUE] = min((oldest + 1) * period, (newest + 1) * period - lead)
    return 0


@woven
def run_node(m: Any, t: Any, s: Any, k: int, lo: int, hi: int, begun: int, at: int) -> None:
    """Rows [lo, hi) of one node, cut where its sums or its recursion begin afresh."""
    kind = t[k + KIND]
    first = begun + t[k + LAG]
    node = t[k + TURN]
    i = lo
    while i < hi:
        end = hi
        fresh = 0
        if kind != PURE:
            if s[at + i] >= s[node + DUE]:
                fresh = turn(m, t, s, k, s[at + i])
            end = first_at(s, at, i, hi, s[node + DUE])
        oldest = s[node + OLDEST]
        for run in range(oldest, s[node + NEWEST] + 1):
            # what the later runs give until their turn comes is thrown away
            out = t[k + OUT] if run == oldest else t[AT_TRASH]
            run_op(m, t, k, t[k + STATE] + run % t[k + RUNS] * t[k + STATE_SIZE], out, i, end, first, fresh)
        i = end


@inner
def slide(m: Any, t: Any, s: Any, slot: int) -> None:
    """Move the stretch of history that later rows need to the front of the timeframe's columns."""
    r = t[AT_SLOTS] + slot * SLOT
    st = t[r + S_STATE]
    pos = s[st + POS]
    history = t[r + S_HISTORY]
    if pos <= history:
        return
    shift = pos - history
    need = t[AT_SLIDE] + t[r + S_SLIDE]
    for c in range(t[r + S_WIDTH]):
        rows = t[need + c]
        at = t[r + S_COLUMNS] + c * t[r + S_LENGTH] + history - rows
        for j in range(rows):
            m[at + j] = m[at + shift + j]
    at = t[r + S_ABS]
    for j in range(history):
        s[at + j] = s[at + shift + j]
    s[st + POS] = history
    s[st + FIRST] -= shift


@inner
def close_bar(m: Any, t: Any, s: Any, r: int, row: int) -> None:
    """Append the finished higher bar; base row `row` of this block is the first to see it."""
    st = t[r + S_STATE]
    pos = s[st + POS]
    for c in range(t[N_INPUTS]):
        m[t[r + S_COLUMNS] + c * t[r + S_LENGTH] + pos] = m[t[r + S_PARTIAL] + c]
    s[t[r + S_ABS] + pos] = (s[st + BUCKET] + 1) * t[r + S_RATIO] - t[r + S_OFFSET] - 1
    s[t[r + S_SEEN] + pos] = row
    s[st + POS] = pos + 1
    s[st + FILLED] = 0


@inner
def gather(m: Any, t: Any, s: Any, slot: int, base: int, n: int) -> None:
    """Turn the base rows of this block into the higher bars that they finish.

    A higher bar is seen by the base bar that ends with it, or, when that one is missing, by the next base bar there is.
    A first higher bar whose beginning is not in the data is left out.
    """
    r = t[AT_SLOTS] + slot * SLOT
    b = t[AT_SLOTS]
    st = t[r + S_STATE]
    ratio = t[r + S_RATIO]
    offset = t[r + S_OFFSET]
    for i in range(n):
        number = s[t[b + S_ABS] + base + i] + offset
        bucket = number // ratio
        if s[st + START] == 0:
            s[st + START] = 1
            s[st + BUCKET] = bucket if number == bucket * ratio else bucket + 1
            s[st + FILLED] = 0
        if bucket < s[st + BUCKET]:
            continue
        if bucket > s[st + BUCKET]:
            if s[st + FILLED]:
                close_bar(m, t, s, r, i)
            s[st + BUCKET] = bucket
        filled = s[st + FILLED]
        for c in range(t[N_INPUTS]):
            if t[t[AT_SLIDE] + t[r + S_SLIDE] + c] == 0:
                continue
            x = m[t[b + S_COLUMNS] + c * t[b + S_LENGTH] + base + i]
            at = t[r + S_PARTIAL] + c
            rule = t[t[AT_INPUTS] + c]
            if filled == 0:
                m[at] = x
            elif rule == TAKE_MAX:
                m[at] = max(m[at], x)
            elif rule == TAKE_MIN:
                m[at] = min(m[at], x)
            elif rule == TAKE_LAST:
                m[at] = x
            elif rule != TAKE_FIRST:
                m[at] += x
        s[st + FILLED] = 1
        if number == bucket * ratio + ratio - 1:
            close_bar(m, t, s, r, i)
            s[st + BUCKET] = bucket + 1


@inner
def deliver(m: Any, t: Any, s: Any, base: int, n: int, out: Any, stride: int, at_out: int) -> None:
    """Copy the chosen columns to the result; a higher timeframe's value stays until its next bar is seen."""
    large = n > 1 and out.size >= LARGE
    for d in range(t[N_DELIVER]):
        at = t[AT_DELIVER] + 3 * d
        slot = t[at + 1]
        column = t[at + 2]
        y = out[t[at] * stride + at_out :]
        if slot == 0:
            x = m[column + base :]
            if large:
                copy_past_cache(y, x, n)
            else:
                for i in range(n):
                    y[i] = x[i]
            continue
        r = t[AT_SLOTS] + slot * SLOT
        st = t[r + S_STATE]
        row = s[LOS + slot]
        end = s[st + POS]
        value = m[column + row - 1] if row - 1 >= s[st + FIRST] and row > 0 else float("nan")
        i = 0
        while i < n:
            while row < end and s[t[r + S_SEEN] + row] <= i:
                value = m[column + row]
                row += 1
            until = min(s[t[r + S_SEEN] + row], n) if row < end else n
            for j in range(i, until):
                y[j] = value
            i = until


@inner
def fitting(t: Any, numbers: Any, i: int, rows: int) -> int:
    """How many of the next `rows` base bars go through the table together.

    Bars may be missing, so that few base bars touch many higher ones; each timeframe has room for as many as it takes
    when none is missing, and a few more.
    """
    for slot in range(1, t[N_SLOTS]):
        r = t[AT_SLOTS] + slot * SLOT
        ratio = t[r + S_RATIO]
        room = BLOCK // ratio + SPARE - 1  # one more is finished that began before
        if (numbers[i + rows - 1] - numbers[i]) // ratio + 2 <= room:
            continue
        touched = 0
        last = (numbers[i] + t[r + S_OFFSET]) // ratio - 1
        for j in range(rows):
            bucket = (numbers[i + j] + t[r + S_OFFSET]) // ratio
            if bucket != last:
                touched += 1
                last = bucket
                if touched > room:
                    rows = j
                    break
    return rows


@woven
def block(
    m: Any, t: Any, s: Any, src: Any, src_stride: int, at_src: int, n: int,
    numbers: Any, out: Any, out_stride: int, at_out: int, give: bool,
) -> None:  # fmt: skip
    """Take `n` base bars into the columns, run every node over them, hand out the chosen columns."""
    b = t[AT_SLOTS]
    st = t[b + S_STATE]
    base = s[st + POS]
    for c in range(t[N_INPUTS]):
        if t[t[AT_SLIDE] + t[b + S_SLIDE] + c] == 0:
            continue  # nothing reads it
        x = src[c * src_stride + at_src :]
        y = m[t[b + S_COLUMNS] + c * t[b + S_LENGTH] + base :]
        for i in range(n):
            y[i] = x[i]
    for i in range(n):
        s[t[b + S_ABS] + base + i] = numbers[at_src + i]
    s[st + POS] = base + n
    s[LOS] = base
    for slot in range(1, t[N_SLOTS]):
        r = t[AT_SLOTS] + slot * SLOT
        if s[t[r + S_STATE] + POS] + min(n, BLOCK // t[r + S_RATIO] + SPARE - 1) + 1 > t[r + S_LENGTH]:
            slide(m, t, s, slot)
        s[LOS + slot] = s[t[r + S_STATE] + POS]
        gather(m, t, s, slot, base, n)
    for node in range(t[N_NODES]):
        k = t[AT_NODES] + node * NODE
        r = t[AT_SLOTS] + t[k + NSLOT] * SLOT
        lo = s[LOS + t[k + NSLOT]]
        hi = s[t[r + S_STATE] + POS]
        if hi > lo:
            run_node(m, t, s, k, lo, hi, s[t[r + S_STATE] + FIRST], t[r + S_ABS])
    if give:
        deliver(m, t, s, base, n, out, out_stride, at_out)


@jit(allocates=False)
def advance(
    m: Any, t: Any, s: Any, src: Any, numbers: Any, out: Any, begin: int, end: int, skip: int,
    number: int, open_: float, high: float, low: float, close: float, volume: float, quote_volume: float,
    taker_buy_volume: float, taker_buy_quote_volume: float, trades: float, time: float,
) -> None:  # fmt: skip
    """Run base bars [begin, end) of `src`, or, when `end` is 0, the one bar given by the arguments from `number` on.

    src: (inputs * n,) float64, column after column; one bar: (inputs,), of which the caller sets those after `time`.
    numbers: (n,) int64, open time // interval, rising. out: (features * n,) float64, column after column; rows from
    `skip` on are written, earlier ones only warm up. One compilation, so that both rhythms are the same machine code.
    """
    if end == 0:
        src[0] = open_
        src[1] = high
        src[2] = low
        src[3] = close
        src[4] = volume
        src[5] = quote_volume
        src[6] = taker_buy_volume
        src[7] = taker_buy_quote_volume
        src[8] = trades
        src[9] = time
        numbers[0] = number
        begin = 0
        end = 1
    n = numbers.size
    r = t[AT_SLOTS]
    st = t[r + S_STATE]
    i = begin
    while i < end:
        if s[st + POS] >= t[r + S_LENGTH]:
            slide(m, t, s, 0)
        rows = min(end - i, t[r + S_LENGTH] - s[st + POS], BLOCK)
        if i < skip:
            rows = min(rows, skip - i)
        if rows > 1:
            rows = fitting(t, numbers, i, rows)
        block(m, t, s, src, n, i, rows, numbers, out, n, i, i >= skip)
        i += rows
    if out.size >= LARGE:
        publish()
