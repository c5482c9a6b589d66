"""Splitters: nothing in training overlaps the test, embargoes hold, and paths are counted as they should be."""

from __future__ import annotations

import datetime as dt
from itertools import combinations
from math import comb

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score

from ares.errors import InvalidInput, TooShort
from ares.training.splits import CombinatorialPurgedCV, PurgedKFold, WalkForward

HOUR = 3600 * 10**9


@st.composite
def times(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Start and end of labels of uneven length, at uneven steps, some at one instant."""
    n = draw(st.integers(30, 120))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    t0 = np.cumsum(rng.integers(0, 5, n)) * HOUR
    return t0, t0 + rng.integers(0, draw(st.integers(1, 30)), n) * HOUR


def apart(t0: np.ndarray, t1: np.ndarray, train: np.ndarray, block: np.ndarray, embargo: int) -> None:
    low, high = t0[block].min(), t1[block].max()
    for i in train:
        assert t1[i] < low or t0[i] > high + embargo


@given(times(), st.integers(2, 6), st.integers(0, 20))
def test_kfold_trains_on_all_that_does_not_touch_the_test(
    pair: tuple[np.ndarray, np.ndarray], folds: int, embargo: int
) -> None:
    t0, t1 = pair
    splitter = PurgedKFold(folds, t1=t1, t0=t0, embargo=dt.timedelta(hours=embargo))
    tested = []
    for train, test in splitter.split(t0):
        assert not set(train) & set(test)
        apart(t0, t1, train, test, embargo * HOUR)
        for i in set(range(t0.size)) - set(train) - set(test):
            assert t1[i] >= t0[test].min()
            assert t0[i] <= t1[test].max() + embargo * HOUR
        tested.extend(test)
    assert tested == list(range(t0.size))


@given(times(), st.integers(3, 7), st.integers(1, 4), st.integers(0, 20))
def test_combinatorial_paths_use_each_prediction_once(
    pair: tuple[np.ndarray, np.ndarray], groups: int, k: int, embargo: int
) -> None:
    t0, t1 = pair
    k = min(k, groups - 1)
    splitter = CombinatorialPurgedCV(groups, k, t1=t1, t0=t0, embargo=dt.timedelta(hours=embargo))
    splits = list(splitter.split(t0))
    blocks = np.array_split(np.arange(t0.size), groups)
    assert len(splits) == splitter.get_n_splits() == comb(groups, k)
    for (train, test), chosen in zip(splits, combinations(range(groups), k), strict=True):
        assert np.array_equal(test, np.concatenate([blocks[g] for g in chosen]))
        for g in chosen:
            apart(t0, t1, train, blocks[g], embargo * HOUR)
    assert splitter.n_paths == comb(groups - 1, k - 1)
    marked = [number * 1000 + test for number, (_, test) in enumerate(splits)]
    paths = splitter.paths(marked)
    assert paths.shape == (splitter.n_paths, t0.size)
    assert (paths % 1000 == np.arange(t0.size)).all()
    assert np.unique(paths).size == sum(test.size for _, test in splits)


@given(times(), st.integers(5, 20), st.integers(3, 20), st.booleans(), st.integers(0, 10))
def test_walking_forward_trains_on_matured_labels_only(
    pair: tuple[np.ndarray, np.ndarray], train: int, test: int, expanding: bool, gap: int
) -> None:
    t0, t1 = pair
    splitter = WalkForward(t1=t1, t0=t0, train=train, test=test, expanding=expanding, gap=dt.timedelta(hours=gap))
    folds = list(splitter.split(t0))
    assert len(folds) == splitter.get_n_splits()
    for rows, block in folds:
        assert (t1[rows] < t0[block[0]] - gap * HOUR).all()
        assert rows.size <= block[0]
        assert expanding or rows.size <= train
        left_out = set(range(int(block[0]))) - set(rows)
        for i in left_out:
            assert t1[i] >= t0[block[0]] - gap * HOUR or (not expanding and i < block[0] - train)
    tested = np.concatenate([block for _, block in folds]) if folds else np.array([])
    assert (np.diff(tested) > 0).all()


def test_walking_forward_by_time_moves_in_equal_steps() -> None:
    index = pd.date_range("2024-01-01", periods=24 * 60, freq="h", tz="UTC")
    t1 = pd.Series(index + pd.Timedelta("6h"), index=index)
    splitter = WalkForward(t1=t1, train=dt.timedelta(days=20), test=dt.timedelta(days=10), expanding=False)
    folds = list(splitter.split(np.zeros((len(t1), 1))))
    assert [len(block) for _, block in folds] == [240] * 4
    for rows, block in folds:
        assert index[block[0]] - index[rows[0]] == pd.Timedelta("20D")
        assert index[rows[-1]] + pd.Timedelta("6h") < index[block[0]]


def test_an_embargo_may_be_bars_a_share_of_the_span_or_a_timedelta() -> None:
    t0 = np.arange(100) * HOUR
    bars = list(PurgedKFold(5, t1=t0, t0=t0, embargo=5).split(t0))
    for (train, test), (other, _) in zip(
        bars, PurgedKFold(5, t1=t0, t0=t0, embargo=dt.timedelta(hours=5)).split(t0), strict=True
    ):
        assert np.array_equal(train, other)
        assert not set(train) & set(range(test[-1] + 1, test[-1] + 6))
    for wrong in (5 * HOUR, 1.5):
        with pytest.raises(InvalidInput, match=r"timedelta|as an int"):
            PurgedKFold(5, t1=t0, t0=t0, embargo=wrong)
    share = list(PurgedKFold(5, t1=t0, t0=t0, embargo=0.1).split(t0))
    exact = list(PurgedKFold(5, t1=t0, t0=t0, embargo=dt.timedelta(hours=9.9)).split(t0))
    for a, b in zip(share, exact, strict=True):
        assert np.array_equal(a[0], b[0])


def test_purging_removes_skill_that_overlap_lends() -> None:
    """Labels that share their future make a nearest neighbour look clever; purged folds show that it is not."""
    from sklearn.neighbors import KNeighborsClassifier

    rng = np.random.default_rng(0)
    n, life = 1500, 50
    noise = rng.normal(size=n + life)
    y = (np.convolve(noise, np.ones(life), "valid")[:n] > 0).astype(int)
    X = np.arange(n, dtype=float)[:, None]
    t0 = np.arange(n) * HOUR
    model = KNeighborsClassifier(1)
    naive = cross_val_score(model, X, y, cv=KFold(5, shuffle=True, random_state=0)).mean()
    honest = cross_val_score(model, X, y, cv=PurgedKFold(5, t1=t0 + life * HOUR, t0=t0)).mean()
    assert naive > 0.9
    assert abs(honest - 0.5) < 0.15


def test_scikit_learn_takes_all_three() -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(300, 3))
    y = (X[:, 0] + rng.normal(size=300) > 0).astype(int)
    index = pd.date_range("2024-01-01", periods=300, freq="h", tz="UTC")
    t1 = pd.Series(index + pd.Timedelta("5h"), index=index)
    for splitter, count in (
        (PurgedKFold(4, t1=t1), 4),
        (CombinatorialPurgedCV(5, 2, t1=t1), 10),
        (WalkForward(t1=t1, train=100, test=50), 4),
    ):
        assert len(cross_val_score(LogisticRegression(), X, y, cv=splitter)) == count
        search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=splitter).fit(X, y)
        assert search.n_splits_ == count
    assert "PurgedKFold(n_splits=4" in repr(PurgedKFold(4, t1=t1))


def test_what_cannot_be_split_is_refused() -> None:
    t0 = np.arange(20) * HOUR
    with pytest.raises(InvalidInput, match="n_splits"):
        PurgedKFold(1, t1=t0, t0=t0)
    with pytest.raises(InvalidInput, match="time order"):
        PurgedKFold(2, t1=t0[::-1] + 100 * HOUR, t0=t0[::-1])
    with pytest.raises(InvalidInput, match="end before"):
        PurgedKFold(2, t1=t0 - 1, t0=t0)
    with pytest.raises(InvalidInput, match="give t0"):
        PurgedKFold(2, t1=t0)
    with pytest.raises(InvalidInput, match="rows"):
        next(PurgedKFold(2, t1=t0, t0=t0).split(np.zeros(19)))
    with pytest.raises(InvalidInput, match="n_test"):
        CombinatorialPurgedCV(3, 3, t1=t0, t0=t0)
    with pytest.raises(TooShort):
        WalkForward(t1=t0, t0=t0, train=20, test=5)
    with pytest.raises(InvalidInput, match="negative"):
        PurgedKFold(2, t1=t0, t0=t0, embargo=-1)
    with pytest.raises(InvalidInput, match="predictions"):
        CombinatorialPurgedCV(4, 2, t1=t0, t0=t0).paths([np.zeros(10)])
    assert cross_val_score(DummyClassifier(), np.zeros((20, 1)), t0 % 2, cv=PurgedKFold(2, t1=t0, t0=t0)).size == 2
