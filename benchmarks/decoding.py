"""Decoding market frames to typed values, aggTrade : bookTicker : depth20 = 6 : 3 : 1.

Depth has connections of its own, and so a decoder of its own: the one that each connection uses is measured.
Budget: at least 1.5 times orjson to untyped dictionaries of text, and 2.5 us for a depth frame.
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


Work = list[tuple[Callable[[bytes], object], bytes]]


def rates(works: list[Work], rounds: int) -> list[float]:
    """Frames a second of processor time of each, the best of some rounds that take turns.

    Decoding waits for nothing, so processor time is its whole time, without what other programs take meanwhile.
    """
    best = [0.0] * len(works)
    for _ in range(rounds):
        for number, work in enumerate(works):
            begin = time.thread_time()
            for decode, frame in work:
                decode(frame)
            best[number] = max(best[number], len(work) / (time.thread_time() - begin))
    return best


def run(quick: bool) -> list[dict[str, Any]]:
    """Frames a second, ours against orjson and the standard library: the mix, then each kind alone."""
    from ares.exchange.wire.depth import decode_depth
    from ares.exchange.wire.streams import decode_frame

    made, rounds = frames(10_000 if quick else 50_000), 5 if quick else 9
    ours: Work = [(decode_depth if b"@depth" in frame[:40] else decode_frame, frame) for frame in made]
    peers: dict[str, Callable[[bytes], object]] = {}
    try:
        import orjson

        version = importlib.metadata.version("orjson")
        peers[f"orjson {version}, untyped dicts of text"] = orjson.loads
    except ImportError:
        pass
    peers["json of the standard library, untyped"] = json.loads
    lines: list[dict[str, Any]] = []
    for kind in ("", "aggTrade", "bookTicker", "depth20"):
        part = [pair for pair in ours if f"@{kind}".encode() in pair[1][:40]]
        works = [part, *([(peer, frame) for _, frame in part] for peer in peers.values())]
        speed, *theirs = rates(works, rounds)
        line = {"workload": f"{kind or 'market'} frames to typed floats", "ours": speed, "unit": "frames/s"}
        if len(peers) == 1:
            lines.append({**line, "peer": None, "ratio": None, "note": "orjson is not installed"})
        lines += [
            {**line, "peer": peer, "ratio": speed / peer, "note": note}
            for note, peer in zip(peers, theirs, strict=True)
        ]
    return lines
