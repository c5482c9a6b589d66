"""Out-of-fold predictions, meta-labels, and that chance stays chance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from ares.errors import InvalidInput
from ares.training.labels import BarrierConfig, Costs, triple_barrier
from ares.training.out_of_fold import OutOfFold, fit_fresh, meta_labels, out_of_fold
from ares.training.reliability import auc, block_interval
from ares.training.splits import CombinatorialPurgedCV, PurgedKFold, WalkForward

HOUR = 3600 * 10**9


class Remembers(ClassifierMixin, BaseEstimator):
    """Says 1 for rows it was trained on, and so tells on anyone who shows it its own rows."""

    def fit(self, X, y, sample_weight=None):  # type: ignore[no-untyped-def]
        self.classes_ = np.unique(y)
        self.seen_ = set(X[:, 0].tolist())
        self.weight_ = sample_weight
        return self

    def predict_proba(self, X):  # type: ignore[no-untyped-def]
        known = np.array([float(x in self.seen_) for x in X[:, 0]])
        return np.stack([1 - known, known], axis=1)


def test_no_row_is_predicted_by_a_model_that_saw_it() -> None:
    n = 200
    t0 = np.arange(n) * HOUR
    X, y = np.arange(n, dtype=float)[:, None], np.arange(n) % 2
    for splitter, before, tested in (
        (PurgedKFold(5, t1=t0 + 3 * HOUR, t0=t0), False, n),
        (WalkForward(t1=t0 + 3 * HOUR, t0=t0, train=50, test=30), True, n - 50),
    ):
        found = out_of_fold(Remembers(), X, y, splitter)
        assert found.tested.sum() == tested
        assert (found.column(1)[found.tested] == 0).all()
        assert np.isnan(found.proba[~found.tested]).all()
        assert found.strictly_before is before
    with pytest.raises(InvalidInput, match="same row"):
        out_of_fold(Remembers(), X, y, CombinatorialPurgedCV(4, 2, t1=t0, t0=t0))
    with pytest.raises(InvalidInput, match="no class"):
        found.column(7)


def test_weights_reach_the_last_step_and_missing_classes_get_nothing() -> None:
    n = 120
    t0 = np.arange(n) * HOUR
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 2))
    y = np.where(np.arange(n) < 60, 0, 1 + (X[:, 0] > 0))
    splitter = WalkForward(t1=t0, t0=t0, train=70, test=50)
    heavy = np.where(y == 1, 100.0, 1.0)
    plain = out_of_fold(make_pipeline(StandardScaler(), LogisticRegression()), X, y, splitter)
    leaning = out_of_fold(make_pipeline(StandardScaler(), LogisticRegression()), X, y, splitter, sample_weight=heavy)
    assert (leaning.column(1)[70:] > plain.column(1)[70:]).all()
    neighbours = make_pipeline(StandardScaler(), KNeighborsClassifier(5))
    unweighted = out_of_fold(neighbours, X, y, splitter, sample_weight=heavy)
    assert np.array_equal(unweighted.proba, out_of_fold(neighbours, X, y, splitter).proba, equal_nan=True)
    late = np.where(np.arange(n) < 80, np.arange(n) % 2, 2)
    found = out_of_fold(LogisticRegression(), X, late, WalkForward(t1=t0, t0=t0, train=70, test=50))
    assert (found.column(2)[70:] == 0).all()
    np.testing.assert_allclose(found.proba[70:].sum(axis=1), 1.0)


def frame(n: int, seed: int, drift: np.ndarray | float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    steps = rng.normal(0, 0.004, (n, 4)) + np.broadcast_to(np.asarray(drift) / 4, (4, n)).T
    path = 100 * np.exp(np.cumsum(steps.ravel())).reshape(n, 4)
    open_ = np.r_[100.0, path[:-1, -1]]
    inside = np.column_stack([open_, path])
    return pd.DataFrame(
        {"open": open_, "high": inside.max(axis=1), "low": inside.min(axis=1), "close": path[:, -1], "volume": 1.0},
        index=pd.date_range("2022-01-01", periods=n, freq="h", tz="UTC", name="open_time").as_unit("ns"),
    )


def test_meta_labels_say_whether_the_primarys_bet_paid() -> None:
    klines = frame(600, 1)
    rng = np.random.default_rng(2)
    n = 500
    events = np.arange(n)
    proba = rng.dirichlet([2, 1, 2], n)
    proba[:40] = np.nan
    proba[50] = [0.4, 0.2, 0.4]
    primary = OutOfFold(
        proba=proba, fold=np.where(np.isnan(proba[:, 0]), -1, 0), classes=(-1, 0, 1), strictly_before=True
    )
    sigma = np.full(600, 0.008)
    config = BarrierConfig(horizon=6)
    meta = meta_labels(klines, events, primary, threshold=0.4, volatility=sigma, config=config)
    assert meta.untested == 40
    best = np.maximum(proba[:, 0], proba[:, 2])
    bets = np.flatnonzero((best >= 0.4) & (proba[:, 0] != proba[:, 2]))
    assert meta.row.tolist() == bets.tolist()
    assert meta.abstained == n - 40 - bets.size
    side = np.where(proba[bets, 2] > proba[bets, 0], 1, -1)
    direct = triple_barrier(klines, bets, side=side, volatility=sigma, config=config)
    assert np.array_equal(meta.labels.net, direct.net)
    assert np.array_equal(meta.pays, (direct.net > 0).astype(int))
    np.testing.assert_array_equal(meta.confidence, best[bets])
    with pytest.raises(InvalidInput, match="strictly increasing"):
        meta_labels(klines, events[::-1], primary)


def past(klines: pd.DataFrame) -> np.ndarray:
    """A few features that know the past only: returns and ranges over some windows."""
    r = np.log(klines["close"]).diff()
    columns = [r.rolling(w).sum() / r.rolling(100).std() for w in (1, 3, 12, 24, 72)]
    columns += [np.log(klines["high"] / klines["low"]).rolling(w).mean() / r.rolling(100).std() for w in (3, 24)]
    return np.column_stack(columns)


def skill(
    klines: pd.DataFrame, *, shuffle: int | None = None, extra: np.ndarray | None = None
) -> tuple[float, float]:
    """AUC of up against down, walk-forward, and its standard error."""
    config = BarrierConfig(horizon=12, least_width=0.0)
    labels = triple_barrier(klines, np.arange(150, len(klines), 3), config=config)
    labels = labels.take(labels.barrier != 0)
    X = past(klines) if extra is None else np.column_stack([past(klines), extra])
    X, y = X[labels.event], labels.barrier.astype(int)
    if shuffle is not None:
        y = np.random.default_rng(shuffle).permutation(y)
    model = HistGradientBoostingClassifier(max_iter=40, max_leaf_nodes=8, max_bins=31, random_state=0)
    splitter = WalkForward(t1=labels.t1, t0=labels.t0, train=len(y) // 3, test=len(y) // 3)
    with threadpool_limits(1):
        found = out_of_fold(model, X, y, splitter, sample_weight=labels.uniqueness())
    rows = found.tested
    interval = block_interval(auc, found.column(1)[rows], (y[rows] == 1).astype(float), block=8, level=0.99)
    return interval.value, (interval.high - interval.low) / (2 * norm.ppf(0.995))


def test_a_random_walk_teaches_nothing() -> None:
    value, error = skill(frame(9000, 11))
    assert abs(value - 0.5) < 4 * error, f"AUC {value:.3f} with an error of {error:.3f} on a random walk: a leak"


def test_shuffled_labels_teach_nothing_and_a_planted_edge_is_found() -> None:
    signal = np.random.default_rng(5).normal(size=9000)
    drift = np.r_[np.zeros(1), 0.008 * signal[:-1]]
    klines = frame(9000, 12, drift + 0.5 * np.r_[0.0, drift[:-1]])
    value, error = skill(klines, extra=signal)
    assert value - 0.5 > 4 * error, f"AUC {value:.3f} with an error of {error:.3f}: the planted edge was not found"
    value, error = skill(klines, extra=signal, shuffle=3)
    assert abs(value - 0.5) < 4 * error, f"AUC {value:.3f} with an error of {error:.3f} on shuffled labels"


def test_real_returns_in_shuffled_blocks_teach_nothing(real_data: Path) -> None:
    real = pd.read_parquet(real_data / "market" / "um_ETHUSDT_1h.parquet").set_index("open_time").iloc[4000:]
    rng = np.random.default_rng(6)
    block, count = 6, 1800
    starts = rng.integers(1, len(real) - block, count)
    at = (starts[:, None] + np.arange(block)).ravel()
    before = real["close"].to_numpy()[at - 1]
    shape = {name: np.log(real[name].to_numpy()[at] / before) for name in ("open", "high", "low", "close")}
    flips = np.repeat(rng.choice([-1.0, 1.0], count), block)  # takes the market's drift out as well
    level = np.r_[0.0, np.cumsum(flips * shape["close"])]
    turned = {name: level[:-1] + flips * shape[name] for name in shape}
    turned["high"], turned["low"] = np.maximum(turned["high"], turned["low"]), np.minimum(turned["high"], turned["low"])
    klines = pd.DataFrame(
        {name: 1000 * np.exp(path) for name, path in turned.items()},
        index=pd.date_range("2022-01-01", periods=at.size, freq="h", tz="UTC").as_unit("ns"),
    ).assign(volume=1.0)
    value, error = skill(klines)
    assert abs(value - 0.5) < 4 * error, f"AUC {value:.3f} with an error of {error:.3f} on shuffled blocks"


def test_costs_beat_a_bettor_without_an_edge() -> None:
    klines = frame(6000, 13)
    labels = triple_barrier(klines, np.arange(150, 5900, 24), side=1, config=BarrierConfig(horizon=12))
    costs = Costs()
    paid = labels.gross - labels.net
    assert paid.mean() == pytest.approx(costs.round_trip, rel=0.25)
    assert labels.net.mean() - 3 * labels.net.std() / np.sqrt(len(labels)) < 0


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_ctrl_c_ends_the_fit_of_an_estimator_that_would_take_it_for_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    X = np.random.default_rng(1).normal(size=(300, 4))
    y = X[:, 0] > 0
    assert fit_fresh(MLPClassifier((4,), max_iter=3), X, y, None).n_iter_ == 3

    def interrupted(*given: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(MLPClassifier, "_backprop", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit_fresh(make_pipeline(StandardScaler(), MLPClassifier((4,), max_iter=3)), X, y, None)
