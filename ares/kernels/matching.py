"""When and at what price a resting order trades, on integers: one rule for the venue and for the compiled backtest.

Prices are ticks, `sign` is +1 for a buy and -1 for a sell, slippage counts 1e-8 of the price.

The rules of one bar: its open is a price at which everything may trade, so what the gap jumped over fills at the open.
From there the price walks to both extremes; which one comes first is not recorded, so the worse is assumed: with a
position the adverse one, flat the nearer order that opens one. So a stop is taken before a target. A limit order needs
the price to go `through` ticks beyond it (0: a touch is enough), because others stood before it in the queue.
"""

from __future__ import annotations

from ares.kernels.jit import jit

__all__ = [
    "LIMIT",
    "MARKET",
    "STOP",
    "TAKE_PROFIT",
    "direction",
    "fill_ticks",
    "level",
    "next_leg",
    "reached",
    "slipped_ticks",
    "taken_ticks",
]

STOP = 0
MARKET = 1
TAKE_PROFIT = 2
LIMIT = 3
# The numbers are also the order in which they fill at one price: the stop before the target.

_ONE = 100_000_000


@jit
def slipped_ticks(sign: int, ticks: int, slippage: int) -> int:
    """`ticks` moved by `slippage` (1e-8 of the price) against the taker, rounded against it; at least 1."""
    whole = (ticks // _ONE) * slippage
    part = (ticks % _ONE) * slippage
    up = whole + -(-part // _ONE)  # rounded up; the same distance for both sides
    return ticks + up if sign > 0 else max(1, ticks - up)


@jit
def direction(kind: int, sign: int) -> int:
    """Where the price must go to reach a resting order: +1 up, -1 down."""
    return sign if kind == STOP else -sign


@jit
def level(kind: int, sign: int, trigger: int, through: int) -> int:
    """The first tick, coming from the other side, at which a resting order trades: a limit needs `through` more."""
    return trigger + direction(kind, sign) * through if kind == LIMIT else trigger


@jit
def reached(kind: int, sign: int, trigger: int, price: int, through: int) -> bool:
    """Does `price` reach the order's level? A market order is reached by every price."""
    if kind == MARKET:
        return True
    at = level(kind, sign, trigger, through)
    return price >= at if direction(kind, sign) > 0 else price <= at


@jit
def fill_ticks(kind: int, sign: int, trigger: int, price: int, slippage: int) -> int:
    """The price at which an order that rested before fills when the market is at `price`.

    A limit makes: its own price, or the better one that a gap brought. All others take: `price` plus slippage.
    """
    if kind == LIMIT:
        return min(trigger, price) if sign > 0 else max(trigger, price)
    return slipped_ticks(sign, price, slippage)


@jit
def taken_ticks(sign: int, limit: int, price: int, slippage: int) -> int:
    """The price at which a limit order that crosses on arrival takes: slipped, but never beyond its limit."""
    slipped = slipped_ticks(sign, price, slippage)
    return min(limit, slipped) if sign > 0 else max(limit, slipped)


@jit
def next_leg(held: int, low_ahead: bool, high_ahead: bool, below: int, above: int) -> int:
    """Where the price is assumed to walk next inside a bar: -1 to the low, +1 to the high, 0: both are behind.

    held: signed position. below, above: ticks to the nearest order that would open one, 0 when there is none.
    """
    if not (low_ahead and high_ahead):
        return -1 if low_ahead else (1 if high_ahead else 0)
    if held != 0:
        return -1 if held > 0 else 1
    if above > 0 and (below == 0 or above < below):
        return 1
    return -1
