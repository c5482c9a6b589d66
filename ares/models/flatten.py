"""Reading trees out of the libraries that train them: scikit-learn's boosters and forests, and LightGBM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ares.errors import ModelError
from ares.models.model import ModelSpec
from ares.models.trees import Tree, TreeModel, pack

__all__ = ["flatten_boosting", "flatten_forest", "flatten_hist_boosting", "flatten_lightgbm"]

Floats = NDArray[np.float64]
_TINY = float(np.float32(1e-35))  # LightGBM reads what is not larger as zero


def flatten_hist_boosting(estimator: Any, spec: ModelSpec) -> TreeModel:
    """A fitted HistGradientBoostingClassifier or -Regressor.

    Raises: ModelError when it splits on categories, or its loss has a link we do not know.
    """
    if getattr(estimator, "is_categorical_", None) is not None:
        raise ModelError("splits on categories are not supported; encode them as numbers", reason="categorical")
    classifier = bool(spec.classes)
    trees = []
    for stage in estimator._predictors:
        for output, predictor in enumerate(stage):
            nodes = predictor.nodes
            if nodes["is_categorical"].any():
                raise ModelError("splits on categories are not supported; encode them as numbers", reason="categorical")
            trees.append(
                Tree(
                    left=nodes["left"].astype(np.int64),
                    right=nodes["right"].astype(np.int64),
                    leaf=nodes["is_leaf"].astype(bool),
                    feature=nodes["feature_idx"].astype(np.int64),
                    threshold=nodes["num_threshold"].astype(np.float64),
                    missing_left=nodes["missing_go_to_left"].astype(bool),
                    value=nodes["value"].astype(np.float64).reshape(-1, 1),
                    target=output,
                )
            )
    base = np.asarray(estimator._baseline_prediction, dtype=np.float64).reshape(-1)
    if classifier:
        link = "expit" if base.size == 1 else "softmax"
    else:
        links = {"squared_error": "identity", "absolute_error": "identity", "quantile": "identity"}
        link = {**links, "poisson": "exp", "gamma": "exp"}.get(str(estimator.loss), "")
        if not link:
            raise ModelError(f"loss {estimator.loss!r} has no adapter", reason="loss")
    return pack(trees, spec=spec, base=base, link=link)


def _sklearn_tree(tree: Any, value: Floats, target: int) -> Tree:
    return Tree(
        left=tree.children_left.astype(np.int64),
        right=tree.children_right.astype(np.int64),
        leaf=tree.children_left < 0,
        feature=tree.feature.astype(np.int64),
        threshold=tree.threshold.astype(np.float64),
        missing_left=tree.missing_go_to_left.astype(bool),
        value=value,
        target=target,
    )


def flatten_forest(estimator: Any, spec: ModelSpec) -> TreeModel:
    """A fitted random forest, extra-trees ensemble or single decision tree, classifier or regressor, of one output."""
    if estimator.n_outputs_ != 1:
        raise ModelError(f"{estimator.n_outputs_} outputs; one is supported", reason="outputs")
    members = getattr(estimator, "estimators_", [estimator])
    trees = [_sklearn_tree(t.tree_, t.tree_.value[:, 0, :].astype(np.float64), 0) for t in members]
    return pack(
        trees,
        spec=spec,
        base=np.zeros(trees[0].value.shape[1]),
        link="identity",
        divisor=float(len(trees)),
        single=True,
        finite_only=True,
        missing_ok=True,
    )


def flatten_boosting(estimator: Any, spec: ModelSpec) -> TreeModel:
    """A fitted GradientBoostingClassifier or -Regressor that starts from a constant."""
    if estimator.init is not None and estimator.init != "zero":
        raise ModelError("only a constant start is supported, not an `init` estimator", reason="init")
    base = np.asarray(estimator._raw_predict_init(np.zeros((1, len(spec.columns)), dtype=np.float32)))[0]
    trees = [
        _sklearn_tree(t.tree_, estimator.learning_rate * t.tree_.value[:, 0, :1], output)
        for stage in estimator.estimators_
        for output, t in enumerate(stage)
    ]
    gain = 2.0 if spec.classes and estimator.loss == "exponential" else 1.0
    link = "identity" if not spec.classes else ("expit" if base.size == 1 else "softmax")
    return pack(trees, spec=spec, base=base, link=link, gain=gain, single=True, finite_only=True, missing_ok=False)


def flatten_lightgbm(booster: Any, spec: ModelSpec) -> TreeModel:
    """A trained LightGBM booster of one of the usual objectives.

    Raises: ModelError for categories, linear trees, zero as missing, or an objective we do not know.
    """
    dump = booster.dump_model()
    objective, _, rest = str(dump.get("objective", "")).partition(" ")
    settings = dict(item.split(":", 1) for item in rest.split() if ":" in item)
    per_round = int(dump["num_tree_per_iteration"])
    gain = 1.0
    if spec.classes:
        if objective == "binary":
            link, gain = "expit", float(settings.get("sigmoid", 1.0))
        elif objective == "multiclass":
            link = "softmax"
        else:
            raise ModelError(f"objective {objective!r} has no adapter", reason="objective")
    elif (
        objective in {"regression", "regression_l1", "huber", "fair", "quantile", "mape"} and "sqrt" not in rest.split()
    ):
        link = "identity"
    elif objective in {"poisson", "gamma", "tweedie"}:
        link = "exp"
    else:
        raise ModelError(f"objective {objective!r} has no adapter", reason="objective")
    trees = [_lightgbm_tree(info["tree_structure"], i % per_round) for i, info in enumerate(dump["tree_info"])]
    average = len(trees) // per_round if dump.get("average_output") else 1
    return pack(trees, spec=spec, base=np.zeros(per_round), link=link, divisor=float(average), gain=gain, tiny=_TINY)


def _lightgbm_tree(structure: Mapping[str, Any], target: int) -> Tree:
    flat: list[Mapping[str, Any]] = [structure]
    children: dict[int, tuple[int, int]] = {}
    at = 0
    while at < len(flat):
        node = flat[at]
        if "split_feature" in node:
            children[at] = (len(flat), len(flat) + 1)
            flat += [node["left_child"], node["right_child"]]
        at += 1
    size = len(flat)
    left, right = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
    feature, threshold = np.zeros(size, dtype=np.int64), np.zeros(size)
    missing_left, value = np.zeros(size, dtype=bool), np.zeros((size, 1))
    for at, node in enumerate(flat):
        if at not in children:
            if "leaf_coeff" in node or "leaf_const" in node:
                raise ModelError("linear leaves are not supported", reason="linear")
            value[at, 0] = float(node["leaf_value"])
            continue
        if node["decision_type"] != "<=":
            raise ModelError("splits on categories are not supported; encode them as numbers", reason="categorical")
        if node["missing_type"] not in {"None", "NaN"}:
            raise ModelError("zero as missing is not supported", reason="missing_type")
        left[at], right[at] = children[at]
        feature[at] = node["split_feature"]
        threshold[at] = float(node["threshold"])
        # where the library saw no missing value in training, it reads one as zero
        missing_left[at] = node["default_left"] if node["missing_type"] == "NaN" else threshold[at] >= 0.0
    leaf = np.array([at not in children for at in range(size)])
    return Tree(
        left=left,
        right=right,
        leaf=leaf,
        feature=feature,
        threshold=threshold,
        missing_left=missing_left,
        value=value,
        target=target,
    )
