"""Features of your own, run after the built-in table in both rhythms: a step function, or a frame made elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from math import isinf
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from attrs import field, frozen
from attrs.validators import ge
from numpy.typing import NDArray

from ares.errors import DataError, InvalidInput, unknown_name
from ares.kernels.jit import jit

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FeatureNode", "NodeTail", "PrecomputedTail", "Tail", "node_tails"]

Array = NDArray[np.float64]


@frozen  # a short call reads well: FeatureNode("mine.drawdown", drawdown, ("close",), 1)
class FeatureNode:
    """A feature of your own, computed from other features or input columns of the same row.

    step(x, state) -> float: x (inputs,) float64 in the order of `inputs`, state (state_size,) float64, zero before the
    first row and yours to change. It must depend on nothing else, or batch, stream and replay will disagree. A function
    compiled with `ares.kernels.jit.jit` or `numba.njit` runs compiled. What it gives for rows that are still warming up
    is NaN in the column; an infinite number is refused (DataError).
    """

    name: str  # "group.name"
    step: Callable[[Array, Array], float]
    inputs: tuple[str, ...]  # feature names, input columns such as "close", precomputed ones
    state_size: int = field(default=0, validator=ge(0))
    warmup: int = field(default=0, validator=ge(0))  # rows beyond those of its inputs
    settle: int = field(default=0, validator=ge(0))  # rows beyond those of its inputs until it forgets where it began
    version: str = "1"  # part of the fingerprint: change it with the code

    def __attrs_post_init__(self) -> None:
        given: Any = self
        if not given.name or not callable(given.step) or isinstance(given.inputs, str):
            raise InvalidInput(
                "a feature node has a name, a function as its step, and a tuple of names as its inputs, not "
                f"{given.name!r}, {given.step!r}, {given.inputs!r}"
            )
        if not isinstance(given.name, str) or "@" in given.name or any(c.isspace() for c in given.name):
            raise InvalidInput(
                f"a feature node is named like 'mine.drawdown_24', not {given.name!r}: without blanks and @, for it "
                "runs on the bars of the tape and not on a higher timeframe"
            )


class Tail(Protocol):
    """Columns that are computed after the table."""

    @property
    def names(self) -> tuple[str, ...]:
        """Column names it adds."""
        ...

    @property
    def inputs(self) -> tuple[str, ...]:
        """Feature names or input columns that it reads."""
        ...

    @property
    def warmup(self) -> int:
        """Rows beyond those of its inputs."""
        ...

    @property
    def settle(self) -> int:
        """Rows beyond those of its inputs."""
        ...

    @property
    def key(self) -> str:
        """Text that changes with what it computes."""
        ...

    @property
    def state_size(self) -> int:
        """float64 cells of state."""
        ...

    def batch(self, x: Array, open_ns: NDArray[np.int64], out: Array) -> None:
        """x: (inputs, n). out: (names, n), to fill."""
        ...

    def step(self, x: Array, open_ns: int, state: Array, out: Array) -> None:
        """x: (inputs,). out: (names,), to fill."""
        ...


@jit(cached=False)
def _drive(step: Any, x: Any, state: Any, row: Any, out: Any) -> None:
    for i in range(x.shape[1]):
        for j in range(x.shape[0]):
            row[j] = x[j, i]
        out[i] = step(row, state)


@frozen
class NodeTail:
    """Runs a FeatureNode."""

    node: FeatureNode

    @property
    def names(self) -> tuple[str, ...]:
        return (self.node.name,)

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.node.inputs

    @property
    def warmup(self) -> int:
        return self.node.warmup

    @property
    def settle(self) -> int:
        return self.node.settle

    @property
    def key(self) -> str:
        node = self.node
        return f"{node.name}:{','.join(node.inputs)}:{node.state_size}:{node.warmup}:{node.settle}:{node.version}"

    @property
    def state_size(self) -> int:
        return self.node.state_size

    def batch(self, x: Array, open_ns: NDArray[np.int64], out: Array) -> None:
        state = np.zeros(self.node.state_size)
        row = np.empty(x.shape[0])
        if hasattr(self.node.step, "py_func"):
            _drive(self.node.step, np.ascontiguousarray(x), state, row, out[0])
            infinite = np.flatnonzero(np.isinf(out[0]))
            if infinite.size:
                self._number(float(out[0, infinite[0]]), int(open_ns[infinite[0]]))
            return
        for i in range(x.shape[1]):
            row[:] = x[:, i]
            out[0, i] = self._number(self.node.step(row, state), int(open_ns[i]))

    def step(self, x: Array, open_ns: int, state: Array, out: Array) -> None:
        out[0] = self._number(self.node.step(x, state), open_ns)

    def _number(self, given: float | None, open_ns: int) -> float:
        """What a step returned for a bar, checked: a forgotten `return` would become a column of NaN.

        Raises: InvalidInput for nothing, DataError for an infinite number.
        """
        if given is None:
            raise InvalidInput(f"the step of {self.node.name!r} returned nothing: a number, or NaN where there is none")
        if isinf(given):
            raise DataError(
                f"the step of {self.node.name!r} returned {given} for the bar that opens at {open_ns}: give NaN where "
                "there is no number",
                open_ns=open_ns,
            )
        return given


def node_tails(nodes: Sequence[FeatureNode]) -> list[NodeTail]:
    """What runs each of them. Raises InvalidInput when `nodes` is anything else than a list of feature nodes."""
    given: Any = nodes
    listed = tuple(given) if isinstance(given, Iterable) else ()
    odd = [node for node in listed if not isinstance(node, FeatureNode)]
    if odd or not isinstance(given, Iterable):
        raise InvalidInput(f"nodes is a list of feature nodes, not {(odd or [given])[0]!r}")
    return [NodeTail(node) for node in listed]


class PrecomputedTail:
    """Columns of a frame made elsewhere, taken by open time; a bar that the frame lacks is NaN.

    That row t knows nothing later than the close of bar t is the maker's promise. Raises: InvalidInput, DataError for a
    frame without a rising time index in UTC, with text or with infinite numbers.
    """

    warmup = 0
    settle = 0
    state_size = 0
    inputs: tuple[str, ...] = ()

    def __init__(self, frame: pd.DataFrame) -> None:
        from ares.features.frames import index_ns, numbers

        what = "the precomputed columns"
        if not hasattr(frame, "columns"):
            raise InvalidInput(f"{what} must come in a frame, not in a {type(frame).__name__}")
        self.names = tuple(str(name) for name in frame.columns)
        self._open_ns = index_ns(frame.index, "the precomputed frame")
        self._values = np.empty((len(self.names), len(frame)))
        for values, name, column in zip(self._values, self.names, frame.columns, strict=True):
            values[:] = numbers(frame[column], name, what)
        infinite = np.argwhere(np.isinf(self._values))
        if infinite.size:
            column, row = infinite[0].tolist()
            raise DataError(f"{what}: {self.names[column]} in row {row} is infinite", row=row)
        digest = hashlib.sha256(self._values.tobytes() + self._open_ns.tobytes()).hexdigest()
        self.key = f"precomputed:{','.join(self.names)}:{digest}"
        self._rows: dict[int, int] | None = None

    def batch(self, x: Array, open_ns: NDArray[np.int64], out: Array) -> None:
        if not self._open_ns.size:
            out[:] = np.nan
            return
        at = np.minimum(np.searchsorted(self._open_ns, open_ns), self._open_ns.size - 1)
        out[:] = np.where(self._open_ns[at] == open_ns, self._values[:, at], np.nan)

    def step(self, x: Array, open_ns: int, state: Array, out: Array) -> None:
        if self._rows is None:
            self._rows = {int(ns): i for i, ns in enumerate(self._open_ns)}
        row = self._rows.get(open_ns)
        out[:] = np.nan if row is None else self._values[:, row]


@frozen(eq=False)
class Bound:
    """A tail with its inputs found: indices into the features so far, or -1 - index into the engine's inputs."""

    tail: Tail
    at: NDArray[np.int64]
    first: int  # its first column
    warmup: int
    settle: int

    def gather(self, features: Array, inputs: Array) -> Array:
        """Rows or columns of its inputs, in order."""
        parts = [features[i] if i >= 0 else inputs[-1 - i] for i in self.at]
        return np.array(parts).reshape(len(parts), *features.shape[1:])


