"""Cross-validation for labels that overlap in time: purged by each label's end, with an embargo after the test.

The three splitters speak scikit-learn's `split` and `get_n_splits`, so `cross_val_score(model, X, y, cv=splitter)`
works. The times of the rows are given once, at construction. Source: Lopez de Prado 2018, chapters 7 and 12.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import pandas as pd
from attrs import field, frozen
from numpy.typing import ArrayLike, NDArray

from ares.errors import InvalidInput, TooShort

__all__ = ["CombinatorialPurgedCV", "Duration", "PurgedKFold", "WalkForward"]

Ints = NDArray[np.int64]
Fold = tuple[Ints, Ints]
Duration = float | int | dt.timedelta | np.timedelta64
"""A length of time: a timedelta; an int counts bars, the commonest step between decisions; a float below 1 is that
share of the whole span."""


@frozen(eq=False)
class _Times:
    """When each row's decision was made and when its label was known, int64 ns, rows in time order."""

    t0: Ints
    t1: Ints

    @staticmethod
    def of(t1: Any, t0: Any) -> _Times:
        if t0 is None:
            if not isinstance(t1, pd.Series) or not isinstance(t1.index, pd.DatetimeIndex):
                raise InvalidInput("give t0 as well, or t1 as a Series indexed by t0")
            t0 = t1.index
        start, end = _ns(t0), _ns(t1)
        if start.shape != end.shape or start.ndim != 1:
            raise InvalidInput(f"t0 and t1 must have one row each: {start.shape} and {end.shape}")
        if start.size and (np.diff(start) < 0).any():
            row = int(np.argmax(np.diff(start) < 0)) + 1
            raise InvalidInput(f"rows must be in time order; row {row} starts before its predecessor", row=row)
        if (end < start).any():
            row = int(np.argmax(end < start))
            raise InvalidInput(f"a label cannot end before it starts; row {row} does", row=row)
        return _Times(start, end)

    @property
    def size(self) -> int:
        return int(self.t0.size)

    def duration(self, value: Duration) -> int:
        """`value` in ns. Raises: InvalidInput for a negative length, a share of 1 or more, more bars than rows."""
        if isinstance(value, dt.timedelta | np.timedelta64):
            ns = int(pd.Timedelta(value).as_unit("ns").value)
        elif isinstance(value, float):
            if value >= 1.0:
                raise InvalidInput(f"a float is a share of the whole span, below 1, not {value}: give bars as an int")
            ns = round(value * float(self.t1.max() - self.t0.min())) if self.size else 0
        else:
            if int(value) > self.size:
                raise InvalidInput(
                    f"an int counts bars, and there are {self.size} rows, not {value}: give a timedelta for a time"
                )
            ns = int(value) * self._bar_ns()
        if ns < 0:
            raise InvalidInput(f"a duration must not be negative: {value}")
        return ns

    def _bar_ns(self) -> int:
        """The commonest step between decisions; 1 when all are at one instant."""
        steps, counts = np.unique(np.diff(np.unique(self.t0)), return_counts=True)
        return int(steps[np.argmax(counts)]) if steps.size else 1

    def check(self, X: Any) -> None:
        rows = X.shape[0] if hasattr(X, "shape") else len(X)
        if rows != self.size:
            raise InvalidInput(f"X has {rows} rows, the splitter was made for {self.size}", rows=rows)

    def train(self, blocks: Sequence[Ints], embargo: int) -> Ints:
        """Rows outside the test blocks whose label overlaps none of them nor starts in the embargo after one."""
        keep = np.ones(self.size, dtype=bool)
        for block in blocks:
            low, high = self.t0[block[0]], self.t1[block].max() + embargo
            keep &= (self.t1 < low) | (self.t0 > high)
            keep[block] = False
        return np.flatnonzero(keep)


def _ns(values: Any) -> Ints:
    if isinstance(values, pd.Series):
        values = values.array if isinstance(values.dtype, pd.DatetimeTZDtype) else values.to_numpy()
    if isinstance(values, np.ndarray) and values.dtype.kind in "iu":
        return values.astype(np.int64)
    try:
        return np.asarray(pd.DatetimeIndex(values).as_unit("ns").asi8)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"times must be int64 ns or time stamps: {error}") from error


def _blocks(size: int, count: int) -> list[Ints]:
    if size < count:
        raise TooShort(f"{count} blocks need at least as many rows, not {size}", rows=size)
    return [block.astype(np.int64) for block in np.array_split(np.arange(size), count)]


