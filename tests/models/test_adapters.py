"""Flat models answer as the library that trained them, also for missing, infinite and on-threshold values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from ares.errors import InvalidInput, ModelError
from ares.kernels.trees import answer_batch
from ares.models import adapt, load
from ares.models.adapters import BacktestOnly, storable
from ares.models.trees import TreeModel

COLUMNS = [f"f{i}" for i in range(6)]
HIST = {"max_iter": 21, "max_leaf_nodes": 15, "min_samples_leaf": 5, "random_state": 0}


def data(classes: int, *, missing: bool, n: int = 600) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, class and number to learn; coarse values so that many lie on thresholds."""
    rng = np.random.default_rng(classes)
    X = np.round(rng.normal(size=(n, 6)), 1)
    score = X[:, 0] + np.abs(X[:, 1]) - X[:, 2] * X[:, 3] + rng.normal(0, 0.5, n)
    if missing:
        X[rng.random(X.shape) < 0.08] = np.nan
    return X, np.digitize(score, np.quantile(score, np.arange(1, classes) / classes)) - 1, score


def nasty(X: np.ndarray, thresholds: np.ndarray, *, missing: bool, infinite: bool) -> np.ndarray:
    """Rows of training, of chance, of values on and right beside thresholds, with holes and infinities."""
    rng = np.random.default_rng(9)
    on = rng.choice(thresholds, (300, X.shape[1])) if thresholds.size else rng.normal(size=(300, X.shape[1]))
    rows = np.concatenate(
        [X, rng.normal(size=(300, X.shape[1])), on, np.nextafter(on, np.inf), np.nextafter(on, -np.inf)]
    )
    if not missing:
        rows = np.nan_to_num(rows)
    else:
        rows[rng.random(rows.shape) < 0.1] = np.nan
        rows[0] = np.nan
    if infinite:
        rows[rng.random(rows.shape) < 0.05] = np.inf
        rows[rng.random(rows.shape) < 0.05] = -np.inf
    return rows


def thresholds_of(model: Any) -> np.ndarray:
    if not isinstance(model, TreeModel):
        return np.array([])
    found = model.nodes["threshold"]
    return np.unique(found[np.isfinite(found)])


CASES: dict[str, tuple[Any, int, bool, bool]] = {
    # name: estimator, classes (0: regression), accepts missing, accepts infinite
    "hist binary": (HistGradientBoostingClassifier(**HIST), 2, True, True),
    "hist three": (HistGradientBoostingClassifier(**HIST), 3, True, True),
    "hist one leaf": (HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=590), 2, True, True),
    "hist squared": (HistGradientBoostingRegressor(**HIST), 0, True, True),
    "hist quantile": (HistGradientBoostingRegressor(loss="quantile", quantile=0.3, **HIST), 0, True, True),
    "forest binary": (RandomForestClassifier(11, random_state=0), 2, True, False),
    "forest three": (RandomForestClassifier(11, random_state=0, class_weight="balanced"), 3, True, False),
    "forest number": (RandomForestRegressor(11, random_state=0), 0, True, False),
    "extra three": (ExtraTreesClassifier(11, random_state=0), 3, True, False),
    "extra number": (ExtraTreesRegressor(11, random_state=0), 0, True, False),
    "tree three": (DecisionTreeClassifier(max_depth=7, random_state=0), 3, True, False),
    "tree number": (DecisionTreeRegressor(max_depth=7, random_state=0), 0, True, False),
    "boosting binary": (GradientBoostingClassifier(n_estimators=17, random_state=0), 2, False, False),
    "boosting exponential": (GradientBoostingClassifier(n_estimators=9, loss="exponential"), 2, False, False),
    "boosting three": (GradientBoostingClassifier(n_estimators=9, init="zero", random_state=0), 3, False, False),
    "boosting number": (GradientBoostingRegressor(n_estimators=17, loss="huber", random_state=0), 0, False, False),
    "logistic": (LogisticRegression(), 2, False, False),
    "logistic three": (make_pipeline(StandardScaler(), LogisticRegression()), 3, False, False),
    "linear": (LinearRegression(), 0, False, False),
    "ridge": (make_pipeline(StandardScaler(with_mean=False), Ridge()), 0, False, False),
    "mlp binary": (MLPClassifier((8, 5), activation="relu", max_iter=400, random_state=0, tol=1e-2), 2, False, False),
    "mlp three": (
        make_pipeline(StandardScaler(), MLPClassifier((7,), activation="tanh", max_iter=400, random_state=0, tol=1e-2)),
        3,
        False,
        False,
    ),
    "mlp number": (
        MLPRegressor(hidden_layer_sizes=(9,), activation="logistic", max_iter=900, random_state=0, tol=1e-2),
        0,
        False,
        False,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_flat_model_answers_as_its_library_and_survives_the_disk(name: str, tmp_path: Path) -> None:
    estimator, classes, missing, infinite = CASES[name]
    X, y, score = data(max(classes, 2), missing=missing)
    estimator.fit(X, y if classes else score)
    model = adapt(estimator, columns=COLUMNS, timeframe="1h", horizon=24)
    assert storable(model), getattr(model, "reason", "")
    rows = nasty(X, thresholds_of(model), missing=missing, infinite=infinite)
    verb = "predict_proba" if classes else "predict"
    expected = getattr(estimator, verb)(rows)
    got = getattr(model, verb)(rows)
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)
    alone = np.concatenate([getattr(model, verb)(row) for row in rows])
    assert np.array_equal(alone, got), "a row alone must give the bits it gives in a batch"
    model.save(tmp_path / "model")
    again = load(tmp_path / "model").model
    assert np.array_equal(getattr(again, verb)(rows), got)
    assert again.spec == model.spec
    if classes:
        assert model.spec.classes == tuple(range(-1, classes - 1))
        np.testing.assert_allclose(got.sum(axis=1), 1.0, rtol=1e-12)


