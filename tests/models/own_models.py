"""Models of a user's own for the tests: a logistic regression in plain numpy, and what can be wrong with one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ares.models.model import ModelSpec

Floats = NDArray[np.float64]


class Logistic:
    """Multinomial logistic regression by gradient descent on standardized columns."""

    def __init__(self, steps: int = 60, rate: float = 0.5, ridge: float = 1e-3) -> None:
        self.steps, self.rate, self.ridge = steps, rate, ridge

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        classes = np.unique(y)
        self.spec = ModelSpec(columns=tuple(X.columns), classes=tuple(classes.tolist()))
        values = X.to_numpy(dtype=np.float64)
        self.mean, self.scale = np.nanmean(values, axis=0), np.nanstd(values, axis=0) + 1e-12
        z = self._standard(values)
        weight = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
        truth = (np.asarray(y)[:, None] == classes).astype(np.float64)
        self.weights = np.zeros((z.shape[1], classes.size))
        for _ in range(self.steps):
            wrong = (self._softmax(z) - truth) * weight[:, None]
            self.weights -= self.rate * (z.T @ wrong / weight.sum() + self.ridge * self.weights)
        return self

    def predict_proba(self, X: Any) -> Floats:
        values = X[list(self.spec.columns)].to_numpy() if hasattr(X, "columns") else np.asarray(X)
        return self._softmax(self._standard(values))

    def save(self, directory: Path | str) -> None:
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        spec = self.spec
        settings = {"columns": spec.columns, "classes": spec.classes, "horizon": spec.horizon, "every": spec.timeframe}
        (folder / "spec.json").write_text(json.dumps(settings))
        np.savez(folder / "weights.npz", mean=self.mean, scale=self.scale, weights=self.weights)

    @classmethod
    def load(cls, directory: Path | str) -> Self:
        made, folder = cls(), Path(directory)
        said = json.loads((folder / "spec.json").read_text())
        made.spec = ModelSpec(
            columns=said["columns"], classes=said["classes"], horizon=said["horizon"], timeframe=said["every"]
        )
        with np.load(folder / "weights.npz", allow_pickle=False) as arrays:
            made.mean, made.scale, made.weights = arrays["mean"], arrays["scale"], arrays["weights"]
        return made

    def _standard(self, values: Floats) -> Floats:
        z = np.clip((values - self.mean) / self.scale, -5.0, 5.0)
        return np.where(np.isnan(z), 0.0, z)

    def _softmax(self, z: Floats) -> Floats:
        score = np.einsum("nc,ck->nk", z, self.weights, optimize=False)  # no BLAS: see the kit
        raised = np.exp(score - score.max(axis=1, keepdims=True))
        return np.asarray(raised / raised.sum(axis=1, keepdims=True))


class ByBatch(Logistic):
    """The same, but a row's answer depends on how many are asked with it."""

    def predict_proba(self, X: Any) -> Floats:
        p = super().predict_proba(X)
        return p if len(p) == 1 else 0.999 * p + 0.001 / p.shape[1]


class Unsavable(Logistic):
    """The same, but its file is a pickle by its name."""

    def save(self, directory: Path | str) -> None:
        super().save(directory)
        (Path(directory) / "spec.json").rename(Path(directory) / "spec.pkl")
