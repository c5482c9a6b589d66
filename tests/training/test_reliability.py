"""Scores against scikit-learn and their definitions; intervals that hold as often as they say."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import kstest, norm
from sklearn import metrics
from statsmodels.stats.proportion import proportion_confint

from ares.errors import InvalidInput, TooShort
from ares.training.reliability import (
    auc,
    block_interval,
    brier,
    brier_parts,
    calibration_error,
    calibration_error_by_chance,
    log_loss,
    reliability,
    reliability_curve,
    spiegelhalter_z,
)

FOUR_ERRORS = 6e-5  # the chance of a normal number beyond four standard errors


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    n = draw(st.integers(20, 300))
    p = rng.random(n)
    if draw(st.booleans()):
        p = np.round(p, 1)
    return p, np.r_[0.0, 1.0, (rng.random(n - 2) < p[2:])], rng.uniform(0.1, 3.0, n)


@given(scored())
def test_scores_equal_scikit_learns(case: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    p, y, w = case
    assert brier(p, y, w) == pytest.approx(metrics.brier_score_loss(y, p, sample_weight=w), rel=1e-12)
    assert auc(p, y, w) == pytest.approx(metrics.roc_auc_score(y, p, sample_weight=w), rel=1e-10)
    q = np.clip(p, 1e-9, 1 - 1e-9)
    assert log_loss(q, y, w) == pytest.approx(metrics.log_loss(y, q, sample_weight=w), rel=1e-10)


@given(scored(), st.integers(1, 20))
def test_the_parts_of_the_brier_score_add_up(case: tuple[np.ndarray, np.ndarray, np.ndarray], bins: int) -> None:
    p, y, w = case
    parts = brier_parts(p, y, w, bins)
    assert parts.brier == pytest.approx(brier(p, y, w), rel=1e-12)
    total = parts.reliability - parts.resolution + parts.uncertainty + parts.within
    assert total == pytest.approx(parts.brier, rel=1e-10)
    assert parts.reliability >= 0
    assert parts.resolution >= 0


def test_murphys_three_parts_are_enough_when_bins_hold_one_forecast() -> None:
    rng = np.random.default_rng(0)
    p = rng.choice([0.1, 0.4, 0.8], 3000)
    y = (rng.random(3000) < p).astype(float)
    parts = brier_parts(p, y, bins=3)
    expected_rel = sum((p == v).mean() * (v - y[p == v].mean()) ** 2 for v in (0.1, 0.4, 0.8))
    expected_res = sum((p == v).mean() * (y[p == v].mean() - y.mean()) ** 2 for v in (0.1, 0.4, 0.8))
    assert parts.within == pytest.approx(0.0, abs=1e-12)
    assert parts.reliability == pytest.approx(expected_rel, rel=1e-9)
    assert parts.resolution == pytest.approx(expected_res, rel=1e-9)


def test_calibration_error_by_hand() -> None:
    p = np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9])
    y = np.array([0, 0, 1, 0, 1, 1, 0, 1.0])
    assert calibration_error(p, y, bins=2) == pytest.approx(0.5 * abs(0.25 - 0.25) + 0.5 * abs(0.75 - 0.75))
    assert calibration_error(p, y, bins=4) == pytest.approx((0.15 + 0.15 + 0.35 + 0.35) / 4)
    curve = reliability_curve(p, y, bins=2)
    assert curve["count"].tolist() == [4, 4]
    assert curve["observed"].tolist() == [0.25, 0.75]
    assert ((curve["low"] < curve["observed"]) & (curve["observed"] < curve["high"])).all()


def test_spiegelhalter_is_standard_normal_for_honest_forecasts_only() -> None:
    rng = np.random.default_rng(1)
    honest, boastful = [], []
    for _ in range(400):
        p = rng.uniform(0.2, 0.8, 300)
        y = (rng.random(300) < p).astype(float)
        honest.append(spiegelhalter_z(p, y))
        boastful.append(spiegelhalter_z(np.clip(0.5 + (p - 0.5) * 1.6, 0.01, 0.99), y))
    assert kstest(honest, "norm").pvalue > FOUR_ERRORS
    assert np.mean(np.abs(boastful) > 1.96) > 0.5


def test_a_block_interval_covers_and_widens_with_dependence() -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for seed in range(200):
        p = rng.uniform(0.3, 0.7, 400)
        y = (rng.random(400) < p).astype(float)
        truth = float((p * (1 - p)).mean())
        covered += truth in block_interval(brier, p, y, level=0.95, resamples=200, seed=seed)
    assert covered >= 172, "93 in 100 of so few, less four standard errors"
    p = np.repeat(rng.uniform(0.2, 0.8, 40), 25)
    y = np.repeat(rng.random(40) < p[::25], 25).astype(float)
    alone = block_interval(brier, p, y, block=1)
    together = block_interval(brier, p, y, block=25)
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_the_report_holds_everything_and_refuses_nonsense() -> None:
    rng = np.random.default_rng(3)
    p = rng.uniform(0.1, 0.9, 2000)
    y = (rng.random(2000) < p).astype(float)
    told = reliability(p, y, block=10, resamples=100)
    assert told.n == 2000
    assert told.brier_skill.low > 0
    assert told.auc.low > 0.6
    assert told.calibration_error.value < 0.05
    assert told.spiegelhalter_p > FOUR_ERRORS
    assert told.base_rate == y.mean()
    assert len(told.curve) == 10
    nothing = reliability(np.full(2000, y.mean()), y, resamples=100)
    assert nothing.brier_skill.value == pytest.approx(0.0, abs=1e-12)
    assert nothing.brier_skill.high <= 1e-12
    assert nothing.auc.value == 0.5
    for wrong in (np.array([1.2]), np.array([np.nan])):
        with pytest.raises(InvalidInput):
            brier(wrong, np.array([1.0]))
    with pytest.raises(InvalidInput, match="block"):
        block_interval(brier, p, y, block=0)
    with pytest.raises(TooShort):
        brier([], [])


def overlapping(seed: int, blocks: int = 150, length: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated forecasts whose outcomes are shared by 20 neighbours, as those of overlapping labels are."""
    rng = np.random.default_rng(seed)
    p = np.repeat(rng.uniform(0.2, 0.5, blocks), length)
    return p, np.repeat(rng.random(blocks) < p[::length], length).astype(float)


