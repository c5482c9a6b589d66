"""The modes of an account: one-way, single asset, each symbol's margin mode and leverage. Set, checked, watched."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal

from attrs import frozen

from ares.errors import InvalidInput, Rejected, unknown_name
from ares.exchange.account_reads import AccountReads
from ares.exchange.rest import RestClient
from ares.exchange.wire.account import LeverageAnswer, Reply, SymbolConfig
from ares.exchange.wire.refusals import ALREADY_SO
from ares.exchange.wire.requests import set_leverage, set_margin_type

__all__ = ["MARGIN_MODES", "ModeDifference", "Modes"]

MARGIN_MODES = {"isolated": "ISOLATED", "cross": "CROSSED"}
"""Our word and the venue's."""


@frozen(kw_only=True)
class ModeDifference:
    """Something of the account is not as ares reckons or has set it."""

    text: str  # what, and what to do about it
    halts: bool = True  # False: stops and exits stay right, so that only new risk must wait


class Modes:
    """One account's modes. Somebody may change them by hand while we run: `differences` tells."""

    def __init__(self, rest: RestClient, reads: AccountReads, margin_mode: str) -> None:
        """margin_mode: ISOLATED or CROSSED, as the settings say."""
        self._rest, self._reads, self._margin_mode = rest, reads, margin_mode
        self.prepared: set[str] = set()  # symbols whose margin mode was seen to be the configured one
        self._leverage: dict[str, int] = {}  # as the venue confirmed it last

    async def set_leverage(self, symbol: str, leverage: int) -> int:
        """Set it; what the venue confirms. Raises Rejected. Until it has answered nobody knows which one holds."""
        self._leverage.pop(symbol, None)
        answer = await self._rest.call(set_leverage(symbol, leverage), LeverageAnswer)
        self._leverage[symbol] = answer.leverage
        return answer.leverage

    async def set_margin(self, symbol: str, mode: str) -> str:
        """Set "isolated" or "cross"; having it already is no error. Raises: InvalidInput for another word, Rejected."""
        if mode.lower() not in MARGIN_MODES:
            raise unknown_name("margin mode", mode, MARGIN_MODES)
        try:
            await self._rest.call(set_margin_type(symbol, MARGIN_MODES[mode.lower()]), Reply)
        except Rejected as error:
            if error.code not in ALREADY_SO:
                raise
        return mode.lower()

    async def prepare(self, symbol: str) -> None:
        """Before a symbol's first entry: its margin mode is the configured one, or is made so while it is flat."""
        if symbol in self.prepared:
            return
        config = await self._reads.symbol(symbol)
        if config.margin_type.upper() != self._margin_mode:
            await self.set_margin(symbol, next(n for n, wire in MARGIN_MODES.items() if wire == self._margin_mode))
        self.prepared.add(symbol)

    async def of(self, symbol: str) -> SymbolConfig:
        """Margin mode and leverage of one symbol now. Raises Retryable when the venue leaves it out."""
        return await self._reads.symbol(symbol)

    async def refuse_others(self) -> None:
        """Raise InvalidInput for an account that works otherwise than ares reckons; see `differences`."""
        found = await self.differences()
        if found:
            texts = [difference.text for difference in found]
            raise InvalidInput("; ".join(texts), differences=texts)

    async def differences(self) -> tuple[ModeDifference, ...]:
        """What is not as ares reckons: hedge mode, multi-assets mode, a held position's margin mode, a leverage.

        A flat symbol in another margin mode is no difference: it is made ready again before its next entry.
        """
        found: list[ModeDifference] = []
        account = await self._reads.config()
        if account.dual_side_position:
            text = "the account is in hedge mode: ares trades in one-way mode only, so switch it first"
            found.append(ModeDifference(text=text))
        if account.multi_assets_margin:
            text = (
                "the account is in multi-assets mode, where all assets back all positions: ares reckons margin in one "
                "quote asset, so switch to single-asset mode first"
            )
            found.append(ModeDifference(text=text))
        held = {row.symbol for row in await self._reads.rows(None) if Decimal(row.position_amt) != 0}
        for symbol in sorted({*held, *self.prepared, *self._leverage}):
            found += await self._of_symbol(symbol, held)
        return tuple(found)

    async def _of_symbol(self, symbol: str, held: Collection[str]) -> list[ModeDifference]:
        found: list[ModeDifference] = []
        ours = self._leverage.get(symbol)
        config = await self._reads.symbol(symbol)
        if config.margin_type.upper() != self._margin_mode:
            if symbol in held:
                text = (
                    f"{symbol} is held in {config.margin_type.upper()} margin, the settings say {self._margin_mode}: "
                    "close the position or change margin_mode"
                )
                found.append(ModeDifference(text=text))
            self.prepared.discard(symbol)
        unchanged = ours is not None and self._leverage.get(symbol) == ours  # by us, while the answer travelled
        if unchanged and config.leverage != ours:
            text = f"{symbol} has a leverage of {config.leverage}, we had set {ours}: set it back"
            found.append(ModeDifference(text=text, halts=False))
        return found
