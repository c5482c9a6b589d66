"""A model on disk is whole, unaltered and ours, or it is refused."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from ares.errors import InvalidInput, ModelError
from ares.models import Registry, TrainingRecord, adapt, load, registry, save
from ares.models.dense import DenseModel
from ares.models.trees import TreeModel

RECORD = TrainingRecord(
    fingerprint="f" * 64,
    trained_from_ns=1_600_000_000_000_000_000,
    trained_to_ns=1_700_000_000_000_000_000,
    parameters={"max_iter": 4, "seeds": [1, 2]},
    metrics={"brier": 0.24},
    trials=7,
)


def small() -> tuple[TreeModel, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    estimator = HistGradientBoostingClassifier(max_iter=4, max_leaf_nodes=4).fit(X, X[:, 0] > 0)
    model = adapt(estimator, columns=["a", "b", "c"], timeframe="1h", horizon=24)
    assert isinstance(model, TreeModel)
    return model, X


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    save(small()[0], folder, RECORD)
    return folder


def copied(saved: Path, place: Path) -> Path:
    target = place / "copy"
    if target.exists():
        shutil.rmtree(target)
    return Path(shutil.copytree(saved, target))


def test_what_was_saved_comes_back(saved: Path) -> None:
    model, X = small()
    found = load(saved, fingerprint="f" * 64)
    assert np.array_equal(found.model.predict_proba(X), model.predict_proba(X))
    assert found.manifest.record == RECORD
    assert found.manifest.spec == model.spec
    assert found.manifest == registry.inspect(saved)
    assert found.manifest.code_version
    assert not [path for path in saved.iterdir() if path.suffix not in {".npy", ".json"}]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_flipped_bit_goes_unseen(saved: Path, tmp_path: Path, choice: st.DataObject) -> None:
    files = sorted(path.name for path in saved.iterdir())
    name = choice.draw(st.sampled_from([*files, "manifest.json"]))
    target = copied(saved, tmp_path) / name
    data = bytearray(target.read_bytes())
    data[choice.draw(st.integers(0, len(data) - 1))] ^= choice.draw(st.integers(1, 255))
    target.write_bytes(bytes(data))
    with pytest.raises(ModelError):
        load(target.parent)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_nothing_cut_or_grown_is_read(saved: Path, tmp_path: Path, choice: st.DataObject) -> None:
    files = sorted(path.name for path in saved.iterdir())
    target = copied(saved, tmp_path) / choice.draw(st.sampled_from(files))
    data = target.read_bytes()
    if choice.draw(st.booleans()):
        target.write_bytes(data[: choice.draw(st.integers(0, len(data) - 1))])
    else:
        target.write_bytes(data + choice.draw(st.binary(min_size=1, max_size=9)))
    with pytest.raises(ModelError):
        load(target.parent)


def resigned(folder: Path, change: Any) -> Path:
    """Alter the manifest and give it a right digest, as a forger would."""
    path = folder / "manifest.json"
    body = json.loads(path.read_bytes())
    del body["id"]
    change(body)
    body["id"] = registry.sha256_bytes(registry._canonical(body))
    path.write_bytes(registry._canonical(body))
    return folder


def replaced(folder: Path, name: str, array: np.ndarray) -> Path:
    """Swap an array for another with a right checksum."""
    stream = io.BytesIO()
    np.save(stream, array)
    (folder / f"{name}.npy").write_bytes(stream.getvalue())
    entry = {
        "dtype": array.dtype.str,
        "shape": list(array.shape),
        "bytes": len(stream.getvalue()),
        "sha256": registry.sha256_bytes(stream.getvalue()),
    }
    return resigned(folder, lambda body: body["model"]["arrays"].__setitem__(name, entry))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("left", lambda a: a + 10_000),  # a walk would leave the nodes
        ("left", lambda a: a * 0),  # a walk would never end
        ("feature", lambda a: a + 6),  # a column that is not there
        ("root", lambda a: a - 10**12),
        ("steps", lambda a: a * 0),  # walks that stop too early
        ("steps", lambda a: a + 10**15),  # and too late
        ("target", lambda a: a + 5),
        ("value", lambda a: a * np.nan),
        ("threshold", lambda a: a * np.nan),
        ("value", lambda a: a[:-1]),
        ("base", lambda a: np.concatenate([a, a])),
        ("root", lambda a: a[:3]),
        ("value", lambda a: a.astype("<f4")),
    ],
)
def test_a_forged_tree_with_right_checksums_is_still_refused(
    saved: Path, tmp_path: Path, name: str, change: Any
) -> None:
    folder = copied(saved, tmp_path)
    replaced(folder, name, change(np.load(folder / f"{name}.npy")))
    with pytest.raises(ModelError):
        load(folder)


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("says 'other-model'", lambda body: body.update(format="other-model")),
        ("says 'ares-model' 2", lambda body: body.update(version=2)),
        ("unknown here", lambda body: body["model"].update(kind="snake")),
        ("lacks or misstates", lambda body: body.pop("record")),
        ("lacks or misstates", lambda body: body["record"].update(surprise=1)),
        ("lacks or misstates", lambda body: body["model"].pop("arrays")),
        ("setting 'link'", lambda body: body["model"]["meta"].pop("link")),
        ("setting 'gain'", lambda body: body["model"]["meta"].update(gain="1")),
        ("do not fit", lambda body: body["model"]["meta"].update(link="tanh")),
        ("do not fit", lambda body: body["model"]["spec"].update(classes=[0, 1, 2])),
        ("files missing", lambda body: body["model"]["arrays"].pop("value")),
        ("bytes", lambda body: body["model"]["arrays"]["value"].update(bytes=10**15)),
        ("not read", lambda body: body["model"]["arrays"]["value"].update(dtype="|O")),
        ("manifest says", lambda body: body["model"]["arrays"]["value"].update(shape=[10**9, 1])),
        ("files missing", lambda body: body["model"]["parts"].update(evil={**body["model"], "parts": {}})),
    ],
)
def test_a_foreign_or_lying_manifest_is_refused(saved: Path, tmp_path: Path, reason: str, change: Any) -> None:
    with pytest.raises(ModelError, match=reason):
        load(resigned(copied(saved, tmp_path), change))


def test_pickles_strangers_and_links_are_refused(saved: Path, tmp_path: Path) -> None:
    folder = copied(saved, tmp_path)
    (folder / "extra.pkl").write_bytes(b"x")
    with pytest.raises(ModelError, match="not of this model"):
        load(folder)
    folder = copied(saved, tmp_path)
    (folder / "value.npy").rename(tmp_path / "value.npy")
    (folder / "value.npy").symlink_to(tmp_path / "value.npy")
    with pytest.raises(ModelError, match="plain file"):
        load(folder)
    folder = copied(saved, tmp_path)
    with pytest.raises(ModelError):
        load(replaced(folder, "value", np.array([{"a": 1}], dtype=object)))
    with pytest.raises(ModelError, match="not a model"):
        load(tmp_path / "nowhere")
    (folder / "manifest.json").write_bytes(b"[" * 100_000)
    with pytest.raises(ModelError, match="damaged or foreign"):
        load(folder)
    (folder / "manifest.json").write_bytes(b" " * (registry.MANIFEST_LIMIT + 1))
    with pytest.raises(ModelError, match="larger than"):
        load(folder)


def test_a_model_must_fit_what_is_asked_of_it(saved: Path) -> None:
    with pytest.raises(ModelError, match="trained on features"):
        load(saved, fingerprint="0" * 64)
    with pytest.raises(ModelError, match="holds model"):
        load(saved, model_id="0" * 64)
    with pytest.raises(ModelError, match="allowed"):
        load(saved, size_limit=100)
    with pytest.raises(ModelError, match="not a DenseModel"):
        DenseModel.load(saved)
    assert TreeModel.load(saved).spec.columns == ("a", "b", "c")


def test_a_model_is_never_overwritten_nor_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, X = small()
    first = save(model, tmp_path / "m")
    assert save(model, tmp_path / "m") == first
    other = adapt(LogisticRegression().fit(X, X[:, 0] > 0), columns=["a", "b", "c"])
    with pytest.raises(InvalidInput, match="never overwritten"):
        save(other, tmp_path / "m")

    def dies(path: Path, data: bytes) -> None:
        if path.name == "manifest.json":
            raise OSError("disk full")
        path.write_bytes(data)

    monkeypatch.setattr(registry, "atomic_write", dies)
    with pytest.raises(OSError, match="disk full"):
        save(other, tmp_path / "n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m"]


def test_a_registry_finds_the_model_that_may_decide_now(tmp_path: Path) -> None:
    model, X = small()
    shelf = Registry(tmp_path / "models")
    ids = [shelf.add(model, TrainingRecord(trained_to_ns=ns)) for ns in (300, 100, 200)]
    assert shelf.add(model, TrainingRecord(trained_to_ns=100)) == ids[1]
    assert [m.record.trained_to_ns for m in shelf.manifests()] == [100, 200, 300]
    latest = shelf.latest(250)
    assert latest is not None
    assert latest.model_id == ids[2]
    assert shelf.latest(99) is None
    assert np.array_equal(shelf.load(ids[0]).model.predict_proba(X), model.predict_proba(X))
    with pytest.raises(ModelError, match="no model id"):
        shelf.load("../etc")
    (shelf.root / ids[0]).rename(shelf.root / ("0" * 64))
    with pytest.raises(ModelError, match="holds model"):
        shelf.load("0" * 64)


def test_two_that_finish_the_same_model_both_have_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one's rename comes between ours being written and being put in its place."""
    model, X = small()
    real = registry.save

    def overtaken(*given: Any, **more: Any) -> str:
        monkeypatch.setattr(registry, "save", real)
        assert Registry(tmp_path).add(model, RECORD) == real(*given, **more)
        return real(*given, **more)

    monkeypatch.setattr(registry, "save", overtaken)
    monkeypatch.setattr(Path, "exists", lambda path: False)  # as it was when ours looked
    model_id = Registry(tmp_path).add(model, RECORD)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == [model_id]
    assert np.array_equal(Registry(tmp_path).load(model_id).model.predict_proba(X), model.predict_proba(X))


