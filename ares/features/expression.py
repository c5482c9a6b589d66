"""Features as expressions over columns: `(close - ema(close, 20)) / atr(14)` written once, shared where it recurs.

An expression is a value: equal expressions are one node of the table, however many features use them. The planner turns
them into the table that `ares.kernels.engine` interprets.
"""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from ares.errors import InvalidInput
from ares.features.operations import OPERATIONS
from ares.kernels import elementwise

__all__ = ["Column", "Expression", "Node", "Output"]


@frozen(cache_hash=True)
class Column:
    """An input column of the bars, such as "close", or of another source, such as "funding_rate"."""

    name: str


@frozen(cache_hash=True)
class Node:
    """One operation with its inputs and parameters."""

    operation: str
    inputs: tuple[Expression, ...]
    ints: tuple[int, ...] = ()
    floats: tuple[float, ...] = ()
    key: str = field(init=False, eq=False)  # canonical text, for fingerprints

    def __attrs_post_init__(self) -> None:
        inner = ",".join([*(key_of(x) for x in self.inputs), *map(str, self.ints), *(x.hex() for x in self.floats)])
        object.__setattr__(self, "key", f"{self.operation}({inner})")


@frozen(cache_hash=True)
class Output:
    """One of a node's output columns."""

    node: Node
    index: int = 0


Expression = Column | Output


def key_of(x: Expression) -> str:
    """Canonical text of an expression."""
    return x.name if isinstance(x, Column) else f"{x.node.key}.{x.index}"


def node(operation: str, *inputs: Expression, ints: tuple[int, ...] = (), floats: tuple[float, ...] = ()) -> Node:
    """A node of a known operation. Raises InvalidInput for a window below 1."""
    if operation not in OPERATIONS:
        raise InvalidInput(f"no operation {operation!r}", operation=operation)
    return Node(operation, inputs, ints, tuple(float(x) for x in floats))


def _combine(mode: int, *inputs: Expression, floats: tuple[float, ...] = ()) -> Output:
    return Output(node("combine", *inputs, ints=(mode,), floats=floats))


OPEN, HIGH, LOW, CLOSE, VOLUME = (Column(name) for name in ("open", "high", "low", "close", "volume"))
QUOTE_VOLUME = Column("quote_volume")
TAKER_BUY_VOLUME = Column("taker_buy_volume")
TRADES = Column("trades")
TIME = Column("time")  # open time, seconds since the epoch


def minus(a: Expression, b: Expression) -> Output:
    return _combine(elementwise.MINUS, a, b)


def plus(a: Expression, b: Expression) -> Output:
    return _combine(elementwise.PLUS, a, b)


def over(a: Expression, b: Expression) -> Output:
    return _combine(elementwise.OVER, a, b)


def distance(a: Expression, b: Expression, unit: Expression) -> Output:
    """(a - b) / unit."""
    return _combine(elementwise.DISTANCE, a, b, unit)


def times(a: Expression, b: Expression) -> Output:
    return _combine(elementwise.TIMES, a, b)


def log_of(a: Expression) -> Output:
    return _combine(elementwise.LOG, a)


def log_ratio(a: Expression, b: Expression) -> Output:
    return _combine(elementwise.LOG_RATIO, a, b)


def root(a: Expression) -> Output:
    return _combine(elementwise.ROOT, a)


def affine(a: Expression, factor: float, shift: float = 0.0) -> Output:
    return _combine(elementwise.AFFINE, a, floats=(factor, shift))


def square(a: Expression) -> Output:
    return _combine(elementwise.SQUARE, a)


def position(a: Expression, low: Expression, high: Expression) -> Output:
    """(a - low) / (high - low)."""
    return _combine(elementwise.POSITION, a, low, high)


def ratio_less_one(a: Expression, b: Expression) -> Output:
    return _combine(elementwise.RATIO_LESS_ONE, a, b)


def share(a: Expression, b: Expression) -> Output:
    """a / (a + b)."""
    return _combine(elementwise.SHARE, a, b)


def half_spread(covariance: Expression) -> Output:
    """2 sqrt(-covariance), 0 for a covariance above 0."""
    return _combine(elementwise.HALF_SPREAD, covariance)


def clip(a: Expression, low: float, high: float) -> Output:
    return _combine(elementwise.CLIP, a, floats=(low, high))


def sign(a: Expression) -> Output:
    return _combine(elementwise.SIGN, a)


def absolute(a: Expression) -> Output:
    return _combine(elementwise.ABSOLUTE, a)


def difference(x: Expression, rows: int) -> Output:
    return Output(node("lagged", x, ints=(rows, 0)))


def change(x: Expression, rows: int) -> Output:
    """x / x[rows ago] - 1."""
    return Output(node("lagged", x, ints=(rows, 1)))


def earlier(x: Expression, rows: int) -> Output:
    return Output(node("lagged", x, ints=(rows, 2)))


def mean(x: Expression, window: int, *, rooted: bool = False) -> Output:
    return Output(node("mean", x, ints=(window, int(rooted))))


def mean_square(x: Expression, window: int, *, rooted: bool = False) -> Output:
    return Output(node("mean_square", x, ints=(window, int(rooted))))


def deviation(x: Expression, window: int, ddof: int = 0) -> tuple[Output, Output]:
    """Mean and standard deviation."""
    it = node("spread", x, ints=(window, ddof))
    return Output(it, 0), Output(it, 1)


def z_score(x: Expression, window: int) -> Output:
    """Distance of the newest row from its window's mean, in standard deviations (the row itself included)."""
    average, sigma = deviation(x, window, 1)
    return distance(x, average, sigma)


def ema(x: Expression, span: int) -> Output:
    """Exponential mean with alpha = 2 / (span + 1)."""
    return Output(node("ewm", x, ints=(span, 0), floats=(2.0 / (span + 1.0),)))


def wilder(x: Expression, window: int) -> Output:
    """Exponential mean with alpha = 1 / window."""
    return Output(node("ewm", x, ints=(window, 0), floats=(1.0 / window,)))


def ema_root_square(x: Expression, span: int) -> Output:
    """Root of the exponential mean of squares."""
    return Output(node("ewm", x, ints=(span, 2), floats=(2.0 / (span + 1.0),)))


def covariance(x: Expression, y: Expression, window: int) -> tuple[Output, Output]:
    """Covariance (divisor window) and correlation."""
    it = node("covary", x, y, ints=(window, 0))
    return Output(it, 0), Output(it, 1)


def channel(window: int) -> tuple[Output, Output]:
    """Highest high and lowest low."""
    it = node("extremes", HIGH, LOW, ints=(window,))
    return Output(it, 0), Output(it, 1)


def channel_ages(window: int) -> tuple[Output, Output]:
    """How many rows ago the highest high and the lowest low were."""
    it = node("ages", HIGH, LOW, ints=(window,))
    return Output(it, 0), Output(it, 1)


def true_range() -> Output:
    return Output(node("true_range", HIGH, LOW, CLOSE))


def atr(window: int) -> Output:
    """Wilder's average true range, quote currency."""
    return wilder(true_range(), window)


def log_return(rows: int = 1) -> Output:
    return difference(log_of(CLOSE), rows)


def typical() -> Output:
    """(high + low + close) / 3, quote currency."""
    return Output(node("combine", HIGH, LOW, CLOSE, ints=(elementwise.THIRD,)))


def many(operation: str, *inputs: Expression, outputs: int, **parameters: Any) -> tuple[Output, ...]:
    """All outputs of one node."""
    it = node(operation, *inputs, **parameters)
    return tuple(Output(it, j) for j in range(outputs))
