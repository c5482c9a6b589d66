"""The regime filter: equal in both rhythms, blind to the future, forgetful of the past, slow to change its mind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ares.errors import InvalidInput
from ares.kernels.hmm import filter_batch, smooth_batch
from ares.models import load
from ares.models.model import ModelSpec
from ares.models.regime import RegimeFilter, RegimeModel

HOUR = 3600 * 10**9


def chain(stay: float = 0.97, k: int = 2, **settings: float) -> RegimeModel:
    move = np.full((k, k), (1 - stay) / (k - 1))
    np.fill_diagonal(move, stay)
    sigma = np.array([1.0, 3.0, 6.0])[:k]
    whiten = np.array([np.diag([1 / s, 1 / (0.5 * s)]) for s in sigma])
    return RegimeModel(
        spec=ModelSpec(columns=["r", "v"], classes=["calm", "stressed", "extreme"][:k]),
        low=np.full(2, -50.0),
        high=np.full(2, 50.0),
        shift=np.array([0.1, -0.2]),
        scale=np.array([1.0, 2.0]),
        log_start=np.log(np.full(k, 1 / k)),
        log_move=np.log(move),
        mean=np.zeros((k, 2)),
        whiten=whiten,
        log_det=np.log(np.einsum("kii->ki", whiten)).sum(axis=1),
        **settings,  # type: ignore[arg-type]
    )


def play(model: RegimeModel, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Open times, observations drawn from the model, and the true states."""
    rng = np.random.default_rng(seed)
    k = len(model.states)
    truth = np.zeros(n, dtype=int)
    for t in range(1, n):
        truth[t] = rng.choice(k, p=np.exp(model.log_move[truth[t - 1]]))
    root = np.linalg.inv(model.whiten)
    x = np.einsum("nij,nj->ni", root[truth], rng.normal(size=(n, 2))) * model.scale + model.shift
    return (400_000 + np.arange(n)) * HOUR, x, truth


def test_the_filter_is_bayes_rule() -> None:
    model = chain(k=3)
    ns, x, _ = play(model, 300)
    got, _ = model.filter(ns, x, HOUR)
    belief = np.exp(model.log_start)
    for t, row in enumerate(x):
        z = (row - model.shift) / model.scale
        prior = belief if t == 0 else np.exp(model.log_move).T @ belief
        density = np.array([np.prod(np.exp(-0.5 * (w.diagonal() * z) ** 2) * w.diagonal()) for w in model.whiten])
        belief = prior * density / (prior @ density)
        np.testing.assert_allclose(got[t], belief, rtol=1e-9, atol=1e-14)


def test_batch_and_stream_agree_bit_for_bit_through_holes_and_a_restart() -> None:
    model = chain(k=3)
    ns, x, _ = play(model, 3000)
    x[np.random.default_rng(1).random(3000) < 0.05, 0] = np.nan
    x[100:140] = np.nan
    probabilities, regime = model.filter(ns, x, HOUR)
    stream = RegimeFilter(model, HOUR)
    for t in range(1500):
        now = stream.update(int(ns[t]), x[t])
        assert list(now.probabilities.values()) == probabilities[t].tolist()
        assert now.regime == model.states[regime[t]]
    again = RegimeFilter(model, HOUR)
    again.load_state(stream.save_state())
    for t in range(1500, 3000):
        now = again.update(int(ns[t]), x[t])
        assert list(now.probabilities.values()) == probabilities[t].tolist()
        assert now.regime == model.states[regime[t]]
    assert np.isfinite(probabilities).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-12)


def test_the_future_changes_nothing_and_neither_does_where_history_began() -> None:
    model = chain()
    ns, x, _ = play(model, 6000)
    whole, policy = model.filter(ns, x, HOUR)
    changed = x.copy()
    changed[4000:] *= -7
    other, other_policy = model.filter(ns, changed, HOUR)
    assert np.array_equal(other[:4000], whole[:4000])
    assert np.array_equal(other_policy[:4000], policy[:4000])
    for start in (1, 500, 1777):
        late, late_policy = model.filter(ns[start:], x[start:], HOUR)
        settled = start + model.settle
        assert np.array_equal(late[model.settle :], whole[settled:])
        assert np.array_equal(late_policy[model.settle :], policy[settled:])


def test_filtered_equals_smoothed_at_the_last_bar_only() -> None:
    model = chain(k=3)
    _, x, _ = play(model, 500)
    parameters = (model.log_start, model.log_move, model.mean, model.whiten, model.log_det)
    z = model.scaled(x)
    alpha, gamma, moves = np.empty((500, 3)), np.empty((500, 3)), np.empty((3, 3))
    total = smooth_batch(z, *parameters, alpha, gamma, moves)
    np.testing.assert_allclose(np.exp(alpha[-1]), gamma[-1], rtol=1e-12)
    assert np.abs(np.exp(alpha[:-1]) - gamma[:-1]).max() > 0.1
    assert total == pytest.approx(filter_batch(z, *parameters, alpha))
    assert moves.sum() == pytest.approx(499)
    np.testing.assert_allclose(moves.sum(axis=1), gamma[:-1].sum(axis=0), rtol=1e-9)


def test_a_bar_without_observation_drifts_to_the_long_run() -> None:
    model = chain()
    ns, x, _ = play(model, 400)
    x[200:] = np.nan
    got, _ = model.filter(ns, x, HOUR)
    np.testing.assert_allclose(got[-1], [0.5, 0.5], atol=1e-4)
    np.testing.assert_allclose(got[201], np.exp(model.log_move).T @ got[200], rtol=1e-12)


def test_policy_changes_late_and_stays_a_while() -> None:
    eager = chain(0.9, enter=0.5, leave=0.51, dwell=1)
    slow = chain(0.9, enter=0.8, leave=0.3, dwell=10)
    ns, x, _ = play(eager, 1000)  # begins and ends between two restarts
    ns = ns - ns[0] + 410_000 // 1024 * 1024 * HOUR
    probabilities, policy = slow.filter(ns, x, HOUR)
    changes = np.flatnonzero(np.diff(policy)) + 1
    assert 3 < changes.size < np.count_nonzero(np.diff(eager.filter(ns, x, HOUR)[1]))
    assert np.diff(np.r_[0, changes]).min() >= 10
    for t in changes:
        assert probabilities[t, policy[t]] >= 0.8
        assert probabilities[t, policy[t - 1]] < 0.3


def test_a_regime_model_survives_the_disk(tmp_path: Path) -> None:
    model = chain(k=3)
    ns, x, _ = play(model, 100)
    model.save(tmp_path / "m")
    again = load(tmp_path / "m").model
    assert np.array_equal(again.filter(ns, x, HOUR)[0], model.filter(ns, x, HOUR)[0])
    assert again.states == ("calm", "stressed", "extreme")
    with pytest.raises(InvalidInput, match="shape"):
        RegimeFilter(chain(), HOUR).load_state(RegimeFilter(model, HOUR).save_state())
