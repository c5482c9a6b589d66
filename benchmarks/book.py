"""The local order book: changes applied a second, frames as bytes in, an exact book out.

Budget: 50,000 changes a second.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ares.exchange.book import LocalBook
from ares.exchange.wire.depth import decode_depth
from ares.exchange.wire.market import Depth


def changes(count: int, levels: int) -> list[bytes]:
    """Frames around a wandering price, most levels near it, a third of them removals."""
    rng = np.random.default_rng(1)
    price = 200_000 + np.cumsum(rng.integers(-2, 3, count))
    made = []
    for i in range(count):
        away = np.minimum(rng.geometric(0.05, (2, levels)), 900)
        sizes = np.where(rng.random((2, levels)) < 0.33, 0, rng.integers(1, 9000, (2, levels)))
        sides = [
            [[f"{(price[i] + sign * a) / 100:.2f}", f"{q / 1000:.3f}"] for a, q in zip(away[s], sizes[s], strict=True)]
            for s, sign in ((0, -1), (1, 1))
        ]
        data = {"e": "depthUpdate", "E": 1, "T": 1, "s": "X", "U": i + 1, "u": i + 1, "pu": i, "b": sides[0],
                "a": sides[1]}  # fmt: skip
        made.append(json.dumps({"stream": "x@depth@100ms", "data": data}, separators=(",", ":")).encode())
    return made


def _dictionary(made: list[bytes], loads: Callable[[bytes], Any]) -> float:
    bids: dict[float, float] = {}
    asks: dict[float, float] = {}
    best = 0.0
    begin = time.perf_counter()
    for frame in made:
        data = loads(frame)["data"]
        for side, levels in ((bids, data["b"]), (asks, data["a"])):
            for price, text in levels:
                size = float(text)
                if size:
                    side[float(price)] = size
                else:
                    side.pop(float(price), None)
        best += max(bids, default=0.0) + min(asks, default=0.0)
    return len(made) / (time.perf_counter() - begin)


def _ours(made: list[bytes]) -> float:
    book = LocalBook("X")
    book.load(Depth(last_update_id=0, time_ms=1, bids=[("1999.9", "1")], asks=[("2000.1", "1")]))
    begin = time.perf_counter()
    for frame in made:
        if not book.update(decode_depth(frame)):
            raise RuntimeError("the chain of changes is broken")
        book.best()
    return len(made) / (time.perf_counter() - begin)


def run(quick: bool) -> list[dict[str, Any]]:
    """Changes a second with the best quotes read after each, for short and for long changes."""
    loads: Callable[[bytes], Any] = json.loads
    name = "json of the standard library"
    try:
        import orjson

        loads, name = orjson.loads, f"orjson {orjson.__version__}"
    except ImportError:
        pass
    lines = []
    for levels in (5, 30):
        made = changes(3_000 if quick else 20_000, levels)
        _ours(made[:50])
        turns = [(_ours(made), _dictionary(made, loads)) for _ in range(5)]
        ours, peer = max(turn[0] for turn in turns), max(turn[1] for turn in turns)
        lines.append(
            {"workload": f"local book, {2 * levels} levels a change", "ours": ours, "peer": peer, "ratio": ours / peer,
             "unit": "changes/s", "note": f"peer: {name}, a plain dict a side; the best quotes are read after each"}
        )  # fmt: skip
    return lines
