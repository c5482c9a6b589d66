"""What the planner must know about each compiled operation: its number, what it carries, how far it looks back."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, log

from attrs import frozen

from ares.kernels import (
    calendar,
    elementwise,
    encoder,
    engine,
    extremes,
    layout,
    levels,
    meta,
    momentum,
    moving,
    native,
    patterns,
    regression,
    volatility,
    volume,
    wavelet,
)
from ares.kernels.jit import source_digest
from ares.kernels.layout import PURE, RESTARTED, WINDOW

Ints = tuple[int, ...]

SCRATCH = 4 * 1024  # cells that the windowed wavelets work in; enough for windows of 1,000 bars

FORGOTTEN = 1e-8  # weight of everything before a recursion's restart when the restarted one takes over
FORGOTTEN_SHARE = 1e-10  # the same where means are divided by each other, which shows such weights more

MODULES = (
    calendar, elementwise, encoder, engine, extremes, layout, levels, meta, momentum, moving, native, patterns,
    regression, volatility, volume, wavelet,
)  # fmt: skip


def kernel_version() -> str:
    """Digest of the kernels that features are computed with; part of every fingerprint and cache key."""
    return source_digest(tuple(sorted(f"{module.__name__.rpartition('.')[2]}.py" for module in MODULES)))


def memory_of(alpha: float, weight: float = FORGOTTEN) -> int:
    """Rows until an exponential mean with weight `alpha` has forgotten all but `weight` of what came before."""
    return ceil(log(weight) / log(1.0 - alpha)) if alpha < 1.0 else 1


def memory_of_two(alpha: float, weight: float) -> int:
    """The same for such a mean of what depends on such a mean: after n rows (1 + n alpha) (1 - alpha)^n is left."""
    rows = memory_of(alpha, weight)
    while alpha < 1.0 and (1.0 + rows * alpha) * (1.0 - alpha) ** rows > weight:
        rows += 1
    return rows


@frozen
class Operation:
    """One compiled kernel as the planner sees it. Row counts are in rows of the node's own timeframe."""

    number: int
    kind: int  # PURE, WINDOW or RESTARTED
    outputs: Callable[[Ints, int], int]  # of the integer parameters and the number of inputs
    lookback: Callable[[Ints, int], int]  # of the integer parameters and the output: rows before its first value
    state: int = 0  # float64 cells carried, whatever the parameters
    memory: Callable[[Ints, tuple[float, ...]], int] = lambda ints, floats: 0  # rows a RESTARTED node needs
    reach: Callable[[Ints], int] | None = None  # rows of input read before the current; None: the longest lookback
    state_a_row: int = 0  # further cells for each row of the window

    def cells(self, ints: Ints) -> int:
        """float64 cells of state."""
        return self.state + (self.state_a_row * ints[0] if self.state_a_row else 0)


def _count(n: int) -> Callable[[Ints, int], int]:
    return lambda ints, inputs: n


def _none(ints: Ints, output: int) -> int:
    return 0


def _window(ints: Ints, output: int) -> int:
    return ints[0] - 1


def _wilder(ints: Ints, floats: tuple[float, ...]) -> int:
    return memory_of(1.0 / ints[0], FORGOTTEN_SHARE) + ints[0] + 1


