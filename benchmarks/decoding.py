"""Decoding market frames to typed values, aggTrade : bookTicker : depth20 = 6 : 3 : 1.

Budget: at least 1.5 times orjson to untyped dictionaries of text.
"""

from __future__ import annotations

import importlib.metadata
import json
import time
from collections.abc import Callable
from typing import Any


def frames(count: int) -> list[bytes]:
    """Made-up frames in the venue's shapes."""
    made = []
    for i in range(count):
        price = 2000 + (i * 37 % 1000) / 100
        if i % 10 < 6:
            data: dict[str, Any] = {
                "e": "aggTrade", "E": 1700000000000 + i, "s": "ETHUSDT", "a": 10_000 + i, "p": f"{price:.2f}",
                "q": "1.234", "nq": "1.234", "f": i, "l": i + 3, "T": 1700000000000 + i, "m": i % 2 == 0, "st": 1,
            }  # fmt: skip
            stream = "ethusdt@aggTrade"
        elif i % 10 < 9:
            data = {
                "e": "bookTicker", "u": 500_000 + i, "E": 1700000000000 + i, "T": 1700000000000 + i, "s": "ETHUSDT",
                "ps": "ETHUSDT", "b": f"{price:.2f}", "B": "12.345", "a": f"{price + 0.01:.2f}", "A": "9.876", "st": 1,
            }  # fmt: skip
            stream = "ethusdt@bookTicker"
        else:
            levels = [[f"{price - n / 100:.2f}", f"{n + 1}.500"] for n in range(20)]
            data = {
                "e": "depthUpdate", "E": 1700000000000 + i, "T": 1700000000000 + i, "s": "ETHUSDT", "ps": "ETHUSDT",
                "U": i, "u": i + 5, "pu": i - 1, "b": levels, "a": levels, "st": 1,
            }  # fmt: skip
            stream = "ethusdt@depth20@100ms"
        made.append(json.dumps({"stream": stream, "data": data}, separators=(",", ":")).encode())
    return made


def rate(decode: Callable[[bytes], object], made: list[bytes], rounds: int) -> float:
    """Frames a second, the best of some rounds."""
    best = 0.0
    for _ in range(rounds):
        begin = time.perf_counter()
        for frame in made:
            decode(frame)
        best = max(best, len(made) / (time.perf_counter() - begin))
    return best


def run(quick: bool) -> list[dict[str, Any]]:
    """Frames a second, ours against orjson and the standard library."""
    from ares.exchange.wire.streams import decode_frame

    made, rounds = frames(10_000 if quick else 50_000), 3 if quick else 7
    ours = rate(decode_frame, made, rounds)
    lines: list[dict[str, Any]] = []
    line = {"workload": "market frames to typed floats", "ours": ours, "unit": "frames/s"}
    try:
        import orjson

        peer = rate(orjson.loads, made, rounds)
        version = importlib.metadata.version("orjson")
        lines.append({**line, "peer": peer, "ratio": ours / peer, "note": f"orjson {version}, untyped dicts of text"})
    except ImportError:
        lines.append({**line, "peer": None, "ratio": None, "note": "orjson is not installed"})
    peer = rate(json.loads, made, max(1, rounds // 2))
    lines.append({**line, "peer": peer, "ratio": ours / peer, "note": "json of the standard library, untyped"})
    return lines
