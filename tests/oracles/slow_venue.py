"""The simulated venue told anew in plain Python: the price moves one tick at a time, money is exact fractions.

One symbol, one tick times one lot is worth one quote (1e8 units). Written from the rules, not from the code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from tests.oracles.slow_ledger import SlowLedger, half_even

UNIT = 10**8
RANK = {"STOP_MARKET": 0, "MARKET": 1, "TAKE_PROFIT_MARKET": 2, "LIMIT": 3}


@dataclass
class SlowOrder:
    number: int
    sign: int
    kind: str
    lots: int
    level: int = 0
    reduce_only: bool = False
    tif: str = "GTC"
    new: bool = True
    status: str = "NEW"
    held_back: int = 0

    @property
    def way(self) -> int:
        """Where the price comes from: +1 the order waits above."""
        return self.sign if self.kind == "STOP_MARKET" else -self.sign


class SlowVenue:
    def __init__(
        self, start: int, slippage: Fraction, maker: Fraction, taker: Fraction, liquidation: Fraction,
        through: int, leverage: int, tiers: list[tuple[int, Fraction, int, int]],
    ) -> None:  # fmt: skip
        self.book = SlowLedger([Fraction(UNIT)], start)
        self.book.positions[0].leverage = leverage
        self.slippage, self.maker, self.taker, self.liquidation = slippage, maker, taker, liquidation
        self.through, self.tiers = through, tiers
        self.orders: list[SlowOrder] = []
        self.everything: dict[int, SlowOrder] = {}
        self.fills: list[tuple[int, int, int, bool, bool]] = []  # signed lots, ticks, fee, maker, liquidation
        self.price, self.tradable = 0, False

    # -------------------------------------------------------- money

    @property
    def held(self) -> int:
        return self.book.positions[0].lots

    def slip(self, sign: int, price: int) -> int:
        if sign > 0:
            return math.ceil(price * (1 + self.slippage))
        return max(1, math.floor(price * (1 - self.slippage)))

    def need(self, signed: int, price: int) -> int:
        opening = abs(signed) if self.held * signed >= 0 else max(0, abs(signed) - abs(self.held))
        if not opening:
            return 0
        value = opening * price * UNIT
        return math.ceil(Fraction(value, self.book.positions[0].leverage)) + half_even(value * max(self.taker, 0))

    def free(self) -> int:
        return self.book.wallet - self.book.margin - sum(o.held_back for o in self.orders)

    def tier(self, value: int) -> tuple[int, Fraction, int, int]:
        return next((t for t in self.tiers if value < t[0]), self.tiers[-1])

    def doomed(self, price: int) -> bool:
        p = self.book.positions[0]
        if not p.lots:
            return False
        value = abs(p.lots) * price * UNIT
        _, rate, cum, _ = self.tier(value)
        return p.margin + p.lots * price * UNIT - p.cost <= half_even(value * rate) - cum

    # -------------------------------------------------------- the trader

    def submit(self, order: SlowOrder) -> int:
        """0, or the code of the refusal."""
        if order.reduce_only and order.kind in ("MARKET", "LIMIT") and self.held * order.sign >= 0:
            return -2022
        crosses = order.kind != "MARKET" and order.way * (self.price - order.level) >= 0
        if crosses and order.kind in ("STOP_MARKET", "TAKE_PROFIT_MARKET"):
            return -2021
        if crosses and order.tif == "GTX":
            return -5022
        if not order.reduce_only:
            at = order.level or self.price
            worst = at if order.kind == "LIMIT" else self.slip(order.sign, at)
            order.held_back = self.need(order.sign * order.lots, worst)
            if order.held_back > self.free():
                order.held_back = 0
                return -2019
            after = abs(self.held + order.sign * order.lots) * worst * UNIT
            if order.held_back and (
                self.book.positions[0].leverage > self.tier(after)[3] or after >= self.tiers[-1][0]
            ):
                order.held_back = 0
                return -2027
        self.orders.append(order)
        self.everything[order.number] = order
        if self.tradable and order.kind in ("MARKET", "LIMIT"):
            self.meet(order)
        return 0

    def finish(self, order: SlowOrder, status: str) -> None:
        order.status, order.held_back = status, 0
        self.orders.remove(order)

    def meet(self, order: SlowOrder) -> None:
        """A market or limit order sees its first price."""
        order.new = False
        if order.kind == "MARKET":
            self.execute(order, self.slip(order.sign, self.price), False)
        elif order.way * (self.price - order.level) >= 0:
            if order.tif == "GTX":
                self.finish(order, "EXPIRED")
            else:
                slipped = self.slip(order.sign, self.price)
                self.execute(order, min(order.level, slipped) if order.sign > 0 else max(order.level, slipped), False)
        elif order.tif in ("IOC", "FOK"):
            self.finish(order, "EXPIRED")

    def execute(self, order: SlowOrder, price: int, maker: bool) -> None:
        lots = order.lots
        if order.reduce_only:
            if self.held * order.sign >= 0:
                self.finish(order, "EXPIRED")
                return
            lots = min(lots, abs(self.held))
        else:
            own, order.held_back = order.held_back, 0
            if self.need(order.sign * lots, price) > self.free():
                order.held_back = own
                self.finish(order, "EXPIRED")
                return
        self.finish(order, "FILLED")
        self.take(order.sign * lots, price, self.maker if maker else self.taker, None, maker)

    def take(self, signed: int, price: int, rate: Fraction, most: int | None, maker: bool) -> None:
        before = self.held
        fee = half_even(abs(signed) * price * UNIT * rate)
        fee = fee if most is None else min(fee, most)
        self.book.fill(0, signed, price, fee, Fraction(0))
        self.fills.append((signed, price, fee, maker, most is not None))
        for other in list(self.orders):
            if before and self.held * before <= 0 and other.reduce_only and self.held * other.sign >= 0:
                self.finish(other, "EXPIRED")

    def liquidate(self) -> None:
        p = self.book.positions[0]
        sign = -1 if p.lots > 0 else 1
        price = self.slip(sign, self.price)
        while p.margin + p.lots * price * UNIT - p.cost < 0:  # the insurance fund gives a better price
            price -= sign
        left = p.margin + p.lots * price * UNIT - p.cost
        self.take(-p.lots, price, self.liquidation, max(0, left), False)
        for other in list(self.orders):
            self.finish(other, "CANCELED")

    # -------------------------------------------------------- the market

    def trade(self, price: int) -> None:
        self.price, self.tradable = price, True
        if self.doomed(price):
            self.liquidate()
        for order in sorted(self.orders, key=lambda o: (RANK[o.kind], o.number)):
            if order.status != "NEW":
                continue
            beyond = self.through if order.kind == "LIMIT" else 0
            if order.new and order.kind in ("MARKET", "LIMIT"):
                self.meet(order)
            elif order.way * (price - order.level) >= beyond:
                if order.kind == "LIMIT":
                    self.execute(order, min(order.level, price) if order.sign > 0 else max(order.level, price), True)
                else:
                    self.execute(order, self.slip(order.sign, price), False)
            order.new = False

    def there(self, order: SlowOrder, price: int) -> bool:
        return order.way * (price - order.level) >= (self.through if order.kind == "LIMIT" else 0)

    def walk(self, low: int, high: int, close: int) -> None:
        ahead = {-1: low, 1: high}
        way = self.choose(ahead)
        while ahead:
            here = [o for o in self.orders if o.way == way and self.there(o, self.price)]
            if here:
                order = min(here, key=lambda o: (RANK[o.kind], o.number))
                limit = order.kind == "LIMIT"
                self.execute(order, order.level if limit else self.slip(order.sign, self.price), limit)
                way = self.choose(ahead)
            elif self.held * way < 0 and self.doomed(self.price):
                self.liquidate()
                way = self.choose(ahead)
            elif self.price == ahead[way]:
                del ahead[way]
                way = self.choose(ahead)
            else:
                self.price += way
        self.price, self.tradable = close, False

    def choose(self, ahead: dict[int, int]) -> int:
        """The worse extreme first; flat, the one where a position would be opened sooner."""
        if len(ahead) < 2:
            return next(iter(ahead), 0)
        if self.held:
            return -1 if self.held > 0 else 1
        far = {}
        for way, end in ahead.items():
            opening = [o for o in self.orders if o.way == way and not o.reduce_only and self.there(o, end)]
            beyond = [way * (o.level - self.price) + (self.through if o.kind == "LIMIT" else 0) for o in opening]
            far[way] = max(1, min(beyond)) if beyond else math.inf
        return 1 if far[1] < far[-1] else -1

    def fund(self, rate: Fraction, mark: int) -> None:
        self.book.fund(0, mark, rate)
