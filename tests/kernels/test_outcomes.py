"""Chances of a driftless walk and the beta distribution against their definitions and a peer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from ares.analyst.config import AnalystConfig
from ares.analyst.learner import Prior
from ares.kernels.beta import beta_cdf, beta_quantile
from ares.kernels.outcomes import driftless_chances


def lattice(target: float, stop: float, cells: int = 60) -> tuple[float, float, float, float]:
    """The same chances for a coin-tossing walk on a fine lattice, by counting paths; and the mean end of a timeout, in
    widths of the target.
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
    neither = float(density[1:-1].sum())
    end = float(density[1:-1] @ np.arange(1 - down, up)) / up / neither
    return float(density[-1]), float(density[0]), neither, end


@pytest.mark.parametrize("barriers", [(1.0, 1.0), (2.0, 1.0), (0.5, 1.5)])
def test_driftless_chances_are_those_of_a_fine_coin_tossing_walk(barriers: tuple[float, float]) -> None:
    assert driftless_chances(*barriers) == pytest.approx(lattice(*barriers)[:3], abs=2e-3)


@pytest.mark.parametrize(("target", "stop"), [(1.0, 1.0), (2.0, 1.0), (0.5, 1.5), (1.0, 2.0)])
def test_the_prior_knows_what_a_timeout_of_a_driftless_walk_is_worth(target: float, stop: float) -> None:
    prior = Prior.of(AnalystConfig(target_multiple=target, stop_multiple=stop))
    assert prior.timeout_return == pytest.approx(lattice(target, stop)[3], abs=5e-3)


@given(st.floats(1e-3, 20.0), st.floats(1e-3, 20.0))
def test_a_timeout_of_the_prior_ends_between_the_barriers(target: float, stop: float) -> None:
    prior = Prior.of(AnalystConfig(target_multiple=target, stop_multiple=stop))
    assert -stop / target <= prior.timeout_return <= 1.0


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
