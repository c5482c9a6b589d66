"""Open interest and ratios at the local venue, as far as the tape recorded them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ares.errors import Rejected
from ares.exchange.wire.numbers import MS
from ares.simulation.server.asked import limit_of, ms_of, symbol_of
from ares.simulation.server.calls import Call
from ares.simulation.server.local_venue import LocalVenue

__all__ = ["STATISTICS", "recorded"]

_PERIODS = {"5m": 5, "15m": 15, "30m": 30, "1h": 60, "2h": 120, "4h": 240, "6h": 360, "12h": 720, "1d": 1440}
_MINUTE_NS = 60_000_000_000
_Row = dict[str, Any]


def recorded(venue: LocalVenue, symbol: str, name: str) -> list[tuple[int, float]]:
    """What the tape says of one statistic up to now: market time (ns) and value, oldest first."""
    state = venue.market.symbols[symbol]
    recording = state.track.recordings.get("futures")
    if recording is None or name not in recording.columns:
        return []
    values = recording.columns[name]
    now = venue.market.market_ns(venue.clock.now_ns()) - venue.market.shift_ns
    there = np.flatnonzero((recording.time_ns <= now) & ~np.isnan(values))
    times = recording.time_ns[there] + venue.market.shift_ns
    return list(zip(times.tolist(), values[there].tolist(), strict=True))


def _series(name: str, row: Callable[[str, float], _Row]) -> Callable[[LocalVenue, Call], Any]:
    """Who answers for one statistic. A tape without it answers as a network that does not offer it."""

    def answer(venue: LocalVenue, call: Call) -> list[_Row]:
        symbol = symbol_of(venue, call)
        period = _PERIODS.get(call.need("period"))
        if period is None:
            raise Rejected("Invalid period.", code=-1130)
        rows = recorded(venue, symbol, name)
        if not rows:
            text = f"Path {call.path}, Method {call.method} is invalid: not on this tape"
            raise Rejected(text, code=-5000, status=404)
        span = period * _MINUTE_NS
        newest = {(at - venue.market.shift_ns) // span: (at, value) for at, value in rows}  # the last of each period
        start, end = call.number("startTime"), call.number("endTime")
        found = [
            {**row(symbol, value), "timestamp": at // MS}
            for at, value in newest.values()
            if (start is None or at // MS >= start) and at // MS <= (ms_of(call) if end is None else end)
        ]
        limit = limit_of(call, 30, 500)
        return found[:limit] if start is not None else found[-limit:]

    return answer


def _interest(symbol: str, value: float) -> _Row:
    return {"symbol": symbol, "sumOpenInterest": f"{value:.8f}", "sumOpenInterestValue": "",
            "CMCCirculatingSupply": ""}  # fmt: skip


def _accounts(symbol: str, ratio: float) -> _Row:
    long = ratio / (1.0 + ratio)
    return {"symbol": symbol, "longShortRatio": f"{ratio:.4f}", "longAccount": f"{long:.4f}",
            "shortAccount": f"{1.0 - long:.4f}"}  # fmt: skip


def _takers(symbol: str, ratio: float) -> _Row:
    return {"buySellRatio": f"{ratio:.4f}", "buyVol": "", "sellVol": ""}


STATISTICS: dict[str, Callable[[LocalVenue, Call], Any]] = {
    "/futures/data/openInterestHist": _series("open_interest", _interest),
    "/futures/data/globalLongShortAccountRatio": _series("long_short_ratio", _accounts),
    "/futures/data/topLongShortPositionRatio": _series("top_long_short_ratio", _accounts),
    "/futures/data/takerlongshortRatio": _series("taker_long_short_ratio", _takers),
}
"""Path to who answers. Amounts that were not recorded are blank."""
