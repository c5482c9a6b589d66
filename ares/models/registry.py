"""Models on disk: a directory of arrays and one JSON manifest, and nothing that could run.

A part of a class that is not ours has a folder in it, with the files that it wrote itself. The manifest names every
file with its size and SHA-256, and carries its own digest, which is the model's id. A reader refuses a directory in
which one byte, one file or one claim does not fit, and says what. Directories never change once written: a new model
is a new directory.
"""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from ares.clock import SystemClock
from ares.errors import InvalidInput, ModelError
from ares.models.model import Model, ModelSpec, Storable, Stored
from ares.models.parts import adopted, restore
from ares.storage import atomic_write, sha256_bytes, sync_folder

__all__ = ["Loaded", "Manifest", "Registry", "TrainingRecord", "inspect", "load", "load_as", "save"]

FORMAT, VERSION = "ares-model", 1
MANIFEST = "manifest.json"
MANIFEST_LIMIT = 4 * 2**20  # bytes
SIZE_LIMIT = 512 * 2**20  # bytes, all arrays together
_DTYPES = {"<f8", "<f4", "<i8", "<i4", "<u4", "|i1", "|u1", "|b1"}
T = TypeVar("T", bound=Storable)


def _json_ready(_: object, attribute: Any, value: Mapping[str, Any]) -> None:
    try:
        if json.loads(_canonical(value)) != value:
            raise ValueError("it does not come back equal")
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{attribute.name} must be plain JSON with finite numbers: {error}") from error


@frozen(kw_only=True)
class TrainingRecord:
    """Where a model comes from; written into its manifest."""

    fingerprint: str | None = None  # of the features it reads; None: not tied to a feature schema
    trained_from_ns: int | None = None  # first decision in the training window
    trained_to_ns: int | None = None  # when its last label was known: it may decide only after that
    parameters: Mapping[str, Any] = field(factory=dict, validator=_json_ready)
    metrics: Mapping[str, float] = field(factory=dict, validator=_json_ready)  # out of sample
    trials: int = 0  # configurations tried before this one was chosen
    notes: Mapping[str, Any] = field(factory=dict, validator=_json_ready)


@frozen(kw_only=True)
class Manifest:
    """What the manifest of a model says. `model_id` is its digest and so names the content."""

    model_id: str
    kind: str
    spec: ModelSpec | None
    record: TrainingRecord
    code_version: str


@frozen(kw_only=True)
class Loaded:
    """A model and where it comes from."""

    model: Any
    manifest: Manifest


