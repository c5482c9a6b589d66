"""Yardsticks: by hand, against a slow loop, and in a market where timing is worth nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ares.data.synthetic import SyntheticConfig, synthetic_market
from ares.errors import InvalidInput
from ares.report.baselines import baselines, buy_and_hold, random_entries

HOURS = 8760.0


def test_holding_by_hand() -> None:
    held = buy_and_hold([100.0, 110.0], [110.0, 120.0], HOURS, fee=0.001, slippage=0.01, funding=[0.0, 0.002])
    entry, leave = 101.0, 118.8
    assert held.net_return == pytest.approx((leave - entry - 0.001 * (leave + entry) - 0.002 * 120.0) / entry)
    free = buy_and_hold([100.0, 80.0, 90.0], [80.0, 90.0, 150.0], HOURS, fee=0.0)
    assert free.net_return == pytest.approx(0.5)
    assert free.max_drawdown == pytest.approx(0.2)
    assert buy_and_hold([], [], HOURS).net_return == 0.0


def test_one_trade_as_long_as_the_data_is_holding() -> None:
    rng = np.random.default_rng(1)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, 50)))
    open_ = np.concatenate(([100.0], close[:-1]))
    funding = rng.normal(0, 1e-4, 50)
    costs = {"fee": 0.0004, "slippage": 0.0002, "funding": funding}
    chance = random_entries(open_, close, sides=[1], holding_bars=[50], draws=3, **costs)
    assert chance.returns == pytest.approx(buy_and_hold(open_, close, HOURS, **costs).net_return)
    double = random_entries(open_, close, sides=[-1], holding_bars=[50], sizes=[2.0], draws=1, fee=0.0)
    assert double.mean == pytest.approx(-2 * (close[-1] / 100 - 1))


def test_draws_are_some_order_of_the_trades_without_overlap() -> None:
    """A market that rises by one a bar at constant slope: each draw earns what its entry bars say."""
    n = 12
    open_ = 100.0 + np.arange(n)
    close = open_ + 1
    seen = set()
    chance = random_entries(open_, close, sides=[1, 1], holding_bars=[3, 5], draws=4000, fee=0.0)
    grid = np.append(open_, close[-1])
    possible = set()
    for first, second in ((3, 5), (5, 3)):
        for a in range(n - 8 + 1):
            for b in range(a + first, n - second + 1):
                gain = grid[a + first] / grid[a] * grid[b + second] / grid[b] - 1
                possible.add(round(float(gain), 9))
    seen = {round(float(x), 9) for x in chance.returns}
    assert seen == possible  # nothing else, and nothing left out


def test_costs_alone_remain_where_timing_is_worth_nothing() -> None:
    config = SyntheticConfig(predictability=0.0, jumps_per_year=0.0, volatility=0.2)
    k = synthetic_market(8, 20_000, "1h", config).klines
    cost, trades = 0.0005, 40
    chance = random_entries(
        k["open"], k["close"], sides=[1, -1] * (trades // 2), holding_bars=[20] * trades, fee=cost, draws=3000
    )
    error = chance.returns.std() / np.sqrt(3000)
    assert abs(chance.mean - ((1 - 2 * cost) ** trades - 1)) < 4 * error + 0.02  # draws share one path
    assert chance.low < chance.median < chance.high
    assert chance.share_below(chance.high) == pytest.approx(0.95, abs=0.01)


def test_trades_that_overlap_still_have_a_yardstick() -> None:
    open_ = np.full(10, 100.0)
    chance = random_entries(open_, open_, sides=[1] * 5, holding_bars=[8] * 5, fee=0.001, draws=50)
    assert chance.returns == pytest.approx((1 - 0.002) ** 5 - 1)


def test_a_short_that_loses_all_ends_there() -> None:
    chance = random_entries([1.0, 2.0], [2.0, 4.0], sides=[-1], holding_bars=[2], draws=2, fee=0.0)
    assert chance.returns.tolist() == [-1.0, -1.0]


def test_seeded_and_plain() -> None:
    k = synthetic_market(8, 500).klines
    given = {"sides": [1, -1, 1], "holding_bars": [5, 10, 2], "sizes": [0.5, 1.0, 2.0], "draws": 200}
    one = baselines(k["open"], k["close"], HOURS, seed=4, **given)
    two = baselines(k["open"], k["close"], HOURS, seed=4, **given)
    np.testing.assert_array_equal(one.random_entries.returns, two.random_entries.returns)
    assert one.random_entries.mean != baselines(k["open"], k["close"], HOURS, seed=5, **given).random_entries.mean
    plain = json.loads(json.dumps(one.to_dict(), allow_nan=False))
    assert plain["flat"] == 0.0
    assert plain["random_entries_p05"] <= plain["random_entries_median"] <= plain["random_entries_p95"]
    assert plain["random_entries_trades"] == 3


def test_no_trades_and_no_bars() -> None:
    none = baselines([100.0, 101.0], [101.0, 102.0], HOURS)
    assert (none.random_entries.mean, none.random_entries.trades) == (0.0, 0)
    empty = baselines([], [], HOURS, sides=[1], holding_bars=[3]).to_dict()
    assert (empty["buy_and_hold"], empty["random_entries"], empty["buy_and_hold_sharpe"]) == (0.0, 0.0, None)


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidInput, match="positive"):
        baselines([1.0, 0.0], [1.0, 1.0], HOURS)
    with pytest.raises(InvalidInput, match="one number a trade"):
        baselines([1.0], [1.0], HOURS, sides=[1], holding_bars=[1, 2])
    with pytest.raises(InvalidInput, match="each of the 2 bars"):
        baselines([1.0, 1.0], [1.0, 1.0], HOURS, funding=[0.1])
