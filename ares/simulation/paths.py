"""Which resting order a price meets first on its way through a bar."""

from __future__ import annotations

from collections.abc import Iterable

from ares.kernels import matching as rules
from ares.simulation.resting import Resting

__all__ = ["first_hit", "nearest_entries"]


def first_hit(orders: Iterable[Resting], start: int, end: int, leg: int, through: int) -> tuple[int, Resting] | None:
    """The order that a price (ticks) going from `start` to `end` meets first, and where; None: it meets none.

    leg: +1 up, -1 down. At one price the kinds fill in the order of their numbers, then the older order.
    """
    best: tuple[int, int, int] | None = None
    found: Resting | None = None
    for r in orders:
        if rules.direction(r.kind, r.sign) != leg or not rules.reached(r.kind, r.sign, r.trigger, end, through):
            continue
        way = max(0, leg * (rules.level(r.kind, r.sign, r.trigger, through) - start))
        if best is None or (way, r.kind, r.number) < best:
            best, found = (way, r.kind, r.number), r
    return None if best is None or found is None else (start + leg * best[0], found)


def nearest_entries(orders: Iterable[Resting], price: int, low: int, high: int, through: int) -> tuple[int, int]:
    """Ticks down and up to the nearest orders that a bar reaches and that would open a position; 0: none."""
    near = {-1: 0, 1: 0}
    for r in orders:
        way = rules.direction(r.kind, r.sign)
        if r.reduce_only or not rules.reached(r.kind, r.sign, r.trigger, low if way < 0 else high, through):
            continue
        distance = max(1, way * (rules.level(r.kind, r.sign, r.trigger, through) - price))
        near[way] = min(near[way] or distance, distance)
    return near[-1], near[1]
