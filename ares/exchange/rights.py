"""What a key may do beyond trading."""

from __future__ import annotations

from ares.clock import Clock
from ares.errors import NotAuthorized
from ares.exchange.config import BinanceConfig
from ares.exchange.http import Wire
from ares.exchange.rest import RestClient
from ares.exchange.wire.account import KeyRights
from ares.exchange.wire.requests import read

__all__ = ["Rights"]


class Rights:
    """Asks the spot interface, which alone tells the rights of a key, or the venue's own address where it stands in."""

    def __init__(self, config: BinanceConfig, rest: RestClient, wire: Wire | None, clock: Clock) -> None:
        """wire: to the spot interface; None: the same address tells."""
        self._rest, self._wire = rest, wire
        self._spot = rest  # kept, for it remembers what the spot interface said about pauses and bans
        if wire is not None:
            self._spot = RestClient(config, wire, clock, address=config.rights_base)
            self._spot.time = rest.time

    async def ask(self) -> KeyRights:
        """The rights of the key. Raises Rejected where a test network does not tell them."""
        return await self._spot.read(read("/sapi/v1/account/apiRestrictions", signed=True), KeyRights)

    async def refuse_withdrawal(self) -> None:
        """Raises NotAuthorized for a key that may withdraw or transfer."""
        rights = await self.ask()
        if rights.enable_withdrawals or rights.enable_internal_transfer or rights.permits_universal_transfer:
            raise NotAuthorized(
                "this key may withdraw or transfer: make one that can only trade, or set allow_withdrawal_key",
                withdrawals=rights.enable_withdrawals,
            )

    async def close(self) -> None:
        """End the connection."""
        if self._wire is not None:
            await self._wire.close()
