"""The settings a command runs with: the file it names, and what its options say otherwise."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve

from ares.cli.options import LogLevelName

if TYPE_CHECKING:
    from ares.config import AresConfig

__all__ = ["settings"]


def settings(path: Path | None, *, balance: float | None = None, log: LogLevelName | None = None) -> AresConfig:
    """The settings of the file, with another starting balance if one is given; turns logging on when asked to.

    Raises: InvalidInput, NotAuthorized as `load_config`.
    """
    from ares.config import load_config
    from ares.log import configure

    if log is not None:
        configure(log.value)
    chosen = load_config(path)
    if balance is None:
        return chosen
    venue = evolve(chosen.backtest.venue, start_balance=Decimal(repr(balance)))
    return evolve(chosen, backtest=evolve(chosen.backtest, venue=venue))
