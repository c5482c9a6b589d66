"""Tree ensembles as flat arrays: gradient boosting and forests, evaluated without the library that trained them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from attrs import field, frozen
from numpy import empty
from numpy.typing import NDArray

from ares.errors import InvalidInput, ModelError
from ares.kernels.trees import LANES, LINKS, NODE, ROWS, answer_batch, depths, forest_batch
from ares.models import registry
from ares.models.model import ModelSpec, Stored, matrix

__all__ = ["Tree", "TreeModel", "pack"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@frozen(kw_only=True, eq=False)
class Tree:
    """One tree as its library has it. Arrays are (nodes,), node 0 is the root; value is (nodes, width)."""

    left: Ints  # child's number; of a leaf: anything
    right: Ints
    leaf: NDArray[np.bool_]
    feature: Ints  # of a leaf: anything
    threshold: Floats  # x <= threshold goes left
    missing_left: NDArray[np.bool_]
    value: Floats
    target: int = 0  # the output that a tree of width 1 adds to


@cache
def _entry() -> Any:
    """The machine code of `answer_batch`: called so, it does not ask for the types, which `matrix` has made sure of."""
    kernel: Any = answer_batch
    return kernel.compile("void(int64[::1], float64[::1], float64[:,::1], float64[:,::1], float64[:,::1])")


@frozen(kw_only=True, eq=False)
class TreeModel:
    """An ensemble in the layout that its kernel walks. Made by `ares.models.adapt`."""

    spec: ModelSpec
    nodes: NDArray[Any]  # NODE
    root: Ints  # (trees,) padded to a multiple of LANES with empty trees
    steps: Ints  # (trees / LANES,) length of each group's walk
    value: Floats  # (nodes, 1) or (nodes, outputs)
    target: Ints  # (trees,)
    base: Floats  # (outputs,) what the sum starts from
    link: str  # identity, expit, softmax or exp
    divisor: float = 1.0  # the sum is divided by it: the number of trees of a forest
    gain: float = 1.0  # and multiplied by it before the link
    single: bool = False  # inputs are rounded to float32 first, as the trees were trained
    tiny: float = 0.0  # values of at most this size are read as zero
    finite_only: bool = False  # a row with an infinite value is answered by NaN
    missing_ok: bool = True  # False: so is a row with a missing value
    _outputs: int = field(init=False)
    _row: int = field(init=False)  # length of a row as the kernel writes it
    _words: Ints = field(init=False)  # for the kernel, see `forest_batch`
    _numbers: Floats = field(init=False)

    def __attrs_post_init__(self) -> None:
        columns, width = len(self.spec.columns), self.value.shape[1]
        walk = self.nodes.copy()
        leaf = walk["left"] == np.arange(walk.size)
        walk["feature"][leaf] = 2 * columns
        walk["threshold"][leaf] = self.value[leaf, 0] if width == 1 else 0.0
        sizes = [walk.size, self.root.size, self.base.size, width, LINKS.get(self.link, -1)]
        head = np.array([*sizes, self.single, self.finite_only, self.missing_ok], dtype=np.int64)
        values = self.value.ravel() if width > 1 else self.value[:0, 0]
        words = [head, walk.view(np.int64), self.root, self.steps, self.target]
        object.__setattr__(self, "_outputs", 2 if self.link == "expit" else self.base.size)
        object.__setattr__(self, "_row", 2 * columns + 1)
        object.__setattr__(self, "_words", np.concatenate(words))
        object.__setattr__(self, "_numbers", np.concatenate([[self.divisor, self.gain, self.tiny], self.base, values]))

    def raw(self, X: Any) -> Floats:
        """Sums of the trees before the link, (n, outputs)."""
        rows = matrix(X, self.spec.columns)
        out = empty((len(rows), self.base.size))
        forest_batch(self._words, self._numbers, rows, empty((min(len(rows), ROWS), self._row)), out)
        return out

    def predict(self, X: Any) -> Floats:
        """Answer of a regression, (n,). Raises ModelError for a classifier."""
        if self.spec.classes:
            raise ModelError("a classifier answers by predict_proba")
        return self._answer(X)[:, 0]

    def predict_proba(self, X: Any) -> Floats:
        """Probabilities, (n, classes). Raises ModelError for a regression."""
        if not self.spec.classes:
            raise ModelError("a regression gives no probabilities; use predict")
        return self._answer(X)

    def _answer(self, X: Any) -> Floats:
        rows = matrix(X, self.spec.columns)
        count = len(rows)
        out = empty((count, self._outputs))
        work = empty((count if count < ROWS else ROWS, self._row))  # min() takes as long as ten trees
        _entry()(self._words, self._numbers, rows, work, out)
        return out

    def save(self, directory: Path | str) -> str:
        """Write it as data into a new directory; returns its id."""
        return registry.save(self, directory)

    @classmethod
    def load(cls, directory: Path | str) -> TreeModel:
        """Read a model that `save` wrote."""
        return registry.load_as(cls, directory)

    def stored(self) -> Stored:
        """The model as data."""
        return Stored(
            kind="trees",
            spec=self.spec,
            meta={name: getattr(self, name) for name in _SETTINGS},
            arrays={
                "threshold": self.nodes["threshold"].copy(),
                "feature": self.nodes["feature"].copy(),
                "left": self.nodes["left"].copy(),
                **{name: getattr(self, name) for name in ("root", "steps", "value", "target", "base")},
            },
        )

    @classmethod
    def restored(cls, stored: Stored) -> TreeModel:
        """The model from data, after proving that no walk can leave its arrays. Raises ModelError."""
        threshold = stored.array("threshold", "<f8", (None,))
        nodes = empty(threshold.size, dtype=NODE)
        nodes["threshold"] = threshold
        nodes["feature"] = stored.array("feature", "<u4", (threshold.size,))
        nodes["left"] = stored.array("left", "<u4", (threshold.size,))
        base = stored.array("base", "<f8", (None,))
        value = stored.array("value", "<f8", (threshold.size, None))
        root = stored.array("root", "<i8", (None,))
        model = cls(
            spec=stored.reads(),
            nodes=nodes,
            root=root,
            steps=stored.array("steps", "<i8", (root.size // LANES,)),
            value=value,
            target=stored.array("target", "<i8", (root.size,)),
            base=base,
            link=stored.value("link", str),
            divisor=float(stored.value("divisor", (int, float))),
            gain=float(stored.value("gain", (int, float))),
            tiny=float(stored.value("tiny", (int, float))),
            **{name: stored.value(name, bool) for name in ("single", "finite_only", "missing_ok")},
        )
        model._verify()
        return model

    def _verify(self) -> None:
        """Every index in range, every walk ending in a leaf, every output having its class."""
        size, columns = self.nodes.size, len(self.spec.columns)
        number = np.arange(size)
        left = self.nodes["left"].astype(np.int64)
        leaf = left == number
        outputs = 2 if self.link == "expit" else self.base.size
        sound = (
            self.link in LINKS
            and self.root.size % LANES == 0
            and self.value.shape[1] in {1, self.base.size}
            and (self.link != "expit" or self.base.size == 1)
            and (not self.spec.classes or len(self.spec.classes) == outputs)
            and bool((self.nodes["feature"] < 2 * columns).all())
            and bool(((left > number) | leaf).all())
            and bool((left[~leaf] + 1 < size).all())
            and bool(
                (self.nodes["feature"][leaf] >= columns).all() and np.isposinf(self.nodes["threshold"][leaf]).all()
            )
            and bool(((self.root >= 0) & (self.root < size)).all())
            and bool(((self.target >= 0) & (self.target < self.base.size)).all())
            and bool(np.isfinite(self.value).all() and np.isfinite(self.base).all())
            and not bool(np.isnan(self.nodes["threshold"]).any())
            and bool(np.isfinite([self.divisor, self.gain, self.tiny]).all() and self.divisor > 0)
        )
        if not sound:
            raise ModelError("the arrays of this tree model do not fit together", kind="trees")
        depth = empty(size, dtype=np.int64)
        depths(left, depth)
        if not np.array_equal(self.steps, depth[self.root].reshape(-1, LANES).max(axis=1, initial=0)):
            raise ModelError("the walks of this tree model have the wrong length", kind="trees")


_SETTINGS = ("link", "divisor", "gain", "single", "tiny", "finite_only", "missing_ok")


def pack(trees: list[Tree], *, spec: ModelSpec, base: Floats, link: str, **settings: Any) -> TreeModel:
    """Lay trees out for the kernel: children side by side, shallow trees first, padded to whole groups.

    A classifier that met one class is certain of it, in the one column that there is.
    Raises: InvalidInput for an ensemble without trees or a tree that is none; ModelError for other classes than it has
    outputs.
    """
    if not trees:
        raise InvalidInput("an ensemble without trees has nothing to say")
    if len(spec.classes) == 1 and link == "expit":  # boosting libraries fit a logistic even then
        trees, base, link, settings = [_stump()], np.ones(1), "identity", {}
    columns, width = len(spec.columns), trees[0].value.shape[1]
    laid = sorted((_lay(tree, columns) for tree in trees), key=lambda parts: parts[3])
    empty = np.array([(np.inf, columns, 0)], dtype=NODE)
    laid = [(empty, np.zeros((1, width)), 0, 0)] * (-len(laid) % LANES) + laid
    sizes = [nodes.size for nodes, _, _, _ in laid]
    root = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    nodes = np.concatenate([parts[0] for parts in laid])
    nodes["left"] += np.repeat(root, sizes).astype(np.uint32)
    depth = np.array([parts[3] for parts in laid], dtype=np.int64)
    model = TreeModel(
        spec=spec,
        nodes=nodes,
        root=root,
        steps=depth.reshape(-1, LANES).max(axis=1),
        value=np.ascontiguousarray(np.concatenate([parts[1] for parts in laid])),
        target=np.array([parts[2] for parts in laid], dtype=np.int64),
        base=np.array(base, dtype=np.float64).reshape(-1),
        link=link,
        **settings,
    )
    model._verify()  # what is refused when it is read is refused when it is made
    return model


def _stump() -> Tree:
    """A tree that adds nothing."""
    none = np.zeros(1, dtype=np.int64)
    yes, no = np.ones(1, dtype=np.bool_), np.zeros(1, dtype=np.bool_)
    return Tree(
        left=none, right=none, leaf=yes, feature=none, threshold=np.zeros(1), missing_left=no, value=np.zeros((1, 1))
    )


def _lay(tree: Tree, columns: int) -> tuple[NDArray[Any], Floats, int, int]:
    """Nodes by their distance from the root, so that children follow their parents: (nodes, values, target, depth)."""
    levels = [np.zeros(1, dtype=np.int64)]
    while (parents := levels[-1][~tree.leaf[levels[-1]]]).size:
        levels.append(np.stack([tree.left[parents], tree.right[parents]], axis=1).ravel())
        if sum(level.size for level in levels) > tree.left.size:
            raise InvalidInput("a tree's node has two parents")
    old = np.concatenate(levels)
    inner = ~tree.leaf[old]
    nodes = empty(old.size, dtype=NODE)
    nodes["threshold"] = np.where(inner, tree.threshold[old], np.inf)
    nodes["feature"] = np.where(inner, tree.feature[old] + np.where(tree.missing_left[old], columns, 0), columns)
    nodes["left"] = np.where(inner, 2 * np.cumsum(inner) - 1, np.arange(old.size))
    value = np.where(inner[:, None], 0.0, tree.value[old])
    return nodes, value, tree.target, len(levels) - 1
