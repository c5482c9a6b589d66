"""Fitting regimes: as likely as hmmlearn's, true to planted states, steady in their names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from attrs import evolve

from ares.errors import InvalidInput, TooShort
from ares.training.regime import RegimeConfig, choose_states, fit_regimes

COLUMNS = ["volatility", "trend"]


def planted(n: int = 4000, seed: int = 0, k: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Two or three states that differ in level and spread; each lasts 50 bars on average."""
    rng = np.random.default_rng(seed)
    truth = np.zeros(n, dtype=int)
    for t in range(1, n):
        truth[t] = truth[t - 1] if rng.random() < 0.98 else rng.integers(k)
    mean = np.array([[-1.0, 0.3], [1.0, -0.3], [4.0, 0.0]])[truth]
    spread = np.array([[0.5, 0.5], [0.8, 1.5], [0.5, 3.0]])[truth]
    return mean + spread * rng.normal(size=(n, 2)), truth


CONFIG = RegimeConfig(states=2, winsor=0.0)


def test_em_climbs_and_finds_the_planted_states() -> None:
    x, truth = planted()
    fit = fit_regimes(x, columns=COLUMNS, config=evolve(CONFIG, sticky=0.0, tolerance=1e-9))
    assert (np.diff(fit.history) > -1e-9).all()
    assert fit.model.states == ("calm", "stressed")
    probabilities, _ = fit.model.filter(np.arange(len(x)), x, 1)
    assert (probabilities.argmax(axis=1) == truth).mean() > 0.95
    raw = fit.model.shift + fit.model.scale * fit.model.mean
    np.testing.assert_allclose(raw, [[-1.0, 0.3], [1.0, -0.3]], atol=0.1)
    assert fit.stay == pytest.approx([100, 100], rel=0.5)
    assert fit.admissible(CONFIG)


@pytest.mark.parametrize("covariance", ["diag", "full"])
def test_the_likelihood_is_hmmlearns(covariance: str) -> None:
    hmmlearn = pytest.importorskip("hmmlearn.hmm")
    x, _ = planted(2000)
    config = evolve(CONFIG, covariance=covariance, sticky=0.0, tolerance=1e-9, iterations=500, least_variance=1e-6)
    fit = fit_regimes(x, columns=COLUMNS, config=config)
    z = fit.model.scaled(x)
    peer = hmmlearn.GaussianHMM(
        2,
        covariance_type=covariance,
        n_iter=500,
        tol=1e-6,
        min_covar=1e-6,
        random_state=0,
        covars_prior=0.0,
        covars_weight=0.0,
    )
    peer.fit(z)
    assert fit.log_likelihood == pytest.approx(peer.score(z) / len(z), abs=2e-3)
    ours = evolve(fit.model)
    root = np.linalg.inv(ours.whiten)
    peer.startprob_, peer.transmat_ = np.exp(ours.log_start), np.exp(ours.log_move)
    peer.means_ = ours.mean
    full = root @ root.transpose(0, 2, 1)
    peer.covars_ = full if covariance == "full" else np.einsum("kii->ki", full)
    filtered, _ = ours.filter(np.arange(len(x)), x, 1)
    np.testing.assert_allclose(filtered[-1], peer.predict_proba(z[: len(z)])[-1], rtol=1e-6, atol=1e-9)


def test_missing_rows_are_bridged() -> None:
    x, truth = planted()
    x[np.random.default_rng(1).random(len(x)) < 0.1, 1] = np.nan
    fit = fit_regimes(x, columns=COLUMNS, config=CONFIG)
    probabilities, _ = fit.model.filter(np.arange(len(x)), x, 1)
    assert (probabilities.argmax(axis=1) == truth).mean() > 0.93


def test_names_stay_with_their_states_across_refits() -> None:
    x, _ = planted(6000, k=3)
    config = evolve(CONFIG, states=3)
    first = fit_regimes(x[:4000], columns=COLUMNS, config=config)
    assert first.model.states == ("calm", "normal", "stressed")
    # a later market in which the middle state has become the quietest by the ordering column
    moved = x[2000:] * [1.0, 1.0] + [0.0, 0.2]
    second = fit_regimes(moved, columns=COLUMNS, config=evolve(config, seed=9), previous=first.model)
    assert second.model.states == first.model.states
    before = first.model.shift + first.model.scale * first.model.mean
    after = second.model.shift + second.model.scale * second.model.mean
    assert np.abs(after - before - [0.0, 0.2]).max() < 0.3
    assert second.moved.shape == (3,)
    assert (second.moved >= 0).all()
    mirrored = fit_regimes(-x, columns=COLUMNS, config=config)
    follow = fit_regimes(
        x,
        columns=COLUMNS,
        config=config,
        previous=evolve(mirrored.model, shift=-mirrored.model.shift, mean=-mirrored.model.mean),
    )
    assert np.abs((follow.model.shift + follow.model.scale * follow.model.mean)[::-1] - before).max() < 0.3


def test_the_number_of_states_is_chosen_and_phantoms_are_not_admitted() -> None:
    x, _ = planted(5000, k=3)
    for by in ("held_out", "bic"):
        fit, table = choose_states(x, (1, 2, 3), columns=COLUMNS, config=CONFIG, by=by)
        assert len(fit.model.states) == 3
        assert table.index.tolist() == [1, 2, 3]
    noise = np.random.default_rng(2).normal(size=(3000, 2))
    fit, table = choose_states(noise, (1, 2), columns=COLUMNS, config=CONFIG, by="bic")
    assert len(fit.model.states) == 1, table


def test_the_past_alone_decides_and_nonsense_is_refused() -> None:
    x, _ = planted(1000)
    again = [fit_regimes(x, columns=COLUMNS, config=CONFIG).model for _ in range(2)]
    assert np.array_equal(again[0].mean, again[1].mean)
    with pytest.raises(TooShort):
        fit_regimes(x[:60], columns=COLUMNS, config=CONFIG)
    with pytest.raises(InvalidInput, match="does not vary"):
        fit_regimes(np.column_stack([x[:, 0], np.ones(1000)]), columns=COLUMNS, config=CONFIG)
    with pytest.raises(InvalidInput, match="columns are named"):
        fit_regimes(x, columns=["one"], config=CONFIG)
    with pytest.raises(InvalidInput, match="held_out"):
        choose_states(x, (2,), columns=COLUMNS, by="luck")


def test_real_hours_have_regimes_that_last(real_data: Path) -> None:
    bars = pd.read_parquet(real_data / "market" / "um_ETHUSDT_1h.parquet").set_index("open_time").iloc[2000:14000]
    r = np.log(bars["close"]).diff()
    observed = pd.DataFrame(
        {"volatility": np.log(r.rolling(24).std()), "trend": r.rolling(24).sum() / (r.rolling(240).std() * 24**0.5)}
    )
    fit = fit_regimes(observed.iloc[:8000], config=evolve(CONFIG, winsor=0.005))
    _, policy = fit.model.filter(observed.index.as_unit("ns").asi8, observed, 3600 * 10**9)
    unseen = policy[8000:]
    stressed, calm = r.iloc[8000:][unseen == 1].std(), r.iloc[8000:][unseen == 0].std()
    assert stressed > 1.2 * calm
    assert len(unseen) / (np.count_nonzero(np.diff(unseen)) + 1) > 12
