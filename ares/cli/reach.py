"""How the command line reaches Binance: like the library, but what the venue has forbidden is remembered in ./data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve

if TYPE_CHECKING:
    from ares.exchange.config import BinanceConfig

__all__ = ["remembering"]

_BANS = Path("data/bans.json")


def remembering(config: BinanceConfig) -> BinanceConfig:
    """The same settings with a place for bans, unless one was set."""
    return config if config.ban_file is not None else evolve(config, ban_file=_BANS)
