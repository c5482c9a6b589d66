"""An order book in two sorted arrays, best price last, so that changes near the top move little memory.

A side holds keys in rising order: the price for bids, minus the price for asks. `counts` holds the levels of each side.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ares.kernels.jit import jit

__all__ = ["apply_levels", "best_levels"]


@jit
def apply_levels(
    keys: NDArray[np.float64],
    sizes: NDArray[np.float64],
    count: int,
    sign: float,
    changes: NDArray[np.float64],
    begin: int,
    end: int,
) -> int:
    """Set absolute quantities by price; 0 removes a level, removing an unknown one is normal. The new count.

    keys, sizes: (capacity,) of one side. sign: +1 for bids, -1 for asks. changes: price, quantity, price, ..., of which
    those from `begin` to before `end` are applied.
    Gives -1 when the side is full; it then holds what was applied so far. Gives -2, with nothing applied, when a price
    is not above 0, a quantity is negative, or one of them is no finite number.
    """
    for i in range(begin, end, 2):
        if not (0.0 < changes[i] < np.inf and 0.0 <= changes[i + 1] < np.inf):
            return -2
    for i in range(begin, end, 2):
        key = sign * changes[i]
        size = changes[i + 1]
        low, high = 0, count
        while low < high:
            middle = (low + high) >> 1
            if keys[middle] < key:
                low = middle + 1
            else:
                high = middle
        found = low < count and keys[low] == key
        if size > 0.0:
            if not found:
                if count == keys.size:
                    return -1
                for j in range(count, low, -1):
                    keys[j] = keys[j - 1]
                    sizes[j] = sizes[j - 1]
                keys[low] = key
                count += 1
            sizes[low] = size
        elif found:
            count -= 1
            for j in range(low, count):
                keys[j] = keys[j + 1]
                sizes[j] = sizes[j + 1]
    return count


@jit
def best_levels(
    keys: NDArray[np.float64], sizes: NDArray[np.float64], count: int, sign: float, out: NDArray[np.float64]
) -> int:
    """Write the best levels, best first, into `out` (n, 2) of price and quantity; how many there were."""
    n = count if count < out.shape[0] else out.shape[0]
    for i in range(n):
        out[i, 0] = sign * keys[count - 1 - i]
        out[i, 1] = sizes[count - 1 - i]
    return n
