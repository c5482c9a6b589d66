"""Contributions add up, are exact where the truth is known, and credit nobody for nothing."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from ares.errors import InvalidInput
from ares.models import adapt
from ares.models.contributions import contributions
from ares.models.model import ModelSpec


class Formula:
    """A model whose probability is given by a formula of its columns."""

    def __init__(self, columns: list[str], formula) -> None:  # type: ignore[no-untyped-def]
        self.spec = ModelSpec(columns=columns, classes=[0, 1])
        self._formula = formula

    def predict_proba(self, X):  # type: ignore[no-untyped-def]
        p = self._formula(*X.T)
        return np.stack([1 - p, p], axis=1)


def test_they_add_up_for_any_model() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 5))
    X[rng.random(X.shape) < 0.1] = np.nan
    y = (np.nan_to_num(X[:, 0] * X[:, 1]) > 0).astype(int)
    model = adapt(HistGradientBoostingClassifier(max_iter=30).fit(X, y), columns=list("abcde"))
    reference = np.nanmedian(X, axis=0)
    for row in X[:20]:
        told = contributions(model, row, reference, 1)
        assert told.base + sum(told.parts.values()) == pytest.approx(told.probability, abs=1e-12)
        assert told.probability == model.predict_proba(row)[0, 1]
        sizes = np.abs(list(told.parts.values()))
        assert (np.diff(sizes) <= 0).all()
        assert list(told.top(2)) == list(told.parts)[:2]


def test_an_additive_model_gives_back_its_terms_and_an_unused_column_gets_nothing() -> None:
    model = Formula(["a", "b", "idle"], lambda a, b, idle: 0.5 + 0.1 * a - 0.05 * b)
    told = contributions(model, [2.0, 1.0, 9.0], [0.0, 0.0, 0.0], 1, orders=1)
    assert told.parts == pytest.approx({"a": 0.2, "b": -0.05, "idle": 0.0}, abs=1e-15)
    assert contributions(model, [2.0, 1.0, 9.0], [0.0, 0.0, 0.0], 0).parts["a"] == pytest.approx(-0.2)


def test_many_orders_come_to_the_mean_over_all_orders() -> None:
    def formula(a, b, c):  # type: ignore[no-untyped-def]
        return 0.1 + 0.2 * a * b + 0.3 * a * c * b + 0.1 * c

    exact = np.zeros(3)
    for order in permutations(range(3)):
        at = np.zeros(3)
        for i in order:
            before = formula(*at)
            at[i] = 1.0
            exact[i] += (formula(*at) - before) / 6
    told = contributions(Formula(["a", "b", "c"], formula), np.ones(3), np.zeros(3), 1, orders=8000)
    np.testing.assert_allclose([told.parts[n] for n in "abc"], exact, atol=0.01)


def test_groups_move_as_one() -> None:
    model = Formula(["a", "b", "c"], lambda a, b, c: 0.1 + 0.4 * a * b + 0.1 * c)
    told = contributions(model, np.ones(3), np.zeros(3), 1, groups={"pair": ["a", "b"]})
    assert told.parts == pytest.approx({"pair": 0.4, "c": 0.1})
    for groups in ({"x": ["a", "z"]}, {"x": []}, {"x": ["a"], "y": ["a"]}, {"c": ["a", "b"]}):
        with pytest.raises(InvalidInput, match="group"):
            contributions(model, np.ones(3), np.zeros(3), 1, groups=groups)
    with pytest.raises(InvalidInput, match="no class"):
        contributions(model, np.ones(3), np.zeros(3), 7)
    with pytest.raises(InvalidInput, match="3 values"):
        contributions(model, np.ones(2), np.zeros(3), 1)
