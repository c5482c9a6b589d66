"""A model of a class that is not ours, among ours: its files travel as data, its class is handed in by the caller.

What it says is checked each time it is asked, for nothing else stands between it and an order.
"""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from ares.errors import AresError, InvalidInput, ModelError
from ares.models import registry
from ares.models.model import ModelSpec, Stored, is_own, matrix

__all__ = ["OwnModel", "files_of", "refuse_pickle"]

Floats = NDArray[np.float64]

SUM_TOLERANCE = 1e-6
_PICKLES = {".pkl", ".pickle", ".joblib"}
_PROTOCOLS = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
_HEAD = 1 << 16  # bytes of an archive's member that are looked at


def _spec_of(model: Any) -> ModelSpec:
    try:
        spec = model.spec
    except AttributeError as error:
        raise InvalidInput(f"{type(model).__name__} has no spec (set it when it is fitted): {error}") from error
    if not isinstance(spec, ModelSpec):
        raise InvalidInput(f"the spec of {type(model).__name__} must be a ModelSpec, not {type(spec).__name__}")
    if len(spec.classes) < 2:
        raise InvalidInput(f"the spec of {type(model).__name__} names the classes {spec.classes}; there must be two")
    return spec


@frozen(kw_only=True, eq=False)
class OwnModel:
    """A fitted model of the user's class, asked and stored the way ours are.

    spec: what it is used for; its columns and classes are those that the model itself names. Raises: InvalidInput
    when they are not, or the model names none.
    """

    model: Any
    spec: ModelSpec = field()

    @spec.default
    def _its_own(self) -> ModelSpec:
        return _spec_of(self.model)

    def __attrs_post_init__(self) -> None:
        if not is_own(self.model):
            raise InvalidInput(f"{type(self.model).__name__} is no model: it needs spec, predict_proba, save and load")
        said = _spec_of(self.model)
        if said.columns != self.spec.columns or said.classes != self.spec.classes:
            raise InvalidInput(
                f"{type(self.model).__name__} says that it reads {len(said.columns)} columns and answers "
                f"{said.classes}; it was given {len(self.spec.columns)} and the classes {self.spec.classes}",
                said=said,
                given=self.spec,
            )

    @property
    def name(self) -> str:
        """Its class, with the module."""
        kind = type(self.model)
        return f"{kind.__module__}.{kind.__qualname__}"

    def predict_proba(self, X: Any) -> Floats:
        """(n, classes). Raises ModelError when the answer has another shape, or is no probability."""
        rows = matrix(X, self.spec.columns)
        found = np.ascontiguousarray(self.model.predict_proba(rows), dtype=np.float64)
        if found.shape != (rows.shape[0], len(self.spec.classes)):
            raise ModelError(
                f"{self.name} answered {rows.shape[0]} rows with shape {found.shape}, "
                f"expected {(rows.shape[0], len(self.spec.classes))}",
                shape=found.shape,
            )
        total = found.sum(axis=1)
        if (found < 0.0).any() or (found > 1.0).any() or (abs(total - 1.0) > SUM_TOLERANCE).any():
            raise ModelError(
                f"{self.name} answered values from {np.nanmin(found)} to {np.nanmax(found)} with row sums from "
                f"{np.nanmin(total)} to {np.nanmax(total)}; these are no probabilities"
            )
        return found

    def save(self, directory: Path | str) -> str:
        """Write it as data into a new directory; returns its id. Raises ModelError when its files are no data."""
        return registry.save(self, directory)

    @classmethod
    def load(cls, directory: Path | str, *, classes: Mapping[str, type] | None = None) -> OwnModel:
        """Read one that `save` wrote. classes: its class by name. Raises ModelError."""
        return registry.load_as(cls, directory, classes=classes)

    def stored(self) -> Stored:
        """Its files as data. Raises ModelError when its `save` fails or writes what is no data."""
        return Stored(kind="own", spec=self.spec, meta={"class": self.name}, files=files_of(self.model))

    @classmethod
    def restored(cls, stored: Stored) -> OwnModel:
        """The model from its files, by the class that was handed in. Raises ModelError when none was."""
        name = stored.value("class", str)
        short = name.rpartition(".")[2]
        kind = stored.classes.get(name, stored.classes.get(short))
        if kind is None:
            given = ", ".join(sorted(stored.classes)) or "none"
            raise ModelError(
                f"a part of this model is of the class {name}, which is not ours and never imported by its name: "
                f"load it with classes={{{short!r}: {short}}} (given: {given})",
                wanted=name,
            )
        for file, data in stored.files.items():
            refuse_pickle(file, data)
        with tempfile.TemporaryDirectory() as folder:
            for file, data in stored.files.items():
                path = Path(folder) / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            try:
                return cls(model=kind.load(folder), spec=stored.reads())  # type: ignore[attr-defined]
            except InvalidInput as error:
                raise ModelError(f"{name} came back another than it was saved: {error.message}") from error
            except AresError:
                raise
            except Exception as error:  # foreign code may raise anything; what it says goes on
                raise ModelError(f"{name}.load failed: {type(error).__name__}: {error}") from error


def files_of(model: Any) -> dict[str, bytes]:
    """What the model's `save` writes: file names within its directory, `/` between folders, and their bytes.

    Raises: ModelError when it fails, writes nothing, writes links, or writes what may be a pickle.
    """
    kind = type(model).__name__
    with tempfile.TemporaryDirectory() as folder:
        try:
            model.save(folder)
        except AresError:
            raise
        except Exception as error:  # foreign code may raise anything; what it says goes on
            raise ModelError(f"{kind}.save failed: {type(error).__name__}: {error}") from error
        found: dict[str, bytes] = {}
        for path in sorted(Path(folder).rglob("*")):
            if path.is_symlink():
                raise ModelError(f"{kind}.save wrote the link {path.name}; a model is made of plain files")
            if path.is_file():
                found[path.relative_to(folder).as_posix()] = path.read_bytes()
    if not found:
        raise ModelError(f"{kind}.save wrote no file into the directory that it was given")
    for name, data in found.items():
        refuse_pickle(name, data)
    return found


def refuse_pickle(name: str, data: bytes) -> None:
    """Raise ModelError for a file that is, holds, or is named like a pickle: by loading one, code may run."""
    pickled = Path(name).suffix.lower() in _PICKLES or data.startswith(_PROTOCOLS)
    if data.startswith(b"\x93NUMPY"):
        pickled |= _holds_objects(data)
    elif data.startswith(b"PK\x03\x04"):
        _refuse_in_archive(name, data)
    if pickled:
        raise ModelError(
            f"{name} is a pickle, or looks like one; save numbers as .npy (without objects) and settings as JSON",
            file=name,
        )


def _holds_objects(data: bytes) -> bool:
    stream = io.BytesIO(data)
    try:
        major, _ = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
        return bool(read(stream)[2].hasobject)
    except ValueError:
        return True  # a header that numpy cannot read is not trusted


def _refuse_in_archive(name: str, data: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.infolist():
                with archive.open(member) as stream:
                    refuse_pickle(f"{name}/{member.filename}", stream.read(_HEAD))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise ModelError(f"{name} begins like an archive, but cannot be read as one: {error}", file=name) from error
