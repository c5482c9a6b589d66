"""Linear models and multilayer perceptrons, with a scaler in front, evaluated in a fixed order of summation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ares.errors import ModelError
from ares.kernels.dense import ACTIVATIONS, dense_batch
from ares.kernels.trees import LINKS, link_batch
from ares.models import registry
from ares.models.model import ModelSpec, Stored, matrix

__all__ = ["DenseModel", "from_linear", "from_perceptron"]

Floats = NDArray[np.float64]


@frozen(kw_only=True, eq=False)
class DenseModel:
    """Layers of units; one layer is a linear model. A row with a missing or infinite value is answered by NaN."""

    spec: ModelSpec
    shift: Floats  # (columns,) the input becomes (x - shift) / scale
    scale: Floats  # (columns,)
    sizes: NDArray[np.int64]  # (layers + 1,) columns, then units of each layer
    weights: Floats  # flat: each layer's matrix by unit, then its biases
    activation: str  # of the hidden layers
    link: str  # identity, expit or softmax

    def raw(self, X: Any) -> Floats:
        """Output of the last layer before the link, (n, outputs)."""
        rows = matrix(X, self.spec.columns)
        out = np.empty((rows.shape[0], int(self.sizes[-1])))
        code = ACTIVATIONS[self.activation]
        dense_batch(rows, self.shift, self.scale, self.sizes, self.weights, code, out)
        return out

    def predict(self, X: Any) -> Floats:
        """Answer of a regression, (n,). Raises ModelError for a classifier."""
        if self.spec.classes:
            raise ModelError("a classifier answers by predict_proba")
        return self.raw(X)[:, 0]

    def predict_proba(self, X: Any) -> Floats:
        """Probabilities, (n, classes). Raises ModelError for a regression."""
        if not self.spec.classes:
            raise ModelError("a regression gives no probabilities; use predict")
        raw = self.raw(X)
        out = np.empty((raw.shape[0], len(self.spec.classes)))
        link_batch(raw, 1.0, 1.0, LINKS[self.link], out)
        return out

    def save(self, directory: Path | str) -> str:
        """Write it as data into a new directory; returns its id."""
        return registry.save(self, directory)

    @classmethod
    def load(cls, directory: Path | str) -> DenseModel:
        """Read a model that `save` wrote."""
        return registry.load_as(cls, directory)

    def stored(self) -> Stored:
        """The model as data."""
        return Stored(
            kind="dense",
            spec=self.spec,
            meta={"activation": self.activation, "link": self.link},
            arrays={name: getattr(self, name) for name in ("shift", "scale", "sizes", "weights")},
        )

    @classmethod
    def restored(cls, stored: Stored) -> DenseModel:
        """The model from data. Raises ModelError when its arrays do not fit together."""
        spec = stored.reads()
        columns = len(spec.columns)
        model = cls(
            spec=spec,
            shift=stored.array("shift", "<f8", (columns,)),
            scale=stored.array("scale", "<f8", (columns,)),
            sizes=stored.array("sizes", "<i8", (None,)),
            weights=stored.array("weights", "<f8", (None,)),
            activation=stored.value("activation", str),
            link=stored.value("link", str),
        )
        sizes = model.sizes
        outputs = 1 if model.link == "expit" or not spec.classes else len(spec.classes)
        sound = (
            sizes.size >= 2
            and bool((sizes > 0).all() and (sizes < 2**20).all())
            and int(sizes[0]) == columns
            and int(sizes[-1]) == outputs
            and model.weights.size == int((sizes[1:] * (sizes[:-1] + 1)).sum())
            and model.activation in ACTIVATIONS
            and model.link in LINKS
            and bool(np.isfinite(model.weights).all() and np.isfinite(model.shift).all())
            and bool(np.isfinite(model.scale).all() and (model.scale != 0).all())
        )
        if not sound or (model.link == "expit" and len(spec.classes) != 2):
            raise ModelError("the arrays of this dense model do not fit together", kind="dense")
        return model


def _scaler(scaler: Any, columns: int) -> tuple[Floats, Floats]:
    shift = getattr(scaler, "mean_", None) if scaler is not None and scaler.with_mean else None
    scale = getattr(scaler, "scale_", None) if scaler is not None and scaler.with_std else None
    return (
        np.zeros(columns) if shift is None else np.array(shift, dtype=np.float64),
        np.ones(columns) if scale is None else np.array(scale, dtype=np.float64),
    )


def from_linear(estimator: Any, spec: ModelSpec, scaler: Any = None) -> DenseModel:
    """A fitted LogisticRegression, LinearRegression or Ridge; `scaler`: the StandardScaler in front, None if there
    is none.

    Raises: ModelError for a regression of several outputs.
    """
    coefficients = np.atleast_2d(np.asarray(estimator.coef_, dtype=np.float64))
    outputs = coefficients.shape[0]
    if not spec.classes and outputs != 1:
        raise ModelError(f"{outputs} outputs; one is supported", reason="outputs")
    intercept = np.broadcast_to(np.asarray(estimator.intercept_, dtype=np.float64), (outputs,))
    shift, scale = _scaler(scaler, len(spec.columns))
    return DenseModel(
        spec=spec,
        shift=shift,
        scale=scale,
        sizes=np.array([len(spec.columns), outputs], dtype=np.int64),
        weights=np.concatenate([coefficients.ravel(), intercept]),
        activation="identity",
        link="identity" if not spec.classes else ("expit" if outputs == 1 else "softmax"),
    )


def from_perceptron(estimator: Any, spec: ModelSpec, scaler: Any = None) -> DenseModel:
    """A fitted MLPClassifier or MLPRegressor; `scaler`: the StandardScaler in front, None if there is none.

    Raises: ModelError for a multi-label classifier or several outputs.
    """
    links = {"logistic": "expit", "softmax": "softmax", "identity": "identity"}
    link = links.get(estimator.out_activation_, "")
    outputs = int(estimator.n_outputs_)
    if not link or (link != "softmax" and outputs != 1):
        raise ModelError(f"{outputs} outputs with {estimator.out_activation_!r} are not supported", reason="outputs")
    shift, scale = _scaler(scaler, len(spec.columns))
    layers = zip(estimator.coefs_, estimator.intercepts_, strict=True)
    flat = [part for matrix_, bias in layers for part in (np.asarray(matrix_).T.ravel(), np.asarray(bias))]
    return DenseModel(
        spec=spec,
        shift=shift,
        scale=scale,
        sizes=np.array([len(spec.columns), *(np.asarray(b).size for b in estimator.intercepts_)], dtype=np.int64),
        weights=np.concatenate(flat).astype(np.float64),
        activation=estimator.activation,
        link=link,
    )
