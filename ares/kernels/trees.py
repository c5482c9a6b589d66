"""Ensembles of decision trees walked in lock-step, without a test for leaves and without a branch per split.

A node sends a value x left when `x <= threshold` and right otherwise, so a missing value goes right. Each row is
written twice: as it is, and with missing values as minus infinity, which always goes left. A node that sends missing
values left reads the second copy. The children of a node lie side by side. A leaf is its own left child and compares a
minus infinity at the end of the row, so a walk of fixed length stays in the leaf it has reached, and its threshold is
free to hold its value. Sixteen trees of similar depth walk together to hide the latency of memory.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ares.kernels.jit import inner, jit

__all__ = ["LANES", "LINKS", "NODE", "ROWS", "answer_batch", "depths", "forest_batch", "link_batch"]

NODE = np.dtype([("threshold", "<f8"), ("feature", "<u4"), ("left", "<u4")])
"""feature: column of the doubled row; at or beyond the number of columns it is the copy that sends missing left."""

LANES = 16
LINKS = {"identity": 0, "expit": 1, "softmax": 2, "exp": 3}
ROWS = 64  # that one group of trees serves while its nodes are in the nearest cache

F = NDArray[np.float64]
I = NDArray[np.int64]  # noqa: E741


@jit(allocates=False)
def forest_batch(words: I, numbers: F, X: F, work: F, out: F) -> None:
    """Sum of the trees for each row of X, (n, columns), into the first k columns of out, (n, k or more).

    words: eight whole numbers, NODE records of a walk, then root, steps and target. The eight: nodes, trees (a multiple
    of LANES), outputs k, values of a leaf w, link, and whether single, finite_only and missing_ok. root: (trees,) first
    node of each. steps: (trees / LANES,) walk lengths. target: (trees,) the output a tree of w = 1 adds to; with w = k
    each tree adds to all.
    numbers: divisor, gain, tiny, then base, (k,), which the sum starts from, then leaf values, (nodes, w), if w > 1.
    A leaf of a walk compares the last number of the row, minus infinity, so its threshold is free: it holds its value
    when w = 1.
    work: (min(n, ROWS) or more, 2 * columns + 1), written by this kernel.
    single: round inputs to float32 first. tiny: read values of at most this size as zero. finite_only, missing_ok: a
    row holding what the model refuses becomes NaN.
    The order of the sum is the order of the trees, the same for one row and for many.
    """
    size, trees, k, width = words[0], words[1], words[2], words[3]
    single, finite_only, missing_ok = words[5] != 0, words[6] != 0, words[7] != 0
    nodes = words[8 : 8 + 2 * size].view(NODE)
    root = words[8 + 2 * size : 8 + 2 * size + trees]
    groups = trees // LANES
    steps = words[8 + 2 * size + trees : 8 + 2 * size + trees + groups]
    target = words[8 + 2 * size + trees + groups :]
    tiny = numbers[2]
    base = numbers[3 : 3 + k]
    value = numbers[3 + k :]
    n, columns = X.shape
    for start in range(0, n, ROWS):
        count = min(ROWS, n - start)
        for r in range(count):
            refused = False
            for c in range(columns):
                x = X[start + r, c]
                if single:
                    x = np.float64(np.float32(x))
                if abs(x) <= tiny:
                    x = 0.0
                missing = x != x
                work[r, c] = x
                work[r, columns + c] = -np.inf if missing else x
                refused |= (missing and not missing_ok) or (finite_only and (x == np.inf or x == -np.inf))
            work[r, 2 * columns] = -np.inf
            for j in range(k):
                out[start + r, j] = math.nan if refused else base[j]
        for g in range(groups):
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
                row = work[r]
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
                ends = (a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15)
                total = out[start + r]
                if k == 1:
                    first = total[0]
                    for at in ends:
                        first += nodes[at].threshold
                    total[0] = first
                elif width == 1:
                    for lane in range(LANES):
                        total[target[t + lane]] += nodes[ends[lane]].threshold
                else:
                    for lane in range(LANES):
                        leaf = np.int64(ends[lane]) * width
                        for j in range(width):
                            total[j] += value[leaf + j]


@inner
def _child(nodes: Any, row: F, at: Any) -> Any:
    node = nodes[at]
    right = not (row[np.uint64(node.feature)] <= node.threshold)
    return np.uint64(node.left) + np.uint64(right)


@jit(allocates=False)
def link_batch(raw: F, divisor: float, gain: float, link: int, out: F) -> None:
    """Turn sums into answers: `link(gain * raw / divisor)` row by row.

    raw: (n, k); of the link expit only its first column counts. out: (n, k), or (n, 2) for the link expit, the second
    column being its value; it may be raw itself.
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


@jit(allocates=False)
def answer_batch(words: I, numbers: F, X: F, work: F, out: F) -> None:
    """`forest_batch` and `link_batch` in one call of few arguments, since a call costs as much as many trees.

    out: (n, k), or (n, 2) for the link expit, as for `link_batch`; the rest as for `forest_batch`.
    """
    forest_batch(words, numbers, X, work, out)
    link_batch(out, numbers[0], numbers[1], words[4], out)


@jit
def depths(left: I, out: I) -> None:
    """Steps from each node down to its deepest leaf; children come after their parents."""
    for at in range(left.size - 1, -1, -1):
        out[at] = 0 if left[at] == at else 1 + max(out[left[at]], out[left[at] + 1])