@pytest.mark.parametrize("name", ["forest binary", "boosting binary", "logistic", "mlp binary"])
def test_a_row_the_library_refuses_is_answered_by_nan_and_harms_no_other(name: str) -> None:
    estimator, classes, missing, _ = CASES[name]
    X, y, _ = data(classes, missing=missing)
    model = adapt(estimator.fit(X, y), columns=COLUMNS)
    rows = np.nan_to_num(X[:5])
    clean = model.predict_proba(rows)
    rows[1, 2] = np.inf
    rows[3, 0] = 1e300 if name == "forest binary" else np.nan
    with np.errstate(over="ignore"), pytest.raises(ValueError, match=r"infinity|NaN"):
        estimator.predict_proba(rows)
    got = model.predict_proba(rows)
    assert np.isnan(got[[1, 3]]).all()
    assert np.array_equal(got[[0, 2, 4]], clean[[0, 2, 4]])


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), trees=st.integers(1, 20), leaves=st.integers(2, 40), n=st.integers(1, 200))
def test_any_small_booster_is_walked_exactly(seed: int, trees: int, leaves: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(150, 3))
    X[rng.random(X.shape) < rng.uniform(0, 0.3)] = np.nan
    y = rng.integers(0, 2, 150)
    y[:2] = 0, 1
    estimator = HistGradientBoostingClassifier(max_iter=trees, max_leaf_nodes=leaves, min_samples_leaf=1).fit(X, y)
    rows = rng.normal(size=(n, 3))
    rows[rng.random(rows.shape) < 0.2] = np.nan
    model = adapt(estimator, columns=["a", "b", "c"])
    np.testing.assert_allclose(model.predict_proba(rows), estimator.predict_proba(rows), rtol=1e-12, atol=1e-12)


def test_frames_are_read_by_column_name_whatever_their_order() -> None:
    X, y, _ = data(2, missing=False)
    frame = pd.DataFrame(X, columns=COLUMNS)
    model = adapt(LogisticRegression().fit(frame, y))
    assert model.spec.columns == tuple(COLUMNS)
    shuffled = frame[COLUMNS[::-1]].assign(other=1.0)
    assert np.array_equal(model.predict_proba(shuffled), model.predict_proba(X))
    with pytest.raises(InvalidInput, match="lacks 1"):
        model.predict_proba(frame.drop(columns="f3"))
    with pytest.raises(InvalidInput, match="6 columns"):
        model.predict_proba(X[:, :5])


