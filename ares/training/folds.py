"""Walk-forward: each row's opinion comes from models that were trained on outcomes known before it.

The rows after the first training span are cut into test blocks. Block 0 gives the meta model its first bets, block 1
gives the calibrators their first scores, and from block 2 on every figure is out of sample in every respect: side,
timing, meta, calibration, lower bound and threshold were all fixed before the block began.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from attrs import field, frozen
from numpy.typing import NDArray

from ares.analyst.dual_model import Late, chances, lean_of, meta_columns, needed_confidence, pool, toward
from ares.errors import InvalidInput, TooShort
from ares.models.abstention import LowerBound
from ares.models.calibrators import Calibrator
from ares.models.model import is_own
from ares.training.calibration import fit_calibrator, fit_lower_bound
from ares.training.dataset import Dataset, TrainConfig, limited
from ares.training.out_of_fold import OutOfFold, classes_of, fit_fresh
from ares.training.splits import WalkForward

__all__ = ["CALIBRATED_FROM", "Estimators", "OutOfSample", "Progress", "horizon_cost", "walk_forward"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Progress = Callable[[str, int, int], None]
"""Called with (stage, done, in all)."""

CALIBRATED_FROM = 2  # first test block whose calibration is out of sample as well
_EIGHT_HOURS = 8 * 3600 * 10**9


@frozen(kw_only=True)
class Estimators:
    """Unfitted classifiers, copied for each fit: scikit-learn's or a `Model` of the user's own with `fit`. None: the
    part is absent.

    Raises: InvalidInput for what is no classifier with probabilities.
    """

    side: Any = field()
    timing: Any = field(default=None)
    meta: Any = field(default=None)

    @side.validator
    @timing.validator
    @meta.validator
    def _classifier(self, attribute: Any, value: Any) -> None:
        if value is None and attribute.name != "side":
            return
        kind = value.__name__ if isinstance(value, type) else type(value).__name__
        lacking = [verb for verb in ("fit", "predict_proba", "get_params") if not hasattr(value, verb)]
        if is_own(value):
            lacking = [verb for verb in lacking if verb != "get_params"]  # copied deeply instead
        if isinstance(value, type) or lacking:
            wanted = "an instance, not a class" if isinstance(value, type) else f"it has no {', '.join(lacking)}"
            raise InvalidInput(
                f"{attribute.name}: {kind} is no unfitted classifier with probabilities ({wanted}); "
                "SVC needs probability=True, for instance; a model of your own needs fit, predict_proba, save and load",
                part=attribute.name,
            )

    @classmethod
    def default(cls, seed: int) -> Estimators:
        """Gradient boosting of small trees on coarse bins: what little there is to find is not in the details."""
        from ares.training.boosting import QuantileBoosting

        return cls(**{part: QuantileBoosting(random_state=seed) for part in ("side", "timing", "meta")})


@frozen(kw_only=True, eq=False)
class OutOfSample:
    """Walk-forward opinions on the dataset's rows. Arrays are (n,) or (n, 3); untested rows are NaN."""

    side_fold: OutOfFold  # over the classes -1, 0, 1
    sides: Floats  # (n, 3) raw probabilities of target down, neither, target up
    timing: Floats  # toward the side
    meta: Floats
    score: Floats  # pooled
    side: Ints
    confidence: Floats  # calibrated with earlier blocks only; NaN before block 2
    p_timeout: Floats  # of the bet; the same
    timeout_loss: Floats  # mean of a timeout before costs, in widths of the target; the same
    low: Floats
    needed: Floats
    taken: NDArray[np.bool_]  # the bet would have been entered
    fold: Ints  # -1: not tested

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Rows with a pooled score out of sample."""
        return np.isfinite(self.score)

    @property
    def tested(self) -> NDArray[np.bool_]:
        """Rows whose confidence is out of sample in every respect."""
        return np.isfinite(self.confidence)

    def frame(self, data: Dataset) -> pd.DataFrame:
        """The tested rows as a table, with what became of them; indexed by the deciding bar's open time."""
        at, bets = self.tested, data.bets(self.side)
        values = {
            "fold": self.fold,
            "side": self.side,
            "confidence": self.confidence,
            "low": self.low,
            "needed": self.needed,
            "timing": self.timing,
            "meta": self.meta,
            "p_timeout": self.p_timeout,
            "timeout_loss": self.timeout_loss,
            "taken": self.taken,
            "hit": bets.hit,
            "net": bets.net,
        }
        index = pd.DatetimeIndex(data.open_ns[at], tz="UTC", name="open_time")
        frame = pd.DataFrame({name: value[at] for name, value in values.items()}, index=index)
        frame["t1"] = pd.DatetimeIndex(bets.t1[at], tz="UTC")
        return frame


