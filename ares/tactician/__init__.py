"""Plans: how much of an opinion to trade, with which stop, targets and leverage, or why not."""

from typing import TYPE_CHECKING

from ares._lazy import lazy

if TYPE_CHECKING:
    from ares.tactician.config import TacticianConfig
    from ares.tactician.tactician import Tactician

__all__ = ["Tactician", "TacticianConfig"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(
        __name__,
        {"Tactician": "ares.tactician.tactician", "TacticianConfig": "ares.tactician.config"},
    )
