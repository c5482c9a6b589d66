"""The triple barrier told slowly, one bet at a time, with plain Python numbers and no shared code."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class Bar:
    ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float

    @property
    def tradable(self) -> bool:
        prices = (self.open, self.high, self.low, self.close)
        return all(math.isfinite(p) and p > 0 for p in prices) and self.volume > 0


@dataclass
class Bet:
    outcome: str  # target, stop, time, no_entry, unmatured
    tie: bool = False
    entry_ns: int = 0
    end_ns: int = 0
    gross: float = math.nan
    net: float = math.nan


def label(
    bars: list[Bar],
    event: int,
    side: int,
    sigma: float,
    *,
    step: int,
    horizon: int,
    target: float,
    stop: float,
    slip: float,
    fee: float,
    settlements: list[tuple[int, float]],
) -> Bet:
    """settlements: (instant, what a long pays per base)."""
    entry_bar = next((b for b in bars[event + 1 :] if b.tradable), None)
    if entry_bar is None:
        return Bet("no_entry")
    direction = -1 if side < 0 else 1
    raw = entry_bar.open
    entry = raw + side * slip * raw
    target_price = math.exp(math.log(entry) + direction * target * sigma * math.sqrt(horizon))
    stop_price = math.exp(math.log(entry) - direction * stop * sigma * math.sqrt(horizon))
    deadline = entry_bar.ns + horizon * step

    def beyond(price: float, level: float, way: int) -> bool:
        return price >= level if way > 0 else price <= level

    for bar in bars:
        if bar.ns < entry_bar.ns or not bar.tradable:
            continue
        best, worst = (bar.high, bar.low) if direction > 0 else (bar.low, bar.high)
        tie = False
        at_open = False
        if bar.ns >= deadline:
            outcome, price, end, at_open = "time", bar.open, bar.ns, True
        else:
            end = bar.ns + step
            if beyond(bar.open, stop_price, -direction):
                outcome, price = "stop", bar.open
            elif beyond(bar.open, target_price, direction):
                outcome, price = "target", target_price
            elif beyond(worst, stop_price, -direction) and beyond(best, target_price, direction):
                outcome, price, tie = ("stop", stop_price, True) if side else ("time", bar.close, True)
            elif beyond(worst, stop_price, -direction):
                outcome, price = "stop", stop_price
            elif beyond(best, target_price, direction):
                outcome, price = "target", target_price
            elif end == deadline:
                outcome, price = "time", bar.close
            else:
                continue
        bet = Bet(outcome, tie, entry_bar.ns, end, gross=direction * (price - raw) / raw)
        if side:
            paid = 0.0
            for instant, per_base in settlements:
                mine = side * per_base
                held_for_sure = entry_bar.ns < instant < bar.ns or (instant == bar.ns > entry_bar.ns and not at_open)
                in_doubt = entry_bar.ns < instant <= end and not held_for_sure
                if held_for_sure or (in_doubt and mine > 0):
                    paid += mine
            fill = price - side * slip * price
            bet.net = (side * (fill - entry) - fee * entry - fee * fill - paid) / entry
        return bet
    return Bet("unmatured")
