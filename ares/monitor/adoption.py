"""A trade for a position that came without one: its stop, targets and time barrier."""

from __future__ import annotations

from decimal import Decimal
from math import exp, log1p, sqrt
from typing import TYPE_CHECKING

import numpy as np

from ares.account import Position
from ares.errors import InvalidInput
from ares.instruments import Instrument, Interval
from ares.monitor.config import MonitorConfig
from ares.protocols import OpenTrade, TradePlan

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BARS_WANTED", "adopt"]

BARS_WANTED = 100  # closed bars asked for
_BARS_NEEDED = 20  # fewer say too little about volatility


def adopt(
    position_id: str,
    position: Position,
    instrument: Instrument,
    now_ns: int,
    config: MonitorConfig,
    *,
    plan: TradePlan | None = None,
    klines: pd.DataFrame | None = None,
) -> OpenTrade:
    """The open trade of a position, as its plan says; without a plan by recent volatility and the settings.

    klines: the last closed bars of `config.default_interval`. The stop then lies `default_stop_sigmas` deviations over
    the default horizon away from entry, or from the mark when that is already worse; with too few bars it lies the
    fraction `default_stop` away. Such a trade has no targets.
    Raises: InvalidInput when the position is flat or on the other side than its plan.
    """
    side = position.side
    if side is None:
        raise InvalidInput(f"{position.symbol}: a flat position cannot be watched", position_id=position_id)
    if plan is not None and plan.side is not side:
        raise InvalidInput(f"{position.symbol}: the position is {side.value}, its plan {plan.side.value}")
    if plan is not None:
        stop, targets, exit_by = plan.stop, plan.targets, plan.exit_by_ns
    else:
        entry, mark = float(position.entry_price), float(position.mark_price)
        reference = min(entry, mark) if side.sign > 0 else max(entry, mark)
        width = _stop_width(klines, config)
        stop = instrument.stop_price(reference * exp(-side.sign * width), side.opposite)
        targets = ()
        exit_by = now_ns + config.default_horizon * Interval.parse(config.default_interval).ns
    quantity = abs(position.quantity)
    return OpenTrade(
        trade_id=position_id,
        symbol=position.symbol,
        side=side,
        quantity=quantity,
        initial_quantity=quantity,
        entry_price=position.entry_price,
        opened_ns=position.updated_ns or now_ns,
        stop=None,
        initial_stop=stop,
        targets=targets,
        exit_by_ns=exit_by,
        best_price=float(position.mark_price) if position.mark_price > Decimal(0) else None,
    )


def _stop_width(klines: pd.DataFrame | None, config: MonitorConfig) -> float:
    """Log distance of the stop."""
    if klines is not None and len(klines) >= _BARS_NEEDED:
        returns = np.diff(np.log(klines["close"].to_numpy(dtype=np.float64)))
        deviation = float(np.sqrt(np.mean(returns * returns)))
        if deviation > 0.0:
            return config.default_stop_sigmas * deviation * sqrt(config.default_horizon)
    return -log1p(-config.default_stop)
