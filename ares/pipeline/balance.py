"""The desk's books against the venue's: what our ledger has not booked shows as a difference that stays."""

from __future__ import annotations

from decimal import Decimal

from attrs import define, field

from ares.orders import Fill

__all__ = ["BalanceWatch", "PositionGaps"]

_PART = Decimal("0.0001")  # of the wallet
_MOST = Decimal(1)  # quote


@define
class BalanceWatch:
    """Compares two wallets, snapshot by snapshot. One difference may be a fill on its way; two are an alarm.

    A difference that was told is not told again, but hides no other: what comes on top of a deposit is an alarm too.
    """

    _elsewhere: Decimal = Decimal(0)  # quote: fees that were taken from another asset's wallet
    _told: Decimal = Decimal(0)  # quote: the difference of the last alarm
    _differs: int = 0  # snapshots in a row

    def saw(self, fill: Fill) -> None:
        """A fee in another asset leaves the quote wallet as it is, though our ledger books its value."""
        if fill.fee_asset:
            self._elsewhere += fill.fee

    def compare(self, ours: Decimal, theirs: Decimal) -> Decimal | None:
        """Venue minus ledger, quote, when that has just become an alarm: above 0.01 % of the wallet, or 1."""
        difference = theirs - ours - self._elsewhere
        bound = min(_MOST, _PART * abs(theirs))
        if abs(difference) <= bound:
            self._told = Decimal(0)
        if abs(difference - self._told) <= bound:
            self._differs = 0
            return None
        self._differs += 1
        if self._differs < 2:
            return None
        self._told, self._differs = difference, 0
        return difference


@define
class PositionGaps:
    """By how much the venue's positions differed from the ledger's, less the fills that were told late."""

    _gaps: dict[str, tuple[Decimal, int]] = field(factory=dict)  # base, venue minus ledger; ns of the snapshot

    def compare(self, symbol: str, ours: Decimal, theirs: Decimal, ts_ns: int) -> bool:
        """Note what a snapshot of this moment says; True when both hold the same."""
        self._gaps.pop(symbol, None)
        if ours != theirs:
            self._gaps[symbol] = (theirs - ours, ts_ns)
        return ours == theirs

    def saw(self, fill: Fill) -> None:
        """A fill from before the snapshot explains it; a later one moves both sides."""
        gap, ts_ns = self._gaps.get(fill.symbol, (Decimal(0), -1))
        if fill.ts_ns <= ts_ns:
            self._gaps[fill.symbol] = (gap - fill.side.sign * fill.quantity, ts_ns)

    def open(self, symbol: str) -> bool:
        """Whether something is still unexplained."""
        return self._gaps.get(symbol, (Decimal(0), -1))[0] != 0
