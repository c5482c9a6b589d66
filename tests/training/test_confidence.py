"""A confidence is right where bets are chosen, not only on average: likely timeouts leave little to the target."""

from __future__ import annotations

import numpy as np
import pytest
from attrs import evolve

from ares.analyst.dual_model import CALIBRATED, DualModel
from ares.errors import ModelError
from ares.models.bundle import Bundle
from ares.training.dataset import Bets, Dataset, make_dataset
from ares.training.folds import Estimators, OutOfSample, horizon_cost, walk_forward
from ares.training.labels import BarrierConfig
from ares.training.trainer import TrainedModel
from tests.training.markets import QUICK, market, orchestrator, quick, small_trees, trained

TOUCHED = (0.25, 0.85)  # chance of touching a barrier in calm and in lively rows


@pytest.fixture(scope="module")
def coin() -> Dataset:
    """Real rows whose outcomes are dealt: one column tells whether a barrier is touched, nothing tells which."""
    data = make_dataset(market(6000, 0.0).klines, QUICK, orchestrator())
    rng = np.random.default_rng(3)
    lively = rng.integers(0, 2, len(data))
    touched = rng.random(len(data)) < np.take(TOUCHED, lively)
    y = np.where(touched, rng.choice([-1, 1], len(data)), 0)
    width = data.target_width
    late = (y == 0).astype(np.int64)
    long, short = (
        Bets(hit=hit, late=late, net=np.expm1(s * y * width) - 0.0015, t1=data.t1, last=data.last)
        for s, hit in ((s, (s * y > 0).astype(np.int64)) for s in (1, -1))
    )
    X, columns = np.column_stack([data.X, lively]), (*data.columns, "planted.lively")
    return evolve(data, X=X, columns=columns, y=y.astype(np.int64), long=long, short=short)


@pytest.fixture(scope="module")
def found(coin: Dataset) -> OutOfSample:
    return walk_forward(coin, Estimators(side=small_trees(), timing=small_trees(), meta=small_trees()), QUICK)


def test_under_a_wide_stop_lively_rows_lose_more_by_their_fewer_timeouts(coin: Dataset) -> None:
    """Half of what goes the wrong way first turns and runs out of time, half a width below entry; what touches nothing
    ends as often above as below. The bets of calm rows time out oftener, and those of lively ones lose by it.
    """
    rng = np.random.default_rng(4)
    width, cost = coin.target_width, horizon_cost(QUICK, coin.interval.ns)
    turned, end = rng.random(len(coin)) < 0.5, rng.uniform(-1.0, 1.0, len(coin))
    sides = []
    for s in (1, -1):
        wrong = s * coin.y < 0
        late = (coin.y == 0) | (wrong & turned)
        moved = np.where(coin.y == 0, s * end, np.where(wrong, np.where(turned, -0.5, -2.0), 1.0))
        hit = (s * coin.y > 0).astype(np.int64)
        sides.append(Bets(hit=hit, late=late.astype(np.int64), net=moved * width - cost, t1=coin.t1, last=coin.last))
    wide = evolve(coin, long=sides[0], short=sides[1], stop_width=2.0 * width)
    config = evolve(QUICK, barriers=BarrierConfig(stop=2.0), timing=False, meta=False)
    found = walk_forward(wide, Estimators(side=small_trees()), config)
    lost = []
    for lively in (0, 1):
        at = found.tested & (found.side != 0) & (coin.X[:, -1] == lively)
        bets = wide.bets(found.side)
        came = -(bets.net[at] + cost) / width[at] * bets.late[at]
        said = found.timeout_loss[at] * found.p_timeout[at]
        assert said.mean() == pytest.approx(came.mean(), abs=4 * came.std() / np.sqrt(at.sum()))
        assert found.p_timeout[at].mean() == pytest.approx(bets.late[at].mean(), abs=2.0 / np.sqrt(at.sum()))
        lost.append(said.mean())
    assert lost[1] > 2.0 * lost[0] > 0.0


@pytest.mark.parametrize("lively", [0, 1])
def test_the_confidence_comes_true_among_likely_and_unlikely_timeouts(
    coin: Dataset, found: OutOfSample, lively: int
) -> None:
    at = found.tested & (found.side != 0) & (coin.X[:, -1] == lively)
    hit = coin.bets(found.side).hit[at]
    error = np.sqrt(hit.mean() * (1.0 - hit.mean()) / at.sum())
    assert hit.mean() == pytest.approx(TOUCHED[lively] / 2.0, abs=4 * error), "half of what touches is the target"
    assert found.confidence[at].mean() == pytest.approx(hit.mean(), abs=4 * error)
    assert (found.low[at] <= found.confidence[at]).all()
    assert found.low[at].mean() > 0.5 * hit.mean(), "and its bound is of the same chance"


