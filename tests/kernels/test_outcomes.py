"""Chances of a driftless walk and the beta distribution against their definitions and a peer."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from ares.analyst.config import AnalystConfig
from ares.analyst.learner import Prior
from ares.kernels.beta import beta_cdf, beta_quantile
from ares.kernels.outcomes import driftless_chances, driftless_time, recount, weigh


@cache
def ends(target: float, stop: float, cells: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Where a coin-tossing walk on a fine lattice is at a barrier or at the horizon, in widths of the target, and how
    likely that is, by counting paths; the first place is the stop, the last the target.
    """
    step = min(target, stop) / cells
    up, down = round(target / step), round(stop / step)
    density = np.zeros(up + down + 1)
    density[down] = 1.0
    for _ in range(round(1.0 / step**2)):
        moved = np.zeros_like(density)
        moved[2:] += 0.5 * density[1:-1]
        moved[:-2] += 0.5 * density[1:-1]
        moved[0] += density[0]
        moved[-1] += density[-1]
        density = moved
    return np.arange(-down, up + 1) / up, density


def lattice(target: float, stop: float) -> tuple[float, float, float]:
    """Chances of target, stop and neither."""
    _, density = ends(target, stop)
    return float(density[-1]), float(density[0]), float(density[1:-1].sum())


@pytest.mark.parametrize("barriers", [(1.0, 1.0), (2.0, 1.0), (0.5, 1.5)])
def test_driftless_chances_are_those_of_a_fine_coin_tossing_walk(barriers: tuple[float, float]) -> None:
    assert driftless_chances(*barriers) == pytest.approx(lattice(*barriers), abs=2e-3)


@pytest.mark.parametrize("barriers", [(1.0, 1.0), (2.0, 1.0), (0.5, 1.5), (1.0, 3.0)])
def test_the_time_of_a_driftless_walk_is_its_mean_square(barriers: tuple[float, float]) -> None:
    places, density = ends(*barriers)
    assert driftless_time(*barriers) == pytest.approx(density @ (places * barriers[0]) ** 2, abs=5e-3)


@given(st.floats(0.02, 6.0), st.floats(0.02, 6.0))
def test_the_time_of_a_driftless_walk_is_at_most_that_without_a_horizon(target: float, stop: float) -> None:
    assert 0.0 < driftless_time(target, stop) <= min(1.0, target * stop) + 1e-9
    assert driftless_time(stop, target) == pytest.approx(driftless_time(target, stop), abs=1e-9)


@pytest.mark.parametrize(("target", "stop"), [(1.0, 1.0), (2.0, 1.0), (0.5, 1.5), (1.0, 2.0)])
def test_the_prior_knows_what_a_timeout_of_a_driftless_walk_is_worth(target: float, stop: float) -> None:
    prior = Prior.of(AnalystConfig(target_multiple=target, stop_multiple=stop))
    places, density = (x[1:-1] for x in ends(target, stop))
    density = density / density.sum()
    assert prior.timeout_return == pytest.approx(density @ places, abs=5e-3)
    assert prior.timeout_square == pytest.approx(density @ places**2, abs=2e-2)


@given(st.floats(1e-3, 20.0), st.floats(1e-3, 20.0))
def test_a_timeout_of_the_prior_ends_between_the_barriers(target: float, stop: float) -> None:
    prior = Prior.of(AnalystConfig(target_multiple=target, stop_multiple=stop))
    assert -stop / target <= prior.timeout_return <= 1.0
    assert prior.timeout_return**2 <= prior.timeout_square <= max(1.0, stop / target) ** 2


def believed(stop: float, outcomes: int, cost: float, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """How sure `weigh` is of a long's target, at level 0.9, and what it needs, after `outcomes` trades on a driftless
    walk; (draws,) each. Widths: target 1 %, stop as many times that.
    """
    places, density = ends(1.0, stop)
    found = np.random.default_rng(7).choice(places.size, (draws, outcomes), p=density / density.sum())
    prior = Prior.of(AnalystConfig(stop_multiple=stop))
    lower, needed, low = np.empty(draws), np.empty(draws), np.empty(2)
    for i, row in enumerate(found):
        late = places[row[(row > 0) & (row < places.size - 1)]]
        tally = np.zeros((2, 6))
        tally[0] = (row == places.size - 1).sum(), (row == 0).sum(), late.size, outcomes, late.sum(), late @ late
        recount(tally, low, 0, prior.target, prior.stop, 0.9)
        lower[i], needed[i] = weigh(
            tally,
            low,
            0,
            1,
            prior.target,
            prior.stop,
            prior.timeout,
            prior.timeout_return,
            prior.timeout_square,
            0.01,
            0.01 * stop,
            cost,
            special.ndtri(0.9),
        )[4:6]
    return lower, needed


@pytest.mark.parametrize("outcomes", [30, 300])
@pytest.mark.parametrize("stop", [0.5, 1.0, 1.5, 2.0, 3.0, 5.0])
def test_without_costs_a_driftless_walk_seems_to_pay_no_oftener_than_the_level_says(stop: float, outcomes: int) -> None:
    """One look in ten by the level; a bound of the share of targets alone was wrong in four of ten under wide stops."""
    lower, needed = believed(stop, outcomes, 0.0, 2000)
    share = float((lower > needed).mean())
    assert share < 0.1 + 4.0 * np.sqrt(0.1 * 0.9 / 2000)
    assert share > 0.02 or stop < 1.0, "a bound that nothing exceeds says nothing"


@pytest.mark.parametrize("stop", [2.0, 3.0])
def test_costs_leave_a_wide_stop_few_bets_on_nothing(stop: float) -> None:
    lower, needed = believed(stop, 100, 0.0007, 2000)
    assert (lower > needed).mean() < 0.03


@given(st.floats(0.02, 6.0), st.floats(0.02, 6.0))
def test_driftless_chances_sum_to_one_and_mirror(target: float, stop: float) -> None:
    chances = driftless_chances(target, stop)
    assert sum(chances) == pytest.approx(1.0, abs=1e-12)
    assert min(chances) >= 0.0
    assert driftless_chances(stop, target) == pytest.approx((chances[1], chances[0], chances[2]), abs=1e-9)


def test_without_a_horizon_the_near_barrier_wins_by_the_ratio() -> None:
    assert driftless_chances(0.02, 0.01) == pytest.approx((1 / 3, 2 / 3, 0.0))


@given(st.floats(0.2, 3000.0), st.floats(0.2, 3000.0), st.floats(0.01, 0.99))
def test_the_beta_distribution_agrees_with_scipy(a: float, b: float, q: float) -> None:
    x = beta_quantile(q, a, b)
    assert x == pytest.approx(special.betaincinv(a, b, q), abs=1e-9, rel=1e-9)
    assert beta_cdf(x, a, b) == pytest.approx(special.betainc(a, b, x), abs=1e-10)
