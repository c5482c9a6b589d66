"""Scaling and affine layers summed in a fixed order: linear models and small neural networks without BLAS.

A library's matrix product may sum a row alone in another order than the same row in a batch; this one never does.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ares.kernels.jit import jit

__all__ = ["ACTIVATIONS", "dense_batch"]

ACTIVATIONS = {"identity": 0, "logistic": 1, "tanh": 2, "relu": 3}

F = NDArray[np.float64]
I = NDArray[np.int64]  # noqa: E741


@jit
def dense_batch(X: F, shift: F, scale: F, sizes: I, weights: F, activation: int, out: F) -> None:
    """Run each row of X, (n, sizes[0]), through the layers into out, (n, sizes[-1]).

    shift, scale: (sizes[0],) the input becomes (x - shift) / scale. sizes: (layers + 1,) widths.
    weights: for each layer its matrix by output unit, (units, inputs), then its biases, (units,), all flat.
    activation: of every layer but the last, which is left as it is. A row with a missing or infinite value becomes NaN.
    """
    widest = sizes.max()
    here = np.empty(widest)
    there = np.empty(widest)
    layers = sizes.size - 1
    for r in range(X.shape[0]):
        sound = True
        for c in range(sizes[0]):
            x = X[r, c]
            sound &= math.isfinite(x)
            here[c] = (x - shift[c]) / scale[c]
        if not sound:
            for j in range(out.shape[1]):
                out[r, j] = math.nan
            continue
        at = 0
        for layer in range(layers):
            inputs = sizes[layer]
            units = sizes[layer + 1]
            bias = at + units * inputs
            for u in range(units):
                total = weights[bias + u]
                for c in range(inputs):
                    total += weights[at + u * inputs + c] * here[c]
                if layer + 1 < layers:
                    if activation == 1:
                        total = 1.0 / (1.0 + math.exp(-total))
                    elif activation == 2:
                        total = math.tanh(total)
                    elif activation == 3:
                        total = max(total, 0.0)
                there[u] = total
            here, there = there, here
            at = bias + units
        for j in range(out.shape[1]):
            out[r, j] = here[j]