def horizon_cost(config: TrainConfig, step_ns: int) -> float:
    """Expected cost of one bet, a fraction of notional: fees, spread, slippage, and funding over the horizon."""
    costs = config.barriers.costs
    intervals = config.barriers.horizon * step_ns / _EIGHT_HOURS
    return costs.round_trip + costs.assumed_funding * intervals


def walk_forward(
    data: Dataset, estimators: Estimators, config: TrainConfig, progress: Progress | None = None
) -> OutOfSample:
    """Opinions on every row after the first training span, each by models of the past.

    Raises: TooShort when the rows do not make three test blocks.
    """
    splitter = _splitter(data, config)

    def tell(stage: str) -> Callable[[int, int], None]:
        return lambda done, total: progress(stage, done, total) if progress is not None else None

    with limited(config.threads):
        found = _early(
            estimators.side, data, data.side_rows, data.y, splitter, tell("side"), data.decided, data.side_columns
        )
        sides = _three(found)
        side, lean = lean_of(sides)
        side = np.where(found.tested, side, 0)
        timing = np.full(len(data), np.nan)
        if estimators.timing is not None and data.timing_columns:
            base, every = data.X[:, data.timing_at], np.ones(len(data), dtype=np.bool_)
            rises = _early(
                estimators.timing, data, base, data.rises, splitter, tell("timing"), every, data.timing_columns
            )
            timing = toward(rises.proba[:, rises.classes.index(1)], side)
        meta = np.full(len(data), np.nan)
        if estimators.meta is not None:
            meta = _meta(estimators.meta, data, sides, side, found.fold, tell("meta"))
    return _judged(data, config, found, sides, side, lean, timing, meta)


def _early(
    estimator: Any,
    data: Dataset,
    X: Floats,
    y: Ints,
    splitter: WalkForward,
    tell: Callable[[int, int], None],
    learnt: NDArray[np.bool_],
    columns: tuple[str, ...],
) -> OutOfFold:
    """Predictions of each test block by a copy fitted on the rows known before it, weighted among themselves.

    learnt: (n,) rows that may be fitted on; all are predicted. columns: of X.
    """
    classes = np.unique(y)
    proba = np.full((y.size, classes.size), np.nan)
    fold = np.full(y.size, -1, dtype=np.int64)
    total = splitter.get_n_splits()
    for number, (train, test) in enumerate(splitter.split(X, y)):
        tell(number, total)
        train = train[learnt[train]]
        model = fit_fresh(estimator, X[train], y[train], data.weights(train), columns)
        proba[test] = 0.0
        proba[np.ix_(test, np.searchsorted(classes, classes_of(model)))] = model.predict_proba(X[test])
        fold[test] = number
    tell(total, total)
    return OutOfFold(proba=proba, fold=fold, classes=tuple(classes.tolist()), strictly_before=True)