def test_an_interval_of_a_calibration_error_holds_it_and_chance_alone_reaches_it_as_often_as_said() -> None:
    beyond = {1: 0, 40: 0}
    for seed in range(180):
        p, y = overlapping(seed)
        error = calibration_error(p, y, bins=5)
        for block in beyond:
            chance = calibration_error_by_chance(p, y, bins=5, block=block, resamples=100, seed=seed)
            beyond[block] += error > chance
        if seed < 5:
            told = reliability(p, y, block=40, bins=5, resamples=60, seed=seed).calibration_error
            assert 0.0 <= told.low <= told.value <= told.high
    assert beyond[40] <= 45, "calibrated forecasts of so few outcomes go beyond it once in 7"
    assert beyond[1] > 135, "outcomes taken as independent would condemn them"
    p, y = overlapping(0)
    boastful = reliability(np.clip(p + 0.3, 0, 1), y, block=40, bins=5, resamples=100)
    assert boastful.calibration_error.value > 1.5 * boastful.calibration_error_by_chance


def test_the_curve_counts_overlapping_outcomes_as_the_fewer_that_they_are() -> None:
    held = {1: 0, 40: 0}
    rows = 0
    for seed in range(120):
        p, y = overlapping(seed)
        for block in held:
            curve = reliability_curve(p, y, bins=5, block=block, resamples=100, seed=seed)
            held[block] += int(((curve["low"] <= curve["forecast"]) & (curve["forecast"] <= curve["high"])).sum())
        rows += len(curve)
    assert held[40] > 0.85 * rows, "intervals of 95 % hold the truth of so few nine times in ten"
    assert held[1] < 0.6 * rows, "those that take each row for itself do not"


