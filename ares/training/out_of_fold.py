"""Predictions that each row got from a model which had not seen it, and the meta-labels made of them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from attrs import frozen
from numpy.typing import ArrayLike, NDArray

from ares.errors import InvalidInput
from ares.features.fitting import ctrl_c_ends_it
from ares.models.model import ModelSpec, is_own
from ares.models.own import OwnModel
from ares.training.labels import BarrierConfig, Labels, triple_barrier

__all__ = ["MetaLabels", "OutOfFold", "classes_of", "fit_fresh", "fit_weighted", "meta_labels", "out_of_fold"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@frozen(kw_only=True, eq=False)
class OutOfFold:
    """One row a sample. Rows that no fold tested are NaN."""

    proba: Floats  # (n, classes)
    fold: Ints  # (n,) which fold's model predicted the row; -1: none
    classes: tuple[Any, ...]
    strictly_before: bool  # every model was trained only on labels that were known before its first test decision

    @property
    def tested(self) -> NDArray[np.bool_]:
        """Rows that have a prediction, (n,)."""
        return self.fold >= 0

    def column(self, label: Any) -> Floats:
        """Probability of one class, (n,). Raises InvalidInput when there is no such class."""
        if label not in self.classes:
            raise InvalidInput(f"no class {label!r}; the classes are {self.classes}")
        return self.proba[:, self.classes.index(label)]


def fit_weighted(estimator: Any, X: Any, y: Any, sample_weight: Floats | None) -> Any:
    """Fit in place, handing the weights to the last step if it is a pipeline. Returns the estimator.

    An estimator that knows no weights, such as nearest neighbours, is fitted without them.
    """
    from sklearn.utils.validation import has_fit_parameter

    steps = None if is_own(estimator) else getattr(estimator, "steps", None)
    weights = {}
    if sample_weight is not None and has_fit_parameter(estimator if steps is None else steps[-1][1], "sample_weight"):
        weights["sample_weight" if steps is None else f"{steps[-1][0]}__sample_weight"] = sample_weight
    with ctrl_c_ends_it():
        return estimator.fit(X, y, **weights)


def fit_fresh(
    estimator: Any, X: Any, y: Any, sample_weight: Floats | None, columns: Sequence[str] | None = None
) -> Any:
    """Fit a copy that knows nothing yet: a clone of an estimator, a deep copy of a model of the user's own.

    columns: of X when it is an array; own models are given a frame. Returns: the estimator, or an `OwnModel`.
    Raises: InvalidInput when an own model does not say afterwards that it reads X's columns and knows y's classes.
    """
    from sklearn.base import clone

    if not is_own(estimator):
        return fit_weighted(clone(estimator), X, y, sample_weight)
    if not isinstance(X, pd.DataFrame):
        X = pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])] if columns is None else list(columns))
    model = copy.deepcopy(estimator)
    fit_weighted(model, X, y, sample_weight)
    return OwnModel(model=model, spec=ModelSpec(columns=tuple(X.columns), classes=tuple(np.unique(y).tolist())))


def classes_of(model: Any) -> tuple[Any, ...]:
    """The classes of what `fit_fresh` gave, in the order of its probabilities."""
    return model.spec.classes if isinstance(model, OwnModel) else tuple(model.classes_)


def out_of_fold(
    estimator: Any, X: Any, y: ArrayLike, splitter: Any, *, sample_weight: ArrayLike | None = None
) -> OutOfFold:
    """Fit a clone on each fold's training rows and predict its test rows.

    X: (n, columns) array or frame. y: (n,) classes. splitter: one of `ares.training.splits` or any scikit-learn
    splitter.
    sample_weight: (n,) of the fits. A class that a fold's training lacks gets probability 0 there.
    Raises: InvalidInput when two folds test one row, as combinatorial splits do.
    """
    target = np.asarray(y)
    weight = None if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    classes = np.unique(target)
    proba = np.full((target.size, classes.size), np.nan)
    fold = np.full(target.size, -1, dtype=np.int64)
    before = True
    take = X.iloc if isinstance(X, pd.DataFrame) else X
    for number, (train, test) in enumerate(splitter.split(X, target)):
        if (fold[test] >= 0).any():
            raise InvalidInput("two folds test the same row; use PurgedKFold or WalkForward")
        model = fit_fresh(estimator, take[train], target[train], None if weight is None else weight[train])
        at = np.searchsorted(classes, classes_of(model))
        proba[test] = 0.0
        proba[np.ix_(test, at)] = model.predict_proba(take[test])
        fold[test] = number
        before &= _known_before(splitter, train, test)
    return OutOfFold(proba=proba, fold=fold, classes=tuple(classes.tolist()), strictly_before=before)


def _known_before(splitter: Any, train: Ints, test: Ints) -> bool:
    times = getattr(splitter, "times", None)
    if times is None:
        return False
    return bool(times.t1[train].max() < times.t0[test].min())


@frozen(kw_only=True, eq=False)
class MetaLabels:
    """Does the primary model's bet pay after costs? One row a bet that it would have made."""

    row: Ints  # position of the bet among the primary's rows: its features
    labels: Labels  # of the bets, on the primary's side
    pays: NDArray[np.int64]  # 1 when the net return is > 0, else 0
    confidence: Floats  # the primary's probability of its own side
    untested: int  # rows without an out-of-fold prediction
    abstained: int  # rows where the primary took no side


def meta_labels(
    klines: pd.DataFrame,
    events: ArrayLike,
    primary: OutOfFold,
    *,
    threshold: float = 0.0,
    volatility: ArrayLike | None = None,
    funding: pd.Series | pd.DataFrame | None = None,
    config: BarrierConfig | None = None,
) -> MetaLabels:
    """Label the bets of a primary model, from out-of-fold predictions only.

    klines: bars. events: (n,) strictly increasing positions of the deciding bars, one a row of `primary`.
    primary: predictions over classes that hold +1 (up) and -1 (down). The side is the likelier of the two; a tie, or a
    probability under `threshold`, abstains. volatility, funding, config: as for `triple_barrier`.
    Raises: InvalidInput.
    """
    event = np.asarray(events, dtype=np.int64)
    if event.shape != primary.fold.shape or (np.diff(event) <= 0).any():
        raise InvalidInput(f"need one strictly increasing event a row: {event.size} and {primary.fold.size}")
    up, down = primary.column(1), primary.column(-1)
    tested = primary.tested & np.isfinite(up) & np.isfinite(down)
    best = np.where(tested, np.fmax(up, down), np.nan)
    side = np.where(tested & (best >= threshold), np.sign(np.nan_to_num(up) - np.nan_to_num(down)), 0.0).astype(
        np.int64
    )
    chosen = np.flatnonzero(side)
    labels = triple_barrier(
        klines, event[chosen], side=side[chosen], volatility=volatility, funding=funding, config=config
    )
    row = np.searchsorted(event, labels.event).astype(np.int64)
    return MetaLabels(
        row=row,
        labels=labels,
        pays=(labels.net > 0).astype(np.int64),
        confidence=best[row],
        untested=int((~tested).sum()),
        abstained=int((tested & (side == 0)).sum()),
    )
