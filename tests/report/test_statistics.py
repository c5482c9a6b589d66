"""Figures of an equity curve against their definitions, pandas and hand-made cases."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares.errors import InvalidInput
from ares.report.statistics import (
    annual_return,
    drawdown,
    hit_rate,
    performance,
    profit_factor,
    returns_of,
    sharpe,
    sortino,
    total_return,
    volatility,
)

curves = st.lists(st.floats(0.1, 1000), min_size=2, max_size=60)
changes = st.lists(st.floats(-0.5, 0.5), min_size=3, max_size=60)
HOURS = 8760.0


@given(curves)
def test_returns_compound_to_the_total(curve: list[float]) -> None:
    assert np.prod(1 + returns_of(curve)) - 1 == pytest.approx(total_return(curve), rel=1e-9, abs=1e-9)
    np.testing.assert_allclose(returns_of(curve), pd.Series(curve).pct_change()[1:], rtol=1e-12, atol=1e-12)


@given(changes)
def test_ratios_are_their_definitions(values: list[float]) -> None:
    r = pd.Series(values)
    if r.std() < 1e-6:
        return
    assert volatility(values, HOURS) == pytest.approx(r.std() * math.sqrt(HOURS))
    assert sharpe(values, HOURS) == pytest.approx(r.mean() / r.std() * math.sqrt(HOURS), abs=1e-12)
    below = math.sqrt(sum(min(x, 0) ** 2 for x in values) / len(values))
    if below > 0:
        assert sortino(values, HOURS) == pytest.approx(r.mean() / below * math.sqrt(HOURS), abs=1e-12)


@given(curves)
def test_drawdown_is_its_definition(curve: list[float]) -> None:
    found = drawdown(curve)
    depths = [1 - curve[t] / max(curve[: t + 1]) for t in range(len(curve))]
    assert found.depth == pytest.approx(max(depths))
    longest = run = 0
    for t in range(len(curve)):
        run = run + 1 if curve[t] < max(curve[: t + 1]) else 0
        longest = max(longest, run)
    assert found.longest == longest
    if found.peak is not None:
        assert found.trough is not None
        assert 1 - curve[found.trough] / curve[found.peak] == pytest.approx(found.depth)
        assert found.peak < found.trough
        later = [t for t in range(found.trough, len(curve)) if curve[t] >= curve[found.peak]]
        assert found.recovered == (later[0] if later else None)


def test_drawdown_by_hand() -> None:
    found = drawdown([100, 120, 90, 110, 121, 110])
    assert (found.depth, found.peak, found.trough, found.recovered, found.longest) == (0.25, 1, 2, 4, 2)
    assert drawdown([1, 2, 3]).peak is None
    assert drawdown([1, 2, 3]).depth == 0.0


def test_a_year_has_365_days() -> None:
    curve = [100.0, *([110.0] * 8760)]
    assert performance(curve, HOURS).annual_return == pytest.approx(0.1)
    assert annual_return(0.21, 2.0) == pytest.approx(0.1)
    assert annual_return(-1.0, 1.0) == -1.0
    assert math.isnan(annual_return(0.1, 1 / 400))  # from less than a day no rate for a year
    assert annual_return(1e300, 0.01) == math.inf


def test_trades_by_hand() -> None:
    assert hit_rate([3.0, -1.0, 0.0, 2.0]) == 0.5
    assert profit_factor([3.0, -1.0, 0.0, 2.0]) == 5.0
    assert profit_factor([1.0]) == math.inf
    figures = performance(
        [1000, 1010, 990, 1040],
        HOURS,
        profits=[10.0, -20.0, 50.0],
        holding_bars=[1, 2, 3],
        in_position=[True, False, True],
        traded_notional=6060.0,
        fees=3.0,
        funding=-1.0,
    )
    assert (figures.trades, figures.mean_trade, figures.best_trade, figures.worst_trade) == (3, 40 / 3, 50.0, -20.0)
    assert (figures.mean_holding_bars, figures.exposure) == (2.0, 2 / 3)
    assert figures.turnover == pytest.approx(6060 / 1010 * 8760 / 3)
    assert figures.total_return == pytest.approx(0.04)
    assert (figures.fees, figures.funding, figures.bars) == (3.0, -1.0, 3)


@pytest.mark.parametrize("curve", [[], [1000.0], [1000.0, 1000.0], [1000.0] * 50])
def test_results_without_anything_are_none_not_a_crash(curve: list[float]) -> None:
    figures = performance(curve, HOURS)
    plain = json.loads(json.dumps(figures.to_dict(), allow_nan=False))
    assert plain["sharpe"] is None
    assert plain["psr"] is None
    assert plain["hit_rate"] is None
    assert plain["trades"] == 0
    assert plain["exposure"] == 0.0
    assert plain["bars"] == max(len(curve) - 1, 0)
    assert plain["total_return"] == (0.0 if curve else None)
    assert plain["max_drawdown"] == (0.0 if curve else None)


def test_ruin_is_minus_one_and_stays() -> None:
    figures = performance([100.0, 50.0, 0.0, 0.0] + [0.0] * 100, HOURS)
    assert (figures.total_return, figures.max_drawdown, figures.annual_return) == (-1.0, 1.0, -1.0)
    assert returns_of([100.0, -5.0, -5.0]).tolist() == [-1.05, 0.0]


def test_a_curve_with_a_hole_is_refused() -> None:
    with pytest.raises(InvalidInput, match="finite"):
        performance([1.0, float("nan"), 2.0], HOURS)
