"""Positions, the account and the ledger behind them: `Decimal` views over integers that conserve every unit.

`Ledger` books fills, funding and margin through one kernel (`ares.kernels.ledger`), which the backtest's compiled loop
and the simulated venue use too. At any moment `wallet + unrealised = start + realised + unrealised - fees + funding`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen

from ares.errors import InvalidInput, unknown_name
from ares.instruments import Instrument, MarginTier, Side, from_units, to_units
from ares.orders import Fill

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Account", "Ledger", "LedgerOverflow", "Position", "liquidation_price", "maintenance_margin"]


class LedgerOverflow(InvalidInput, OverflowError):
    """An amount beyond what the ledger's int64 units hold; the ledger is unchanged."""


@frozen(kw_only=True)
class Position:
    """What is held of one symbol, one-way mode. `quantity` is signed: negative is short, 0 is flat."""

    symbol: str
    quantity: Decimal  # base, signed
    entry_price: Decimal  # quote per base, average; 0 when flat
    mark_price: Decimal  # quote per base
    leverage: int
    margin: Decimal  # quote, isolated margin set aside; 0 when flat
    maintenance_margin: Decimal  # quote
    unrealised: Decimal  # quote, at the mark price
    realised: Decimal  # quote, since the account began, before fees and funding
    liquidation_price: Decimal | None  # quote per base; None when flat or out of reach
    updated_ns: int = 0

    @property
    def side(self) -> Side | None:
        """Long or short; None when flat."""
        if self.quantity == 0:
            return None
        return Side.BUY if self.quantity > 0 else Side.SELL

    @property
    def notional(self) -> Decimal:
        """Absolute value at the mark price, quote."""
        return abs(self.quantity) * self.mark_price


@frozen(kw_only=True)
class Account:
    """Money and positions of one account, in its one quote asset."""

    asset: str
    wallet: Decimal  # quote: start + realised - fees + funding
    start: Decimal  # quote, what was paid in: the first balance and later adjustments
    realised: Decimal  # quote
    fees: Decimal  # quote, paid; positive is a cost
    funding: Decimal  # quote, received; negative is a cost
    unrealised: Decimal  # quote
    margin: Decimal  # quote, isolated margin of all positions
    reserved: Decimal = Decimal(0)  # quote, held back by the venue for resting entry orders
    positions: tuple[Position, ...] = ()  # those not flat
    updated_ns: int = 0

    @property
    def equity(self) -> Decimal:
        """Wallet plus unrealised profit, quote."""
        return self.wallet + self.unrealised

    @property
    def available(self) -> Decimal:
        """What new margin may take from, quote; never below 0. Isolated losses count against their own margin."""
        return max(Decimal(0), self.wallet - self.margin - self.reserved)

    def position(self, symbol: str) -> Position | None:
        """The open position in `symbol`, None when flat."""
        return next((p for p in self.positions if p.symbol == symbol), None)


_ZERO = Decimal(0)
_NO_TIER = MarginTier(floor=Decimal(0), cap=Decimal(1), rate=Decimal(0), cum=Decimal(0), max_leverage=1)


def maintenance_margin(notional: Decimal, tiers: Sequence[MarginTier]) -> Decimal:
    """Margin (quote) below which a position of this notional (quote, at the mark price) is liquidated.

    `notional * rate - cum` of the tier that holds it, the last one beyond the table; 0 without tiers.
    """
    tier = next((t for t in tiers if notional < t.cap), tiers[-1] if tiers else None)
    return Decimal(0) if tier is None else notional * tier.rate - tier.cum


def liquidation_price(
    *,
    side: Side,
    quantity: Decimal,
    entry_price: Decimal,
    margin: Decimal,
    tiers: Sequence[MarginTier],
    other_maintenance: Decimal = Decimal(0),
    other_unrealised: Decimal = Decimal(0),
) -> Decimal | None:
    """The mark price (quote per base) at which a position is liquidated; None when no price above 0 does.

    quantity: base, > 0. margin: isolated margin, or the wallet balance when margin is cross (quote).
    other_maintenance, other_unrealised: of the account's other positions when margin is cross (quote).
    The tier is the one that holds the notional *at the liquidation price*, as the venue's own formula asks.
    Source: Binance USDS-M futures, "How to calculate liquidation price", one-way mode.
    """
    if quantity <= 0:
        raise InvalidInput("a liquidation price needs a quantity above 0", quantity=str(quantity))
    sign = Decimal(side.sign)
    solutions: list[Decimal] = []
    for tier in tiers or (_NO_TIER,):
        equity = margin - other_maintenance + other_unrealised + tier.cum - sign * quantity * entry_price
        price = equity / (quantity * tier.rate - sign * quantity)
        solutions.append(price)
        last = not tiers or tier is tiers[-1]
        if quantity * price >= tier.floor and (last or quantity * price < tier.cap):
            return price if price > 0 else None
    # Below the first tier (a price under 0), or a table that jumps: the solution that liquidates first.
    first = max(solutions) if side is Side.BUY else min(solutions)
    return first if first > 0 else None