def test_a_read_only_row_is_read_without_compiling_again() -> None:
    X, y, _ = data(2, missing=False)
    model = adapt(HistGradientBoostingClassifier(max_iter=3).fit(X, y), columns=COLUMNS)
    expected = model.predict_proba(X[:1])
    known = set(answer_batch.signatures)  # type: ignore[attr-defined]
    row = X[0].copy()
    row.setflags(write=False)
    unaligned = np.frombuffer(b"." + row.tobytes(), dtype=np.uint8)[1:].view(np.float64)[None]
    assert not unaligned.flags.aligned
    swapped = row.astype(row.dtype.newbyteorder())[None]
    for asked in (row, row[None], X[:1], np.asfortranarray(X)[:1], unaligned, swapped, list(row)):
        assert np.allclose(model.predict_proba(asked), expected)
    assert set(answer_batch.signatures) == known  # type: ignore[attr-defined]


def test_categories_are_refused() -> None:
    X, y, _ = data(2, missing=False)
    X[:, 0] = np.arange(len(X)) % 5
    model = adapt(HistGradientBoostingClassifier(categorical_features=[0], max_iter=5).fit(X, y), columns=COLUMNS)
    assert isinstance(model, BacktestOnly)
    assert "categories" in model.reason


@pytest.mark.parametrize("estimator", [HistGradientBoostingClassifier(max_iter=3), RandomForestClassifier(3)])
def test_a_model_that_met_one_class_is_certain_of_it_and_survives_the_disk(estimator: Any, tmp_path: Path) -> None:
    X, _, _ = data(2, missing=False)
    model = adapt(estimator.fit(X, np.full(len(X), 1)), columns=COLUMNS)
    assert model.spec.classes == (1,)
    assert np.array_equal(model.predict_proba(X), np.ones((len(X), 1)))
    model.save(tmp_path / "model")
    assert np.array_equal(load(tmp_path / "model").model.predict_proba(X[:5]), np.ones((5, 1)))


def test_an_estimator_without_an_adapter_can_be_backtested_but_not_saved(tmp_path: Path) -> None:
    X, y, _ = data(2, missing=False)
    frame = pd.DataFrame(X, columns=COLUMNS)
    for estimator in (GaussianNB(), make_pipeline(PolynomialFeatures(), LogisticRegression(max_iter=2000))):
        model = adapt(estimator.fit(frame, y))
        assert not storable(model)
        np.testing.assert_array_equal(model.predict_proba(X), estimator.predict_proba(frame))
        with pytest.raises(ModelError, match="no adapter for"):
            model.save(tmp_path / "never")
        assert not (tmp_path / "never").exists()


def test_what_is_not_fitted_or_misnamed_is_refused() -> None:
    X, y, score = data(2, missing=False)
    with pytest.raises(InvalidInput, match="not fitted"):
        adapt(LogisticRegression(), columns=COLUMNS)
    with pytest.raises(InvalidInput, match="name the columns"):
        adapt(LogisticRegression().fit(X, y))
    with pytest.raises(InvalidInput, match="5 columns"):
        adapt(LogisticRegression().fit(X, y), columns=COLUMNS[:5])
    with pytest.raises(ModelError, match="no probabilities"):
        adapt(Ridge().fit(X, score), columns=COLUMNS).predict_proba(X)
    with pytest.raises(ModelError, match="predict_proba"):
        adapt(LogisticRegression().fit(X, y), columns=COLUMNS).predict(X)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("classes", [0, 2, 3])
def test_lightgbm(classes: int, missing: bool, tmp_path: Path) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    X, y, score = data(max(classes, 2), missing=missing)
    kind = lightgbm.LGBMClassifier if classes else lightgbm.LGBMRegressor
    estimator = kind(n_estimators=20, num_leaves=15, verbose=-1, n_jobs=1, random_state=0)
    frame = pd.DataFrame(X, columns=COLUMNS)
    estimator.fit(frame, y if classes else score)
    model = adapt(estimator)
    assert isinstance(model, TreeModel), getattr(model, "reason", "")
    rows = pd.DataFrame(nasty(X, thresholds_of(model), missing=True, infinite=True), columns=COLUMNS)
    verb = "predict_proba" if classes else "predict"
    np.testing.assert_allclose(getattr(model, verb)(rows), getattr(estimator, verb)(rows), rtol=1e-12, atol=1e-12)
    booster = adapt(estimator.booster_)
    assert np.array_equal(getattr(booster, verb)(rows), getattr(model, verb)(rows))
    model.save(tmp_path / "model")
    assert np.array_equal(getattr(load(tmp_path / "model").model, verb)(rows), getattr(model, verb)(rows))
