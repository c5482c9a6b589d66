"""One checked request, as endpoints see it."""

from __future__ import annotations

import re

from attrs import define

from ares.errors import Rejected
from ares.simulation.server.trader import Trader

__all__ = ["Call"]

_whole = re.compile(r"-?[0-9]{1,18}", re.ASCII).fullmatch


@define
class Call:
    """One request, checked. `trader` is None for public data."""

    method: str
    path: str
    params: dict[str, str]
    now_ns: int
    trader: Trader | None

    def need(self, name: str) -> str:
        """A parameter that must be there. Raises Rejected -1102."""
        value = self.params.get(name, "")
        if value == "":
            raise Rejected(f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.", code=-1102)
        return value

    def number(self, name: str, otherwise: int | None = None) -> int | None:
        """A whole number. Raises Rejected -1100."""
        value = self.params.get(name, "")
        if value == "":
            return otherwise
        if _whole(value) is None:
            raise Rejected(f"Illegal characters found in parameter '{name}'", code=-1100)
        return int(value)

    @property
    def account(self) -> Trader:
        """Who asks."""
        assert self.trader is not None
        return self.trader
