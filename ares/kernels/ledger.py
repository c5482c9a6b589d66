"""The ledger: one booking step in int64, shared by both backtest drivers, paper and live.

Money counts units of 1e-8 quote, prices count ticks, quantities count lots; one tick times one lot is worth `NUM / DEN`
units. A book is an int64 array `(1 + symbols, FIELDS)`: row 0 holds the account, each further row one symbol.

Each fee, funding payment and profit is rounded once, half to even, when it is booked, and is then added to the symbol,
to the account and to the wallet alike. So `wallet = start + realised - fees + funding` holds exactly, always. A step
that would pass `LIMIT` changes nothing and says `OVERFLOW`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ares.kernels.jit import inner, jit

__all__ = [
    "ADJUST",
    "BAD",
    "COST",
    "DEN",
    "FEES",
    "FIELDS",
    "FILL",
    "FUNDING",
    "FUNDING_PAID",
    "LEVERAGE",
    "LIMIT",
    "LOTS",
    "MARGIN",
    "MARGIN_MOVED",
    "MARK",
    "MARKED",
    "NUM",
    "OK",
    "OVERFLOW",
    "RATE_ONE",
    "REALISED",
    "SET_LEVERAGE",
    "START",
    "WALLET",
    "bankruptcy_ticks",
    "fee_units",
    "ledger_step",
    "liquidation_ticks",
    "maintenance_units",
    "unrealised_units",
    "value_units",
]

IntArray = NDArray[np.int64]

# Columns of a symbol's row; in row 0 the columns REALISED to MARGIN are the sums over all symbols.
LOTS = 0  # held, signed
COST = 1  # units paid for what is held, signed like LOTS
REALISED = 2  # units, before fees and funding
FEES = 3  # units, paid
FUNDING = 4  # units, received
MARGIN = 5  # units, isolated margin set aside
LEVERAGE = 6  # whole number
MARK = 7  # ticks, 0: never marked
NUM = 8  # one tick times one lot is worth NUM / DEN units
DEN = 9
START = 10  # row 0 only: units the account began with, adjustments included
WALLET = 11  # row 0 only: units
FIELDS = 12

# What `ledger_step` can book.
FILL = 0  # `lots` signed at `ticks`; the fee is `amount` units plus `rate` of the value
FUNDING_PAID = 1  # `rate` on what is held, at `ticks`; or a known `amount` received
SET_LEVERAGE = 2  # `amount` is the leverage of later increases
MARGIN_MOVED = 3  # `amount` units into the position's margin; negative takes out
ADJUST = 4  # `amount` units paid into (negative: out of) the account
MARKED = 5  # `ticks` is the mark price

OK = 0
OVERFLOW = 1
BAD = 2  # margin below zero or above the wallet, leverage below 1, a kind that does not exist

LIMIT = (1 << 62) - 1  # no amount, price or quantity may pass it: 46 thousand million quote
RATE_ONE = 100_000_000  # rates count 1e-8
_MAX_RATE = 100 * RATE_ONE
_MAX_TICKS = 1 << 40  # how far the search for a liquidation price goes


@inner
def _mul_divmod(a: int, b: int, c: int) -> tuple[int, int, bool]:
    """Quotient and remainder of `a * b / c` for a, b >= 0 < c <= LIMIT; False when the quotient passes LIMIT."""
    if a > LIMIT or b > LIMIT:
        return 0, 0, False
    if b == 0 or a <= LIMIT // b:
        return a * b // c, a * b % c, True
    whole, rest = a // c, a % c
    quotient, remainder = 0, 0
    for bit in range(61, -1, -1):
        quotient *= 2
        remainder *= 2
        if remainder >= c:
            remainder -= c
            quotient += 1
        if quotient > LIMIT:
            return 0, 0, False
        if (b >> bit) & 1:
            quotient += whole
            remainder += rest
            if remainder >= c:
                remainder -= c
                quotient += 1
            if quotient > LIMIT:
                return 0, 0, False
    return quotient, remainder, True


@inner
def _half_even(quotient: int, remainder: int, divisor: int) -> int:
    """`quotient + remainder / divisor` rounded to the nearest whole, a tie to the even one."""
    if remainder > divisor - remainder or (remainder == divisor - remainder and quotient % 2 == 1):
        return quotient + 1
    return quotient


@inner
def _share(amount: int, part: int, whole: int) -> tuple[int, bool]:
    """`amount * part / whole`, half even; all >= 0, part <= whole."""
    quotient, remainder, fine = _mul_divmod(amount, part, whole)
    return _half_even(quotient, remainder, whole), fine


@inner
def _value(lots: int, ticks: int, num: int, den: int) -> tuple[int, int, bool]:
    """Units that `lots` >= 0 at `ticks` >= 0 are worth: whole part and remainder over `den`."""
    product, _, fine = _mul_divmod(lots, ticks, 1)
    if not fine:
        return 0, 0, False
    return _mul_divmod(product, num, den)


@inner
def _rated(whole: int, rest: int, den: int, rate: int) -> tuple[int, bool]:
    """`(whole + rest / den) * rate / RATE_ONE` rounded once, half even; all >= 0."""
    quotient, remainder, fine = _mul_divmod(whole, rate, RATE_ONE)
    over = remainder * den + rest * rate
    unit = RATE_ONE * den
    return _half_even(quotient + over // unit, over % unit, unit), fine


@jit
def value_units(lots: int, ticks: int, num: int, den: int) -> int:
    """Units that `lots` (signed) are worth at `ticks`, half even; -LIMIT - 1 when that passes LIMIT."""
    whole, rest, fine = _value(abs(lots), ticks, num, den)
    if not fine:
        return -LIMIT - 1
    value = _half_even(whole, rest, den)
    return value if lots >= 0 else -value


@jit
def fee_units(lots: int, ticks: int, num: int, den: int, rate: int) -> int:
    """The fee of a fill at `rate` (1e-8), units, half even; negative for a rebate. -LIMIT - 1 on overflow."""
    whole, rest, fine = _value(abs(lots), ticks, num, den)
    if not fine or abs(rate) > _MAX_RATE:
        return -LIMIT - 1
    fee, fine = _rated(whole, rest, den, abs(rate))
    if not fine:
        return -LIMIT - 1
    return fee if rate >= 0 else -fee


@inner
def _book(book: IntArray, s: int, profit: int, fee: int, funding: int, margin: int) -> int:
    """Add one booking's money to symbol `s`, to the account and to the wallet; all or nothing."""
    wallet = book[0, WALLET] + profit - fee + funding
    total = book[0, MARGIN] + margin
    own = book[s, MARGIN] + margin
    if total > wallet and own > 0:  # what the free wallet cannot pay, the position's own margin pays
        paid = min(own, total - max(wallet, 0))
        total -= paid
        own -= paid
    for row in (0, s):
        if (
            abs(book[row, REALISED] + profit) > LIMIT
            or abs(book[row, FEES] + fee) > LIMIT
            or abs(book[row, FUNDING] + funding) > LIMIT
        ):
            return OVERFLOW
    if abs(wallet) > LIMIT or total > LIMIT:
        return OVERFLOW
    for row in (0, s):
        book[row, REALISED] += profit
        book[row, FEES] += fee
        book[row, FUNDING] += funding
    book[0, WALLET] = wallet
    book[0, MARGIN] = total
    book[s, MARGIN] = own
    return OK