def test_no_bet_is_taken_only_because_a_timeout_is_likely(found: OutOfSample) -> None:
    assert found.tested.sum() > 1000
    assert found.taken.sum() <= 0.005 * found.tested.sum(), "a coin's sides pay no costs, however seldom they end"


@pytest.mark.parametrize(("target", "stop"), [(1.0, 1.0), (1.5, 0.75), (0.75, 1.5)])
def test_target_stop_and_timeout_come_as_often_as_said_whatever_their_widths(target: float, stop: float) -> None:
    """And what they are worth together is what bets brought: a timeout under a wide stop is a loss."""
    barriers = BarrierConfig(target=target, stop=stop)
    model = quick(market(8000, 0.0).klines, evolve(QUICK, barriers=barriers))
    data, found = model.data, model.out_of_sample
    at = np.flatnonzero(found.tested & (found.side != 0))
    bets, late = data.bets(found.side), DualModel(bundle=model.bundle).late
    said = found.confidence[at], 1.0 - found.confidence[at] - found.p_timeout[at], found.p_timeout[at]
    came = bets.hit[at], 1 - bets.hit[at] - bets.late[at], bets.late[at]
    effective = at.size * data.uniqueness  # labels overlap
    for p, z in zip(said, came, strict=True):
        assert p.mean() == pytest.approx(z.mean(), abs=4 * np.sqrt(z.mean() * (1.0 - z.mean()) / effective))
    width, wide = data.target_width[at], data.stop_width[at]
    cost, net = horizon_cost(model.config, data.interval.ns), bets.net[at]
    worth = said[0] * width - said[1] * wide - said[2] * found.timeout_loss[at] * width - cost
    assert worth.mean() == pytest.approx(net.mean(), abs=4 * net.std() / np.sqrt(effective))
    assert (late.touched_loss > 0.05) == (stop > target)
    assert found.taken.sum() < 0.02 * at.size, "there is nothing to bet on"


@pytest.mark.parametrize("stop", [1.0, 3.0])
def test_bets_under_a_wide_stop_outlive_the_touch_and_overlap_more(stop: float) -> None:
    """Their lower bound counts them by their own lives."""
    klines = market().klines.iloc[:2500]
    data = make_dataset(klines, evolve(QUICK, barriers=BarrierConfig(stop=stop)), orchestrator())
    opened, rows = klines.index.as_unit("ns").asi8, np.flatnonzero(data.y != 0)
    for side in (1, -1):
        sides = np.full(len(data), side)
        bets = data.bets(sides)
        assert (opened[bets.last] < bets.t1).all() and (bets.t1 <= opened[bets.last] + data.interval.ns).all()
        alive = np.zeros(len(klines))
        for row in rows:
            alive[data.first[row] : bets.last[row] + 1] += 1
        alone = [np.mean(1.0 / alive[data.first[row] : bets.last[row] + 1]) for row in rows]
        assert data.uniqueness_of(rows, sides) == pytest.approx(np.array(alone), rel=1e-9)
        ratio = data.uniqueness_of(rows, sides).mean() / data.uniqueness_of(rows).mean()
        assert ratio == pytest.approx(1.0, abs=0.01) if stop == 1.0 else ratio < 0.9


def test_training_and_trading_judge_alike() -> None:
    model = trained()
    dual = DualModel(bundle=model.bundle)
    judged = dual.judge(model.data.X[-50:])
    touched = 1.0 - _neither(model)[-50:]
    assert np.allclose(judged.confidence, _share(model.bundle, judged.score) * touched, rtol=1e-12)
    assert (judged.low <= judged.confidence).all()
    assert np.allclose(judged.p_up + judged.p_down + judged.p_timeout, 1.0, atol=1e-12)
    ours = np.where(judged.side > 0, judged.p_up, judged.p_down)
    assert np.array_equal(ours[judged.side != 0], judged.confidence[judged.side != 0])


def _share(bundle: Bundle, score: np.ndarray) -> np.ndarray:
    found: np.ndarray = bundle["confidence_calibrator"].apply(np.stack([1.0 - score, score], axis=1))[:, 1]
    return found


def _neither(model: TrainedModel) -> np.ndarray:
    raw = model.bundle["side"].predict_proba(model.data.side_rows)
    found: np.ndarray = model.bundle["side_calibrator"].apply(raw)[:, 1]
    return found


def test_a_model_calibrated_to_something_else_is_refused() -> None:
    bundle = trained().bundle
    assert bundle.settings["calibrated"] == CALIBRATED
    older = {name: value for name, value in bundle.settings.items() if name != "calibrated"}
    with pytest.raises(ModelError, match="train it again"):
        DualModel(bundle=evolve(bundle, settings=older))
