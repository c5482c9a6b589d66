"""What a model promises: the columns it reads, the classes it knows, probabilities, and being saved as data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from attrs import field, frozen
from numpy import ndarray
from numpy.typing import NDArray

from ares.errors import InvalidInput, ModelError

__all__ = ["Model", "ModelSpec", "Storable", "Stored", "is_own", "matrix"]

Floats = NDArray[np.float64]
_FLOAT64 = np.dtype(np.float64)
_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")


def _classes(values: Sequence[Any]) -> tuple[int | str, ...]:
    plain: list[int | str] = []
    for value in values:
        item = value.item() if isinstance(value, np.generic) else value
        if isinstance(item, float) and item.is_integer():
            item = int(item)
        if not isinstance(item, int | str):
            raise InvalidInput(f"classes must be whole numbers or names, not {item!r}")
        plain.append(int(item) if isinstance(item, bool) else item)
    if len(set(plain)) != len(plain):
        raise InvalidInput(f"classes repeat: {plain}")
    return tuple(plain)


def _columns(values: Sequence[str]) -> tuple[str, ...]:
    names = tuple(str(value) for value in values)
    if not names or len(set(names)) != len(names):
        raise InvalidInput("a model needs at least one column, and no column twice", columns=names)
    return names


@frozen(kw_only=True)
class ModelSpec:
    """What a model reads and answers."""

    columns: tuple[str, ...] = field(converter=_columns)  # features, in the order of X's columns
    timeframe: str | None = None  # the interval of a row, such as "1h"; None: not tied to one
    horizon: int | None = None  # bars until the time barrier of its labels; None: not tied to one
    classes: tuple[int | str, ...] = field(
        default=(), converter=_classes
    )  # of the answer's columns; empty: a regression


@runtime_checkable
class Model(Protocol):
    """Probabilities from features. A row alone and the same row in a batch give the same bits.

    A class of your own that keeps this can be a part of a bundle, and the model of `Analyst(model=...)`. With
    `fit(X, y, sample_weight=None)` it can be given to `train` as well: X is a frame (n, columns) with the features'
    names, y is (n,) of whole numbers, sample_weight (n,). A fit begins anew on a deep copy and leaves a `spec` with
    X's columns and the classes of y in ascending order. `ares.testing.check_model` tries all of it.
    """

    @property
    def spec(self) -> ModelSpec:
        """What it reads and answers."""
        ...

    def predict_proba(self, X: Any) -> Floats:
        """(n, classes), in [0, 1], rows summing to 1. X: (n, columns) float64 in the order of `spec.columns`, an array
        or a frame that holds the columns. A row it cannot judge is NaN.
        """
        ...

    def save(self, directory: Path | str) -> object:
        """Write the model as data into an empty directory. Raises ModelError if it cannot be data.

        The registry calls it with a directory that exists, and writes every file that it finds there into the
        manifest. A pickle is refused. Ours return the id of the model.
        """
        ...

    @classmethod
    def load(cls, directory: Path | str) -> Model:
        """Read a model that `save` wrote. Raises ModelError with the reason when anything about it is wrong."""
        ...


def is_own(value: Any) -> bool:
    """Whether this is an instance of a class of the user's own that is meant as a `Model`, fitted or not yet."""
    if isinstance(value, type) or hasattr(value, "stored"):
        return False
    return all(callable(getattr(value, verb, None)) for verb in ("predict_proba", "save", "load"))


@frozen(kw_only=True, eq=False)
class Stored:
    """A model as data: what kind it is, what it reads, its settings as JSON values, its arrays, and what is inside
    it.
    """

    kind: str
    spec: ModelSpec | None = None  # None: a part that is no model by itself, such as a calibrator
    meta: Mapping[str, Any] = field(factory=dict)
    arrays: Mapping[str, NDArray[Any]] = field(factory=dict)
    parts: Mapping[str, Stored] = field(factory=dict)
    files: Mapping[str, bytes] = field(factory=dict)  # of a model that is not ours, in a folder of their own
    classes: Mapping[str, type] = field(factory=dict)  # by name, from whoever loads; what is stored names none

    def __attrs_post_init__(self) -> None:
        for name in (*self.arrays, *self.parts):
            if not _NAME.fullmatch(name):
                raise InvalidInput(f"array and part names are lower-case words, not {name!r}")

    def array(self, name: str, dtype: str, shape: tuple[int | None, ...]) -> NDArray[Any]:
        """One array, checked. None in `shape` matches any length. Raises ModelError."""
        if name not in self.arrays:
            raise ModelError(f"a model of kind {self.kind!r} lacks its array {name!r}", kind=self.kind)
        found = self.arrays[name]
        fits = found.ndim == len(shape) and all(w is None or w == s for w, s in zip(shape, found.shape, strict=True))
        if found.dtype != np.dtype(dtype) or not fits:
            raise ModelError(f"array {name!r} is {found.dtype}{found.shape}, expected {dtype}{shape}", array=name)
        return found

    def reads(self) -> ModelSpec:
        """The model's spec. Raises ModelError when it has none."""
        if self.spec is None:
            raise ModelError(f"a model of kind {self.kind!r} lacks its spec", kind=self.kind)
        return self.spec

    def part(self, name: str) -> Stored:
        """What is stored inside under `name`. Raises ModelError."""
        if name not in self.parts:
            raise ModelError(f"a model of kind {self.kind!r} lacks its part {name!r}", kind=self.kind)
        return self.parts[name]

    def value(self, name: str, kind: type | tuple[type, ...]) -> Any:
        """One setting, checked for its type. Raises ModelError."""
        found = self.meta.get(name)
        if not isinstance(found, kind) or (isinstance(found, bool) and kind is not bool):
            raise ModelError(f"setting {name!r} of a model of kind {self.kind!r} is {found!r}", setting=name)
        return found


class Storable(Protocol):
    """What the registry can write and read back."""

    def stored(self) -> Stored: ...
    @classmethod
    def restored(cls, stored: Stored) -> Storable: ...


def matrix(X: Any, columns: tuple[str, ...]) -> Floats:
    """X as a C-contiguous float64 array of shape (n, columns); a single row may be flat; a frame is read by column
    name.

    Raises: InvalidInput when columns are missing or the width differs.
    """
    if type(X) is ndarray and X.dtype == _FLOAT64 and X.flags.carray:
        shape = X.shape  # the short way, since each test is paid for by every single row
        if len(shape) == 2 and shape[1] == len(columns):
            return X
    if hasattr(X, "columns"):
        missing = [name for name in columns if name not in X.columns]
        if missing:
            raise InvalidInput(f"the frame lacks {len(missing)} of the model's columns: {', '.join(missing[:5])}")
        values = np.ascontiguousarray(X[list(columns)].to_numpy(dtype=np.float64))
    else:
        values = np.ascontiguousarray(X, dtype=np.float64)
        if values.ndim == 1:
            values = values.reshape(1, -1)
    if values.ndim != 2 or values.shape[1] != len(columns):
        raise InvalidInput(f"X has shape {values.shape}, the model reads {len(columns)} columns")
    return values if values.flags.carray else values.copy()  # kernels are compiled for one kind of array
