"""Parts that belong together go to disk and come back as one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB

from ares.errors import InvalidInput, ModelError
from ares.models import Registry, adapt, load
from ares.models.abstention import LowerBound
from ares.models.bundle import Bundle
from ares.models.calibrators import CalibratedModel
from ares.training.calibration import fit_calibrator, fit_lower_bound
from ares.training.out_of_fold import OutOfFold


def test_a_bundle_of_every_kind_comes_back_whole(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 3))
    y = (X[:, 0] + rng.normal(size=500) > 0).astype(int)
    side = adapt(HistGradientBoostingClassifier(max_iter=5).fit(X, y), columns=["a", "b", "c"])
    p = side.predict_proba(X)
    seen = OutOfFold(proba=p, fold=np.zeros(500, dtype=np.int64), classes=(0, 1), strictly_before=True)
    calibrated = CalibratedModel(model=side, calibrator=fit_calibrator(seen, y))
    bound = fit_lower_bound(p[:, 1], y)
    meta = adapt(LogisticRegression().fit(X[:, :2], y), columns=["a", "b"])
    bundle = Bundle(parts={"side": calibrated, "bound": bound, "meta": meta}, settings={"horizon": 24})
    shelf = Registry(tmp_path / "shelf")
    again = shelf.load(shelf.add(bundle)).model
    assert isinstance(again, Bundle)
    assert sorted(again) == ["bound", "meta", "side"]
    assert again.settings == {"horizon": 24}
    assert np.array_equal(again["side"].predict_proba(X), calibrated.predict_proba(X))
    assert np.array_equal(again["meta"].predict_proba(X[:, :2]), meta.predict_proba(X[:, :2]))
    assert isinstance(again["bound"], LowerBound)
    assert np.array_equal(again["bound"].apply(p[:, 1]), bound.apply(p[:, 1]))
    assert "timing" not in again
    with pytest.raises(ModelError, match="no part 'timing'"):
        again["timing"]
    bundle.save(tmp_path / "m")
    assert sorted(Bundle.load(tmp_path / "m")) == sorted(bundle)
    (tmp_path / "m" / "side-model-value.npy").unlink()
    with pytest.raises(ModelError, match="missing"):
        load(tmp_path / "m")


def test_a_part_that_is_no_data_keeps_the_whole_off_the_disk(tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(50, 2))
    odd = adapt(GaussianNB().fit(X, X[:, 0] > 0), columns=["a", "b"])
    with pytest.raises(ModelError, match="GaussianNB"):
        Bundle(parts={"side": odd}).save(tmp_path / "m")
    assert not (tmp_path / "m").exists()
    with pytest.raises(InvalidInput, match="at least one"):
        Bundle(parts={})
