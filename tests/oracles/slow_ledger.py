"""The ledger in plain Python with exact fractions: slow, and written from the definition alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

UNIT = Fraction(1, 10**8)


def half_even(value: Fraction) -> int:
    """Nearest whole number, ties to even: what `round` does to a Fraction."""
    return round(value)


@dataclass
class SlowPosition:
    """One symbol; `unit` is what one tick times one lot is worth, in money units."""

    unit: Fraction
    lots: int = 0
    cost: int = 0
    realised: int = 0
    fees: int = 0
    funding: int = 0
    margin: int = 0
    leverage: int = 1

    def value(self, lots: int, ticks: int) -> int:
        return half_even(lots * ticks * self.unit)


@dataclass
class SlowLedger:
    """One account. A flip is a close and then an open; money short in the wallet is taken from the own margin."""

    units: list[Fraction]
    start: int = 0
    positions: list[SlowPosition] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.positions = [SlowPosition(unit) for unit in self.units]

    @property
    def wallet(self) -> int:
        return self.start + sum(p.realised - p.fees + p.funding for p in self.positions)

    @property
    def margin(self) -> int:
        return sum(p.margin for p in self.positions)

    def fill(self, i: int, lots: int, ticks: int, fee: int, rate: Fraction) -> None:
        p = self.positions[i]
        p.fees += fee + half_even(abs(lots) * ticks * p.unit * rate)
        closing = 0
        if p.lots * lots < 0:
            closing = min(abs(p.lots), abs(lots))
            share = Fraction(closing, abs(p.lots))
            portion = half_even(abs(p.cost) * share)
            released = half_even(p.margin * share)
            if p.lots > 0:
                p.realised += p.value(closing, ticks) - portion
                p.lots, p.cost = p.lots - closing, p.cost - portion
            else:
                p.realised += portion - p.value(closing, ticks)
                p.lots, p.cost = p.lots + closing, p.cost + portion
            p.margin -= released
        opening = abs(lots) - closing
        if opening:
            value = p.value(opening, ticks)
            p.margin += half_even(Fraction(value, p.leverage))
            p.cost += value if lots > 0 else -value
            p.lots += opening if lots > 0 else -opening
        self._cover(p)

    def fund(self, i: int, ticks: int, rate: Fraction) -> None:
        p = self.positions[i]
        p.funding -= half_even(p.lots * ticks * p.unit * rate)
        self._cover(p)

    def pay(self, i: int, amount: int) -> None:
        self.positions[i].funding += amount
        self._cover(self.positions[i])

    def unrealised(self, marks: list[int]) -> int:
        return sum(p.value(p.lots, mark) - p.cost for p, mark in zip(self.positions, marks, strict=True))

    def _cover(self, p: SlowPosition) -> None:
        short = self.margin - max(self.wallet, 0)
        if short > 0 and self.margin > self.wallet:
            p.margin -= min(p.margin, short)
