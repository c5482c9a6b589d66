"""`check_model`: does a model of your own keep what training, backtest and live session count on?

    report = check_model(fitted, X)
    print(report)
    report.raise_for_failures()
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ares.errors import InvalidInput
from ares.models.model import ModelSpec, is_own, matrix
from ares.models.own import SUM_TOLERANCE, files_of
from ares.testing.report import Report
from ares.testing.trial import Trial, expect

__all__ = ["check_model"]

Floats = NDArray[np.float64]

_ALONE = 200  # rows that are asked for one by one
_VERBS = ("predict_proba", "save", "load")


def check_model(model: object | Callable[[], object], X: Any, y: Any = None) -> Report:
    """Try a model of a class of your own; see `ares.models.Model` for what it promises.

    model: a fitted one, or a function that makes one. X: (n, columns) rows of the kind that it will be asked about, at
    least two, as an array in the order of its columns or as a frame that holds them. y: (n,) classes; with them `fit`
    is tried too, and then the model need not be fitted. Neither the model nor X is changed.
    Raises: InvalidInput when it has no predict_proba, save and load, or X has fewer than two rows.
    """
    made: Any = model() if callable(model) and not is_own(model) else copy.deepcopy(model)
    if not is_own(made):
        raise InvalidInput(f"{type(made).__name__} is no model of your own: it needs {', '.join(_VERBS)}")
    if len(X) < 2:
        raise InvalidInput(f"{len(X)} rows are too few to try a model on; give at least two")
    trial = Trial(type(made).__name__)
    if y is not None and not _check_fit(trial, made, X, np.asarray(y)):
        return trial.report()
    spec: ModelSpec | None = None
    with trial.check("spec names its columns and classes"):
        expect(isinstance(made.spec, ModelSpec), f"spec is a {type(made.spec).__name__}, not a ModelSpec")
        expect(len(made.spec.classes) >= 2, f"it names the classes {made.spec.classes}; there must be two")
        matrix(X, made.spec.columns)
        spec = made.spec
    if spec is None:
        return trial.report()
    rows = np.array(matrix(X, spec.columns))
    if _check_answers(trial, made, rows, spec):
        _check_missing(trial, made, rows, spec)
        _check_saved(trial, made, rows)
    return trial.report()


def _check_fit(trial: Trial, model: Any, X: Any, y: NDArray[Any]) -> bool:
    """Fit in place, and twins of it; whether it went well."""
    names = list(X.columns) if isinstance(X, pd.DataFrame) else [f"x{i}" for i in range(np.shape(X)[1])]
    frame = pd.DataFrame(np.array(X, dtype=np.float64), columns=names)
    weight = np.linspace(0.5, 1.5, len(y))
    fitted = False
    with trial.check("fit takes a frame, classes and weights, and leaves a spec with both"):
        expect(callable(getattr(model, "fit", None)), "it has no fit")
        again = copy.deepcopy(model)
        given = frame.copy()
        model.fit(given, y, sample_weight=weight)
        classes = tuple(np.unique(y).tolist())
        expect(tuple(model.spec.columns) == tuple(names), "spec.columns are not those that it was fitted on")
        expect(model.spec.classes == classes, f"spec.classes are {model.spec.classes}, y holds {classes}")
        fitted = True
    if not fitted:
        return False
    with trial.check("fit does not change the rows"):
        pd.testing.assert_frame_equal(given, frame)
    with trial.check("the same rows fit to the same bits, also a second time"):
        wanted = _asked(model, frame.to_numpy())
        _same(wanted, _asked(_refit(again, frame, y, weight), frame.to_numpy()), "a second fit of a copy")
        _same(wanted, _asked(_refit(copy.deepcopy(model), frame, y, weight), frame.to_numpy()), "a fit anew")
    return True


def _refit(model: Any, frame: pd.DataFrame, y: NDArray[Any], weight: Floats) -> Any:
    model.fit(frame.copy(), y, sample_weight=weight)
    return model


def _check_answers(trial: Trial, model: Any, rows: Floats, spec: ModelSpec) -> bool:
    """Shapes, probabilities, and one answer to one row; whether it answers at all."""
    answered: list[Floats] = []
    with trial.check("predict_proba answers each row with one probability a class"):
        found = model.predict_proba(rows.copy())
        expect(isinstance(found, np.ndarray), f"it gave a {type(found).__name__}, not an array")
        expect(found.shape == (len(rows), len(spec.classes)), f"shape {found.shape} for {rows.shape} rows")
        expect(found.dtype == np.float64, f"it gave {found.dtype}, not float64")
        answered.append(found)
    if not answered:
        return False
    batch = answered[0].copy()
    with trial.check("probabilities lie in [0, 1] and sum to 1"):
        _expect_probabilities(batch)
        expect(not np.isnan(batch[np.isfinite(rows).all(axis=1)]).any(), "a complete row is answered by NaN")
    with trial.check("the rows are not changed"):
        given = rows.copy()
        model.predict_proba(given)
        expect(np.array_equal(given, rows, equal_nan=True), "X changed")
    with trial.check("the same rows give the same bits again, as an array and as a frame"):
        _same(batch, _asked(model, rows), "asked again")
        _same(batch, _asked(model, pd.DataFrame(rows, columns=list(spec.columns))), "as a frame")
    with trial.check("a row alone gives the same bits as in a batch"):
        for i in range(min(len(rows), _ALONE)):
            _same(batch[i : i + 1], _asked(model, rows[i : i + 1]), f"row {i} alone")
        _same(batch[::-1], _asked(model, np.ascontiguousarray(rows[::-1])), "the batch in another order")
    return True


def _check_missing(trial: Trial, model: Any, rows: Floats, spec: ModelSpec) -> None:
    with trial.check("a missing value is answered by a probability or by NaN, and touches no other row"):
        usual = _asked(model, rows)
        for column, name in enumerate(spec.columns):
            holed = rows.copy()
            holed[0, column] = np.nan
            found = _asked(model, holed)
            expect(found.shape == usual.shape, f"without {name}: shape {found.shape}")
            _expect_probabilities(found)
            _same(usual[1:], found[1:], f"the rows beside one without {name}")


def _check_saved(trial: Trial, model: Any, rows: Floats) -> None:
    saved: dict[str, bytes] = {}
    with trial.check("save writes plain files and no pickle"):
        saved = files_of(model)
    if not saved:
        return
    with trial.check("saving twice writes the same bytes"):
        again = files_of(model)
        differ = sorted(name for name in saved.keys() | again.keys() if saved.get(name) != again.get(name))
        expect(not differ, f"different: {', '.join(differ)}; the model's id would change with each save")
    with trial.check("load brings back the same spec and bits"):
        with tempfile.TemporaryDirectory() as folder:
            model.save(folder)
            before = {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}
            loaded = type(model).load(folder)
            after = {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}
        expect(isinstance(loaded, type(model)), f"load gave a {type(loaded).__name__}")
        expect(before == after, "load changed the files")
        expect(loaded.spec == model.spec, f"spec {loaded.spec}, it was {model.spec}")
        _same(_asked(model, rows), _asked(loaded, rows), "after loading")


def _asked(model: Any, X: Any) -> Floats:
    return np.array(model.predict_proba(X.copy()), dtype=np.float64)


def _expect_probabilities(found: Floats) -> None:
    missing = np.isnan(found)
    expect(bool((missing.all(axis=1) == missing.any(axis=1)).all()), "a row is NaN in part")
    known = found[~missing.any(axis=1)]
    outside = np.flatnonzero(((known < 0.0) | (known > 1.0)).any(axis=1))
    expect(not outside.size, f"{known[outside[:1]].tolist()} in {outside.size} rows")
    off = np.flatnonzero(abs(known.sum(axis=1) - 1.0) > SUM_TOLERANCE)
    expect(not off.size, f"{off.size} rows sum to something else, such as {known[off[:1]].sum(axis=1).tolist()}")


def _same(one: Floats, other: Floats, when: str) -> None:
    expect(one.shape == other.shape, f"{when}: shape {other.shape}, before {one.shape}")
    unequal = np.argwhere((one != other) & ~(np.isnan(one) & np.isnan(other)))
    if unequal.size:
        at = tuple(unequal[0].tolist())
        expect(False, f"{when}: {float(other[at])!r}, before {float(one[at])!r}")