def _splitter(data: Dataset, config: TrainConfig) -> WalkForward:
    first = int(np.searchsorted(data.event, data.head))
    test = -(-(len(data) - first) // config.folds)
    if first < 50 or test < 50:
        raise TooShort(f"{len(data)} decisions are too few for {config.folds} test blocks", rows=len(data))
    train = first if config.window is None else min(config.window, first)
    if config.window is None:
        return WalkForward(t1=data.t1, t0=data.t0, train=train, test=test)
    return WalkForward(t1=data.t1, t0=data.t0, train=train, test=test, expanding=False)


def _three(found: OutOfFold) -> Floats:
    out = np.where(found.tested[:, None], 0.0, np.nan) * np.ones((1, 3))
    for k, label in enumerate(found.classes):
        out[:, int(label) + 1] = found.proba[:, k]
    return out


def known(data: Dataset, fold: Ints, least: int, block: int) -> Ints:
    """Rows of the blocks `least` .. `block - 1` whose outcome was known when `block` began."""
    start = data.t0[fold == block].min()
    return np.flatnonzero((fold >= least) & (fold < block) & (data.t1 < start))


def _meta(
    estimator: Any,
    data: Dataset,
    sides: Floats,
    side: Ints,
    fold: Ints,
    tell: Callable[[int, int], None],
) -> Floats:
    """The chance that each row's bet pays, by models trained on earlier out-of-fold bets only."""
    X, columns = np.hstack([data.side_rows, sides]), meta_columns(data.side_columns)
    pays = (data.bets(side).net > 0).astype(np.int64)
    out = np.full(len(data), np.nan)
    last = int(fold.max())
    for block in range(1, last + 1):
        tell(block, last + 1)
        train = known(data, fold, 0, block)
        train = train[(side[train] != 0) & data.decided[train]]
        test = np.flatnonzero(fold == block)
        out[test] = _chance(estimator, X, pays, data.weights(train), train, test, columns)
    tell(last + 1, last + 1)
    return out


def _chance(
    estimator: Any, X: Floats, z: Ints, weight: Floats, train: Ints, test: Ints, columns: tuple[str, ...]
) -> Floats:
    """Probability of class 1 on the test rows; where training held one class only, that class is certain."""
    if np.unique(z[train]).size < 2:
        return np.full(test.size, float(z[train].mean()) if train.size else np.nan)
    model = fit_fresh(estimator, X[train], z[train], weight, columns)
    found: Floats = model.predict_proba(X[test])[:, classes_of(model).index(1)]
    return found


def touching(data: Dataset, side: Ints, rows: Ints) -> Ints:
    """Those of `rows` whose bet touched a barrier, so that it could have been its target."""
    return np.asarray(rows[(data.y[rows] != 0) | (data.bets(side).hit[rows] > 0)])


def late_bets(data: Dataset, config: TrainConfig, side: Ints, rows: Ints) -> Late:
    """Which of the bets `rows` the time barrier ended, and what that lost where the target's distance was touched.

    The loss is that of longs and shorts alike, so that a trend of the market is not taken for it. Where nothing was
    touched, one's gain is the other's loss.
    """
    late, near = data.bets(side).late[rows], np.isin(rows, touching(data, side, rows))
    shares = (float(z.mean()) if z.size else usual for z, usual in ((late[~near], 1.0), (late[near], 0.0)))
    worth = np.zeros(1)
    if config.barriers.target != config.barriers.stop:  # else no bet that touched a target runs out of time
        cost = horizon_cost(config, data.interval.ns)
        turned = [(bets, rows[(data.y[rows] != 0) & (bets.late[rows] > 0)]) for bets in (data.long, data.short)]
        worth = np.concatenate([(bets.net[at] + cost) / data.target_width[at] for bets, at in turned])
    loss = max(-float(worth.mean()), 0.0) if worth.size else 0.0
    return Late(untouched=next(shares), touched=next(shares), touched_loss=loss)


def bases(data: Dataset, side: Ints, rows: Ints, timing: bool, meta: bool) -> tuple[Floats, float]:
    """What each part says without knowledge (NaN: it is absent), and the share of targets among the barriers that the
    bets `rows` touched.
    """
    bets, near = data.bets(side), touching(data, side, rows)
    hit, pays = (
        min(max(float(z.mean()), 0.01), 0.99) if z.size else 0.5 for z in (bets.hit[near], bets.net[rows] > 0)
    )
    return np.array([0.5, 0.5 if timing else np.nan, pays if meta else np.nan]), hit


def calibrators(
    data: Dataset, config: TrainConfig, rows: Ints, sides: Floats, side: Ints, score: Floats
) -> tuple[Calibrator | None, Calibrator, LowerBound]:
    """Side calibrator (None without three classes), fitted on `rows`; confidence calibrator and lower bound of the
    chance that a touched barrier is the target, fitted on those of them that touched one.

    What a row's score says and how likely it is to touch anything are calibrated apart: bets are chosen by both, and a
    chance that is right on average over all rows is wrong on those with likely timeouts. Rows count alike, whatever
    their uniqueness: a probability is about each decision. Overlap shrinks the number of independent outcomes behind
    the lower bound instead, by how long the bets lived: under a wide stop longer than it takes to touch anything.
    """
    hit, near = data.bets(side).hit, touching(data, side, rows)
    fold, touched = (np.full(len(data), -1, dtype=np.int64) for _ in range(2))
    fold[rows], touched[near] = 0, 0
    kept = OutOfFold(proba=sides, fold=fold, classes=(-1, 0, 1), strictly_before=True)
    every = np.unique(data.y[rows]).size == 3 and bool((sides[rows] > 0).any(axis=0).all())
    first = fit_calibrator(kept, data.y, method="sigmoid") if every else None
    pair = np.stack([1.0 - score, score], axis=1)
    pooled = OutOfFold(proba=pair, fold=touched, classes=(0, 1), strictly_before=True)
    second = fit_calibrator(pooled, hit, method=config.calibration)
    p = second.apply(pair[near])[:, 1]
    unique = float(data.uniqueness_of(near, side).mean())
    bins = int(min(10, max(1, near.size * unique // 30)))
    bound = fit_lower_bound(p, hit[near], uniqueness=unique, level=config.bound_level, bins=bins)
    return first, second, bound


def _judged(
    data: Dataset,
    config: TrainConfig,
    found: OutOfFold,
    sides: Floats,
    side: Ints,
    lean: Floats,
    timing: Floats,
    meta: Floats,
) -> OutOfSample:
    n, fold = len(data), found.fold
    with_timing, with_meta = bool(np.isfinite(timing).any()), bool(np.isfinite(meta).any())
    least = 1 if with_meta else 0
    score, confidence, low, needed, p_timeout, loss = (np.full(n, np.nan) for _ in range(6))
    parts = np.stack([lean, timing, meta], axis=1)
    for block in range(least, int(fold.max()) + 1):
        seen = known(data, fold, 0, block)
        base, prior = bases(data, side, seen[side[seen] != 0], with_timing, with_meta)
        test = np.flatnonzero(fold == block)
        score[test] = pool(parts[test], base, np.ones(3), prior, config.aggregator)
    for block in range(CALIBRATED_FROM, int(fold.max()) + 1):
        rows = known(data, fold, least, block)
        rows = rows[np.isfinite(score[rows]) & (side[rows] != 0)]
        first, second, bound = calibrators(data, config, rows, sides, side, score)
        test = np.flatnonzero(fold == block)
        neither = (first.apply(sides[test]) if first is not None else sides[test])[:, 1]
        share = second.apply(np.stack([1.0 - score[test], score[test]], axis=1))[:, 1]
        late = late_bets(data, config, side, rows)
        confidence[test], p_timeout[test], loss[test] = chances(share, neither, late)
        low[test] = chances(bound.apply(share), neither, late)[0]
        widths = data.target_width[test], data.stop_width[test]
        cost = horizon_cost(config, data.interval.ns)
        needed[test] = needed_confidence(side[test], *widths, p_timeout[test], cost, loss[test])
    with np.errstate(invalid="ignore"):
        taken = (low > needed) & (side != 0) & ~(timing < 0.5)
    return OutOfSample(
        side_fold=found,
        sides=sides,
        timing=timing,
        meta=meta,
        score=score,
        side=side,
        confidence=confidence,
        p_timeout=p_timeout,
        timeout_loss=loss,
        low=low,
        needed=needed,
        taken=taken,
        fold=fold,
    )
