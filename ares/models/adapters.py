"""From a fitted estimator to a model: by an adapter if there is one, else to a wrapper that cannot leave the
backtest.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ares.errors import InvalidInput, ModelError
from ares.models.dense import DenseModel, from_linear, from_perceptron
from ares.models.flatten import flatten_boosting, flatten_forest, flatten_hist_boosting, flatten_lightgbm
from ares.models.model import ModelSpec, Stored, matrix
from ares.models.own import OwnModel
from ares.models.trees import TreeModel

__all__ = ["BacktestOnly", "adapt", "storable", "unsavable"]

Floats = NDArray[np.float64]

_FOREST = ("RandomForestClassifier", "RandomForestRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor")
_SINGLE = ("DecisionTreeClassifier", "DecisionTreeRegressor")
_LINEAR = ("LogisticRegression", "LinearRegression", "Ridge")
_PERCEPTRON = ("MLPClassifier", "MLPRegressor")
_TREES = {
    **dict.fromkeys(("HistGradientBoostingClassifier", "HistGradientBoostingRegressor"), flatten_hist_boosting),
    **dict.fromkeys((*_FOREST, *_SINGLE), flatten_forest),
    **dict.fromkeys(("GradientBoostingClassifier", "GradientBoostingRegressor"), flatten_boosting),
}


@frozen(kw_only=True, eq=False)
class BacktestOnly:
    """An estimator without an adapter. It predicts with its own library, and `save` refuses with the reason.

    A row alone and the same row in a batch may differ in their last bits.
    """

    spec: ModelSpec
    estimator: Any
    reason: str

    def predict_proba(self, X: Any) -> Floats:
        """(n, classes), from the estimator itself."""
        if not self.spec.classes:
            raise ModelError("a regression gives no probabilities; use predict")
        return np.asarray(self.estimator.predict_proba(self._input(X)), dtype=np.float64)

    def predict(self, X: Any) -> Floats:
        """(n,), from the estimator itself. Raises ModelError for a classifier."""
        if self.spec.classes:
            raise ModelError("a classifier answers by predict_proba")
        return np.asarray(self.estimator.predict(self._input(X)), dtype=np.float64)

    def _input(self, X: Any) -> Any:
        values = matrix(X, self.spec.columns)
        if getattr(self.estimator, "feature_names_in_", None) is None:
            return values
        import pandas as pd

        return pd.DataFrame(values, columns=list(self.spec.columns))

    def stored(self) -> Stored:
        """Raises ModelError: it is not data."""
        self._refuse()

    def save(self, directory: Path | str) -> str:
        """Raises ModelError: it cannot be saved as data, so it cannot go live."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ModelError(
            f"{type(self.estimator).__name__} cannot be saved as data, so it can be backtested but not go live: "
            f"{self.reason}",
            reason=self.reason,
        )

    @classmethod
    def load(cls, directory: Path | str) -> BacktestOnly:
        """Raises ModelError: there is never one on disk."""
        raise ModelError(f"{directory}: an estimator without an adapter is never written to disk")


def adapt(
    estimator: Any,
    *,
    columns: Sequence[str] | None = None,
    timeframe: str | None = None,
    horizon: int | None = None,
) -> TreeModel | DenseModel | BacktestOnly:
    """Turn a fitted estimator into a model.

    Known: scikit-learn's HistGradientBoosting, GradientBoosting, RandomForest, ExtraTrees and DecisionTree,
    LogisticRegression, LinearRegression, Ridge, MLPClassifier and MLPRegressor, the linear ones and the MLP also after
    a StandardScaler in a Pipeline; LightGBM's estimators and boosters. Anything else becomes `BacktestOnly`.

    columns: names of its inputs in order; None: those it was fitted with.
    Raises: InvalidInput when the estimator is not fitted or the columns are unknown or miscounted.
    """
    scaler, final, problem = _unwrap(estimator)
    spec = ModelSpec(columns=_names(estimator, columns), timeframe=timeframe, horizon=horizon, classes=_classes(final))
    try:
        if problem:
            raise ModelError(problem)
        return _known(final, scaler, spec)
    except ModelError as error:
        if not hasattr(estimator, "predict"):
            raise
        return BacktestOnly(spec=spec, estimator=estimator, reason=error.message)


