"""Calibrated probabilities: sigmoid, isotonic, beta and temperature, and the correction of a shifted prior."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ares.kernels.jit import jit

__all__ = ["METHODS", "calibrate_batch"]

METHODS = {"sigmoid": 0, "isotonic": 1, "beta": 2, "temperature": 3}
_LEAST = 1e-12  # probabilities are read as at least this far from 0 and 1

F = NDArray[np.float64]
I = NDArray[np.int64]  # noqa: E741


@jit
def _logistic(z: float) -> float:
    return 1.0 / (1.0 + math.exp(-z))


@jit
def _interpolate(x: float, knot_x: F, knot_y: F, start: int, stop: int) -> float:
    """Linear between the knots start..stop, flat beyond them."""
    if x <= knot_x[start]:
        return float(knot_y[start])
    if x >= knot_x[stop - 1]:
        return float(knot_y[stop - 1])
    low = start
    high = stop - 1
    while high - low > 1:
        middle = (low + high) // 2
        if knot_x[middle] <= x:
            low = middle
        else:
            high = middle
    share = (x - knot_x[low]) / (knot_x[high] - knot_x[low])
    return float(knot_y[low] + share * (knot_y[high] - knot_y[low]))


@jit
def _one(p: float, method: int, c: int, params: F, knot_x: F, knot_y: F, offset: I) -> float:
    q = min(max(p, _LEAST), 1.0 - _LEAST)
    if method == 0:
        return _logistic(params[c, 0] * (math.log(q) - math.log1p(-q)) + params[c, 1])
    if method == 1:
        y = _interpolate(p, knot_x, knot_y, offset[c], offset[c + 1])
        return float(min(max(y, params[c, 0]), params[c, 1]))
    return _logistic(params[c, 0] * math.log(q) - params[c, 1] * math.log1p(-q) + params[c, 2])


@jit
def calibrate_batch(P: F, ratio: F, method: int, params: F, knot_x: F, knot_y: F, offset: I, out: F) -> None:
    """Map the rows of P, (n, k) probabilities, to calibrated ones, (n, k), that sum to 1. A row with NaN becomes NaN.

    ratio: (k,) each class's true share over its share in training; the rows are re-weighted by it first.
    method: see METHODS. params: (c, 3), c = 1 for two classes (it maps the second) or for temperature, else k, each
    class against the rest. sigmoid: slope, intercept of the log-odds. beta: a, b, c of `a ln p - b ln(1 - p) + c`.
    isotonic: least and greatest answer. temperature: 1 / T. knot_x, knot_y, offset: of isotonic, the knots of class
    c at offset[c]:offset[c + 1].
    """
    n, k = P.shape
    for i in range(n):
        total = 0.0
        for j in range(k):
            out[i, j] = P[i, j] * ratio[j]
            total += out[i, j]
        for j in range(k):
            out[i, j] /= total
        if math.isnan(total):
            out[i, :] = math.nan
            continue
        if method == 3:
            top = -math.inf
            for j in range(k):
                out[i, j] = params[0, 0] * math.log(max(out[i, j], _LEAST))
                top = max(top, out[i, j])
            total = 0.0
            for j in range(k):
                out[i, j] = math.exp(out[i, j] - top)
                total += out[i, j]
            for j in range(k):
                out[i, j] /= total
        elif k == 2:
            p = _one(out[i, 1], method, 0, params, knot_x, knot_y, offset)
            out[i, 0] = 1.0 - p
            out[i, 1] = p
        else:
            total = 0.0
            for j in range(k):
                out[i, j] = _one(out[i, j], method, j, params, knot_x, knot_y, offset)
                total += out[i, j]
            for j in range(k):
                out[i, j] /= total
