"""Gradient boosting that takes sample weights without paying for them twice.

scikit-learn's histogram boosting finds its bins by weighted percentiles as soon as rows have weights, one by one, which
takes far longer than the trees themselves. Here the columns are cut at plain quantiles first, the trees are grown on
the bins, weights included, and their thresholds are put back into the units of the data: the saved model reads raw
features, and gives the same probabilities as the estimator.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import evolve
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier

from ares.errors import InvalidInput
from ares.models.adapters import adapt
from ares.models.trees import TreeModel

__all__ = ["QuantileBoosting"]

Floats = NDArray[np.float64]


class QuantileBoosting(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A scikit-learn classifier: boosted trees on quantile bins; missing values go their own way in each split.

    Parameters as those of `HistGradientBoostingClassifier`. Early stopping is off: it would judge by a random part of
    rows that overlap with the rest.
    """

    def __init__(
        self,
        max_iter: int = 66,
        learning_rate: float = 0.04,
        max_leaf_nodes: int = 15,
        min_samples_leaf: int = 200,
        l2_regularization: float = 10.0,
        bins: int = 63,
        random_state: int | None = None,
    ) -> None:
        self.max_iter = max_iter
        self.learning_rate = learning_rate
        self.max_leaf_nodes = max_leaf_nodes
        self.min_samples_leaf = min_samples_leaf
        self.l2_regularization = l2_regularization
        self.bins = bins
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> QuantileBoosting:
        """Cut the columns and grow the trees. X: (n, columns). Raises: InvalidInput for bins out of 2..255."""
        if not 2 <= self.bins <= 255:
            raise InvalidInput(f"bins must lie in 2..255, not {self.bins}", bins=self.bins)
        rows = np.asarray(X, dtype=np.float64)
        self.edges_ = [_edges(column, self.bins) for column in rows.T]
        self.trees_ = HistGradientBoostingClassifier(
            max_iter=self.max_iter,
            learning_rate=self.learning_rate,
            max_leaf_nodes=self.max_leaf_nodes,
            min_samples_leaf=self.min_samples_leaf,
            l2_regularization=self.l2_regularization,
            max_bins=self.bins,
            early_stopping=False,
            random_state=self.random_state,
        ).fit(self._binned(rows), y, sample_weight=sample_weight)
        self.classes_ = self.trees_.classes_
        self.n_features_in_ = rows.shape[1]
        return self

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Probabilities, (n, classes)."""
        found: Floats = self.trees_.predict_proba(self._binned(np.asarray(X, dtype=np.float64)))
        return found

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The likeliest class of each row, (n,)."""
        chosen: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return chosen

    def adapted(self, **spec: Any) -> TreeModel:
        """The fitted trees as a model that reads raw features; `spec` as for `ares.models.adapt`."""
        model = adapt(self.trees_, **spec)
        assert isinstance(model, TreeModel)
        columns = len(model.spec.columns)
        nodes = model.nodes.copy()
        for at in np.flatnonzero(np.isfinite(nodes["threshold"])):
            edges = self.edges_[int(nodes["feature"][at]) % columns]
            nodes["threshold"][at] = edges[int(np.floor(nodes["threshold"][at]))]
        return evolve(model, nodes=nodes)

    def _binned(self, rows: Floats) -> Floats:
        """The bin of each value: `x <= edges[k]` exactly when its bin is at most k. Missing stays missing."""
        out = np.empty(rows.shape, order="F")
        for k, edges in enumerate(self.edges_):
            out[:, k] = np.searchsorted(edges, rows[:, k], side="left")
        out[np.isnan(rows)] = np.nan
        return out


def _edges(column: Floats, bins: int) -> Floats:
    seen = column[np.isfinite(column)]
    if seen.size == 0:
        return np.empty(0)
    edges: Floats = np.unique(np.quantile(seen, np.arange(1, bins) / bins))
    return edges