def test_a_bin_where_nothing_came_true_counts_overlapping_outcomes_too() -> None:
    n, block = 96, 48  # labels of 24 bars: four independent outcomes, whatever their share
    for value in (0.0, 1.0):
        curve = reliability_curve(np.full(n, 0.2), np.full(n, value), block=block, resamples=50)
        told = proportion_confint(4 * value, 4, method="wilson")
        assert curve[["low", "high"]].to_numpy()[0] == pytest.approx(told, abs=1e-12)
    p = np.r_[np.full(960, 0.05), np.full(960, 0.5)]
    y = np.r_[np.zeros(960), np.repeat(np.random.default_rng(5).random(40) < 0.5, 24)]
    none, some = reliability_curve(p, y, bins=2, block=block, resamples=200).itertuples(index=False)
    z, width, share = norm.ppf(0.975), some.high - some.low, some.observed
    counted = brentq(lambda m: np.ptp(proportion_confint(share * m, m, method="wilson")) - width, 1.0, 960.0)
    assert 20 < counted < 80, "the 40 outcomes of the bin that spreads"
    assert none.high == pytest.approx(z**2 / (counted + z**2), rel=1e-6), "and as many where none came true"


def test_resamples_are_not_held_in_memory_all_at_once() -> None:
    p = np.linspace(0.1, 0.9, 20_000)
    y = np.tile([0.0, 1.0], 10_000)
    held = {}
    for resamples in (20, 200):
        tracemalloc.start()
        block_interval(brier, p, y, block=48, resamples=resamples)
        held[resamples] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert held[200] < 1.5 * held[20]


def unforeseen(rng: np.random.Generator, blocks: int, length: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Forecasts that linger and know nothing, of whether a walk is higher `length` steps on: outcomes that overlap."""
    n = blocks * 2 * length
    walk = np.concatenate([[0.0], rng.standard_normal(n + length).cumsum()])
    steps = rng.standard_normal(n)
    p = np.empty(n)
    for i in range(n):
        p[i] = steps[i] if i == 0 else 0.95 * p[i - 1] + 0.3 * steps[i]
    return norm.cdf(p), (walk[length : length + n] > walk[:n]).astype(float)


@pytest.mark.parametrize("blocks", [2, 4, 10])
def test_intervals_of_few_blocks_find_nothing_where_nothing_is(blocks: int) -> None:
    """95 % of them hold a half; what resampling so few blocks shows by itself held it in 70 % to 85 %."""
    rng = np.random.default_rng(blocks)
    held = 0
    for seed in range(100):
        p, y = unforeseen(rng, blocks)
        found = block_interval(auc, p, y, block=48, resamples=100, seed=seed)
        held += 0.5 in found or not np.isfinite(found.low)
        assert not found.low < 0.0 and not found.high > 1.0
    assert held >= 95 - 3 * 2.2


def test_a_single_block_tells_no_interval() -> None:
    p, y = unforeseen(np.random.default_rng(1), 1)
    y[:2] = 0.0, 1.0
    told = reliability(p, y, block=p.size, resamples=50)
    for found in (told.brier, told.brier_skill, told.log_loss, told.calibration_error, told.auc):
        assert np.isfinite(found.value) and np.isnan([found.low, found.high]).all()
    assert np.isnan(told.calibration_error_by_chance)
    assert told.verdict == "Nothing shows that its probabilities are better than the base rate."
    assert (told.curve["high"] - told.curve["low"]).min() > 0.2, "as of one outcome for every half block"


def test_many_blocks_are_taken_as_they_are() -> None:
    """With 4,000 of them the interval is that of the independent mean, by the central limit."""
    y = (np.random.default_rng(3).random(4000) < 0.3).astype(float)
    found = block_interval(brier, np.zeros(4000), y, resamples=2000)
    assert found.high - found.low == pytest.approx(2 * 1.96 * y.std() / np.sqrt(y.size), rel=0.06)
