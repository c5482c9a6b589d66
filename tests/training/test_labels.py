"""Labels against a slow oracle, their definitions, and a random walk whose answer is known."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ares.data import load_funding
from ares.errors import DataError, InvalidInput, TooShort
from ares.training.labels import BarrierConfig, Costs, bar_volatility, cusum, interval_ns, triple_barrier
from tests.oracles import triple_barrier as oracle

HOUR = 3600 * 10**9
NAMES = {1: "target", -1: "stop", 0: "time"}


def market(seed: int, n: int = 400, *, gaps: bool = True, coarse: bool = False) -> pd.DataFrame:
    """Hourly bars of a random walk, with missing bars, dead bars and NaN bars strewn in."""
    rng = np.random.default_rng(seed)
    open_ = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, n)))
    close = open_ * np.exp(rng.normal(0, 0.01, n))
    spread = 0.02 if coarse else 0.006
    frame = pd.DataFrame(
        {
            "open": open_,
            "high": np.maximum(open_, close) * np.exp(rng.exponential(spread, n)),
            "low": np.minimum(open_, close) * np.exp(-rng.exponential(spread, n)),
            "close": close,
            "volume": rng.exponential(10.0, n),
        },
        index=pd.date_range("2024-01-01", periods=n, freq="h", tz="UTC", name="open_time").as_unit("ns"),
    )
    if gaps:
        frame.loc[frame.index[rng.choice(n, n // 20, replace=False)], "volume"] = 0.0
        frame.iloc[rng.choice(n, n // 40, replace=False), :4] = np.nan
        frame = frame.drop(frame.index[rng.choice(np.arange(1, n), n // 10, replace=False)])
        hole = int(rng.integers(50, len(frame) - 60))
        frame = frame.drop(frame.index[hole : hole + 30])
    return frame


def told_slowly(frame, labels_config, sides, sigma, funding):  # type: ignore[no-untyped-def]
    bars = [oracle.Bar(t.value, *map(float, row)) for t, row in zip(frame.index, frame.to_numpy(), strict=True)]
    prices = frame["open"].ffill().to_numpy()
    where = frame.index.searchsorted(funding.index, side="right") - 1
    settlements = [(t.value, r * prices[i]) for t, r, i in zip(funding.index, funding, where, strict=True)]
    costs = labels_config.costs
    return [
        oracle.label(
            bars,
            i,
            int(sides[i]),
            float(sigma[i]),
            step=HOUR,
            horizon=labels_config.horizon,
            target=labels_config.target,
            stop=labels_config.stop,
            slip=costs.half_spread + costs.slippage,
            fee=costs.taker_fee,
            settlements=settlements,
        )
        for i in range(len(bars))
    ]


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    horizon=st.integers(1, 12),
    target=st.floats(0.2, 2.0),
    stop=st.floats(0.2, 2.0),
    coarse=st.booleans(),
)
def test_every_label_is_what_the_slow_telling_says(
    seed: int, horizon: int, target: float, stop: float, coarse: bool
) -> None:
    frame = market(seed, coarse=coarse)
    rng = np.random.default_rng(seed)
    sides = rng.integers(-1, 2, len(frame))
    sigma = rng.uniform(0.004, 0.02, len(frame))
    funding = pd.Series(
        rng.normal(0, 0.001, 60),
        index=pd.date_range("2024-01-01", periods=60, freq="8h", tz="UTC").as_unit("ns"),
    )
    config = BarrierConfig(horizon=horizon, target=target, stop=stop, least_width=0.0)
    labels = triple_barrier(frame, side=sides, volatility=sigma, funding=funding, config=config)
    slow = told_slowly(frame, config, sides, sigma, funding)
    done = [i for i, bet in enumerate(slow) if bet.outcome in NAMES.values()]
    assert labels.event.tolist() == done
    assert labels.dropped["no_entry"] == sum(bet.outcome == "no_entry" for bet in slow)
    assert labels.dropped["unmatured"] == sum(bet.outcome == "unmatured" for bet in slow)
    for k, i in enumerate(done):
        bet = slow[i]
        assert NAMES[int(labels.barrier[k])] == bet.outcome, i
        assert (bool(labels.tie[k]), labels.entry_ns[k], labels.t1[k]) == (bet.tie, bet.entry_ns, bet.end_ns)
        assert math.isclose(labels.gross[k], bet.gross, rel_tol=1e-9, abs_tol=1e-12)
        assert labels.net[k] == pytest.approx(bet.net, rel=1e-9, abs=1e-12, nan_ok=True)
    assert (labels.holding_ns == labels.t1 - labels.entry_ns).all()
    assert (labels.t0 <= labels.entry_ns).all()
    assert (labels.t1 > labels.t0).all()


def flat(rows: list[tuple[float, float, float, float]]) -> pd.DataFrame:
    index = pd.date_range("2024-01-01 01:00", periods=len(rows), freq="h", tz="UTC", name="open_time")
    frame = pd.DataFrame(rows, columns=["open", "high", "low", "close"], index=index.as_unit("ns"))
    return frame.assign(volume=1.0)


FREE = Costs(taker_fee=0.0, maker_fee=0.0, half_spread=0.0, slippage=0.0, assumed_funding=0.0)
ONE_PERCENT = {"volatility": np.full(4, 0.01), "config": BarrierConfig(horizon=1, costs=FREE)}


def test_entry_is_the_next_open_not_the_deciding_close() -> None:
    frame = flat([(100, 100, 100, 100), (110, 110, 110, 110), (110, 110, 110, 110), (110, 110, 110, 110)])
    labels = triple_barrier(frame, [0], side=1, **ONE_PERCENT)
    assert labels.barrier.tolist() == [0]
    assert labels.gross.tolist() == [0.0]


def test_the_stop_wins_a_tie_for_either_side_and_ties_are_counted() -> None:
    frame = flat([(100, 100, 100, 100), (100, 105, 95, 100), (100, 100, 100, 100), (100, 100, 100, 100)])
    for side in (1, -1):
        labels = triple_barrier(frame, [0, 1], side=side, **ONE_PERCENT)
        assert labels.barrier.tolist() == [-1, 0]
        assert labels.ties == 1
        assert labels.gross[0] < 0
    undecided = triple_barrier(frame, [0], **ONE_PERCENT)
    assert (undecided.barrier.tolist(), undecided.ties) == ([0], 1)
    assert np.isnan(undecided.net).all()


def test_costs_are_inside_the_net_return() -> None:
    frame = flat([(100, 100, 100, 100)] * 4)
    costs = Costs(taker_fee=0.001, half_spread=0.0, slippage=0.0, assumed_funding=0.0)
    labels = triple_barrier(
        frame, [0], side=-1, volatility=np.full(4, 0.01), config=BarrierConfig(horizon=2, costs=costs)
    )
    assert labels.net[0] == pytest.approx(-0.002, abs=1e-15)
    slipping = Costs(taker_fee=0.0, half_spread=0.001, slippage=0.0, assumed_funding=0.0)
    labels = triple_barrier(
        frame, [0], side=1, volatility=np.full(4, 0.01), config=BarrierConfig(horizon=2, costs=slipping)
    )
    assert labels.net[0] == pytest.approx(99.9 / 100.1 - 1.0, abs=1e-15)


def test_a_long_pays_positive_funding_and_a_short_receives_it() -> None:
    frame = flat([(100, 100, 100, 100)] * 12)
    funding = pd.Series([0.001], index=pd.to_datetime(["2024-01-01 08:00:00.008"], utc=True).as_unit("ns"))
    config = BarrierConfig(horizon=10, costs=FREE)
    for side, paid in ((1, -0.001), (-1, 0.001)):
        labels = triple_barrier(frame, [0], side=side, volatility=np.full(12, 0.05), funding=funding, config=config)
        assert labels.net[0] == pytest.approx(paid, abs=1e-15)
    entered_at_it = triple_barrier(
        frame, [6], side=1, volatility=np.full(12, 0.05), funding=funding, config=BarrierConfig(horizon=3, costs=FREE)
    )
    assert entered_at_it.net[0] == 0.0
    assumed = BarrierConfig(horizon=10, costs=Costs(taker_fee=0, half_spread=0, slippage=0, assumed_funding=0.0002))
    for side in (1, -1):
        labels = triple_barrier(frame, [0], side=side, volatility=np.full(12, 0.05), config=assumed)
        assert labels.net[0] == pytest.approx(-0.0002, abs=1e-15)


def test_funding_may_be_the_frame_that_load_funding_gives() -> None:
    frame = market(5, gaps=False)
    when = pd.date_range("2024-01-01 08:00", periods=40, freq="8h", tz="UTC", name="funding_time")
    rates = pd.Series(np.linspace(-0.01, 0.01, 40), index=when + pd.Timedelta("3ms"))
    table = load_funding(rates.rename("funding_rate").rename_axis("funding_time").reset_index())
    series, framed = (triple_barrier(frame, side=1, funding=f) for f in (rates, table))
    assert np.array_equal(series.net, framed.net) and len(series)
    assert not np.array_equal(series.net, triple_barrier(frame, side=1).net)
    for wrong in ([0.1, 0.2], rates.reset_index(drop=True)):
        with pytest.raises(InvalidInput, match="funding"):
            triple_barrier(frame, funding=wrong)
    with pytest.raises(DataError, match="missing"):
        triple_barrier(frame, funding=rates.replace(rates.iloc[3], np.inf))


def test_a_mask_names_the_same_events_as_its_positions() -> None:
    frame = market(6)
    mask = np.random.default_rng(1).random(len(frame)) < 0.3
    by_mask, by_place = triple_barrier(frame, mask), triple_barrier(frame, np.flatnonzero(mask))
    assert np.array_equal(by_mask.event, by_place.event) and np.array_equal(by_mask.gross, by_place.gross)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"side": "BUY"}, r"side must be \+1"),
        ({"side": 0.5}, r"side must be \+1"),
        ({"side": [1, -1]}, "side has shape"),
        ({"events": np.ones(7, bool)}, "mask of events"),
        ({"events": [1.5, 2.5]}, "positions of bars"),
        ({"events": ["2024-01-01"]}, "positions of bars"),
        ({"volatility": ["a"] * 400}, "volatility must be numbers"),
    ],
)
def test_what_cannot_be_labelled_is_refused_by_name(given: dict[str, object], named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        triple_barrier(market(7, gaps=False), **given)  # type: ignore[arg-type]


def test_bars_without_a_needed_column_are_refused_by_name() -> None:
    for missing in ("open", "high", "low", "close"):
        with pytest.raises(InvalidInput, match=missing):
            triple_barrier(market(8).drop(columns=missing))
    with pytest.raises(InvalidInput, match="frame, not list"):
        triple_barrier([1, 2, 3])  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="close"):
        cusum(market(8).drop(columns="close"))


def test_an_event_whose_target_cannot_pay_the_costs_is_none() -> None:
    frame = market(1, gaps=False)
    config = BarrierConfig(horizon=4, least_width=3.0)
    sigma = np.where(np.arange(len(frame)) % 2, 1e-4, 0.01)
    labels = triple_barrier(frame, volatility=sigma, config=config)
    assert labels.dropped["too_narrow"] == len(frame) // 2
    assert (labels.target_width > 3.0 * config.costs.round_trip).all()


def test_without_drift_the_target_comes_first_at_the_known_rate() -> None:
    """A fine random walk touches the barrier at b before the one at a with chance b / (a + b)."""
    rng = np.random.default_rng(3)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 1e-3, 400_000)))
    open_ = np.concatenate([[100.0], close[:-1]])
    frame = pd.DataFrame(
        {
            "open": open_,
            "high": np.maximum(open_, close),
            "low": np.minimum(open_, close),
            "close": close,
            "volume": 1.0,
        },
        index=pd.date_range("2023-01-01", periods=close.size, freq="min", tz="UTC").as_unit("ns"),
    )
    config = BarrierConfig(horizon=2000, target=0.8, stop=0.4, least_width=0.0, costs=FREE)
    labels = triple_barrier(
        frame, np.arange(0, 395_000, 500), side=1, volatility=np.full(close.size, 1e-3), config=config
    )
    ended = labels.barrier != 0
    wins = (labels.barrier[ended] == 1).mean()
    assert wins == pytest.approx(config.driftless_win_rate, abs=4 * math.sqrt(0.22 / ended.sum()))


def test_cusum_follows_its_definition() -> None:
    frame = market(5, gaps=False)
    sigma = np.full(len(frame), 0.02)
    found = cusum(frame, 1.0, sigma).tolist()
    up = down = 0.0
    slow = []
    log_price = [math.log(c) for c in frame["close"]]
    for t in range(1, len(log_price)):
        change = log_price[t] - log_price[t - 1]
        up, down = max(0.0, up + change), min(0.0, down + change)
        if down < -0.02:
            down = 0.0
            slow.append(t)
        elif up > 0.02:
            up = 0.0
            slow.append(t)
    assert found == slow
    assert 10 < len(found) < len(frame)


def test_overlap_weights_follow_their_definitions() -> None:
    frame = market(7)
    labels = triple_barrier(frame, side=1, volatility=np.full(len(frame), 0.01), config=BarrierConfig(horizon=7))
    close = frame["close"].ffill().to_numpy()
    alive = [sum(f <= t <= e for f, e in zip(labels.first, labels.last, strict=True)) for t in range(len(frame))]
    assert labels.alive().tolist() == alive
    r = np.diff(np.log(close), prepend=np.nan)
    lives = [range(f, e + 1) for f, e in zip(labels.first, labels.last, strict=True)]
    unique = [np.mean([1 / alive[t] for t in life]) for life in lives]
    np.testing.assert_allclose(labels.uniqueness(), unique, rtol=1e-10)
    shared = np.array([abs(sum(r[t] / alive[t] for t in life)) for life in lives])
    np.testing.assert_allclose(labels.return_weights(close), shared / shared.mean(), rtol=1e-8, atol=1e-12)


def test_labels_that_never_overlap_are_wholly_unique() -> None:
    frame = market(8, gaps=False)
    labels = triple_barrier(
        frame, np.arange(0, 380, 20), side=1, volatility=np.full(len(frame), 0.01), config=BarrierConfig(horizon=5)
    )
    np.testing.assert_allclose(labels.uniqueness(), 1.0, rtol=1e-12)


def test_time_decay_runs_from_oldest_to_newest() -> None:
    frame = market(9, gaps=False)
    labels = triple_barrier(frame, side=1, volatility=np.full(len(frame), 0.01), config=BarrierConfig(horizon=5))
    weights = labels.time_decay(0.4)
    assert weights[-1] == 1.0
    assert 0.4 <= weights[0] < 0.41
    assert (np.diff(weights) > 0).all()
    assert (labels.time_decay(1.0) == 1.0).all()
    erased = labels.time_decay(-0.5)
    assert 0.45 < (erased == 0).mean() < 0.55
    with pytest.raises(InvalidInput, match="oldest"):
        labels.time_decay(-1.0)


def test_volatility_is_the_weighted_root_mean_square_and_looks_back_only() -> None:
    frame = market(10, gaps=False)
    sigma = bar_volatility(frame, 50)
    r = np.log(frame["close"]).diff()
    peer = np.sqrt((r**2).ewm(span=50, adjust=True).mean()).to_numpy()
    np.testing.assert_allclose(sigma[50:], peer[50:], rtol=1e-10)
    assert np.isnan(sigma[:50]).all()
    changed = frame.copy()
    changed.iloc[200:] *= 1.5
    assert np.array_equal(bar_volatility(changed, 50)[:200], sigma[:200], equal_nan=True)


def test_events_may_be_named_by_open_time_and_bad_ones_are_refused() -> None:
    frame = market(11)
    sigma = np.full(len(frame), 0.01)
    config = BarrierConfig(horizon=3)
    by_time = triple_barrier(frame, frame.index[[5, 9, 40]], side=1, volatility=sigma, config=config)
    by_place = triple_barrier(frame, [5, 9, 40], side=1, volatility=sigma, config=config)
    pd.testing.assert_frame_equal(by_time.frame, by_place.frame)
    assert by_time.frame.index.equals(frame.index[by_time.event])
    with pytest.raises(InvalidInput, match="no bar's open time"):
        triple_barrier(frame, frame.index[[5]] + pd.Timedelta("1min"), side=1, volatility=sigma)
    with pytest.raises(InvalidInput, match="time order"):
        triple_barrier(frame, [9, 5], side=1, volatility=sigma)
    with pytest.raises(InvalidInput, match="must lie in"):
        triple_barrier(frame, [len(frame)], side=1, volatility=sigma)
    with pytest.raises(InvalidInput, match="side"):
        triple_barrier(frame, [5], side=2, volatility=sigma)
    with pytest.raises(TooShort):
        triple_barrier(frame.iloc[:1])
    with pytest.raises(DataError, match="increase"):
        triple_barrier(frame.iloc[::-1])


def test_real_bars_give_labels_that_cost_what_they_should(real_data: Path) -> None:
    frame = pd.read_parquet(real_data / "market" / "um_ETHUSDT_1h.parquet").set_index("open_time").iloc[2000:12000]
    assert interval_ns(frame) == HOUR
    labels = triple_barrier(frame, cusum(frame), side=1)
    assert len(labels) > 1000
    assert np.isfinite(labels.net).all()
    assert (labels.net < labels.gross).all()
    counts = np.bincount(labels.barrier + 1)
    assert (counts > 50).all()
    assert labels.ties < len(labels) // 20