@inner
def _fill(book: IntArray, s: int, lots: int, ticks: int, amount: int, rate: int) -> tuple[int, int, int]:
    """Book a fill: the part against the position closes it, the rest opens. Code, profit, fee."""
    held, cost = book[s, LOTS], book[s, COST]
    num, den = book[s, NUM], book[s, DEN]
    whole, rest, fine = _value(abs(lots), ticks, num, den)
    if not fine or abs(rate) > _MAX_RATE or abs(amount) > LIMIT or ticks <= 0:
        return OVERFLOW, 0, 0
    part, fine = _rated(whole, rest, den, abs(rate))
    fee = amount + (part if rate >= 0 else -part)
    if not fine or abs(fee) > LIMIT:
        return OVERFLOW, 0, 0
    closed = min(abs(held), abs(lots)) if (held > 0) != (lots > 0) and held != 0 else 0
    opened = abs(lots) - closed
    profit, margin = 0, 0
    if closed > 0:
        whole, rest, _ = _value(closed, ticks, num, den)
        value = _half_even(whole, rest, den)
        portion, _ = _share(abs(cost), closed, abs(held))
        released, _ = _share(book[s, MARGIN], closed, abs(held))
        profit = value - portion if held > 0 else portion - value
        margin -= released
        held += closed if lots > 0 else -closed
        cost += portion if lots > 0 else -portion
    if opened > 0:
        whole, rest, _ = _value(opened, ticks, num, den)
        value = _half_even(whole, rest, den)
        margin += _half_even(value // book[s, LEVERAGE], value % book[s, LEVERAGE], book[s, LEVERAGE])
        held += opened if lots > 0 else -opened
        cost += value if lots > 0 else -value
    if abs(held) > LIMIT or abs(cost) > LIMIT:
        return OVERFLOW, 0, 0
    code = _book(book, s, profit, fee, 0, margin)
    if code != OK:
        return code, 0, 0
    book[s, LOTS] = held
    book[s, COST] = cost
    book[s, MARK] = ticks if book[s, MARK] == 0 else book[s, MARK]
    return OK, profit, fee


@inner
def _funding(book: IntArray, s: int, ticks: int, amount: int, rate: int) -> tuple[int, int]:
    """Book a funding payment: longs pay shorts when `rate` > 0. Code, units received."""
    held = book[s, LOTS]
    whole, rest, fine = _value(abs(held), ticks, book[s, NUM], book[s, DEN])
    if not fine or abs(rate) > _MAX_RATE or abs(amount) > LIMIT:
        return OVERFLOW, 0
    part, fine = _rated(whole, rest, book[s, DEN], abs(rate))
    received = amount + (-part if (held > 0) == (rate > 0) else part)
    if not fine or abs(received) > LIMIT:
        return OVERFLOW, 0
    code = _book(book, s, 0, 0, received, 0)
    return code, received if code == OK else 0


@jit
def ledger_step(
    book: IntArray, s: int, kind: int, lots: int, ticks: int, amount: int, rate: int
) -> tuple[int, int, int, int]:
    """Book one event of symbol row `s` (>= 1). Returns code, profit, fee and funding received, in units.

    book: int64 (1 + symbols, FIELDS), changed in place; untouched unless the code is OK.
    lots, ticks, amount, rate: what the kind says; the others are ignored. rate counts 1e-8.
    """
    if kind == FILL:
        if lots == 0:
            return BAD, 0, 0, 0
        if abs(lots) > LIMIT:
            return OVERFLOW, 0, 0, 0
        code, profit, fee = _fill(book, s, lots, ticks, amount, rate)
        return code, profit, fee, 0
    if kind == FUNDING_PAID:
        code, received = _funding(book, s, ticks, amount, rate)
        return code, 0, 0, received
    if kind == SET_LEVERAGE:
        if amount < 1:
            return BAD, 0, 0, 0
        book[s, LEVERAGE] = amount
        return OK, 0, 0, 0
    if kind == MARGIN_MOVED:
        if book[s, LOTS] == 0 or book[s, MARGIN] + amount < 0 or book[0, MARGIN] + amount > book[0, WALLET]:
            return BAD, 0, 0, 0
        book[s, MARGIN] += amount
        book[0, MARGIN] += amount
        return OK, 0, 0, 0
    if kind == ADJUST:
        if abs(amount) > LIMIT or abs(book[0, WALLET] + amount) > LIMIT or abs(book[0, START] + amount) > LIMIT:
            return OVERFLOW, 0, 0, 0
        book[0, START] += amount
        book[0, WALLET] += amount
        return OK, 0, 0, 0
    if kind == MARKED:
        if ticks < 1 or ticks > LIMIT:
            return BAD, 0, 0, 0
        book[s, MARK] = ticks
        return OK, 0, 0, 0
    return BAD, 0, 0, 0


@jit
def unrealised_units(book: IntArray, s: int) -> int:
    """Profit of symbol row `s` at its mark, units; of all symbols when `s` is 0. -LIMIT - 1 on overflow."""
    first, last = (1, book.shape[0]) if s == 0 else (s, s + 1)
    total = 0
    for row in range(first, last):
        if book[row, LOTS] != 0:
            whole, rest, fine = _value(abs(book[row, LOTS]), book[row, MARK], book[row, NUM], book[row, DEN])
            if not fine:
                return -LIMIT - 1
            value = _half_even(whole, rest, book[row, DEN])
            total += (value if book[row, LOTS] > 0 else -value) - book[row, COST]
            if abs(total) > LIMIT:
                return -LIMIT - 1
    return total


@jit
def maintenance_units(value: int, tiers: IntArray) -> int:
    """Maintenance margin of a position worth `value` >= 0 units: `value * rate - cum` of its tier, half even.

    tiers: int64 (n, 3) of cap (units), rate (1e-8), cum (units); the last one holds beyond its cap; none: 0.
    """
    if tiers.shape[0] == 0:
        return 0
    i = 0
    while i < tiers.shape[0] - 1 and value >= tiers[i, 0]:
        i += 1
    quotient, remainder, _ = _mul_divmod(value, tiers[i, 1], RATE_ONE)
    margin: int = _half_even(quotient, remainder, RATE_ONE) - tiers[i, 2]
    return margin


@inner
def _exhausted(lots: int, cost: int, margin: int, ticks: int, num: int, den: int, tiers: IntArray) -> bool:
    """True when margin plus profit at `ticks` no longer exceeds the maintenance margin."""
    whole, rest, fine = _value(abs(lots), ticks, num, den)
    if not fine:
        return lots < 0
    value = _half_even(whole, rest, den)
    profit = (value if lots > 0 else -value) - cost
    return margin + profit <= maintenance_units(value, tiers)


@jit
def liquidation_ticks(lots: int, cost: int, margin: int, num: int, den: int, tiers: IntArray) -> int:
    """The first tick, coming from the safe side, at which an isolated position is liquidated; 0 when out of reach.

    Each tick is judged with the tier of the notional at that very tick. Equity moves faster than maintenance margin
    does, so there is one border, found by bisection.
    """
    if lots == 0:
        return 0
    low, high = 0, _MAX_TICKS
    if lots > 0:
        while low < high:  # the greatest exhausted tick
            middle = (low + high + 1) // 2
            if _exhausted(lots, cost, margin, middle, num, den, tiers):
                low = middle
            else:
                high = middle - 1
        return low
    while low < high:  # the least exhausted tick
        middle = (low + high) // 2
        if _exhausted(lots, cost, margin, middle, num, den, tiers):
            high = middle
        else:
            low = middle + 1
    return 0 if low == _MAX_TICKS else max(low, 1)


@jit
def bankruptcy_ticks(lots: int, cost: int, margin: int, num: int, den: int) -> int:
    """The last tick at which closing loses no more than the margin; at least 1."""
    low, high = 1, _MAX_TICKS
    while low < high:
        middle = (low + high) // 2 if lots > 0 else (low + high + 1) // 2
        whole, rest, fine = _value(abs(lots), middle, num, den)
        value = _half_even(whole, rest, den)
        covered = margin + (value if lots > 0 else -value) - cost >= 0 if fine else lots > 0
        if lots > 0:
            low, high = (low, middle) if covered else (middle + 1, high)
        else:
            low, high = (middle, high) if covered else (low, middle - 1)
    return low
