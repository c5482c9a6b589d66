"""Compile the kernels of models ahead of time, by asking a tiny model of each kind."""

from __future__ import annotations

import numpy as np

from ares.models.calibrators import Calibrator
from ares.models.dense import DenseModel
from ares.models.model import ModelSpec
from ares.models.regime import RegimeFilter, RegimeModel
from ares.models.trees import Tree, pack

__all__ = ["warm"]

_X = np.zeros((1, 1))
_TWO = ModelSpec(columns=("x",), classes=(0, 1))


def warm() -> None:
    """Compile what models of every kind are asked by, bar by bar, or load it from the compile cache."""
    none, no = np.zeros(1, np.int64), np.zeros(1, np.bool_)
    leaf = Tree(left=none, right=none, leaf=~no, feature=none, threshold=_X[0], missing_left=no, value=_X)
    pack([leaf], spec=_TWO, base=np.zeros(1), link="expit").predict_proba(_X)
    layer = np.ones(2, np.int64)
    line = DenseModel(
        spec=_TWO, shift=_X[0], scale=np.ones(1), sizes=layer, weights=np.zeros(2), activation="identity", link="expit"
    )
    line.predict_proba(_X)
    nothing = np.empty(0)
    calibrator = Calibrator(
        method="sigmoid", ratio=np.ones(2), params=np.zeros((1, 3)), knot_x=nothing, knot_y=nothing,
        offset=np.zeros(2, np.int64),
    )  # fmt: skip
    calibrator.apply(np.full((1, 2), 0.5))
    one, cell = np.ones(1), np.ones((1, 1))
    regimes = RegimeModel(
        spec=ModelSpec(columns=("x",), classes=("usual",)), low=-one, high=one, shift=np.zeros(1), scale=one,
        log_start=np.zeros(1), log_move=np.zeros((1, 1)), mean=np.zeros((1, 1)), whiten=cell.reshape(1, 1, 1),
        log_det=np.zeros(1),
    )  # fmt: skip
    RegimeFilter(regimes, 1).update(0, _X[0])
