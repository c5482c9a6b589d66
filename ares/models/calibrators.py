"""Calibrators as data, and a model with its calibrator in one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from attrs import field, frozen
from numpy.typing import ArrayLike, NDArray

from ares.errors import InvalidInput, ModelError
from ares.kernels.calibrate import METHODS, calibrate_batch
from ares.models import registry
from ares.models.model import Model, ModelSpec, Stored
from ares.models.parts import adopted, restore

__all__ = ["CalibratedModel", "Calibrator"]

Floats = NDArray[np.float64]


@frozen(kw_only=True, eq=False)
class Calibrator:
    """Maps a model's probabilities to calibrated ones. Fitted by `ares.training.fit_calibrator`."""

    method: str  # sigmoid, isotonic, beta or temperature
    ratio: Floats  # (k,) each class's true share over its share in training; ones: no shift
    params: Floats  # (1 or k, 3), see `ares.kernels.calibrate`
    knot_x: Floats  # of isotonic, all classes one after another; else empty
    knot_y: Floats
    offset: NDArray[np.int64]  # (len(params) + 1,) where each class's knots begin

    def apply(self, proba: ArrayLike) -> Floats:
        """Calibrated probabilities, (n, k), each row summing to 1; a row with NaN stays NaN."""
        given = np.ascontiguousarray(proba, dtype=np.float64)
        if given.ndim != 2 or given.shape[1] != self.ratio.size:
            raise InvalidInput(
                f"probabilities have shape {given.shape}, the calibrator knows {self.ratio.size} classes"
            )
        out = np.empty_like(given)
        calibrate_batch(
            given, self.ratio, METHODS[self.method], self.params, self.knot_x, self.knot_y, self.offset, out
        )
        return out

    def stored(self) -> Stored:
        """The calibrator as data."""
        return Stored(kind="calibrator", meta={"method": self.method}, arrays={n: getattr(self, n) for n in _ARRAYS})

    @classmethod
    def restored(cls, stored: Stored) -> Calibrator:
        """The calibrator from data. Raises ModelError when its parts do not fit together."""
        method = stored.value("method", str)
        ratio = stored.array("ratio", "<f8", (None,))
        rows = 1 if method == "temperature" or ratio.size == 2 else ratio.size
        knots = stored.array("knot_x", "<f8", (None,))
        made = cls(
            method=method,
            ratio=ratio,
            params=stored.array("params", "<f8", (rows, 3)),
            knot_x=knots,
            knot_y=stored.array("knot_y", "<f8", (knots.size,)),
            offset=stored.array("offset", "<i8", (rows + 1,)),
        )
        parts = [made.knot_x[a:b] for a, b in zip(made.offset[:-1], made.offset[1:], strict=True)]
        sound = (
            method in METHODS
            and ratio.size >= 2
            and bool((np.isfinite(ratio) & (ratio > 0)).all())
            and bool(
                np.isfinite(made.params).all() and np.isfinite(made.knot_x).all() and np.isfinite(made.knot_y).all()
            )
            and made.offset[0] == 0
            and made.offset[-1] == knots.size
            and bool((np.diff(made.offset) >= (1 if method == "isotonic" else 0)).all())
            and all(bool((np.diff(part) > 0).all()) for part in parts)
        )
        if not sound:
            raise ModelError("the parts of this calibrator do not fit together", kind="calibrator")
        return made


_ARRAYS = ("ratio", "params", "knot_x", "knot_y", "offset")


@frozen(kw_only=True, eq=False)
class CalibratedModel:
    """A classifier whose probabilities pass through its calibrator."""

    model: Any = field(converter=adopted)  # a Model
    calibrator: Calibrator

    def __attrs_post_init__(self) -> None:
        if len(self.model.spec.classes) != self.calibrator.ratio.size:
            raise ModelError(
                f"the model has {len(self.model.spec.classes)} classes, the calibrator {self.calibrator.ratio.size}"
            )

    @property
    def spec(self) -> ModelSpec:
        """Of the model inside."""
        spec: ModelSpec = self.model.spec
        return spec

    def predict_proba(self, X: Any) -> Floats:
        """Calibrated probabilities, (n, classes)."""
        return self.calibrator.apply(self.model.predict_proba(X))

    def save(self, directory: Path | str) -> str:
        """Write both as data into a new directory; returns the id."""
        return registry.save(self, directory)

    @classmethod
    def load(cls, directory: Path | str, *, classes: Mapping[str, type] | None = None) -> CalibratedModel:
        """Read a model that `save` wrote. classes: its model's, by name, when that is not ours. Raises ModelError."""
        return registry.load_as(cls, directory, classes=classes)

    def stored(self) -> Stored:
        """Both as data. Raises ModelError when the model inside cannot be."""
        parts = {"model": self.model.stored(), "calibrator": self.calibrator.stored()}
        return Stored(kind="calibrated", spec=self.spec, parts=parts)

    @classmethod
    def restored(cls, stored: Stored) -> CalibratedModel:
        """Both from data. Raises ModelError."""
        model = restore(stored.part("model"))
        calibrator = restore(stored.part("calibrator"))
        if not isinstance(model, Model) or not isinstance(calibrator, Calibrator):
            raise ModelError("a calibrated model is made of a model and a calibrator", kind="calibrated")
        return cls(model=model, calibrator=calibrator)