OPERATIONS: dict[str, Operation] = {
    "combine": Operation(elementwise.COMBINE, PURE, _count(1), _none),
    "lagged": Operation(elementwise.LAGGED, PURE, _count(1), lambda ints, output: ints[0]),
    "mean": Operation(moving.MEAN, WINDOW, _count(1), _window, 2, reach=lambda ints: ints[0]),
    "mean_square": Operation(moving.MEAN_SQUARE, WINDOW, _count(1), _window, 2, reach=lambda ints: ints[0]),
    "spread": Operation(moving.SPREAD, WINDOW, _count(2), _window, 3, reach=lambda ints: ints[0]),
    "shape": Operation(moving.SHAPE, WINDOW, _count(2), _window, 6, reach=lambda ints: ints[0]),
    "extremes": Operation(
        extremes.EXTREMES, WINDOW, _count(2), _window, 3, state_a_row=2, reach=lambda ints: ints[0]
    ),
    "ages": Operation(extremes.AGES, WINDOW, _count(2), _window, 5, state_a_row=4, reach=lambda ints: ints[0]),
    "slope": Operation(regression.SLOPE, WINDOW, _count(2), _window, 5, reach=lambda ints: ints[0]),
    "ewm": Operation(
        moving.EWM, RESTARTED, _count(1), _window, 2, lambda ints, floats: memory_of(floats[0]) + ints[0]
    ),
    "rsi": Operation(momentum.RSI, RESTARTED, _count(1), lambda ints, output: ints[0], 3, _wilder, lambda ints: 1),
    "direction": Operation(
        momentum.DIRECTION,
        RESTARTED,
        _count(3),
        lambda ints, output: 2 * ints[0] - 1 if output == 0 else ints[0],
        6,
        lambda ints, floats: memory_of_two(1.0 / ints[0], FORGOTTEN_SHARE) + 2 * ints[0],
        lambda ints: 1,
    ),
    "cci": Operation(momentum.CCI, PURE, _count(1), _window, momentum.CCI_STATE),
    "supertrend": Operation(
        momentum.SUPERTREND, RESTARTED, _count(2), _none, 3, lambda ints, floats: ints[0], lambda ints: 1
    ),
    "mfi": Operation(
        momentum.MFI, WINDOW, _count(1), lambda ints, output: ints[0], 3, reach=lambda ints: ints[0] + 1
    ),
    "true_range": Operation(volatility.TRUE_RANGE, PURE, _count(1), lambda ints, output: 1),
    "bar_variance": Operation(volatility.BAR_VARIANCE, PURE, _count(4), _none),
    "yang_zhang": Operation(volatility.YANG_ZHANG, PURE, _count(1), _none),
    "corwin_schultz": Operation(volatility.CORWIN_SCHULTZ, PURE, _count(1), lambda ints, output: 1),
    "modwt_level": Operation(
        wavelet.MODWT_LEVEL, PURE, _count(2), lambda ints, output: (ints[0] - 1) * ints[1]
    ),
    "bands": Operation(wavelet.BANDS, PURE, lambda ints, inputs: 2 * inputs, _none),
    "calendar": Operation(calendar.CALENDAR, PURE, _count(8), _none),
    "until": Operation(calendar.UNTIL, PURE, _count(1), _none),
    "covary": Operation(regression.COVARY, WINDOW, _count(2), _window, 9, reach=lambda ints: ints[0]),
    "windowed": Operation(wavelet.WINDOWED, PURE, lambda ints, inputs: ints[1] + 1, _window, SCRATCH),
    "obv_slope": Operation(volume.OBV_SLOPE, WINDOW, _count(1), _window, 5, reach=lambda ints: ints[0]),
    "close_location": Operation(volume.CLOSE_LOCATION, PURE, _count(1), _none),
    "candles": Operation(patterns.CANDLES, PURE, _count(3), lambda ints, output: 10),
    "patterns": Operation(patterns.PATTERNS, PURE, _count(len(patterns.NAMES)), lambda ints, output: 4),
    "detect": Operation(meta.DETECT, PURE, _count(1), _none),
    "success": Operation(
        meta.SUCCESS,
        WINDOW,
        _count(1),
        lambda ints, output: ints[0] + ints[1] - 1,
        3,
        reach=lambda ints: ints[0] + ints[1],
    ),
    "pivots": Operation(
        levels.PIVOTS,
        RESTARTED,
        _count(levels.PIVOT_OUTPUTS),
        lambda ints, output: 2 * ints[0],
        levels.PIVOT_STATE,
        lambda ints, floats: ints[1],
        lambda ints: 2 * ints[0],
    ),
    "profile": Operation(
        levels.PROFILE,
        RESTARTED,
        _count(levels.PROFILE_OUTPUTS),
        _none,
        levels.PROFILE_STATE,
        lambda ints, floats: ints[0],
        lambda ints: 1,
    ),
    "given": Operation(levels.GIVEN, PURE, _count(2), _none),
}
