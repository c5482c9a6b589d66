"""Trying to catch a feature stage, or any function of a frame, knowing the future.

Three experiments, each compared bit for bit. Prefix: computed on the first n rows alone, those rows come out the same.
Future: when every row after n is changed, the rows up to n stay as they are. Start: when the data begin later, rows
come out the same once the declared number of rows (`settle`) has passed.

A leak that reaches far shows wherever the data are cut. One that looks a single row ahead, now and then, shows only
when a cut falls right after such a row; so cuts are made after rows of every kind: each hour of the day and day of the
week, the most and the least active, the first after a gap. What is not in the rows given is out of reach: a function
that brings a future of its own, from a file or a closure, says the same in every experiment.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
from attrs import field, frozen
from numpy.typing import NDArray

from ares.errors import AresError, InvalidInput, TooShort
from ares.features.nodes import PrecomputedTail
from ares.features.orchestrator import FeatureOrchestrator

__all__ = ["CausalityReport", "Leak", "NotCausal", "check_causality"]

_PRICES = ("open", "high", "low", "close")
_LEAST_ROWS = 50
_NAMES_SHOWN = 5
_DISTURBED = 8  # cuts at which the rest is also changed: what reaches far shows at any of them


class NotCausal(AresError, AssertionError):
    """Something knew the future, or did not forget where history began; `facts["features"]` names it."""


@frozen(kw_only=True)
class Leak:
    """One feature that failed one experiment."""

    feature: str
    experiment: str  # "prefix", "future" or "start"
    timestamp: object  # index of the first row that came out differently
    row: int  # its position in the data
    size: float  # largest absolute difference; inf when a value appeared or vanished
    rows: int  # how many rows differed

    def __str__(self) -> str:
        where = f"first at {self.timestamp}, {self.rows} rows, by up to {self.size:.3g}"
        return f"{self.feature}: {self.experiment}, {where}"


@frozen(kw_only=True)
class CausalityReport:
    """What the experiments found."""

    subject: str
    rows: int
    features: int
    experiments: tuple[str, ...]  # those that were made
    leaks: tuple[Leak, ...] = field(repr=False)  # the worst of each feature and experiment, in order of columns
    forgets_after: int | None  # rows after which the start made no difference in the data given; None: it always did
    edges: int  # rows after which the data were cut: a leak of one row shows only at these
    not_judged: tuple[str, ...] = ()  # columns that were given ready-made, so that no experiment could change them
    never_settled: tuple[str, ...] = ()  # columns that settle later than the data go: their start was not judged

    @property
    def passed(self) -> bool:
        """True when no experiment found anything."""
        return not self.leaks

    def raise_for_leaks(self) -> None:
        """Raise NotCausal (also an AssertionError) that lists every leak; nothing when there is none."""
        if self.leaks:
            raise NotCausal(str(self), features=tuple(dict.fromkeys(leak.feature for leak in self.leaks)))

    def __str__(self) -> str:
        verdict = "causal" if self.passed else f"{len(self.leaks)} leaks"
        made = ", ".join(self.experiments)
        seen = f"{self.features} features, {self.rows} rows, cut after {self.edges} of them; {made}"
        lines = [f"{self.subject}: {verdict} ({seen})", *(f"  {leak}" for leak in self.leaks)]
        if self.never_settled:
            names, more = self.never_settled[:_NAMES_SHOWN], len(self.never_settled) - _NAMES_SHOWN
            listed = ", ".join(names) + (f" and {more} more" if more > 0 else "")
            lines.append(f"  start not judged, for they settle later than the data go: {listed}")
        if self.not_judged:
            lines.append(f"  not judged, for they were given ready-made: {', '.join(self.not_judged)}")
        return "\n".join(lines)


def check_causality(
    stage: Any,
    data: pd.DataFrame,
    *,
    settle: int | None = None,
    cuts: int = 240,
    tolerance: float = 0.0,
    seed: int = 7,
    also: Mapping[str, pd.DataFrame] | None = None,
) -> CausalityReport:
    """Try to catch `stage` knowing the future.

    stage: a feature stage (its `compute` is called, else its `generate_all_features`) or a function, also an async one,
    from a frame to a frame, series or array with one row a row. data: rows in order of time, such as klines; never
    changed. settle: rows after which the start of the data must not matter; None takes the stage's own, feature by
    feature, and leaves the start experiment unjudged for a function that declares none. cuts: rows after which the data
    are cut, at most; the default meets every hour of the week, and `len(data)` tries every row beyond the first fifth.
    tolerance: differences up to it are forgiven. also: more keyword frames of the stage, such as `agg_trades_df`, cut
    by time together with the data.
    Raises: TooShort below 50 rows, InvalidInput when the result does not have one row a row or holds no numbers, and
    whatever the stage raises.
    """
    if not isinstance(data, pd.DataFrame):
        raise InvalidInput(f"data must be a frame, not {type(data).__name__}")
    if len(data) < _LEAST_ROWS:
        raise TooShort(f"{len(data)} rows; a proof takes {_LEAST_ROWS}", rows=len(data))
    subject = getattr(stage, "__name__", type(stage).__name__)
    run = _runner(stage, also or {})
    whole = run(data, None)
    rng = np.random.default_rng(seed)
    found: dict[tuple[str, str], Leak] = {}
    places = _places(data, cuts, rng)
    disturbed = set(places[:_DISTURBED])
    for n in sorted(places):
        end = _known_until(data, n)
        _note(found, "prefix", data.index, whole.iloc[:n], run(data.iloc[:n], end), 0, tolerance)
        if n in disturbed:
            later = run(_disturbed(data, n, rng), end).iloc[:n]
            _note(found, "future", data.index, whole.iloc[:n], later, 0, tolerance)
    experiments = ["prefix", "future"]
    limits = _settle_of(stage, whole, settle)
    forgets, late = _later_starts(run, data, whole, limits, tolerance)
    unsettled: list[str] = []
    if limits is not None:
        unsettled = [str(name) for name, limit in zip(whole.columns, limits, strict=True) if limit >= len(data) - 1]
        found.update(late)
        if len(unsettled) < whole.shape[1]:
            experiments.append("start")
    order = {str(name): i for i, name in enumerate(whole.columns)}
    leaks = sorted(found.values(), key=lambda leak: (order[leak.feature], leak.experiment))
    return CausalityReport(
        subject=subject,
        rows=len(data),
        features=whole.shape[1],
        experiments=tuple(experiments),
        leaks=tuple(leaks),
        forgets_after=forgets,
        edges=len(places),
        not_judged=_ready_made(stage),
        never_settled=tuple(unsettled),
    )


def _ready_made(stage: Any) -> tuple[str, ...]:
    """Columns that the stage was given as they are."""
    if not isinstance(stage, FeatureOrchestrator):
        return ()
    tails = [bound.tail for bound in stage.current_schema.tails]
    return tuple(name for tail in tails if isinstance(tail, PrecomputedTail) for name in tail.names)


Run = Callable[[pd.DataFrame, "pd.Timestamp | None"], pd.DataFrame]


def _runner(stage: Any, also: Mapping[str, pd.DataFrame]) -> Run:
    """The stage as a function of the data and of the time up to which other frames are known."""
    compute = _verb(stage)

    def run(frame: pd.DataFrame, end: pd.Timestamp | None) -> pd.DataFrame:
        others = {}
        for name, other in also.items():
            times = pd.DatetimeIndex(other["time"]) if "time" in other.columns else other.index
            others[name] = other if end is None else other[times <= end]
        result = _columns(_finished(compute(frame.copy(), **others)))
        if len(result) != len(frame):
            raise InvalidInput(f"{len(result)} rows came back for {len(frame)}; there must be one a row")
        return result

    return run


def _verb(stage: Any) -> Callable[..., Any]:
    """What computes: the plain verb of a stage, else its async one, else the function itself."""
    for name in ("compute", "generate_all_features"):
        if hasattr(stage, name):
            return getattr(stage, name)  # type: ignore[no-any-return]
    if not callable(stage):
        raise InvalidInput(
            f"a {type(stage).__name__} is neither a function of a frame nor a stage with compute or"
            " generate_all_features"
        )
    return stage  # type: ignore[no-any-return]


def _finished(result: Any) -> Any:
    """What an async verb or function gives in the end, also while a loop is running here; others as they are."""
    if not inspect.isawaitable(result):
        return result

    async def whole() -> Any:
        return await result

    with ThreadPoolExecutor(1) as beside:
        return beside.submit(asyncio.run, whole()).result()


def _columns(result: Any) -> pd.DataFrame:
    """A result as columns of float64 with names of their own. Raises InvalidInput when it holds anything else."""
    if isinstance(result, pd.Series):
        result = result.to_frame("feature" if result.name is None else str(result.name))
    elif not isinstance(result, pd.DataFrame):
        kind = type(result).__name__
        try:
            array = np.asarray(result, dtype=np.float64)
            array = array.reshape(len(array), -1)
        except (TypeError, ValueError):
            raise InvalidInput(f"a {kind} came back; it must be a frame, a series or an array of numbers") from None
        result = pd.DataFrame(array, columns=[f"column_{i}" for i in range(array.shape[1])])
    names = [str(c) for c in result.columns]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise InvalidInput(f"several columns that came back are called {', '.join(twice)}; name each its own way")
    try:
        values = result.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError):
        kinds = ", ".join(f"{n} {k}" for n, k in zip(names, result.dtypes, strict=True) if k.kind not in "biuf")
        raise InvalidInput(f"columns that came back hold no numbers: {kinds}") from None
    return pd.DataFrame(values, result.index, names)


def _known_until(data: pd.DataFrame, n: int) -> pd.Timestamp | None:
    """When the n-th row was known: its open time plus the commonest step."""
    if not isinstance(data.index, pd.DatetimeIndex):
        return None
    steps = np.diff(data.index.as_unit("ns").asi8)
    values, counts = np.unique(steps, return_counts=True)
    return data.index[n - 1] + pd.Timedelta(int(values[np.argmax(counts)]), unit="ns")


def _places(data: pd.DataFrame, cuts: int, rng: np.random.Generator) -> list[int]:
    """Row counts at which to cut, the most telling first: spread out, then after rows of every kind in turn."""
    n = len(data)
    spread = np.linspace(n * 0.35, n - 2, min(max(cuts, 1), _DISTURBED)).astype(int)
    chosen = dict.fromkeys(np.clip(spread + rng.integers(-3, 4, spread.size), 10, n - 1).tolist())
    first = max(9, n // 5)  # a stage may need some rows to say anything
    kinds = [iter(rng.permutation(rows[(rows >= first) & (rows < n - 1)]).tolist()) for rows in _kinds(data)]
    while kinds and len(chosen) < cuts:
        for kind in list(kinds):
            row = next((row for row in kind if row + 1 not in chosen), None)
            if row is None:
                kinds.remove(kind)
            elif len(chosen) < cuts:
                chosen[row + 1] = None
    return list(chosen)


def _kinds(data: pd.DataFrame) -> Iterator[NDArray[np.int64]]:
    """Rows by what sets them apart: activity, gaps, hour of the day, day of the week, hour of the week, none."""
    n = len(data)
    few = max(1, n // 50)
    for name in data.columns:
        values = data[name]
        if values.dtype.kind in "fiu":
            change = values.diff().abs() if name in _PRICES else values
            order = np.argsort(change.to_numpy(dtype=np.float64, na_value=0.0), kind="stable")
            yield order[-few:]
            if name not in _PRICES:
                yield order[:few]
    if isinstance(data.index, pd.DatetimeIndex):
        steps = np.diff(data.index.as_unit("ns").asi8)
        yield np.flatnonzero(steps > np.median(steps))
        yield np.flatnonzero(steps > np.median(steps)) + 1
        hours = data.index.hour.to_numpy()
        days = data.index.day_of_week.to_numpy()
        for phase in (hours, days, days * 24 + hours):
            yield from (np.flatnonzero(phase == value) for value in np.unique(phase))
    yield np.arange(n)


def _disturbed(data: pd.DataFrame, n: int, rng: np.random.Generator) -> pd.DataFrame:
    """A copy whose rows from `n` on are other numbers; prices of a row keep their proportions."""
    other = data.copy()
    rows = len(data) - n
    price = np.exp(rng.normal(0.0, 0.2, rows).cumsum() / 10.0 + rng.normal(0.0, 0.1, rows))
    for name in other.columns:
        kind = other[name].dtype.kind
        if kind not in "fiu":
            continue
        values = other[name].to_numpy(copy=True)
        factor = price if name in _PRICES else rng.uniform(0.2, 3.0, rows)
        if name == "trades":
            factor = np.where(values[n:] < 0, 1.0, factor)  # -1: unknown, and stays so
        values[n:] = (values[n:] * factor).astype(values.dtype)
        other[name] = values
    if {"volume", "taker_buy_volume"} <= set(other.columns):
        other["taker_buy_volume"] = np.minimum(other["taker_buy_volume"], other["volume"])
    if {"quote_volume", "taker_buy_quote_volume"} <= set(other.columns):
        other["taker_buy_quote_volume"] = np.minimum(other["taker_buy_quote_volume"], other["quote_volume"])
    return other


def _note(
    found: dict[tuple[str, str], Leak],
    experiment: str,
    index: pd.Index,
    expected: pd.DataFrame,
    got: pd.DataFrame,
    shift: int,
    tolerance: float,
) -> None:
    """Add the columns that differ; of several findings of one kind the earliest row is kept."""
    for name in expected.columns:
        a = expected[name].to_numpy()
        b = got[name].to_numpy() if name in got.columns else np.full(len(a), np.nan)
        both = ~(np.isnan(a) | np.isnan(b))
        gap = np.where(np.isnan(a) & np.isnan(b), 0.0, np.inf)
        gap[both] = np.where(a[both] == b[both], 0.0, np.abs(a[both] - b[both]))
        rows = np.flatnonzero(gap > tolerance)
        if not rows.size:
            continue
        row = int(rows[0]) + shift
        old = found.get((name, experiment))
        if old is None or row < old.row:
            size = float(gap[rows].max())
            found[name, experiment] = Leak(
                feature=name, experiment=experiment, timestamp=index[row], row=row, size=size, rows=int(rows.size)
            )


def _settle_of(stage: Any, whole: pd.DataFrame, settle: int | None) -> np.ndarray[Any, Any] | None:
    """Rows to settle, one a column; None when nothing is declared."""
    if settle is not None:
        return np.full(whole.shape[1], settle)
    if isinstance(stage, FeatureOrchestrator):
        schema = stage.current_schema
        own = dict(zip(schema.plan.names, schema.plan.settle.tolist(), strict=True))
        own.update({name: bound.settle for bound in schema.tails for name in bound.tail.names})
        return np.array([own.get(name, stage.settle) for name in whole.columns])
    declared = getattr(stage, "settle", None)
    return None if declared is None else np.full(whole.shape[1], int(declared))


def _later_starts(
    run: Run, data: pd.DataFrame, whole: pd.DataFrame, limits: np.ndarray[Any, Any] | None, tolerance: float
) -> tuple[int | None, dict[tuple[str, str], Leak]]:
    """Begin the data later, by odd numbers of rows; see when values agree and whether that is in time."""
    forgets: int | None = 0
    found: dict[tuple[str, str], Leak] = {}
    for begin in sorted({1, 7, len(data) // 5 + 1, len(data) // 3}):
        part = run(data.iloc[begin:], None)
        for j, name in enumerate(whole.columns):
            seen: dict[tuple[str, str], Leak] = {}
            a, b = whole[[name]].iloc[begin:], part[[name]]
            _note(seen, "start", data.index, a, b, begin, tolerance)
            if not seen:
                continue
            different = (a.to_numpy() != b.to_numpy()) & ~(np.isnan(a.to_numpy()) & np.isnan(b.to_numpy()))
            last = int(np.flatnonzero(different.any(axis=1))[-1]) + 1
            if last >= len(part):
                forgets = None
            elif forgets is not None:
                forgets = max(forgets, last)
            if limits is not None and last > limits[j]:
                limit = int(limits[j])
                _note(found, "start", data.index, a.iloc[limit:], b.iloc[limit:], begin + limit, tolerance)
    return forgets, found
