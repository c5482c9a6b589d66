"""Probabilities of a gradient booster, 200 trees of 31 leaves on 40 features: one row and a batch, ours on one thread.
Then a side model as `ares train` makes it by default: three classes of 66 trees of 15 leaves.

Targets: one row in at most 10 us, at least 3.5 times faster than onnxruntime and 300 times faster than scikit-learn;
a batch at least as fast as onnxruntime.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import sklearn
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from ares.models import adapt
from ares.models.trees import TreeModel

COLUMNS = [f"f{i}" for i in range(40)]


def run(quick: bool) -> list[dict[str, Any]]:
    """One line a workload and peer. Times are medians of single calls, speeds the best of three."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(5_000 if quick else 20_000, 40))
    y = (X[:, 0] * X[:, 1] + X[:, 2] + rng.normal(size=len(X)) > 0).astype(int)
    estimator = HistGradientBoostingClassifier(
        max_iter=200, max_leaf_nodes=31, min_samples_leaf=5, early_stopping=False, random_state=0
    ).fit(X, y)
    model = adapt(estimator, columns=COLUMNS)
    assert isinstance(model, TreeModel)
    sides = np.digitize(X[:, 0] * X[:, 1] + X[:, 2] + rng.normal(size=len(X)), [-0.7, 0.7])
    three = HistGradientBoostingClassifier(
        max_iter=66, learning_rate=0.04, max_leaf_nodes=15, min_samples_leaf=200, early_stopping=False, random_state=0
    ).fit(X, sides)
    with threadpool_limits(1):
        return [
            *compare(
                model.predict_proba, estimator.predict_proba, X, quick, f"scikit-learn {sklearn.__version__}, >= 300x"
            ),
            *onnx(model, X, quick),
            *lightgbm(X, y, quick),
            *compare(
                adapt(three, columns=COLUMNS).predict_proba,
                three.predict_proba,
                X,
                quick,
                f"scikit-learn {sklearn.__version__}",
                "booster 3 classes x 66 x 15",
            ),
        ]


def compare(
    ours: Callable[[Any], Any],
    peer: Callable[[Any], Any] | None,
    X: Any,
    quick: bool,
    note: str,
    trees: str = "booster 200 x 31",
) -> list[dict[str, Any]]:
    """A line for one row and a line for the batch."""
    row, batch = one_row(ours, X, quick), rows_per_second(ours, X)
    peer_row = None if peer is None else one_row(peer, X, quick)
    peer_batch = None if peer is None else rows_per_second(peer, X)
    return [
        {
            "workload": f"{trees}, 40 features, one row",
            "ours": row,
            "peer": peer_row,
            "ratio": None if peer_row is None else peer_row / row,
            "unit": "us",
            "note": note,
        },
        {
            "workload": f"{trees}, 40 features, {len(X):,} rows",
            "ours": batch,
            "peer": peer_batch,
            "ratio": None if peer_batch is None else batch / peer_batch,
            "unit": "rows/s",
            "note": note.split(",")[0],
        },
    ]


def one_row(call: Callable[[Any], Any], X: Any, quick: bool) -> float:
    """Median time of one row, us."""
    call(X[:1])
    times = []
    for i in range(200 if quick else 2_000):
        row = X[i : i + 1]
        start = time.perf_counter_ns()
        call(row)
        times.append(time.perf_counter_ns() - start)
    return statistics.median(times) / 1e3


def rows_per_second(call: Callable[[Any], Any], X: Any) -> float:
    """Best of three passes."""
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        call(X)
        best = min(best, time.perf_counter() - start)
    return len(X) / best


def onnx(model: TreeModel, X: Any, quick: bool) -> list[dict[str, Any]]:
    """The same trees as an ONNX ensemble, which holds thresholds and inputs as float32 and is spared the last step."""
    try:
        import onnxruntime
        from onnx import TensorProto, helper
    except ImportError:
        return compare(model.predict_proba, None, X, quick, "onnxruntime is not installed, >= 3.5x")
    columns = len(COLUMNS)
    nodes: dict[str, list[Any]] = {
        name: [] for name in ("tree", "id", "feature", "value", "mode", "true", "false", "missing")
    }
    leaves: dict[str, list[Any]] = {name: [] for name in ("tree", "id", "weight")}
    for tree, root in enumerate(model.root.tolist()):
        waiting = [root]
        while waiting:
            at = waiting.pop()
            left, feature = int(model.nodes["left"][at]), int(model.nodes["feature"][at])
            leaf = left == at
            for name, value in (
                ("tree", tree),
                ("id", at - root),
                ("feature", 0 if leaf else feature % columns),
                ("value", 0.0 if leaf else float(model.nodes["threshold"][at])),
                ("mode", "LEAF" if leaf else "BRANCH_LEQ"),
                ("true", 0 if leaf else left - root),
                ("false", 0 if leaf else left + 1 - root),
                ("missing", int(not leaf and feature >= columns)),
            ):
                nodes[name].append(value)
            if leaf:
                for name, value in (("tree", tree), ("id", at - root), ("weight", float(model.value[at, 0]))):
                    leaves[name].append(value)
            else:
                waiting += [left, left + 1]
    ensemble = helper.make_node(
        "TreeEnsembleRegressor",
        ["X"],
        ["p"],
        domain="ai.onnx.ml",
        n_targets=1,
        base_values=[float(model.base[0])],
        post_transform="NONE",
        nodes_treeids=nodes["tree"],
        nodes_nodeids=nodes["id"],
        nodes_featureids=nodes["feature"],
        nodes_values=nodes["value"],
        nodes_modes=nodes["mode"],
        nodes_truenodeids=nodes["true"],
        nodes_falsenodeids=nodes["false"],
        nodes_missing_value_tracks_true=nodes["missing"],
        target_treeids=leaves["tree"],
        target_nodeids=leaves["id"],
        target_ids=[0] * len(leaves["id"]),
        target_weights=leaves["weight"],
    )
    graph = helper.make_graph(
        [ensemble],
        "booster",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, columns])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, [None, 1])],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)])
    proto.ir_version = 9
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def peer(rows: Any) -> Any:
        return session.run(None, {"X": rows.astype(np.float32)})[0]

    sample = X[:500].astype(np.float32).astype(np.float64)
    apart = float(np.median(np.abs(peer(sample)[:, 0] - model.raw(sample)[:, 0])))
    assert apart < 1e-5, f"the peer computes something else: {apart}"
    return compare(model.predict_proba, peer, X, quick, f"onnxruntime {onnxruntime.__version__}, >= 3.5x")


def lightgbm(X: Any, y: Any, quick: bool) -> list[dict[str, Any]]:
    """A booster that LightGBM trained, in its own evaluator and in ours."""
    try:
        import lightgbm as library
    except ImportError:
        return []
    parameters = {"objective": "binary", "num_leaves": 31, "min_data_in_leaf": 5, "num_threads": 1, "verbosity": -1}
    booster = library.train(parameters, library.Dataset(X, y), num_boost_round=200)
    model = adapt(booster, columns=COLUMNS)

    def peer(rows: Any) -> Any:
        return booster.predict(rows, num_threads=1)

    np.testing.assert_allclose(model.predict_proba(X[:500])[:, 1], peer(X[:500]), rtol=1e-12)
    return compare(model.predict_proba, peer, X, quick, f"LightGBM {library.__version__} booster")