def bind(
    tails: Sequence[Tail], names: Sequence[str], inputs: Sequence[str], warmup: Sequence[int], settle: Sequence[int]
) -> list[Bound]:
    """Resolve the tails in order; a later one may read an earlier one's columns.

    names, warmup, settle: of the table's features. inputs: of the engine. Raises InvalidInput for a name that is taken
    or an input that does not exist.
    """
    known = {name: i for i, name in enumerate(names)}
    raw = {name: -1 - i for i, name in enumerate(inputs)}
    warm, settled = list(warmup), list(settle)
    bound = []
    for tail in tails:
        at = []
        for name in tail.inputs:
            if name not in known and name not in raw:
                raise unknown_name("feature or input column", name, [*known, *raw])
            at.append(known.get(name, raw.get(name, 0)))
        first = len(known)
        lag = max((warm[i] for i in at if i >= 0), default=0) + tail.warmup
        memory = max((settled[i] for i in at if i >= 0), default=0) + tail.settle
        for name in tail.names:
            if name in known:
                raise InvalidInput(f"there is a feature {name!r} already", name=name)
            known[name] = len(known)
            warm.append(lag)
            settled.append(max(memory, lag))
        bound.append(Bound(tail, np.array(at, np.int64), first, lag, max(memory, lag)))
    return bound
