"""A small neural network, row by row in a fixed order of additions: one row alone gives the bits of a batch."""

from __future__ import annotations

from math import tanh
from typing import Any

import numpy as np

from ares.kernels.jit import jit

NAN = np.nan


@jit
def encode(
    x: Any, center: Any, scale: Any, widths: Any, weights: Any, biases: Any, bottleneck: int,
    error_mean: float, error_spread: float, buffer: Any, out: Any,
) -> None:  # fmt: skip
    """Codes, reconstruction error and novelty of each column of `x`.

    x: (inputs, n). center, scale: (inputs,); standardised inputs are held within 8. widths: (layers + 1,) neurons, the
    first and last are `inputs`. weights, biases: flat, layer by layer; weights (from, to) in C order. Hidden layers are
    tanh, the last is linear; `bottleneck` is the layer whose output is the code. buffer: (2, widest).
    out: (codes + 2, n): codes, mean squared error, (ln error - error_mean) / error_spread. A NaN input makes all NaN.
    """
    layers = widths.size - 1
    codes = widths[bottleneck]
    first = x.shape[0]
    z = np.empty(first)
    for i in range(x.shape[1]):
        good = True
        for j in range(first):
            value = (x[j, i] - center[j]) / scale[j]
            good = good and value == value
            z[j] = min(max(value, -8.0), 8.0)
        if not good:
            for c in range(codes + 2):
                out[c, i] = NAN
            continue
        now = buffer[0]
        then = buffer[1]
        for j in range(first):
            now[j] = z[j]
        at_w = 0
        at_b = 0
        for layer in range(layers):
            size = widths[layer]
            wide = widths[layer + 1]
            for c in range(wide):
                then[c] = biases[at_b + c]
            for j in range(size):
                a = now[j]
                row = weights[at_w + j * wide : at_w + (j + 1) * wide]
                for c in range(wide):
                    then[c] += a * row[c]
            if layer < layers - 1:
                for c in range(wide):
                    then[c] = tanh(then[c])
            if layer + 1 == bottleneck:
                for c in range(wide):
                    out[c, i] = then[c]
            at_w += size * wide
            at_b += wide
            now, then = then, now
        error = 0.0
        for j in range(first):
            error += (now[j] - z[j]) * (now[j] - z[j])
        error /= first
        out[codes, i] = error
        out[codes + 1, i] = (np.log(error) - error_mean) / error_spread if error > 0.0 else NAN
