"""Sharpe ratios and luck: published figures, scipy, brute force and coverage by simulation."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from ares.errors import InvalidInput, TooShort
from ares.report.significance import (
    deflated_sharpe_ratio,
    expected_max_sharpe,
    min_track_record_length,
    moments,
    probabilistic_sharpe_ratio,
    probability_of_backtest_overfitting,
    sharpe_interval,
)

DAILY = 2.5 / math.sqrt(250)  # the example of Bailey and Lopez de Prado 2014: 2.5 a year, 1250 days, 100 trials


def test_the_published_example() -> None:
    assert expected_max_sharpe(0.5 / 250, 100) == pytest.approx(0.11317, abs=5e-6)
    deflated = deflated_sharpe_ratio(DAILY, 1250, -3.0, 10.0, variance=0.5 / 250, trials=100)
    assert deflated == pytest.approx(0.9004, abs=5e-5)
    assert min_track_record_length(DAILY, -3.0, 10.0) == pytest.approx(166.6, abs=0.05)


def test_the_shortest_track_record_has_just_the_confidence_asked_for() -> None:
    for confidence in (0.9, 0.95, 0.99):
        length = min_track_record_length(0.1, -0.5, 6.0, 0.02, confidence)
        before = probabilistic_sharpe_ratio(0.1, math.floor(length), -0.5, 6.0, 0.02)
        after = probabilistic_sharpe_ratio(0.1, math.ceil(length), -0.5, 6.0, 0.02)
        assert before <= confidence <= after
    assert min_track_record_length(0.1, 0.0, 3.0, 0.1) == math.inf


def test_moments_are_scipys() -> None:
    r = np.random.default_rng(1).standard_t(5, 500)
    assert moments(r) == pytest.approx((stats.skew(r), stats.kurtosis(r, fisher=False)))
    assert all(math.isnan(m) for m in (*moments([]), *moments([0.1]), *moments([0.1] * 9)))


def test_a_normal_sharpe_ratio_has_its_normal_error() -> None:
    """With normal returns the estimator's variance is (1 + SR^2 / 2) / (n - 1): Lo 2002."""
    expected = stats.norm.cdf(0.1 * math.sqrt(99) / math.sqrt(1 + 0.1**2 / 2))
    assert probabilistic_sharpe_ratio(0.1, 100, 0.0, 3.0) == pytest.approx(expected)
    assert probabilistic_sharpe_ratio(0.1, 100, 0.0, 3.0, 0.1) == 0.5
    assert math.isnan(probabilistic_sharpe_ratio(0.1, 1, 0.0, 3.0))
    assert math.isnan(probabilistic_sharpe_ratio(float("nan"), 100, 0.0, 3.0))


def test_the_best_of_many_worthless_trials_is_as_good_as_expected() -> None:
    rng = np.random.default_rng(2)
    for trials in (5, 50, 500):
        best = rng.standard_normal((20_000, trials)).max(axis=1).mean()
        assert expected_max_sharpe(1.0, trials) == pytest.approx(best, rel=0.05)
    assert expected_max_sharpe(1.0, 1) == 0.0
    with pytest.raises(InvalidInput):
        expected_max_sharpe(1.0, 0)


def test_overfitting_is_its_definition() -> None:
    returns = np.random.default_rng(3).standard_normal((41, 7)) * 0.01  # the last row is surplus
    found = probability_of_backtest_overfitting(returns, blocks=4)
    parts = returns[:40].reshape(4, 10, 7)
    logits = []
    for chosen in combinations(range(4), 2):
        inside = np.concatenate([parts[i] for i in chosen])
        outside = np.concatenate([parts[i] for i in range(4) if i not in chosen])
        best = np.argmax(inside.mean(axis=0) / inside.std(axis=0, ddof=1))
        ranks = stats.rankdata(outside.mean(axis=0) / outside.std(axis=0, ddof=1))
        relative = ranks[best] / 8
        logits.append(math.log(relative / (1 - relative)))
    np.testing.assert_allclose(found.logits, logits, atol=1e-12)
    assert found.probability == np.mean(np.array(logits) <= 0)


def test_overfitting_of_luck_and_of_skill() -> None:
    rng = np.random.default_rng(4)
    noise = rng.standard_normal((1600, 40)) * 0.01
    luck = [probability_of_backtest_overfitting(rng.standard_normal((320, 20)), 8).probability for _ in range(60)]
    assert 0.4 < np.mean(luck) < 0.65  # worthless trials: the best of one half is anywhere in the other
    noise[:, 17] += 0.003
    skill = probability_of_backtest_overfitting(noise)
    assert skill.logits.size == math.comb(16, 8)
    assert skill.probability < 0.01


def test_overfitting_needs_enough() -> None:
    with pytest.raises(InvalidInput, match="at least 2 trials"):
        probability_of_backtest_overfitting(np.zeros((100, 1)))
    with pytest.raises(InvalidInput, match="even"):
        probability_of_backtest_overfitting(np.zeros((100, 2)), 5)
    with pytest.raises(TooShort, match="at least 32"):
        probability_of_backtest_overfitting(np.zeros((20, 2)))
    assert probability_of_backtest_overfitting(np.zeros((64, 3))).probability == 1.0  # nothing tells them apart


@pytest.mark.parametrize("kind", ["stationary", "circular"])
def test_the_interval_covers_the_truth_as_often_as_it_says(kind: str) -> None:
    rng = np.random.default_rng(5)
    true = 0.1
    hits = 0
    for seed in range(150):
        returns = 0.01 * (true + rng.standard_normal(400))
        found = sharpe_interval(returns, 1.0, confidence=0.9, kind=kind, draws=400, seed=seed)  # type: ignore[arg-type]
        hits += found.low <= true <= found.high
    assert 0.8 < hits / 150 < 0.98


def test_the_interval_knows_dependence() -> None:
    rng = np.random.default_rng(6)
    slow = np.repeat(rng.standard_normal(100), 20) * 0.01  # 2000 returns of which 100 are different
    blind = sharpe_interval(slow, 1.0, block=1)
    aware = sharpe_interval(slow, 1.0, block=60)
    assert (aware.high - aware.low) > 2.5 * (blind.high - blind.low)
    assert sharpe_interval(slow, 1.0, block=60) == aware  # seeded
    yearly = sharpe_interval(slow, 4.0, block=60)
    assert (yearly.low, yearly.high) == pytest.approx((2 * aware.low, 2 * aware.high))


def test_the_interval_of_nothing_is_nan() -> None:
    for returns in ([], [0.1] * 5, [0.0] * 100):
        found = sharpe_interval(returns, 365.0)
        assert math.isnan(found.low)
        assert math.isnan(found.high)
    with pytest.raises(InvalidInput):
        sharpe_interval([0.1] * 20, 365.0, confidence=1.5)
