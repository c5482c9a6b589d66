"""Ensembles of decision trees walked in lock-step, without a test for leaves and without a branch per split.

A node sends a value x left when `x <= threshold` and right otherwise, so a missing value goes right. Each row is
written
twice: as it is, and with missing values as minus infinity, which always goes left. A node that sends missing values
left reads the second copy. The children of a node lie side by side, and a leaf is its own left child with threshold
infinity, so a walk of fixed length stays in the leaf it has reached. Sixteen trees of similar depth walk together to
hide the latency of memory.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ares.kernels.jit import jit

__all__ = ["LANES", "LINKS", "NODE", "answer_batch", "depths", "forest_batch", "link_batch"]

NODE = np.dtype([("threshold", "<f8"), ("feature", "<u4"), ("left", "<u4")])
"""feature: column of the doubled row; at or beyond the number of columns it is the copy that sends missing left."""

LANES = 16
LINKS = {"identity": 0, "expit": 1, "softmax": 2, "exp": 3}
_BLOCK = 64  # rows that one group of trees serves while its nodes are in the nearest cache

F = NDArray[np.float64]
I = NDArray[np.int64]  # noqa: E741


@jit
def forest_batch(
    nodes: Any,
    root: I,
    steps: I,
    value: F,
    target: I,
    base: F,
    X: F,
    single: bool,
    tiny: float,
    finite_only: bool,
    missing_ok: bool,
    out: F,
) -> None:
    """Sum of the trees for each row of X, (n, columns), into out, (n, k), on top of base, (k,).

    nodes: NODE array. root: (trees,) first node of each, trees a multiple of LANES. steps: (trees / LANES,) walk
    lengths.
    value: (nodes, w) leaf values. target: (trees,) the output a tree of w = 1 adds to; with w = k each tree adds to
    all.
    single: round inputs to float32 first. tiny: read values of at most this size as zero. finite_only, missing_ok: a
    row holding what the model refuses becomes NaN.
    The order of the sum is the order of the trees, the same for one row and for many.
    """
    n, columns = X.shape
    width = value.shape[1]
    k = base.size
    doubled = np.empty((min(n, _BLOCK), 2 * columns))
    for start in range(0, n, _BLOCK):
        count = min(_BLOCK, n - start)
        for r in range(count):
            refused = False
            for c in range(columns):
                x = X[start + r, c]
                if single:
                    x = np.float64(np.float32(x))
                if abs(x) <= tiny:
                    x = 0.0
                missing = x != x
                doubled[r, c] = x
                doubled[r, columns + c] = -np.inf if missing else x
                refused |= (missing and not missing_ok) or (finite_only and (x == np.inf or x == -np.inf))
            for j in range(k):
                out[start + r, j] = math.nan if refused else base[j]
        for g in range(steps.size):
            t = g * LANES
            length = steps[g]
            for r in range(count):
                a0 = np.uint64(root[t])
                a1 = np.uint64(root[t + 1])
                a2 = np.uint64(root[t + 2])
                a3 = np.uint64(root[t + 3])
                a4 = np.uint64(root[t + 4])
                a5 = np.uint64(root[t + 5])
                a6 = np.uint64(root[t + 6])
                a7 = np.uint64(root[t + 7])
                a8 = np.uint64(root[t + 8])
                a9 = np.uint64(root[t + 9])
                a10 = np.uint64(root[t + 10])
                a11 = np.uint64(root[t + 11])
                a12 = np.uint64(root[t + 12])
                a13 = np.uint64(root[t + 13])
                a14 = np.uint64(root[t + 14])
                a15 = np.uint64(root[t + 15])
                row = doubled[r]
                for _ in range(length):
                    a0 = _child(nodes, row, a0)
                    a1 = _child(nodes, row, a1)
                    a2 = _child(nodes, row, a2)
                    a3 = _child(nodes, row, a3)
                    a4 = _child(nodes, row, a4)
                    a5 = _child(nodes, row, a5)
                    a6 = _child(nodes, row, a6)
                    a7 = _child(nodes, row, a7)
                    a8 = _child(nodes, row, a8)
                    a9 = _child(nodes, row, a9)
                    a10 = _child(nodes, row, a10)
                    a11 = _child(nodes, row, a11)
                    a12 = _child(nodes, row, a12)
                    a13 = _child(nodes, row, a13)
                    a14 = _child(nodes, row, a14)
                    a15 = _child(nodes, row, a15)
                total = out[start + r]
                if width == 1:
                    total[target[t]] += value[a0, 0]
                    total[target[t + 1]] += value[a1, 0]
                    total[target[t + 2]] += value[a2, 0]
                    total[target[t + 3]] += value[a3, 0]
                    total[target[t + 4]] += value[a4, 0]
                    total[target[t + 5]] += value[a5, 0]
                    total[target[t + 6]] += value[a6, 0]
                    total[target[t + 7]] += value[a7, 0]
                    total[target[t + 8]] += value[a8, 0]
                    total[target[t + 9]] += value[a9, 0]
                    total[target[t + 10]] += value[a10, 0]
                    total[target[t + 11]] += value[a11, 0]
                    total[target[t + 12]] += value[a12, 0]
                    total[target[t + 13]] += value[a13, 0]
                    total[target[t + 14]] += value[a14, 0]
                    total[target[t + 15]] += value[a15, 0]
                else:
                    for j in range(width):
                        total[j] += value[a0, j]
                        total[j] += value[a1, j]
                        total[j] += value[a2, j]
                        total[j] += value[a3, j]
                        total[j] += value[a4, j]
                        total[j] += value[a5, j]
                        total[j] += value[a6, j]
                        total[j] += value[a7, j]
                        total[j] += value[a8, j]
                        total[j] += value[a9, j]
                        total[j] += value[a10, j]
                        total[j] += value[a11, j]
                        total[j] += value[a12, j]
                        total[j] += value[a13, j]
                        total[j] += value[a14, j]
                        total[j] += value[a15, j]


@jit
def _child(nodes: Any, row: F, at: Any) -> Any:
    node = nodes[at]
    right = not (row[np.uint64(node.feature)] <= node.threshold)
    return np.uint64(node.left) + np.uint64(right)


@jit
def link_batch(raw: F, divisor: float, gain: float, link: int, out: F) -> None:
    """Turn sums into answers: `link(gain * raw / divisor)` row by row.

    raw: (n, k). out: (n, k), or (n, 2) for the link expit of k = 1, the second column being its value.
    """
    n, k = raw.shape
    for i in range(n):
        if link == 1:
            p = 1.0 / (1.0 + math.exp(-gain * (raw[i, 0] / divisor)))
            out[i, 0] = 1.0 - p
            out[i, 1] = p
        elif link == 2:
            top = gain * (raw[i, 0] / divisor)
            for j in range(1, k):
                top = max(top, gain * (raw[i, j] / divisor))
            total = 0.0
            for j in range(k):
                out[i, j] = math.exp(gain * (raw[i, j] / divisor) - top)
                total += out[i, j]
            for j in range(k):
                out[i, j] /= total
        else:
            for j in range(k):
                z = gain * (raw[i, j] / divisor)
                out[i, j] = math.exp(z) if link == 3 else z


@jit
def answer_batch(nodes: Any, layout: I, numbers: F, value: F, X: F, out: F) -> None:
    """`forest_batch` and `link_batch` in one call of few arguments, since a call costs more than a tree.

    layout: number of trees, link, then whether single, finite_only and missing_ok, then root, steps and target.
    numbers: divisor, gain, tiny, then base. out: as for `link_batch`.
    """
    trees = layout[0]
    groups = trees // LANES
    base = numbers[3:]
    raw = np.empty((X.shape[0], base.size))
    forest_batch(
        nodes,
        layout[5 : 5 + trees],
        layout[5 + trees : 5 + trees + groups],
        value,
        layout[5 + trees + groups :],
        base,
        X,
        layout[2] != 0,
        numbers[2],
        layout[3] != 0,
        layout[4] != 0,
        raw,
    )
    link_batch(raw, numbers[0], numbers[1], layout[1], out)


@jit
def depths(left: I, out: I) -> None:
    """Steps from each node down to its deepest leaf; children come after their parents."""
    for at in range(left.size - 1, -1, -1):
        out[at] = 0 if left[at] == at else 1 + max(out[left[at]], out[left[at] + 1])
