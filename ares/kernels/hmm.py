"""Hidden Markov models with Gaussian states, in logarithms: the filter for live use, forward-backward for training.

The filter knows the observations up to its own bar. `smooth_batch` uses the future too: it serves training alone.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ares.kernels.jit import jit

__all__ = ["RESTART", "emission_step", "filter_batch", "filter_step", "regime_batch", "regime_step", "smooth_batch"]

RESTART = 1024  # bars: a fresh filter starts at each multiple and takes over at the next
_HALF_LOG_TWO_PI = 0.9189385332046727

F = NDArray[np.float64]
I = NDArray[np.int64]  # noqa: E741


@jit
def emission_step(x: F, mean: F, whiten: F, log_det: F, out: F) -> bool:
    """Log density of x, (d,), in each state, into out, (k,); False, and nothing written, when a value is missing.

    mean: (k, d). whiten: (k, d, d) lower triangular, the inverse of the covariance's Cholesky factor. log_det: (k,)
    sum of the logarithms of its diagonal.
    """
    k, d = mean.shape
    for i in range(d):
        if not math.isfinite(x[i]):
            return False
    for s in range(k):
        total = 0.0
        for i in range(d):
            z = 0.0
            for j in range(i + 1):
                z += whiten[s, i, j] * (x[j] - mean[s, j])
            total += z * z
        out[s] = log_det[s] - d * _HALF_LOG_TWO_PI - 0.5 * total
    return True


@jit
def _log_sum(values: F) -> float:
    top = values[0]
    for i in range(1, values.size):
        top = max(top, values[i])
    if top == -np.inf:
        return float(top)
    total = 0.0
    for i in range(values.size):
        total += math.exp(values[i] - top)
    return float(top + math.log(total))


@jit
def filter_step(belief: F, fresh: bool, log_start: F, log_move: F, emission: F, seen: bool, work: F) -> float:
    """Move the log beliefs, (k,), one bar on; returns the log likelihood of the observation, 0 when there was none.

    fresh: this is the filter's first bar. log_move: (k, k) from row to column. emission: (k,) log densities.
    seen: False when the bar brought no observation; beliefs then follow the transitions alone. work: (2, k) scratch.
    """
    k = belief.size
    for j in range(k):
        if fresh:
            work[0, j] = log_start[j]
        else:
            for i in range(k):
                work[1, i] = belief[i] + log_move[i, j]
            work[0, j] = _log_sum(work[1])
    for j in range(k):
        belief[j] = work[0, j]
    if not seen:
        return 0.0
    for j in range(k):
        work[0, j] += emission[j]
    scale = _log_sum(work[0])
    if scale != -np.inf:  # else the observation is impossible in every state and tells nothing
        for j in range(k):
            belief[j] = work[0, j] - scale
    return scale


@jit
def filter_batch(X: F, log_start: F, log_move: F, mean: F, whiten: F, log_det: F, out: F) -> float:
    """Filtered log beliefs of all rows, (n, k), from one start; returns the log likelihood. A loop over
    `filter_step`.
    """
    k = log_start.size
    belief = np.empty(k)
    emission = np.empty(k)
    work = np.empty((2, k))
    total = 0.0
    for t in range(X.shape[0]):
        seen = emission_step(X[t], mean, whiten, log_det, emission)
        total += filter_step(belief, t == 0, log_start, log_move, emission, seen, work)
        out[t] = belief
    return total


@jit
def regime_step(
    bar: int,
    x: F,
    log_start: F,
    log_move: F,
    mean: F,
    whiten: F,
    log_det: F,
    enter: float,
    leave: float,
    dwell: int,
    state: F,
    out: F,
) -> int:
    """One bar of the regime filter: fills out, (k,) probabilities, and returns the regime that policy should follow.

    bar: absolute number of the bar, open time over interval. x: (d,) observation; one with a missing value is none.
    Two filters run: the one that answers and one begun at the last multiple of RESTART, which takes over at the
    next. So an answer depends on at most 2 * RESTART bars, whatever the history it was started from.
    The policy's regime changes only after `dwell` bars, when another has reached `enter` and its own has fallen under
    `leave`. state: (2, k + 3), zeros at first: log beliefs, regime, bars in it, 1 once begun.
    """
    k = log_start.size
    if bar % RESTART == 0:
        for c in range(k + 3):
            state[0, c] = state[1, c]
        state[1, k + 2] = 0.0
    emission = np.empty(k)
    work = np.empty((2, k))
    seen = emission_step(x, mean, whiten, log_det, emission)
    for f in range(2):
        fresh = state[f, k + 2] == 0.0
        filter_step(state[f, :k], fresh, log_start, log_move, emission, seen, work)
        best = 0
        for s in range(1, k):
            if state[f, s] > state[f, best]:
                best = s
        now = int(state[f, k])
        if fresh:
            state[f, k] = best
            state[f, k + 1] = 1.0
            state[f, k + 2] = 1.0
        elif (
            best != now
            and state[f, k + 1] >= dwell
            and math.exp(state[f, best]) >= enter
            and math.exp(state[f, now]) < leave
        ):
            state[f, k] = best
            state[f, k + 1] = 1.0
        else:
            state[f, k + 1] += 1.0
    for s in range(k):
        out[s] = math.exp(state[0, s])
    return int(state[0, k])


@jit
def regime_batch(
    bar: I,
    X: F,
    log_start: F,
    log_move: F,
    mean: F,
    whiten: F,
    log_det: F,
    enter: float,
    leave: float,
    dwell: int,
    state: F,
    out: F,
    regime: I,
) -> None:
    """`regime_step` for each row of X, (n, d): out is (n, k), regime is (n,)."""
    for t in range(X.shape[0]):
        regime[t] = regime_step(
            bar[t], X[t], log_start, log_move, mean, whiten, log_det, enter, leave, dwell, state, out[t]
        )


@jit
def smooth_batch(
    X: F, log_start: F, log_move: F, mean: F, whiten: F, log_det: F, alpha: F, gamma: F, moves: F
) -> float:
    """Forward-backward over one history, for training: returns the log likelihood.

    alpha: (n, k) room for filtered log beliefs. gamma: (n, k) gets the smoothed probabilities, which know the future.
    moves: (k, k) gets the expected number of moves from row to column.
    """
    n = X.shape[0]
    k = log_start.size
    total = filter_batch(X, log_start, log_move, mean, whiten, log_det, alpha)
    later = np.zeros(k)
    ahead = np.empty(k)
    terms = np.empty(k)
    emission = np.empty(k)
    moves[:, :] = 0.0
    for s in range(k):
        gamma[n - 1, s] = math.exp(alpha[n - 1, s])
    for t in range(n - 2, -1, -1):
        seen = emission_step(X[t + 1], mean, whiten, log_det, emission)
        for j in range(k):
            later[j] += emission[j] if seen else 0.0
        for i in range(k):
            for j in range(k):
                terms[j] = log_move[i, j] + later[j]
            ahead[i] = _log_sum(terms)
        for i in range(k):
            terms[i] = alpha[t, i] + ahead[i]
        scale = _log_sum(terms)
        for i in range(k):
            gamma[t, i] = math.exp(terms[i] - scale)
            for j in range(k):
                moves[i, j] += math.exp(alpha[t, i] + log_move[i, j] + later[j] - scale)
        top = ahead.max()
        for i in range(k):
            later[i] = ahead[i] - top
    return total
