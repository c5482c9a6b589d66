"""Boosting on bins: the saved trees read raw features and answer as the estimator does."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier

from ares.errors import InvalidInput
from ares.training.boosting import QuantileBoosting


@pytest.mark.parametrize("classes", [2, 3])
def test_the_adapted_model_answers_as_the_estimator(classes: int) -> None:
    rng = np.random.default_rng(classes)
    X = rng.standard_normal((3000, 6))
    X[:, 1] = np.round(X[:, 1])
    X[rng.random(X.shape) < 0.05] = np.nan
    y = (np.nan_to_num(X[:, 0]) + rng.standard_normal(3000) > 0).astype(int) + (classes == 3) * (X[:, 1] > 1)
    model = clone(QuantileBoosting(max_iter=20, min_samples_leaf=20, bins=31))
    model.fit(X, y, sample_weight=rng.uniform(0.5, 2.0, 3000))
    edges = np.concatenate(list(model.edges_))[:, None] * np.ones((1, 6))
    Z = np.vstack([X, edges, np.nextafter(edges, np.inf), np.full((1, 6), np.inf), np.full((1, 6), -np.inf)])
    adapted = model.adapted(columns=tuple("abcdef"))
    assert np.abs(adapted.predict_proba(Z) - model.predict_proba(Z)).max() < 1e-12
    assert (model.predict(X) == model.classes_[model.predict_proba(X).argmax(axis=1)]).all()


def test_without_ties_and_with_few_values_it_is_the_library_s_own_boosting() -> None:
    rng = np.random.default_rng(0)
    X = rng.integers(0, 20, (2000, 4)).astype(float)
    y = (X[:, 0] + rng.normal(0, 5, 2000) > 10).astype(int)
    ours = QuantileBoosting(max_iter=20, learning_rate=0.1, min_samples_leaf=20, l2_regularization=1.0, bins=255)
    theirs = HistGradientBoostingClassifier(
        max_iter=20, max_leaf_nodes=15, min_samples_leaf=20, l2_regularization=1.0, early_stopping=False
    )
    assert np.allclose(ours.fit(X, y).predict_proba(X), theirs.fit(X, y).predict_proba(X), atol=1e-12)


def test_bins_must_make_sense() -> None:
    with pytest.raises(InvalidInput):
        QuantileBoosting(bins=1).fit(np.zeros((10, 1)), np.arange(10) % 2)