def storable(model: Any) -> bool:
    """Whether a model can be saved as data, and so go live."""
    return unsavable(model) is None


def unsavable(model: Any) -> str | None:
    """Why a model cannot be saved as data; None when it can. A model of the user's own is saved to see."""
    if isinstance(model, BacktestOnly):
        return model.reason
    if not hasattr(model, "stored"):
        return f"{type(model).__name__} has no save and load"
    try:
        if isinstance(model, OwnModel):
            model.stored()
    except ModelError as error:
        return error.message
    return None


def _known(estimator: Any, scaler: Any, spec: ModelSpec) -> TreeModel | DenseModel:
    name, home = type(estimator).__name__, type(estimator).__module__.split(".")[0]
    if home == "sklearn" and name in _LINEAR:
        return from_linear(estimator, spec, scaler)
    if home == "sklearn" and name in _PERCEPTRON:
        return from_perceptron(estimator, spec, scaler)
    if scaler is not None:
        raise ModelError(f"no adapter for a scaler in front of {name}")
    if home == "sklearn" and name in _TREES:
        return _TREES[name](estimator, spec)
    if home == "lightgbm" and name == "Booster":
        return flatten_lightgbm(estimator, spec)
    if home == "lightgbm" and name in {"LGBMClassifier", "LGBMRegressor"}:
        return flatten_lightgbm(estimator.booster_, spec)
    raise ModelError(f"no adapter for {type(estimator).__module__}.{name}")


def _unwrap(estimator: Any) -> tuple[Any, Any, str]:
    """Take a pipeline apart: (scaler or None, last step, why it cannot be adapted or "")."""
    if type(estimator).__name__ != "Pipeline" or not type(estimator).__module__.startswith("sklearn"):
        return None, estimator, ""
    scaler, problem = None, ""
    steps = [step for _, step in estimator.steps if step not in (None, "passthrough")]
    for step in steps[:-1]:
        if type(step).__name__ == "StandardScaler" and scaler is None:
            scaler = step
        else:
            problem = f"no adapter for a pipeline with {type(step).__name__}"
    return scaler, steps[-1], problem


def _names(estimator: Any, columns: Sequence[str] | None) -> tuple[str, ...]:
    fitted = getattr(estimator, "feature_names_in_", None)
    if fitted is None and type(estimator).__module__.startswith("lightgbm") and hasattr(estimator, "feature_name"):
        fitted = estimator.feature_name()
    count = len(fitted) if fitted is not None else getattr(estimator, "n_features_in_", None)
    if count is None:
        raise InvalidInput(f"{type(estimator).__name__} is not fitted", estimator=type(estimator).__name__)
    fitted = None if fitted is None else list(fitted)
    if columns is None and fitted is None:
        raise InvalidInput("name the columns: the estimator was fitted on an array without names", columns=count)
    names = tuple(str(name) for name in (columns if columns is not None else fitted or ()))
    if len(names) != count:
        raise InvalidInput(f"{len(names)} columns are named, the estimator was fitted on {count}", columns=len(names))
    return names


def _classes(estimator: Any) -> tuple[Any, ...]:
    if type(estimator).__name__ == "Booster":
        parameters = getattr(estimator, "params", {})
        objective = parameters.get("objective", "")
        count = int(parameters.get("num_class", 1))
        return (0, 1) if objective == "binary" else tuple(range(count if count > 1 else 0))
    classes = getattr(estimator, "classes_", None)
    return () if classes is None else tuple(np.asarray(classes).tolist())