class Ledger:
    """Money and positions of one account with one quote asset, over any number of symbols.

    It owns int64 arrays and books through `ares.kernels.ledger.ledger_step`. Every method either books completely or
    raises and changes nothing.
    """

    def __init__(
        self, asset: str = "USDT", start: Decimal = Decimal(0), instruments: Iterable[Instrument] = ()
    ) -> None:
        """start: quote, what the account begins with. Instruments may also be added later."""
        from ares.kernels import ledger as kernel  # numba loads with the first ledger, not with the nouns

        self._k = kernel
        self.asset = asset
        self._rows: dict[str, int] = {}
        self._instruments: list[Instrument] = []
        self._tiers: list[NDArray[np.int64]] = []
        self._book = np.zeros((1, kernel.FIELDS), np.int64)
        if start:
            self.adjust(start)
        for instrument in instruments:
            self.add(instrument)

    def add(self, instrument: Instrument, leverage: int = 1) -> None:
        """Know `instrument`. Repeating it brings newer margin tiers; its tick and lot must stay while anything is held.

        Raises: InvalidInput for another quote asset, or a changed tick or lot under an open position.
        """
        if instrument.quote_asset != self.asset:
            raise InvalidInput(
                f"{instrument.symbol} is quoted in {instrument.quote_asset}, this account keeps {self.asset}",
                symbol=instrument.symbol,
            )
        tiers = np.array(
            [(to_units(t.cap), to_units(t.rate), to_units(t.cum)) for t in instrument.tiers], np.int64
        ).reshape(-1, 3)
        row = self._rows.get(instrument.symbol)
        k = self._k
        unit = instrument.unit_fraction
        if row is None:
            self._rows[instrument.symbol] = row = self._book.shape[0]
            self._instruments.append(instrument)
            self._tiers.append(tiers)
            self._book = np.vstack([self._book, np.zeros((1, k.FIELDS), np.int64)])
            self._book[row, k.LEVERAGE] = leverage
        elif self._instruments[row - 1] is instrument:
            return
        elif self._book[row, k.LOTS] != 0 and (
            self._instruments[row - 1].tick_size != instrument.tick_size
            or self._instruments[row - 1].lot_step != instrument.lot_step
        ):
            raise InvalidInput(f"{instrument.symbol}: tick or lot changed under an open position")
        elif self._instruments[row - 1].tick_size != instrument.tick_size:
            self._book[row, k.MARK] = 0
        self._instruments[row - 1] = instrument
        self._tiers[row - 1] = tiers
        self._book[row, k.NUM] = unit.numerator
        self._book[row, k.DEN] = unit.denominator

    # ------------------------------------------------------------ booking

    def book_fill(self, instrument: Instrument, fill: Fill) -> Decimal:
        """Book one trade of ours; gives the profit it realised, quote, before its fee.

        Raises: InvalidInput when price or quantity is off the grid; LedgerOverflow.
        """
        return from_units(
            self.book_lots(
                instrument,
                fill.side.sign * instrument.lots(fill.quantity),
                instrument.ticks(fill.price),
                to_units(fill.fee),
            )
        )

    def book_lots(self, instrument: Instrument, lots: int, ticks: int, fee: int) -> int:
        """The same in integers: signed lots, ticks, fee in units; gives the profit in units."""
        return self._step(self._row_of(instrument), self._k.FILL, lots, ticks, fee, 0)[1]

    def book_funding(
        self,
        instrument: Instrument,
        *,
        amount: Decimal | None = None,
        rate: Decimal | None = None,
        mark_price: Decimal | float | None = None,
    ) -> Decimal:
        """Book a funding payment and give what was received, quote (negative: paid).

        Either the known `amount`, or `rate` (fraction, 1e-8 exact) at `mark_price`: longs pay shorts when it is > 0.
        """
        row = self._row_of(instrument)
        if amount is not None:
            return from_units(self._step(row, self._k.FUNDING_PAID, 0, 0, to_units(amount), 0)[3])
        if rate is None or mark_price is None:
            raise InvalidInput("funding needs an amount, or a rate and a mark price")
        ticks = instrument.nearest_ticks(float(mark_price))
        return from_units(self._step(row, self._k.FUNDING_PAID, 0, ticks, 0, to_units(rate))[3])

    def set_leverage(self, instrument: Instrument, leverage: int) -> None:
        """Leverage of later increases; margin already set aside stays."""
        self._step(self._row_of(instrument), self._k.SET_LEVERAGE, 0, 0, leverage, 0)

    def move_margin(self, instrument: Instrument, amount: Decimal) -> None:
        """Put `amount` (quote) into the open position's isolated margin; negative takes it out."""
        self._step(self._row_of(instrument), self._k.MARGIN_MOVED, 0, 0, to_units(amount), 0)

    def adjust(self, amount: Decimal) -> None:
        """Money paid into the account (quote; negative: out of it). It counts as start, not as profit."""
        self._step(0, self._k.ADJUST, 0, 0, to_units(amount), 0)

    def mark(self, symbol: str, price: Decimal | float) -> None:
        """The mark price that unrealised profit looks at, taken to the nearest tick."""
        row = self._row(symbol)
        self.mark_ticks(symbol, self._instruments[row - 1].nearest_ticks(float(price)))

    def mark_ticks(self, symbol: str, ticks: int) -> None:
        """The same in ticks."""
        if ticks < 1:
            raise InvalidInput(f"{symbol}: a mark price must be above 0", ticks=ticks)
        self._book[self._rows[symbol], self._k.MARK] = ticks

    def _step(self, row: int, kind: int, lots: int, ticks: int, amount: int, rate: int) -> tuple[int, int, int, int]:
        k = self._k
        if max(abs(lots), abs(ticks), abs(amount), abs(rate)) > k.LIMIT:
            raise LedgerOverflow("beyond the ledger's int64 units", lots=lots, ticks=ticks, amount=amount)
        booked: tuple[int, int, int, int] = k.ledger_step(self._book, row, kind, lots, ticks, amount, rate)
        if booked[0] == k.OK:
            return booked
        facts = {"kind": kind, "lots": lots, "ticks": ticks, "amount": amount, "rate": rate}
        if booked[0] == k.OVERFLOW:
            raise LedgerOverflow("beyond the ledger's int64 units; nothing was booked", **facts)
        raise InvalidInput("the ledger cannot book this: see the facts", **facts)

    # ------------------------------------------------------------ views

    def lots(self, symbol: str) -> int:
        """Lots held, signed; 0 for a symbol that was never traded."""
        row = self._rows.get(symbol)
        return 0 if row is None else int(self._book[row, self._k.LOTS])

    def leverage(self, symbol: str) -> int:
        """Leverage of later increases."""
        return int(self._book[self._row(symbol), self._k.LEVERAGE])

    @property
    def wallet_units(self) -> int:
        """Wallet balance, 1e-8 quote."""
        return int(self._book[0, self._k.WALLET])

    @property
    def margin_units(self) -> int:
        """Isolated margin of all positions, 1e-8 quote."""
        return int(self._book[0, self._k.MARGIN])

    def unrealised_units(self, symbol: str | None = None) -> int:
        """Profit at the mark, 1e-8 quote; of all symbols when none is named. Raises LedgerOverflow."""
        value: int = self._k.unrealised_units(self._book, 0 if symbol is None else self._row(symbol))
        if value < -self._k.LIMIT:
            raise LedgerOverflow("the unrealised profit passes the ledger's int64 units")
        return value

    @property
    def equity_units(self) -> int:
        """Wallet plus unrealised profit, 1e-8 quote."""
        return self.wallet_units + self.unrealised_units()

    def liquidation_ticks(self, symbol: str) -> int:
        """The first tick at which the position is liquidated; 0 when flat or out of reach."""
        k, row = self._k, self._row(symbol)
        r = self._book[row]
        return int(k.liquidation_ticks(r[k.LOTS], r[k.COST], r[k.MARGIN], r[k.NUM], r[k.DEN], self._tiers[row - 1]))

    def bankruptcy_ticks(self, symbol: str) -> int:
        """The last tick at which closing the open position costs no more than its margin."""
        k, r = self._k, self._book[self._row(symbol)]
        return int(k.bankruptcy_ticks(r[k.LOTS], r[k.COST], r[k.MARGIN], r[k.NUM], r[k.DEN]))

    def row(self, symbol: str) -> NDArray[np.int64]:
        """A copy of the symbol's integer state; columns as named in `ares.kernels.ledger`."""
        copy: NDArray[np.int64] = self._book[self._row(symbol)].copy()
        return copy

    def position(self, symbol: str, now_ns: int = 0) -> Position:
        """What is held of `symbol`; a flat position when nothing is. Raises InvalidInput for an unknown symbol."""
        return self._position(self._row(symbol), now_ns)

    def _position(self, row: int, now_ns: int) -> Position:
        k, instrument, tiers = self._k, self._instruments[row - 1], self._tiers[row - 1]
        lots, cost, realised, _, _, margin, leverage, mark, num, den, *_ = self._book[row].tolist()
        flat = lots == 0
        quantity = instrument.from_lots(lots)
        value = 0 if flat else k.value_units(abs(lots), mark, num, den)
        liquidation = 0 if flat else k.liquidation_ticks(lots, cost, margin, num, den, tiers)
        return Position(
            symbol=instrument.symbol,
            quantity=quantity,
            entry_price=_ZERO if flat else (from_units(cost) / quantity).quantize(instrument.tick_size.scaleb(-4)),
            mark_price=instrument.from_ticks(mark),
            leverage=leverage,
            margin=from_units(margin),
            maintenance_margin=_ZERO if flat else from_units(k.maintenance_units(value, tiers)),
            unrealised=_ZERO if flat else from_units(self.unrealised_units(instrument.symbol)),
            realised=from_units(realised),
            liquidation_price=instrument.from_ticks(liquidation) if liquidation else None,
            updated_ns=now_ns,
        )

    def account(self, now_ns: int = 0, *, reserved: Decimal = Decimal(0)) -> Account:
        """The whole account as a person reads it."""
        k, book = self._k, self._book
        total = book[0].tolist()
        held = [row for row, lots in enumerate(book[:, k.LOTS].tolist()) if lots]
        return Account(
            asset=self.asset,
            wallet=from_units(total[k.WALLET]),
            start=from_units(total[k.START]),
            realised=from_units(total[k.REALISED]),
            fees=from_units(total[k.FEES]),
            funding=from_units(total[k.FUNDING]),
            unrealised=from_units(self.unrealised_units()) if held else _ZERO,
            margin=from_units(total[k.MARGIN]),
            reserved=reserved,
            positions=tuple(self._position(row, now_ns) for row in held),
            updated_ns=now_ns,
        )

    # ------------------------------------------------------------ state

    def save_state(self) -> dict[str, Any]:
        """Everything the ledger knows but the instruments, as JSON-ready data."""
        return {"asset": self.asset, "symbols": list(self._rows), "book": self._book.tolist()}

    def load_state(self, state: Mapping[str, Any], instruments: Iterable[Instrument]) -> None:
        """Become the ledger that was saved. Raises InvalidInput when an instrument of it is missing or has changed."""
        known = {instrument.symbol: instrument for instrument in instruments}
        fresh = Ledger(state["asset"])
        for symbol in state["symbols"]:
            if symbol not in known:
                raise unknown_name("instrument", symbol, known)
            fresh.add(known[symbol])
        book = np.array(state["book"], np.int64).reshape(-1, self._k.FIELDS)
        if book.shape != fresh._book.shape:
            raise InvalidInput("a saved ledger needs one row for the account and one for each symbol")
        for column in (self._k.NUM, self._k.DEN):
            if not np.array_equal(book[:, column], fresh._book[:, column]):
                raise InvalidInput("tick or lot sizes differ from those of the saved ledger")
        self.__dict__.update(fresh.__dict__)
        self._book = book

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ledger) and self.save_state() == other.save_state()

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"Ledger(asset={self.asset!r}, wallet={from_units(self.wallet_units)}, symbols={list(self._rows)})"

    def _row(self, symbol: str) -> int:
        try:
            return self._rows[symbol]
        except KeyError:
            raise unknown_name("symbol", symbol, self._rows) from None

    def _row_of(self, instrument: Instrument) -> int:
        row = self._rows.get(instrument.symbol)
        if row is None or self._instruments[row - 1] is not instrument:
            self.add(instrument)
            row = self._rows[instrument.symbol]
        return row
