"""Volume with a direction, and order flow gathered into bars."""

from __future__ import annotations

from typing import Any

import numpy as np

from ares.kernels.jit import inner, jit
from ares.kernels.layout import IN, INT

NAN = np.nan

OBV_SLOPE, CLOSE_LOCATION = range(100, 102)

# columns that `gather_trades` and `gather_book` fill, in order
FLOW_COLUMNS = ("flow_buy", "flow_sell", "flow_count", "flow_large", "flow_pairs", "flow_repeats")
BOOK_COLUMNS = ("book_imbalance", "book_microprice", "book_spread", "flow_ofi", "flow_touch", "flow_updates")


@inner
def obv_slope(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """Least-squares slope of on-balance volume over `w` rows in units of the mean volume; NaN without volume.

    Inputs: close, volume. A slope does not depend on the level, so only the signed volumes inside the window count: the
    one at position j (0 is the oldest, whose sign is outside) weighs j (w - j) / 2 in the covariance with time.
    """
    w = t[k + INT]
    close = m[t[k + IN] :]
    volume = m[t[k + IN + 1] :]
    y = m[oo:]
    s0 = m[so]
    s1 = m[so + 1]
    s2 = m[so + 2]
    total = m[so + 3]
    again = fresh != 0 or m[so + 4] == 0.0
    width = w * (w * float(w) - 1.0) / 12.0
    for i in range(max(lo, first + w - 1), hi):
        if not again:
            new = volume[i] if close[i] > close[i - 1] else (-volume[i] if close[i] < close[i - 1] else 0.0)
            p = i - w + 1  # the row that is now the oldest: its signed volume leaves the sums
            old = volume[p] if close[p] > close[p - 1] else (-volume[p] if close[p] < close[p - 1] else 0.0)
            # rows at positions 1 .. w - 1 before move one to the left; the one at position 1 drops out
            s2 += s0 - 2.0 * s1 + (w - 1.0) * (w - 1.0) * new
            s1 += (w - 1.0) * new - s0
            s0 += new - old
            total += volume[i] - volume[i - w]
            again = not volume[i - w] <= 1e4 * total
        if again:
            s0 = 0.0
            s1 = 0.0
            s2 = 0.0
            total = volume[i - w + 1]
            for j in range(1, w):
                p = i - w + 1 + j
                v = volume[p]
                total += v
                if close[p] == close[p - 1]:
                    continue
                v = v if close[p] > close[p - 1] else -v
                s0 += v
                s1 += j * v
                s2 += float(j * j) * v
            again = False
            m[so + 4] = 1.0
        y[i] = (w * s1 - s2) / 2.0 / width * w / total if total > 0.0 else NAN
    m[so] = s0
    m[so + 1] = s1
    m[so + 2] = s2
    m[so + 3] = total


@inner
def close_location(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """Where the close lies in the bar, -1 at the low to 1 at the high, times volume; 0 for a bar without range."""
    high = m[t[k + IN] + lo : t[k + IN] + hi]
    low = m[t[k + IN + 1] + lo : t[k + IN + 1] + hi]
    close = m[t[k + IN + 2] + lo : t[k + IN + 2] + hi]
    volume = m[t[k + IN + 3] + lo : t[k + IN + 3] + hi]
    y = m[oo + lo : oo + hi]
    for i in range(hi - lo):
        reach = high[i] - low[i]
        y[i] = ((close[i] - low[i]) - (high[i] - close[i])) / reach * volume[i] if reach > 0.0 else 0.0


@jit
def gather_trades(
    time: Any, quantity: Any, buyer_is_maker: Any, since: int, until: int,
    open_ns: Any, interval_ns: int, large: float, out: Any,
) -> None:  # fmt: skip
    """Sum aggregated trades into bars, each trade into the bar in whose span it happened.

    time: (n,) int64 ns, not falling. quantity: (n,) base. buyer_is_maker: (n,) bool, True is a seller's aggression.
    since, until: ns, between which the trades are complete; a bar that begins outside is NaN. open_ns: (bars,).
    large: a print of at least this many times the bar's mean print counts as large.
    out: (6, bars) = bought, sold (base), prints, quantity of large prints, adjacent pairs, pairs of the same side;
    a bar without trades is all 0.
    """
    n = time.size
    i = 0
    for b in range(open_ns.size):
        begin = open_ns[b]
        end = begin + interval_ns
        while i < n and time[i] < begin:
            i += 1
        j = i
        bought = 0.0
        sold = 0.0
        same = 0.0
        while j < n and time[j] < end:
            if buyer_is_maker[j]:
                sold += quantity[j]
            else:
                bought += quantity[j]
            if j > i and buyer_is_maker[j] == buyer_is_maker[j - 1]:
                same += 1.0
            j += 1
        count = j - i
        if begin < since or begin > until:
            for c in range(6):
                out[c, b] = NAN
            continue
        bar = large * (bought + sold) / max(count, 1)
        big = 0.0
        for at in range(i, j):
            if quantity[at] >= bar:
                big += quantity[at]
        out[0, b] = bought
        out[1, b] = sold
        out[2, b] = count
        out[3, b] = big
        out[4, b] = max(count - 1, 0)
        out[5, b] = same
        i = j


@jit
def gather_book(
    time: Any, bid: Any, bid_size: Any, ask: Any, ask_size: Any, open_ns: Any, interval_ns: int, out: Any
) -> None:
    """Gather best quotes into bars.

    time: (n,) int64 ns, not falling; the rest (n,) prices and sizes at the touch.
    out: (6, bars) = at the last quote of the bar: imbalance (b - a)/(b + a), microprice over mid less one, spread over
    mid; summed in the bar: order-flow imbalance (Cont, Kukanov and Stoikov 2014, base), size at the touch, updates.
    A bar without a quote in it is NaN.
    """
    n = time.size
    i = 0
    for b in range(open_ns.size):
        begin = open_ns[b]
        end = begin + interval_ns
        while i < n and time[i] < begin:
            i += 1
        j = i
        flow = 0.0
        touch = 0.0
        while j < n and time[j] < end:
            if j > 0:
                if bid[j] >= bid[j - 1]:
                    flow += bid_size[j]
                if bid[j] <= bid[j - 1]:
                    flow -= bid_size[j - 1]
                if ask[j] <= ask[j - 1]:
                    flow -= ask_size[j]
                if ask[j] >= ask[j - 1]:
                    flow += ask_size[j - 1]
            touch += bid_size[j] + ask_size[j]
            j += 1
        if j == i:
            for c in range(6):
                out[c, b] = NAN
            continue
        last = j - 1
        mid = (bid[last] + ask[last]) / 2.0
        size = bid_size[last] + ask_size[last]
        out[0, b] = (bid_size[last] - ask_size[last]) / size if size > 0.0 else NAN
        micro = (ask[last] * bid_size[last] + bid[last] * ask_size[last]) / size if size > 0.0 else NAN
        out[1, b] = micro / mid - 1.0
        out[2, b] = (ask[last] - bid[last]) / mid
        out[3, b] = flow
        out[4, b] = touch
        out[5, b] = j - i
        i = j


@jit
def join_latest(time: Any, value: Any, at: Any, most: int, out: Any) -> None:
    """For each instant of `at` the latest value published at or before it, NaN when older than `most` ns.

    time: (n,) int64 ns of publication, rising. value: (n,), NaN where not published. at: (bars,) int64 ns, rising.
    """
    i = 0
    last = NAN
    when = 0
    for b in range(at.size):
        while i < time.size and time[i] <= at[b]:
            if value[i] == value[i]:
                last = value[i]
                when = time[i]
            i += 1
        out[b] = last if at[b] - when <= most else NAN