@frozen(init=False, eq=False)
class PurgedKFold:
    """K contiguous test blocks in time order; the training rows of each are all others whose labels do not touch it.

    t1: (n,) when each label was known. t0: (n,) when each decision was made; None: the index of `t1`.
    embargo: how long after the last test label's end no training row may start; an int counts bars, see `Duration`.
    Raises: InvalidInput when rows are out of order or counts do not fit.
    """

    n_splits: int
    embargo: Duration
    times: _Times = field(repr=False)

    def __init__(self, n_splits: int = 5, *, t1: Any, t0: Any = None, embargo: Duration = 0.01) -> None:
        if n_splits < 2:
            raise InvalidInput(f"n_splits must be at least 2, not {n_splits}", n_splits=n_splits)
        times = _Times.of(t1, t0)
        times.duration(embargo)
        self.__attrs_init__(n_splits, embargo, times)

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Number of folds."""
        return self.n_splits

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[Fold]:
        """Positions (train, test) of each fold, oldest test block first."""
        self.times.check(X)
        embargo = self.times.duration(self.embargo)
        for block in _blocks(self.times.size, self.n_splits):
            yield self.times.train([block], embargo), block


@frozen(init=False, eq=False)
class CombinatorialPurgedCV:
    """Every choice of `n_test` out of `n_groups` blocks as test set: a distribution of outcomes instead of one path.

    Each block is tested in C(n_groups - 1, n_test - 1) splits, so that as many full histories can be put together.
    """

    n_groups: int
    n_test: int
    embargo: Duration
    times: _Times = field(repr=False)

    def __init__(
        self, n_groups: int = 6, n_test: int = 2, *, t1: Any, t0: Any = None, embargo: Duration = 0.01
    ) -> None:
        if not 1 <= n_test < n_groups:
            raise InvalidInput(f"need 1 <= n_test < n_groups, not {n_test} and {n_groups}")
        times = _Times.of(t1, t0)
        times.duration(embargo)
        self.__attrs_init__(n_groups, n_test, embargo, times)

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """C(n_groups, n_test)."""
        return comb(self.n_groups, self.n_test)

    @property
    def n_paths(self) -> int:
        """Full histories that the splits make: C(n_groups - 1, n_test - 1)."""
        return comb(self.n_groups - 1, self.n_test - 1)

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[Fold]:
        """Positions (train, test) of each split, in the order of `itertools.combinations` of the blocks."""
        self.times.check(X)
        embargo = self.times.duration(self.embargo)
        blocks = _blocks(self.times.size, self.n_groups)
        for chosen in combinations(range(self.n_groups), self.n_test):
            tested = [blocks[g] for g in chosen]
            yield self.times.train(tested, embargo), np.concatenate(tested)

    def path_splits(self) -> Ints:
        """(n_paths, n_groups): which split predicts each block of each path. No split serves a block twice."""
        table = np.empty((self.n_paths, self.n_groups), dtype=np.int64)
        seen = [0] * self.n_groups
        for number, chosen in enumerate(combinations(range(self.n_groups), self.n_test)):
            for g in chosen:
                table[seen[g], g] = number
                seen[g] += 1
        return table

    def paths(self, predictions: Sequence[ArrayLike]) -> NDArray[Any]:
        """Put the splits' test predictions together into full histories, (n_paths, n, ...).

        predictions: one array a split, in `split`'s order, each with the rows of that split's test positions.
        """
        if len(predictions) != self.get_n_splits():
            raise InvalidInput(f"{self.get_n_splits()} splits need as many predictions, not {len(predictions)}")
        blocks = _blocks(self.times.size, self.n_groups)
        splits = list(combinations(range(self.n_groups), self.n_test))
        parts = [np.asarray(p) for p in predictions]
        out = np.empty((self.n_paths, self.times.size, *parts[0].shape[1:]), dtype=parts[0].dtype)
        for path, row in enumerate(self.path_splits()):
            for g, number in enumerate(row):
                before = sum(blocks[other].size for other in splits[number] if other < g)
                tested = sum(blocks[other].size for other in splits[number])
                if parts[number].shape[0] != tested:
                    raise InvalidInput(f"split {number} tests {tested} rows, its predictions have {len(parts[number])}")
                out[path, blocks[g]] = parts[number][before : before + blocks[g].size]
        return out


@frozen(init=False, eq=False)
class WalkForward:
    """Train on the past, test on what follows, move on: how a bot would have been trained on each day.

    Training rows are those whose label was known `gap` before the test block's first decision.

    train, test: rows (int) or a timedelta. `train` is the least history before the first test block, and with
    `expanding=False` also the length of the window that moves along.
    """

    train: int | dt.timedelta
    test: int | dt.timedelta
    expanding: bool
    gap: Duration
    times: _Times = field(repr=False)

    def __init__(
        self,
        *,
        t1: Any,
        t0: Any = None,
        train: int | dt.timedelta,
        test: int | dt.timedelta,
        expanding: bool = True,
        gap: Duration = 0,
    ) -> None:
        for name, value in (("train", train), ("test", test)):
            if (value.total_seconds() if isinstance(value, dt.timedelta) else value) <= 0:
                raise InvalidInput(f"{name} must be > 0, not {value}")
        times = _Times.of(t1, t0)
        times.duration(gap)
        self.__attrs_init__(train, test, expanding, gap, times)
        if not self._tests():
            raise TooShort(f"{times.size} rows leave no test block after {train} of training", rows=times.size)

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Number of test blocks, the last one perhaps shorter."""
        return sum(1 for _ in self._folds())

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[Fold]:
        """Positions (train, test) of each fold, in time order; a fold that would have nothing to train on is left
        out.
        """
        self.times.check(X)
        yield from self._folds()

    def _tests(self) -> list[Ints]:
        size, t0 = self.times.size, self.times.t0
        if size == 0:
            return []
        if isinstance(self.train, dt.timedelta):
            first = int(np.searchsorted(t0, t0[0] + self.times.duration(self.train)))
        else:
            first = self.train
        blocks = []
        if isinstance(self.test, dt.timedelta):
            step = self.times.duration(self.test)
            edge = int(t0[first]) if first < size else 0
            while first < size:
                edge += step
                last = int(np.searchsorted(t0, edge))
                if last > first:
                    blocks.append(np.arange(first, last, dtype=np.int64))
                first = last
        else:
            blocks = [np.arange(a, min(a + self.test, size), dtype=np.int64) for a in range(first, size, self.test)]
        return blocks

    def _folds(self) -> Iterator[Fold]:
        gap = self.times.duration(self.gap)
        for block in self._tests():
            start = self.times.t0[block[0]]
            known = self.times.t1[: block[0]] < start - gap
            if not self.expanding:
                if isinstance(self.train, dt.timedelta):
                    known &= self.times.t0[: block[0]] >= start - self.times.duration(self.train)
                else:
                    known[: max(int(block[0]) - self.train, 0)] = False
            rows = np.flatnonzero(known)
            if rows.size:
                yield rows, block