def test_a_folder_of_models_is_not_taken_for_one_of_them(tmp_path: Path) -> None:
    model_id = Registry(tmp_path).add(small()[0], RECORD)
    with pytest.raises(ModelError, match=f"no manifest.json; a model that lies in it is .*{model_id}"):
        load(tmp_path)


def test_adding_a_model_that_lies_there_damaged_is_refused(tmp_path: Path) -> None:
    model, _ = small()
    shelf = Registry(tmp_path)
    array = next((tmp_path / shelf.add(model, RECORD)).glob("*.npy"))
    content = bytearray(array.read_bytes())
    content[-1] ^= 1
    array.write_bytes(content)
    with pytest.raises(ModelError, match="was altered"):
        shelf.add(model, RECORD)


def test_what_a_killed_run_left_is_removed_and_a_running_one_is_left_alone(tmp_path: Path) -> None:
    left, running = tmp_path / ".new-left", tmp_path / ".new-running"
    for folder in (left, running):
        (folder / "model").mkdir(parents=True)
    os.utime(left, (0, 0))
    model_id = Registry(tmp_path).add(small()[0], RECORD)
    assert {path.name for path in tmp_path.iterdir()} == {".new-running", model_id}


@pytest.mark.skipif(sys.platform == "win32", reason="rights as POSIX has them")
def test_a_model_may_be_read_by_whom_the_umask_lets_read(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        model_id = Registry(tmp_path / "models").add(small()[0], RECORD)
    finally:
        os.umask(before)
    folder = tmp_path / "models" / model_id
    assert folder.stat().st_mode & 0o777 == 0o750
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*")} == {0o640}


def test_records_must_be_plain_json() -> None:
    with pytest.raises(InvalidInput, match="metrics"):
        TrainingRecord(metrics={"brier": float("nan")})
    with pytest.raises(InvalidInput, match="parameters"):
        TrainingRecord(parameters={"estimator": object()})


def test_a_live_bot_needs_neither_the_training_library_nor_pandas(saved: Path) -> None:
    """Loading and asking a model brings in numpy and numba, and nothing that trains."""
    program = (
        "import sys, numpy as np\n"
        "from ares.models import load\n"
        f"print(load({str(saved)!r}).model.predict_proba(np.zeros((1, 3))).shape)\n"
        "print(sorted({'sklearn', 'pandas', 'ares.training'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=800)
    assert done.stdout.splitlines() == ["(1, 2)", "[]"]
