"""A model of the user's own class: saved as data beside ours, and brought back by a class that is handed in."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pytest

from ares.errors import InvalidInput, ModelError
from ares.models.bundle import Bundle
from ares.models.calibrators import CalibratedModel
from ares.models.model import ModelSpec
from ares.models.own import OwnModel, refuse_pickle
from ares.models.registry import Registry, load
from ares.training.calibration import fit_calibrator
from ares.training.out_of_fold import OutOfFold
from tests.models.own_models import Logistic, Unsavable

CLASSES: dict[str, type] = {"Logistic": Logistic}


@pytest.fixture(scope="module")
def fitted() -> Logistic:
    rng = np.random.default_rng(3)
    X = pd.DataFrame(rng.standard_normal((300, 4)), columns=["a", "b", "c", "d"])
    return Logistic().fit(X, np.sign(X["a"] + rng.standard_normal(300)).astype(int))


def rows(n: int = 50) -> Any:
    return np.random.default_rng(4).standard_normal((n, 4))


def test_it_comes_back_with_the_same_bits_in_a_bundle_and_alone(fitted: Logistic, tmp_path: Path) -> None:
    bundle = Bundle(parts={"side": fitted, "timing": fitted}, settings={"kind": "x"})
    bundle.save(tmp_path / "bundle")
    found = Bundle.load(tmp_path / "bundle", classes=CLASSES)
    library = Registry(tmp_path / "all", classes=CLASSES)
    alone = library.load(library.add(fitted)).model
    for model in (found["side"], found["timing"], alone):
        assert isinstance(model.model, Logistic)
        assert np.array_equal(model.predict_proba(rows()), fitted.predict_proba(rows()))
    assert "side" in Bundle.load(tmp_path / "bundle", classes={OwnModel(model=fitted).name: Logistic})
    assert found.save(tmp_path / "again") == bundle.save(tmp_path / "bundle")


def test_the_manifest_names_its_class_and_every_file(fitted: Logistic, tmp_path: Path) -> None:
    Bundle(parts={"side": fitted}).save(tmp_path / "m")
    part = json.loads((tmp_path / "m" / "manifest.json").read_text())["model"]["parts"]["side"]
    assert part["meta"] == {"class": "tests.models.own_models.Logistic"}
    written = {path.name: path.stat().st_size for path in (tmp_path / "m" / "side").iterdir()}
    assert {name: entry["bytes"] for name, entry in part["files"].items()} == written
    assert set(written) == {"spec.json", "weights.npz"}


@pytest.mark.parametrize("classes", [{}, {"Other": Logistic}])
def test_without_its_class_it_is_refused_with_what_to_pass(
    fitted: Logistic, tmp_path: Path, classes: dict[str, type]
) -> None:
    Bundle(parts={"side": fitted}).save(tmp_path / "m")
    with pytest.raises(ModelError, match=r"classes=\{'Logistic': Logistic\}"):
        load(tmp_path / "m", classes=classes)


def test_one_byte_one_file_or_one_link_too_many_is_refused(fitted: Logistic, tmp_path: Path) -> None:
    Bundle(parts={"side": fitted}).save(tmp_path / "m")
    target = tmp_path / "m" / "side" / "spec.json"
    good = target.read_bytes()
    target.write_bytes(good.replace(b'"a"', b'"e"'))
    with pytest.raises(ModelError, match="altered"):
        load(tmp_path / "m", classes=CLASSES)
    target.write_bytes(good)
    for name in ("side/more.json", "more.json", "other/x.json"):
        (tmp_path / "m" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "m" / name).write_text("{}")
        with pytest.raises(ModelError, match="not of this model"):
            load(tmp_path / "m", classes=CLASSES)
        (tmp_path / "m" / name).unlink()
    (tmp_path / "m" / "other").rmdir()
    target.rename(tmp_path / "spec.json")
    target.symlink_to(tmp_path / "spec.json")
    with pytest.raises(ModelError, match="not a plain file"):
        load(tmp_path / "m", classes=CLASSES)


@pytest.mark.parametrize(
    "files", [["spec.json"], {"spec.json": 5}, {"../spec.json": {"bytes": 1, "sha256": ""}}, {"spec.json": {}}]
)
def test_a_signed_manifest_with_odd_files_is_refused(fitted: Logistic, tmp_path: Path, files: Any) -> None:
    Bundle(parts={"side": fitted}).save(tmp_path / "m")
    path = tmp_path / "m" / "manifest.json"
    body = json.loads(path.read_text())
    body["model"]["parts"]["side"]["files"] = files
    (tmp_path / "m" / "side" / "weights.npz").unlink()
    del body["id"]
    plain = {"sort_keys": True, "separators": (",", ":")}
    body["id"] = hashlib.sha256(json.dumps(body, **plain).encode()).hexdigest()  # type: ignore[arg-type]
    path.write_text(json.dumps(body, **plain))  # type: ignore[arg-type]
    with pytest.raises(ModelError):
        load(tmp_path / "m", classes=CLASSES)


def test_a_class_that_loads_something_else_is_refused(fitted: Logistic, tmp_path: Path) -> None:
    Bundle(parts={"side": fitted}).save(tmp_path / "m")
    for kind, told in (
        (_Renamed, "another than it was saved"),
        (_Broken, "load failed: KeyError"),
        (int, "load failed"),
    ):
        with pytest.raises(ModelError, match=told):
            load(tmp_path / "m", classes={"Logistic": kind})


def test_a_calibrated_model_may_hold_one(fitted: Logistic, tmp_path: Path) -> None:
    y = np.where(rows(400)[:, 0] > 0, 1, -1)
    fold = np.zeros(400, dtype=np.int64)
    kept = OutOfFold(proba=fitted.predict_proba(rows(400)), fold=fold, classes=(-1, 1), strictly_before=True)
    made = CalibratedModel(model=fitted, calibrator=fit_calibrator(kept, y, method="sigmoid"))
    made.save(tmp_path / "m")
    found = CalibratedModel.load(tmp_path / "m", classes=CLASSES)
    assert np.array_equal(found.predict_proba(rows()), made.predict_proba(rows()))


class _Renamed(Logistic):
    @classmethod
    def load(cls, directory: Path | str) -> Self:
        made = super().load(directory)
        made.spec = ModelSpec(columns=made.spec.columns[::-1], classes=made.spec.classes)
        return made


class _Broken(Logistic):
    @classmethod
    def load(cls, directory: Path | str) -> Self:
        raise KeyError("weights")


def _npz(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def _zipped(name: str, data: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, data)
    return stream.getvalue()


PICKLED = b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00K\x01."
PICKLES = {
    "w.pkl": b"1",
    "w.PICKLE": b"1",
    "w.joblib": b"1",
    "w.bin": PICKLED,
    "objects.npz": _npz(a=np.array([{}], dtype=object)),
    "torch.pt": _zipped("archive/data.pkl", b"1"),
    "hidden.zip": _zipped("weights", PICKLED),
}


@pytest.mark.parametrize("name", PICKLES)
def test_what_may_be_a_pickle_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match="pickle"):
        refuse_pickle(name, PICKLES[name])
    refuse_pickle("w.npz", _npz(a=np.arange(5.0)))
    refuse_pickle("w.json", b"{}")


def test_a_model_that_saves_a_pickle_is_not_saved(fitted: Logistic, tmp_path: Path) -> None:
    bad = Unsavable()
    bad.__dict__.update(fitted.__dict__)
    with pytest.raises(ModelError, match=r"spec\.pkl is a pickle"):
        Bundle(parts={"side": bad}).save(tmp_path / "m")
    assert not (tmp_path / "m").exists()


class _Answers(Logistic):
    """Answers what it is told to."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer
        self.spec = ModelSpec(columns=("a", "b"), classes=(-1, 1))

    def predict_proba(self, X: Any) -> Any:
        return np.array(self.answer)


@pytest.mark.parametrize(
    ("answer", "told"),
    [([[0.5]], "shape"), ([[0.2, 0.2]], "no probabilities"), ([[-0.5, 1.5]], "no probabilities")],
)
def test_what_is_no_probability_is_refused(answer: Any, told: str) -> None:
    with pytest.raises(ModelError, match=told):
        OwnModel(model=_Answers(answer)).predict_proba(np.zeros((1, 2)))
    silent = OwnModel(model=_Answers([[np.nan, np.nan]])).predict_proba(np.zeros((1, 2)))
    assert np.isnan(silent).all()


def test_what_is_no_model_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="spec"):
        Bundle(parts={"side": Logistic()})
    with pytest.raises(ModelError, match="save and load"):
        Bundle(parts={"side": object()}).save(tmp_path / "m")
    with pytest.raises(ModelError, match="save and load"):
        Registry(tmp_path).add(object())  # type: ignore[arg-type]
