"""The kit for models of one's own: a sound one passes, and each fault is found by the check that names it."""

from __future__ import annotations

import copy
import itertools
import re
import runpy
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pytest

from ares.errors import InvalidInput
from ares.models.model import ModelSpec
from ares.testing.model import check_model
from ares.testing.report import Report
from tests.models.own_models import ByBatch, Logistic, Unsavable

COLUMNS = ["a", "b", "c"]
COUNT = itertools.count()


def drawn() -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(8)
    X = pd.DataFrame(rng.standard_normal((120, 3)), columns=COLUMNS)
    return X, np.where(X["a"] + rng.standard_normal(120) > 0, 1, -1)


X, Y = drawn()


def names(report: Report) -> set[str]:
    return {check.name for check in report.failures}


def test_a_sound_model_passes_every_check_in_every_form() -> None:
    fitted = Logistic().fit(X, Y)
    for model, y in ((fitted, None), (lambda: Logistic().fit(X, Y), None), (Logistic(), Y), (Logistic, Y)):
        report = check_model(model, X, y)
        report.raise_for_failures()
        assert len(report.checks) == (10 if y is None else 13)
    assert check_model(fitted, X.to_numpy()).passed
    with_missing = X.copy()
    with_missing.iloc[::7, 1] = np.nan
    assert check_model(fitted, with_missing).passed


class ShapeWrong(Logistic):
    def predict_proba(self, X: Any) -> Any:
        return super().predict_proba(X)[:, 0]


class SinglePrecision(Logistic):
    def predict_proba(self, X: Any) -> Any:
        return super().predict_proba(X).astype(np.float32)


class NoProbability(Logistic):
    def predict_proba(self, X: Any) -> Any:
        return 1.5 * super().predict_proba(X)


class Silent(Logistic):
    def predict_proba(self, X: Any) -> Any:
        return np.full_like(super().predict_proba(X), np.nan)


class Meddler(Logistic):
    def predict_proba(self, X: Any) -> Any:
        found = super().predict_proba(X)
        if isinstance(X, np.ndarray):
            X[:] = 0.0
        return found


class Moody(Logistic):
    def predict_proba(self, X: Any) -> Any:
        p = super().predict_proba(X)
        tilt = 1e-9 * (next(COUNT) % 97)
        return (p + tilt) / (1.0 + tilt * p.shape[1])


class LeaksHoles(Logistic):
    """Fills a missing value with the mean of the batch."""

    def predict_proba(self, X: Any) -> Any:
        p = super().predict_proba(X)
        return p[:, ::-1] if np.isnan(np.asarray(X, dtype=float)).any() else p


class FailsOnHoles(Logistic):
    def predict_proba(self, X: Any) -> Any:
        if np.isnan(np.asarray(X, dtype=float)).any():
            raise ValueError("Input contains NaN")
        return super().predict_proba(X)


class Forgetful(Logistic):
    @classmethod
    def load(cls, directory: Path | str) -> Self:
        made = super().load(directory)
        made.weights = made.weights * 0.99
        return made


class OtherSpec(Logistic):
    @classmethod
    def load(cls, directory: Path | str) -> Self:
        made = super().load(directory)
        made.spec = ModelSpec(columns=("c", "b", "a"), classes=made.spec.classes)
        return made


class Stamped(Logistic):
    def save(self, directory: Path | str) -> None:
        super().save(directory)
        (Path(directory) / "saved.txt").write_text(str(next(COUNT)))


class Empty(Logistic):
    def save(self, directory: Path | str) -> None:
        pass


class SpecIsADict(Logistic):
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        super().fit(X, y, sample_weight)
        self.spec: Any = {"columns": self.spec.columns}
        return self


BITS = "the same rows give the same bits again, as an array and as a frame"
ALONE = "a row alone gives the same bits as in a batch"
SAVE = "save writes plain files and no pickle"
LOAD = "load brings back the same spec and bits"
HOLES = "a missing value is answered by a probability or by NaN, and touches no other row"
SHAPE = "predict_proba answers each row with one probability a class"
RANGE = "probabilities lie in [0, 1] and sum to 1"


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        (SpecIsADict, "spec names its columns and classes"),
        (ShapeWrong, SHAPE),
        (SinglePrecision, SHAPE),
        (NoProbability, RANGE),
        (Silent, RANGE),
        (Meddler, "the rows are not changed"),
        (Moody, BITS),
        (ByBatch, ALONE),
        (LeaksHoles, HOLES),
        (FailsOnHoles, HOLES),
        (Unsavable, SAVE),
        (Empty, SAVE),
        (Stamped, "saving twice writes the same bytes"),
        (Forgetful, LOAD),
        (OtherSpec, LOAD),
    ],
)
def test_a_fault_is_found_by_the_check_that_names_it(kind: type[Logistic], check: str) -> None:
    report = check_model(kind().fit(X, Y), X)
    assert check in names(report), str(report)


class GoesOn(Logistic):
    """A fit that begins where the last one ended."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        before = getattr(self, "weights", 0.0)
        super().fit(X, y, sample_weight)
        self.weights = self.weights + before
        return self


class ChangesRows(Logistic):
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        super().fit(X, y, sample_weight)
        X.iloc[:] = 0.0
        return self


class NamesOthers(Logistic):
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        super().fit(X, y, sample_weight)
        self.spec = ModelSpec(columns=self.spec.columns[::-1], classes=self.spec.classes)
        return self


FIT = "fit takes a frame, classes and weights, and leaves a spec with both"


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        (GoesOn, "the same rows fit to the same bits, also a second time"),
        (ChangesRows, "fit does not change the rows"),
        (NamesOthers, FIT),
    ],
)
def test_a_fault_of_fitting_is_found(kind: type[Logistic], check: str) -> None:
    assert check in names(check_model(kind(), X, Y))


def test_the_model_of_the_documentation_passes(tmp_path: Path) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "own-model.md"
    (text,) = re.findall(r'^```python title="my_model.py"\n(.*?)^```', page.read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "my_model.py").write_text(text)
    made = runpy.run_path(str(tmp_path / "my_model.py"))["Logistic"]
    check_model(made, X, Y).raise_for_failures()


def test_trying_changes_neither_the_model_nor_the_rows() -> None:
    model, given = Logistic(), X.copy()
    before = copy.deepcopy(model.__dict__)
    check_model(model, given, Y)
    assert model.__dict__ == before
    pd.testing.assert_frame_equal(given, X)


def test_what_cannot_be_tried_is_refused() -> None:
    with pytest.raises(InvalidInput, match="predict_proba, save, load"):
        check_model(object(), X)
    with pytest.raises(InvalidInput, match="two"):
        check_model(Logistic().fit(X, Y), X.iloc[:1])
