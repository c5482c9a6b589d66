"""The sequential bootstrap against its definition, and against draws that ignore overlap."""

from __future__ import annotations

import numpy as np
import pytest
from attrs import evolve
from numpy.typing import NDArray

from ares.errors import InvalidInput
from ares.training.bootstrap import PASSES, sequential_bootstrap, sequential_weights
from ares.training.dataset import make_dataset
from tests.training.markets import QUICK, market, orchestrator, quick

Ints = NDArray[np.int64]


def by_definition(first: Ints, last: Ints, draws: int, seed: int) -> list[int]:
    """The book's loop: an indicator matrix of bars and labels, and each label's uniqueness anew at each draw."""
    bars = np.arange(first.min(), last.max() + 1)
    lives = ((bars[:, None] >= first) & (bars[:, None] <= last)).astype(float)
    drawn: list[int] = []
    for u in np.random.default_rng(seed).random(draws):
        alive = lives[:, drawn].sum(axis=1)
        share = np.array([(1.0 / (alive + 1.0))[lives[:, i] > 0].mean() for i in range(first.size)])
        drawn.append(int(np.searchsorted(np.cumsum(share / share.sum()), u, side="right")))
    return drawn


def labels(rng: np.random.Generator, n: int, bars: int, longest: int) -> tuple[Ints, Ints]:
    first = np.sort(rng.integers(5, bars, n))
    return first, first + rng.integers(0, longest, n)


@pytest.mark.parametrize("seed", range(8))
def test_draws_are_those_of_the_definition(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    first, last = labels(rng, int(rng.integers(1, 60)), 80, int(rng.integers(1, 15)))
    assert sequential_bootstrap(first, last, 70, seed=seed).tolist() == by_definition(first, last, 70, seed)


def test_three_labels_of_the_book() -> None:
    """Lives [0, 2], [2, 3], [4, 5]; once the second is drawn the chances are 5/14, 3/14 and 6/14."""
    first, last = np.array([0, 2, 4]), np.array([2, 3, 5])
    count = np.zeros(3)
    for seed in range(8000):
        one, two = sequential_bootstrap(first, last, 2, seed=seed).tolist()
        if one == 1:
            count[two] += 1
    assert count.sum() > 2000
    assert count / count.sum() == pytest.approx(np.array([5, 3, 6]) / 14, abs=0.05)


def test_its_draws_overlap_less_than_plain_ones() -> None:
    rng = np.random.default_rng(0)

    def uniqueness(first: Ints, last: Ints, drawn: Ints) -> float:
        alive = np.zeros(last.max() + 1)
        for i in drawn:
            alive[first[i] : last[i] + 1] += 1
        return float(np.mean([(1.0 / alive[first[i] : last[i] + 1]).mean() for i in drawn]))

    better = 0
    for seed in range(40):
        first, last = labels(rng, 40, 60, 12)
        sequential = uniqueness(first, last, sequential_bootstrap(first, last, 20, seed=seed))
        better += sequential > uniqueness(first, last, rng.integers(0, 40, 20))
    assert better > 30


def test_weights_are_counts_and_crowded_labels_weigh_less() -> None:
    lonely, crowd = np.arange(0, 2000, 20), np.full(400, 2100)
    first = np.concatenate([lonely, crowd])
    weight = sequential_weights(first, first + 9, 0.2)
    assert weight.mean() == pytest.approx(1.0)
    total = PASSES * round(first.size * 0.2)
    assert np.allclose(weight * total / first.size, np.rint(weight * total / first.size))
    assert weight[: lonely.size].mean() > 5 * weight[lonely.size :].mean()


def test_training_takes_them_and_says_so() -> None:
    klines = market().klines.iloc[:2500]
    config = evolve(QUICK, weighting="sequential")
    data = make_dataset(klines, config, orchestrator())
    rows = np.arange(0, len(data), 2)
    expected = sequential_weights(
        data.first[rows], data.last[rows], float(data.uniqueness_of(rows).mean()), seed=config.seed
    )
    assert np.array_equal(data.weights(rows), expected)
    assert (data.weights(rows) == 0).any()
    usual, other = quick(klines), quick(klines, config)
    assert other.model_id != usual.model_id
    assert other.loaded.manifest.record.parameters["training"]["weighting"] == "sequential"


def test_what_cannot_be_drawn_from_is_refused() -> None:
    with pytest.raises(InvalidInput, match="in order"):
        sequential_bootstrap(np.array([3, 1]), np.array([4, 2]), 1)
    with pytest.raises(InvalidInput, match="some"):
        sequential_bootstrap(np.empty(0, np.int64), np.empty(0, np.int64), 1)