def save(model: Storable | Model, directory: Path | str, record: TrainingRecord | None = None) -> str:
    """Write a model into a new directory, whole or not at all; returns its id.

    Saving the same content twice is no error. Raises: InvalidInput when the directory holds something else,
    ModelError when the model cannot be written as data.
    """
    kept = adopted(model)
    if not hasattr(kept, "stored"):
        raise ModelError(
            f"{type(model).__name__} cannot be saved as data: give a fitted estimator to ares.models.adapt, or give "
            "your class predict_proba, save and load"
        )
    stored: Stored = kept.stored()
    files = dict(_walk(stored, ""))
    total = sum(map(len, files.values()))
    if total > SIZE_LIMIT:
        raise ModelError(f"the model takes {total} bytes, {SIZE_LIMIT} are allowed", bytes=total)
    record = record or TrainingRecord()
    body = {
        "format": FORMAT,
        "version": VERSION,
        "code_version": _code_version(),
        "model": _describe(stored, files, ""),
        "record": {name: getattr(record, name) for name in _RECORD},
    }
    model_id = sha256_bytes(_canonical(body))
    manifest = _canonical({**body, "id": model_id})
    if len(manifest) > MANIFEST_LIMIT:
        raise ModelError(f"the manifest takes {len(manifest)} bytes, {MANIFEST_LIMIT} are allowed")
    target = Path(directory)
    if target.is_dir() and any(target.iterdir()):
        if (target / MANIFEST).is_file() and (target / MANIFEST).read_bytes() == manifest:
            return model_id
        raise InvalidInput(f"{target} already holds something; a model is never overwritten", directory=str(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    waiting = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    temporary = waiting / "model"
    try:
        temporary.mkdir()  # with the rights of any folder; only the owner may read what `mkdtemp` makes
        for name, data in files.items():
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            atomic_write(temporary / name, data)
        atomic_write(temporary / MANIFEST, manifest)
        temporary.replace(target)
        sync_folder(target.parent)
    finally:
        shutil.rmtree(waiting, ignore_errors=True)
    return model_id


def inspect(directory: Path | str) -> Manifest:
    """Read and check the manifest alone. Raises: ModelError."""
    return _manifest(_read_manifest(Path(directory)))


def load(
    directory: Path | str,
    *,
    fingerprint: str | None = None,
    model_id: str | None = None,
    size_limit: int = SIZE_LIMIT,
    classes: Mapping[str, type] | None = None,
) -> Loaded:
    """Read a model, trusting nothing.

    fingerprint: of the features it will be given; None: not checked. model_id: the one expected; None: any.
    size_limit: bytes of all files together. classes: of parts that are not ours, by the class's name; each is asked to
    `load` its own verified files. None is ever imported because a file names it.
    Raises: ModelError naming what is wrong.
    """
    folder = Path(directory)
    body = _read_manifest(folder)
    manifest = _manifest(body)
    if model_id is not None and manifest.model_id != model_id:
        raise ModelError(f"{folder} holds model {manifest.model_id}, not {model_id}", found=manifest.model_id)
    if fingerprint is not None and manifest.record.fingerprint != fingerprint:
        raise ModelError(
            f"the model was trained on features {manifest.record.fingerprint}, these are {fingerprint}; train it again",
            expected=fingerprint,
            found=manifest.record.fingerprint,
        )
    wanted = dict(_entries(body["model"], ""))
    if odd := sorted(name for name, entry in wanted.items() if not isinstance(entry, dict)):
        raise ModelError(f"the manifest describes the files {', '.join(odd)} by no object")
    _check_files(folder, wanted, size_limit)
    try:
        stored = _stored(body["model"], folder, "", classes or {})
        return Loaded(model=restore(stored), manifest=manifest)
    except ModelError:
        raise
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise ModelError(f"{folder}: the parts of the model do not fit together: {error}") from error


def load_as(kind: type[T], directory: Path | str, *, classes: Mapping[str, type] | None = None) -> T:
    """Read a model that must be of class `kind`. Raises: ModelError."""
    model = load(directory, classes=classes).model
    if not isinstance(model, kind):
        raise ModelError(f"{directory} holds a {type(model).__name__}, not a {kind.__name__}")
    return model


class Registry:
    """Many models under one folder, each in a directory named by its id.

    classes: of parts that are not ours, by the class's name, for every `load`.
    """

    def __init__(self, root: Path | str, *, classes: Mapping[str, type] | None = None) -> None:
        self.root = Path(root)
        self.classes = dict(classes or {})

    def add(self, model: Storable | Model, record: TrainingRecord | None = None) -> str:
        """Write a model; returns its id. One that is there already, whoever wrote it, is verified instead.

        Raises: ModelError when what lies there is damaged, or the model cannot be written as data.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        self._sweep()
        with tempfile.TemporaryDirectory(dir=self.root, prefix=_UNFINISHED) as waiting:
            model_id = save(model, Path(waiting) / "model", record)
            try:
                (Path(waiting) / "model").replace(self.root / model_id)
            except OSError:
                if not (self.root / model_id).is_dir():
                    raise
                _verify(self.root / model_id)
            else:
                sync_folder(self.root)
        return model_id

    def _sweep(self) -> None:
        """Remove what a run left that ended in the middle of writing."""
        for path in self.root.glob(f"{_UNFINISHED}*"):
            try:
                left = SystemClock().now_ns() - path.stat().st_mtime_ns > _ABANDONED
            except FileNotFoundError:  # its run has just finished
                continue
            if left:
                shutil.rmtree(path, ignore_errors=True)

    def load(self, model_id: str, *, fingerprint: str | None = None) -> Loaded:
        """Read one model by its id. Raises: ModelError."""
        if len(model_id) != 64 or not set(model_id) <= set("0123456789abcdef"):
            raise ModelError(f"{model_id!r} is no model id: 64 hexadecimal digits", model_id=model_id)
        return load(self.root / model_id, fingerprint=fingerprint, model_id=model_id, classes=self.classes)

    def manifests(self) -> tuple[Manifest, ...]:
        """All models there, by the end of their training window, the latest last. Raises: ModelError."""
        folders = [path for path in sorted(self.root.glob("*")) if path.is_dir() and not path.name.startswith(".")]
        found = [inspect(path) for path in folders]
        return tuple(sorted(found, key=lambda m: (m.record.trained_to_ns or 0, m.model_id)))

    def latest(self, now_ns: int) -> Manifest | None:
        """The model whose training window ended last, but not after `now_ns`; None when there is none."""
        known = [m for m in self.manifests() if m.record.trained_to_ns is not None and m.record.trained_to_ns <= now_ns]
        return known[-1] if known else None


_UNFINISHED = ".new-"
_ABANDONED = 24 * 3600 * 10**9  # ns after which nobody is writing any more
_RECORD = ("fingerprint", "trained_from_ns", "trained_to_ns", "parameters", "metrics", "trials", "notes")


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _code_version() -> str:
    try:
        return version("ares-trading")
    except PackageNotFoundError:
        return "unknown"


def _npy(array: NDArray[Any]) -> bytes:
    plain = np.ascontiguousarray(array)
    if plain.dtype.str not in _DTYPES:
        raise ModelError(f"an array of type {plain.dtype} cannot be stored as data", dtype=str(plain.dtype))
    stream = io.BytesIO()
    np.lib.format.write_array(stream, plain, version=(1, 0), allow_pickle=False)
    return stream.getvalue()


def _walk(stored: Stored, path: str) -> Iterator[tuple[str, bytes]]:
    """The files of a model: arrays beside the manifest, those of a model that is not ours in a folder of their own."""
    yield from ((f"{path}{name}.npy", _npy(array)) for name, array in stored.arrays.items())
    yield from ((f"{_folder(path)}/{name}", data) for name, data in stored.files.items())
    for name, part in stored.parts.items():
        yield from _walk(part, f"{path}{name}-")


def _folder(path: str) -> str:
    return path.rstrip("-") or "own"


def _describe(stored: Stored, files: Mapping[str, bytes], path: str) -> dict[str, Any]:
    spec = stored.spec
    own = {name: {"bytes": len(data), "sha256": sha256_bytes(data)} for name, data in stored.files.items()}
    return {
        **({"files": own} if own else {}),
        "kind": stored.kind,
        "spec": None if spec is None else {name: _plain(getattr(spec, name)) for name in _SPEC},
        "meta": dict(stored.meta),
        "arrays": {
            name: {
                "dtype": np.ascontiguousarray(array).dtype.str,
                "shape": list(array.shape),
                "bytes": len(files[f"{path}{name}.npy"]),
                "sha256": sha256_bytes(files[f"{path}{name}.npy"]),
            }
            for name, array in stored.arrays.items()
        },
        "parts": {name: _describe(part, files, f"{path}{name}-") for name, part in stored.parts.items()},
    }


_SPEC = ("columns", "timeframe", "horizon", "classes")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not folder.is_dir() or not path.is_file() or path.is_symlink():
        inside = next(folder.glob(f"*/{MANIFEST}"), None) if folder.is_dir() else None
        hint = f"; a model that lies in it is {inside.parent}" if inside is not None else ""
        raise ModelError(f"{folder} is not a model: it has no {MANIFEST}{hint}", directory=str(folder))
    if path.stat().st_size > MANIFEST_LIMIT:
        raise ModelError(f"{path} is larger than {MANIFEST_LIMIT} bytes", directory=str(folder))
    data = path.read_bytes()
    try:
        body = json.loads(data)
        if not isinstance(body, dict) or _canonical(body) != data:
            raise ValueError("it is not in the form we write")
    except (RecursionError, ValueError) as error:
        raise ModelError(f"{path} is damaged or foreign: {error}", directory=str(folder)) from error
    if body.get("format") != FORMAT or body.get("version") != VERSION:
        raise ModelError(f"{path} says {body.get('format')!r} {body.get('version')!r}, not {FORMAT!r} {VERSION}")
    claimed = body.get("id")
    actual = sha256_bytes(_canonical({name: value for name, value in body.items() if name != "id"}))
    if claimed != actual:
        raise ModelError(f"{path} was altered: its digest is {actual}, it claims {claimed}", directory=str(folder))
    return body


def _manifest(body: Mapping[str, Any]) -> Manifest:
    try:
        return Manifest(
            model_id=body["id"],
            kind=body["model"]["kind"],
            spec=_spec(body["model"]["spec"]),
            record=TrainingRecord(**body["record"]),
            code_version=body["code_version"],
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"the manifest lacks or misstates something: {error}") from error


def _spec(value: Any) -> ModelSpec | None:
    return None if value is None else ModelSpec(**{name: value[name] for name in _SPEC})


def _entries(node: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        for name, entry in node["arrays"].items():
            yield f"{path}{name}.npy", entry
        for name, entry in node.get("files", {}).items():
            yield f"{_folder(path)}/{name}", entry
        for name, part in node["parts"].items():
            yield from _entries(part, f"{path}{name}-")
    except (AttributeError, KeyError, TypeError) as error:
        raise ModelError(f"the manifest lacks or misstates something: {error}") from error


def _check_files(folder: Path, wanted: Mapping[str, Mapping[str, Any]], size_limit: int) -> None:
    inner = {str(parent) for name in wanted for parent in PurePosixPath(name).parents}
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    found = {name: path for name, path in paths.items() if name not in inner or path.is_symlink()}
    foreign = sorted(found.keys() - wanted.keys() - {MANIFEST})
    missing = sorted(wanted.keys() - found.keys())
    if foreign or missing:
        raise ModelError(f"{folder}: files missing: {missing}, not of this model: {foreign}", directory=str(folder))
    total = 0
    for name, path in found.items():
        if path.is_symlink() or not path.is_file():
            raise ModelError(f"{path} is not a plain file", directory=str(folder))
        if name != MANIFEST:
            size = path.stat().st_size
            total += size
            if size != wanted[name].get("bytes"):
                raise ModelError(f"{path} has {size} bytes, the manifest says {wanted[name].get('bytes')}")
    if total > size_limit:
        raise ModelError(f"{folder} takes {total} bytes, {size_limit} are allowed", bytes=total)


def _verify(folder: Path) -> None:
    """Every file is there and unaltered. Raises: ModelError."""
    body = _read_manifest(folder)
    wanted = dict(_entries(body["model"], ""))
    _check_files(folder, wanted, SIZE_LIMIT)
    for name, entry in wanted.items():
        _verified(folder / name, entry)


def _stored(node: Mapping[str, Any], folder: Path, path: str, classes: Mapping[str, type]) -> Stored:
    own = node.get("files", {})
    return Stored(
        kind=node["kind"],
        spec=_spec(node["spec"]),
        meta=node["meta"],
        arrays={name: _array(folder / f"{path}{name}.npy", entry) for name, entry in node["arrays"].items()},
        parts={name: _stored(part, folder, f"{path}{name}-", classes) for name, part in node["parts"].items()},
        files={name: _verified(folder / _folder(path) / name, entry) for name, entry in own.items()},
        classes=classes,
    )


def _verified(path: Path, entry: Mapping[str, Any]) -> bytes:
    data = path.read_bytes()
    digest = sha256_bytes(data)
    if digest != entry["sha256"]:
        raise ModelError(f"{path} was altered: its SHA-256 is {digest}, the manifest says {entry['sha256']}")
    return data


def _array(path: Path, entry: Mapping[str, Any]) -> NDArray[Any]:
    data = _verified(path, entry)
    shape, dtype = tuple(entry["shape"]), entry["dtype"]
    if dtype not in _DTYPES:
        raise ModelError(f"{path}: arrays of type {dtype!r} are not read", dtype=dtype)
    stream = io.BytesIO(data)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ModelError(f"{path} is not an array file of version 1.0")
    header = np.lib.format.read_array_header_1_0(stream)
    rest = len(data) - stream.tell()
    if header != (shape, False, np.dtype(dtype)) or rest != int(np.prod(shape)) * np.dtype(dtype).itemsize:
        raise ModelError(f"{path} holds {header}, the manifest says {dtype}{shape}")
    return np.frombuffer(data, dtype=dtype, offset=stream.tell()).reshape(shape).copy()
