"""Placebos: the same training where there is nothing to find, and where a leak would show itself.

| placebo | what is changed | an honest pipeline |
|---|---|---|
| shuffled labels | outcomes are dealt to other rows | AUC falls to a half |
| stale features | each row gets the features of the bar before | loses little |
| random entries | the bets begin at random times | earns what the bets would have earned without timing |

A feature that knows the next bar knows nothing of it when it comes one bar late, while one that knows a state of the
market loses hardly anything. A drop in AUC that is sure and more than a trifle is called a suspected leak. One that
knows the whole horizon, such as the label itself, loses little by a bar of delay, but it is too good: skill that is
surely more than any market gives is called a suspected leak as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import evolve, frozen
from numpy.typing import NDArray

from ares.analyst.dual_model import lean_of
from ares.errors import TooShort
from ares.training.dataset import Dataset, TrainConfig, limited
from ares.training.folds import Estimators, walk_forward
from ares.training.out_of_fold import classes_of, fit_fresh
from ares.training.reliability import Interval, auc, block_interval

__all__ = ["Importance", "Placebos", "importance", "placebos"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_TRIFLE = 0.02  # AUC that a bar of delay may cost an honest feature
_TOO_GOOD = 0.75  # AUC of up against down that no honest feature of a traded market reaches


@frozen(kw_only=True)
class Placebos:
    """Areas under the curve of up against down, walk-forward, with their intervals."""

    real: Interval
    shuffled: Interval  # 99 %
    stale: Interval
    drop: Interval  # real less stale, on the same rows
    random_entries: float  # share of matched random entries that earned less than the bets; NaN without bets

    @property
    def no_skill_from_nothing(self) -> bool:
        """A half lies in the interval of the shuffled labels."""
        return 0.5 in self.shuffled

    @property
    def hangs_on_one_bar(self) -> bool:
        """One bar of delay surely costs skill, and not a little."""
        return self.drop.low > 0.0 and self.drop.value > _TRIFLE

    @property
    def too_good(self) -> bool:
        """There is surely more skill than a market gives away."""
        return self.real.low > _TOO_GOOD

    @property
    def suspected_leak(self) -> bool:
        """The skill hangs on one bar, or is too good to be true."""
        return self.hangs_on_one_bar or self.too_good


@frozen(kw_only=True)
class Importance:
    """How much AUC is lost when a group of features is shuffled in rows that no model was trained on."""

    loss: Mapping[str, tuple[float, float]]  # by group: mean over the shuffles, and their standard deviation
    auc: float  # before
    auc_interval: Interval  # the same, 95 %
    interval: Mapping[str, Interval]  # of the mean loss, 95 %: other rows of the same market would have given


def placebos(
    data: Dataset, estimator: Any, config: TrainConfig, *, random_entries: float = math.nan, seed: int = 0
) -> Placebos:
    """Run the side model's walk-forward on the real rows, on shuffled outcomes and on stale features.

    estimator: an unfitted classifier. random_entries: from the scores. Raises: TooShort when hardly any two decisions
    are neighbouring bars.
    """
    late = np.flatnonzero(np.diff(data.event) == 1) + 1
    if late.size < len(data) / 2:
        raise TooShort(f"only {late.size} decisions follow another by one bar", rows=int(late.size))
    rows = data.take(late)
    real = _leans(rows, estimator, config)
    stale = _leans(evolve(rows, X=data.X[late - 1]), estimator, config)
    rng = np.random.default_rng(seed)
    dealt = rng.permutation(len(rows))
    shuffled_rows = evolve(rows, y=rows.y[dealt])
    shuffled = _leans(shuffled_rows, estimator, config)
    block = 2 * config.barriers.horizon
    at = np.flatnonzero(np.isfinite(real) & (rows.y != 0))
    # the blocks of rows that are drawn are the same for both, so that the difference is paired
    both = np.arange(at.size) / max(at.size - 1, 1)

    def difference(p: Floats, z: Floats, w: Floats) -> float:
        chosen = at[np.rint(p * max(at.size - 1, 1)).astype(np.int64)]
        return auc(real[chosen], rows.y[chosen] > 0) - auc(stale[chosen], rows.y[chosen] > 0)

    hit = (rows.y[at] > 0).astype(np.float64)
    near = min(block, at.size)
    common: dict[str, Any] = {"block": near, "resamples": config.resamples, "seed": seed}
    dealt_at = np.flatnonzero(np.isfinite(shuffled) & (shuffled_rows.y != 0))
    return Placebos(
        real=block_interval(auc, real[at], hit, **common),
        shuffled=block_interval(
            auc, shuffled[dealt_at], shuffled_rows.y[dealt_at] > 0, level=0.99, resamples=config.resamples, seed=seed
        ),
        stale=block_interval(auc, stale[at], hit, **common),
        drop=block_interval(difference, both, hit, **common),
        random_entries=random_entries,
    )


def _leans(data: Dataset, estimator: Any, config: TrainConfig) -> Floats:
    """The up share of both targets by the side model alone, walk-forward; NaN where nothing was tested."""
    found = walk_forward(data, Estimators(side=estimator), config)
    side, lean = lean_of(found.sides)
    return np.where(side < 0, 1.0 - lean, lean)


def importance(data: Dataset, estimator: Any, config: TrainConfig, *, repeats: int = 3, seed: int = 0) -> Importance:
    """Grouped permutation importance of the side model on the last third of the rows, trained on what was known.

    The columns of a group move together, by whole rows, so that they stay consistent among themselves.
    Intervals are of resampled blocks of rows, the same rows before and after the shuffle.
    Source: Breiman 2001; groups as in Lopez de Prado 2018, chapter 8.
    """
    first = 2 * len(data) // 3
    train = np.flatnonzero((data.t1 < data.t0[first]) & data.decided)
    test = np.arange(first, len(data))[data.y[first:] != 0]
    with limited(config.threads):
        X = data.side_rows
        model = fit_fresh(estimator, X[train], data.y[train], data.weights(train), data.side_columns)
    classes = classes_of(model)
    rng = np.random.default_rng(seed)
    X, up = X[test], data.y[test] > 0

    def rising(values: Floats) -> Floats:
        p = model.predict_proba(values)
        rise, fall = (p[:, classes.index(label)] if label in classes else np.zeros(len(p)) for label in (1, -1))
        return np.asarray(rise / np.maximum(rise + fall, 1e-12))

    usual = rising(X)
    drawn: dict[str, Any] = {"block": min(2 * config.barriers.horizon, test.size), "seed": seed}
    drawn["resamples"] = config.resamples
    before = block_interval(auc, usual, up, **drawn)
    number = np.arange(test.size) / max(test.size - 1, 1)
    loss: dict[str, tuple[float, float]] = {}
    interval: dict[str, Interval] = {}
    for group in sorted({name.partition(".")[0] for name in data.side_columns}):
        members = [i for i, name in enumerate(data.side_columns) if name.partition(".")[0] == group]
        shuffles = []
        for _ in range(repeats):
            changed = X.copy()
            changed[:, members] = X[rng.permutation(test.size)][:, members]
            shuffles.append(rising(changed))

        def lost(at: Floats, z: Floats, w: Floats, after: list[Floats] = shuffles) -> float:
            rows = np.rint(at * max(test.size - 1, 1)).astype(np.int64)
            return auc(usual[rows], z) - float(np.mean([auc(each[rows], z) for each in after]))

        losses = [before.value - auc(each, up) for each in shuffles]
        loss[group] = (float(np.mean(losses)), float(np.std(losses)))
        interval[group] = block_interval(lost, number, up, **drawn)
    loss = dict(sorted(loss.items(), key=lambda item: -item[1][0]))
    kept = {group: interval[group] for group in loss}
    return Importance(loss=loss, auc=before.value, auc_interval=before, interval=kept)
