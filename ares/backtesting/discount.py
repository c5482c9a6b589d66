"""What trying many costs: every backtest is written down, and its Sharpe ratio is judged against all the others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from attrs import frozen

from ares.report.significance import deflated_sharpe_ratio, moments, probability_of_backtest_overfitting
from ares.report.statistics import returns_of, sharpe
from ares.storage import sha256_bytes
from ares.training.trials import TrialLedger

__all__ = ["Discount", "discounted", "record_run"]

_BLOCKS = 16  # of time, for the probability of overfitting
_LEAST_PERIODS = 4 * _BLOCKS


@frozen(kw_only=True)
class Discount:
    """A result among all that were tried on the same market. NaN: not defined, such as without trades."""

    trials: int  # trainings and runs recorded, this one included
    kinds: Mapping[str, int]  # the same by kind: backtest, paper, train
    effective_trials: int  # groups of them whose returns move together
    deflated_sharpe: float  # probability that the true Sharpe ratio beats the best that luck gives in so many tries
    overfitting: float  # probability that the best in sample is in the lower half out of sample; NaN with one trial

    def in_words(self) -> str:
        """The trials by kind, such as `3 backtest, 2 train`."""
        return ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.kinds.items()))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; None for what is not defined."""
        return {
            "trials": self.trials,
            "trials_by_kind": dict(self.kinds),
            "effective_trials": self.effective_trials,
            "deflated_sharpe": None if math.isnan(self.deflated_sharpe) else self.deflated_sharpe,
            "probability_of_overfitting": None if math.isnan(self.overfitting) else self.overfitting,
        }


def record_run(
    ledger: TrialLedger,
    *,
    family: str,
    name: str,
    parameters: Mapping[str, Any],
    start_equity: float,
    equity: pd.Series[float],
    recorded_ns: int,
    kind: str = "backtest",
) -> None:
    """Write one run down. family: what market it was tried on. equity: after each bar, by close time, quote.

    A run that repeats one of the family bit for bit, settings and curve, tries nothing new and is not written again.
    """
    told = {**parameters, "equity": sha256_bytes(equity.to_numpy(dtype="<f8").tobytes())}
    known = ledger.trials(family)
    if any(known["parameters"][known["name"] == name] == told):
        return
    returns = None
    if len(equity) and start_equity > 0:
        returns = pd.Series(returns_of([start_equity, *equity]), index=equity.index)
    ratio = sharpe(returns) if returns is not None else math.nan
    ledger.record(
        kind=kind,
        name=name,
        family=family,
        recorded_ns=recorded_ns,
        parameters=told,
        metrics={} if math.isnan(ratio) else {"sharpe": ratio},
        returns=returns,
    )


def discounted(ledger: TrialLedger, family: str, start_equity: float, equity: pd.Series[float]) -> Discount:
    """Judge a result against everything the ledger knows of its family. Record the result itself first.

    Trainings count too: a model was chosen among them. Trials on another clock, such as a training's daily returns
    beside hourly equity, are compared among themselves; the probability of overfitting is over the result's own clock.
    """
    summary = ledger.summary(family)
    step = int(np.median(np.diff(equity.index.as_unit("ns").asi8))) if len(equity) > 1 else None  # type: ignore[attr-defined]
    returns = returns_of([start_equity, *equity]) if len(equity) and start_equity > 0 else returns_of([1.0])
    skew, kurtosis = moments(returns)
    trials = max(1, summary.effective)
    deflated = deflated_sharpe_ratio(
        sharpe(returns),
        returns.size,
        skew,
        kurtosis,
        variance=summary.apart(step, returns.size) if step is not None else 0.0,
        trials=trials,
    )
    return Discount(
        trials=summary.count,
        kinds=summary.kinds,
        effective_trials=trials,
        deflated_sharpe=deflated,
        overfitting=_overfitting(ledger, family, step),
    )


def _overfitting(ledger: TrialLedger, family: str, period_ns: int | None) -> float:
    """PBO over the trials' shared time; NaN when there is nothing to choose from or too little of it."""
    returns = ledger.returns(family, period_ns)
    moving = returns.loc[:, returns.std() > 0].T.drop_duplicates().T if len(returns) else returns
    if moving.shape[1] < 2 or len(moving) < _LEAST_PERIODS:
        return math.nan
    return probability_of_backtest_overfitting(moving.to_numpy(), _BLOCKS).probability
