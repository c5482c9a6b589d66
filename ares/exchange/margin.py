"""A symbol's margin mode, in our words and the venue's."""

from __future__ import annotations

from ares.errors import Rejected, unknown_name
from ares.exchange.rest import RestClient
from ares.exchange.wire.account import Reply
from ares.exchange.wire.refusals import ALREADY_SO
from ares.exchange.wire.requests import set_margin_type

__all__ = ["MARGIN_MODES", "set_mode"]

MARGIN_MODES = {"isolated": "ISOLATED", "cross": "CROSSED"}
"""Our word and the venue's."""


async def set_mode(rest: RestClient, symbol: str, mode: str) -> str:
    """Set it; having it already is no error. Raises: InvalidInput for another word, Rejected."""
    if mode.lower() not in MARGIN_MODES:
        raise unknown_name("margin mode", mode, MARGIN_MODES)
    try:
        await rest.call(set_margin_type(symbol, MARGIN_MODES[mode.lower()]), Reply)
    except Rejected as error:
        if error.code not in ALREADY_SO:
            raise
    return mode.lower()
