"""Writing a training down among the trials of its market."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ares.clock import SystemClock
from ares.market import MADE_UP
from ares.training.dataset import Dataset
from ares.training.folds import OutOfSample
from ares.training.scores import Scores
from ares.training.trials import TrialLedger, family_of, session_ledger

__all__ = ["DAY_NS", "daily_returns", "family_for", "note_training"]

DAY_NS = 86_400 * 10**9
_SYMBOL = "ETHUSDT"  # what a frame holds unless it is told, as for a backtest


def family_for(klines: Any, symbol: str | None, interval: str) -> str:
    """The family of trials that a training or a backtest of the same klines is counted in.

    klines: a tape, or a frame whose `attrs` say that it is made up, as those of the built-in market do.
    """
    named: Sequence[str] | None = getattr(klines, "symbols", None)  # a tape tells its own
    symbols = [symbol] if symbol is not None else named if named is not None else [_SYMBOL]
    made_up = klines.attrs.get(MADE_UP, False) if isinstance(klines, pd.DataFrame) else getattr(klines, MADE_UP, False)
    return family_of(symbols, interval, made_up=bool(made_up))


def daily_returns(data: Dataset, found: OutOfSample, scores: Scores) -> pd.Series[float]:
    """Net returns of the bets by the day of their decision, from the first day that was scored; each bet of size 1.

    Empty when nothing was scored.
    """
    bets, tested = scores.trading, data.t0[found.tested]
    if not tested.size:
        return pd.Series(np.empty(0), index=pd.DatetimeIndex([], tz="UTC"))
    first, last = (int(x) // DAY_NS * DAY_NS for x in (tested[0], tested[-1]))
    days = first + DAY_NS * np.arange((last - first) // DAY_NS + 1)  # in ns a range would be counted in floats
    net = np.zeros(days.size)
    np.add.at(net, (bets.t0 - first) // DAY_NS, bets.net)
    return pd.Series(net, index=pd.DatetimeIndex(days, tz="UTC"))


def note_training(
    ledger: TrialLedger | None,
    *,
    family: str,
    name: str,
    parameters: Mapping[str, Any],
    data: Dataset,
    found: OutOfSample,
    scores: Scores,
) -> None:
    """Add a training to everything that was tried on its market. ledger: None is the one this process shares."""
    book = ledger if ledger is not None else session_ledger()
    book.record(
        kind="train",
        name=name,
        family=family,
        recorded_ns=SystemClock().now_ns(),
        parameters=parameters,
        metrics=scores.figures(),
        returns=daily_returns(data, found, scores),
    )
