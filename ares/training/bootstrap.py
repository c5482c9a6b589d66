"""Sequential bootstrap: draws that avoid labels whose life is already taken up by what was drawn before.

Plain draws of overlapping labels repeat the same outcome; here each draw is made with probabilities proportional to the
share of its life that a label would have to itself among those drawn so far. Source: Lopez de Prado 2018, section 4.5.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ares.errors import InvalidInput
from ares.kernels.jit import jit

__all__ = ["sequential_bootstrap", "sequential_weights"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
PASSES = 10  # bootstraps that weights are the mean of


def sequential_bootstrap(first: Ints, last: Ints, draws: int, *, seed: int = 0) -> Ints:
    """Positions of the labels drawn, in order, (draws,); a label may come more than once.

    first, last: (n,) bars in which each label's life begins and ends, `first` not decreasing. O(log n + m l) a draw,
    for lives of l bars and m labels alive together. Raises: InvalidInput.
    """
    if first.size == 0 or first.shape != last.shape or draws < 0:
        raise InvalidInput(f"draws from labels need some: {first.shape}, {last.shape}, {draws} draws")
    if (np.diff(first) < 0).any() or (last < first).any():
        raise InvalidInput("labels must be in order of their first bar, and none may end before it begins")
    start = int(first[0])
    alive = np.zeros(int(last.max()) - start + 1, dtype=np.int64)
    tree, share = np.zeros(first.size + 1), np.empty(first.size)
    out = np.empty(draws, dtype=np.int64)
    longest = int((last - first).max())
    uniform = np.random.default_rng(seed).random(draws)
    _draw(first - start, last - start, longest, uniform, alive, tree, share, out)
    return out


def sequential_weights(first: Ints, last: Ints, uniqueness: float, *, seed: int = 0) -> Floats:
    """How often each label is drawn, mean 1, (n,): over `PASSES` sequential bootstraps of n * uniqueness draws each.

    uniqueness: mean share of its life that a label has to itself, so that as many are drawn as are independent.
    """
    draws = max(1, round(first.size * uniqueness))
    count = np.zeros(first.size)
    for number in range(PASSES):
        drawn = sequential_bootstrap(first, last, draws, seed=seed + number)
        count += np.bincount(drawn, minlength=first.size)
    return np.asarray(count / count.mean())


@jit
def _share(first: int, last: int, alive: Ints) -> float:
    """Mean over a life of 1 / (labels drawn there so far, and this one)."""
    total = 0.0
    for t in range(first, last + 1):
        total += 1.0 / (alive[t] + 1)
    return total / (last - first + 1)


@jit
def _draw(
    first: Ints, last: Ints, longest: int, uniform: Floats, alive: Ints, tree: Floats, share: Floats, out: Ints
) -> None:
    """tree: (n + 1,) zeros, sums of shares by Fenwick; alive: (bars,) zeros; share: (n,) scratch."""
    n = first.size
    top = 1
    while 2 * top <= n:
        top *= 2
    for i in range(n):
        share[i] = 1.0
        tree[i + 1] += 1.0
        above = i + 1 + ((i + 1) & -(i + 1))
        if above <= n:
            tree[above] += tree[i + 1]
    for d in range(out.size):
        total = 0.0
        at = n
        while at > 0:
            total += tree[at]
            at -= at & -at
        left = uniform[d] * total
        chosen = 0
        step = top
        while step > 0:
            if chosen + step <= n and tree[chosen + step] <= left:
                chosen += step
                left -= tree[chosen]
            step //= 2
        chosen = min(chosen, n - 1)
        out[d] = chosen
        begin, end = first[chosen], last[chosen]
        for t in range(begin, end + 1):
            alive[t] += 1
        i = np.searchsorted(first, begin - longest)
        while i < n and first[i] <= end:
            if last[i] >= begin:
                now = _share(first[i], last[i], alive)
                change = now - share[i]
                share[i] = now
                at = i + 1
                while at <= n:
                    tree[at] += change
                    at += at & -at
            i += 1
