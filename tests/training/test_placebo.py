"""Placebos catch what they are for, and the card tells it all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from attrs import evolve
from scipy.stats import norm

from ares.training.card import model_card
from ares.training.dataset import Dataset, make_dataset
from ares.training.drift import population_stability, reference_of
from ares.training.placebo import importance, placebos
from tests.training.markets import QUICK, market, orchestrator, small_trees, trained

SHORT = evolve(QUICK, barriers=evolve(QUICK.barriers, horizon=6))  # of which the next bar is much


@pytest.fixture(scope="module")
def data() -> Dataset:
    return make_dataset(market().klines.iloc[:5000], QUICK, orchestrator())


@pytest.fixture(scope="module")
def spoilt() -> Dataset:
    """A market without an edge, and one more feature: the return of the next bar. All skill is the leak's."""
    still = market(8000, 0.0)
    rows = make_dataset(still.klines, SHORT, orchestrator())
    close = still.klines["close"].to_numpy()
    ahead = np.log(close[rows.event + 1] / close[rows.event])
    return evolve(rows, X=np.column_stack([rows.X, ahead]), columns=(*rows.columns, "leak.next"))


def test_an_honest_edge_survives_a_bar_of_delay_and_dies_with_the_labels() -> None:
    found = placebos(make_dataset(market(24_000).klines, QUICK, orchestrator()), small_trees(), QUICK)
    assert found.real.low > 0.5, "the planted edge is there"
    error = (found.shuffled.high - found.shuffled.low) / (2 * norm.ppf(0.995))
    assert abs(found.shuffled.value - 0.5) < 4 * error
    assert found.no_skill_from_nothing == (0.5 in found.shuffled)
    assert not found.suspected_leak
    assert found.stale.value > 0.5


def test_a_leaking_feature_is_caught_by_the_delay(spoilt: Dataset) -> None:
    found = placebos(spoilt, small_trees(), SHORT)
    assert found.real.value > 0.53
    assert found.hangs_on_one_bar
    assert found.suspected_leak


@pytest.mark.parametrize(("horizon", "bars"), [(24, 5000), (96, 8000)])
def test_a_feature_that_knows_the_whole_horizon_is_too_good(horizon: int, bars: int) -> None:
    """A bar of delay hardly hurts it: the return of the next 96 bars is much like that of the 96 after the next."""
    still, config = market(bars, 0.0), evolve(QUICK, barriers=evolve(QUICK.barriers, horizon=horizon))
    rows = make_dataset(still.klines, config, orchestrator())
    close = np.log(still.klines["close"].to_numpy())
    ahead = close[np.minimum(rows.event + horizon, close.size - 1)] - close[rows.event]
    leaking = evolve(rows, X=np.column_stack([rows.X, ahead]), columns=(*rows.columns, "leak.horizon"))
    found = placebos(leaking, small_trees(), config)
    assert found.too_good and found.suspected_leak
    assert not placebos(rows, small_trees(), config).too_good


def test_importance_finds_the_group_that_matters(data: Dataset) -> None:
    rng = np.random.default_rng(0)
    planted = rng.standard_normal((len(data), 2))
    y = np.where(planted.sum(axis=1) + rng.standard_normal(len(data)) > 0, 1, -1)
    columns = (*data.columns, "planted.a", "planted.b")
    found = importance(evolve(data, X=np.hstack([data.X, planted]), columns=columns, y=y), small_trees(), QUICK)
    assert next(iter(found.loss)) == "planted"
    others = [mean for name, (mean, _) in found.loss.items() if name != "planted"]
    assert found.loss["planted"][0] > 0.2 > 10 * max(others)
    assert set(found.loss) == set(found.interval) == {name.partition(".")[0] for name in columns}
    for name, (mean, _) in found.loss.items():
        assert found.interval[name].value == pytest.approx(mean, abs=1e-12), "the interval is of the same figure"
    assert found.interval["planted"].low > 0.15
    assert all(x.low < 0.02 for name, x in found.interval.items() if name != "planted")
    assert found.auc_interval.low < found.auc == found.auc_interval.value < found.auc_interval.high


def test_the_card_says_what_the_model_is_and_how_it_did(data: Dataset, tmp_path: Path) -> None:
    model = trained()
    card = model_card(
        model,
        symbol="ETHUSDT",
        tests=placebos(model.data, small_trees(), QUICK),
        groups=importance(model.data, small_trees(), QUICK),
        deflated=0.5,
        trials=3,
    )
    text = card.markdown()
    for figure in (
        model.model_id,
        model.data.fingerprint,
        f"{model.scores.confidence.brier_skill.value:.4f}",
        f"{model.scores.direction.low:.4f} to {model.scores.direction.high:.4f}",
        f"{model.scores.trading.bets:,}",
        "shuffled labels",
        "Matched random entries",
        f"{model.scores.trading.mean_interval.low:+.4%}",
        f"{model.scores.confidence.calibration_error_by_chance:.4f}",
        "of its predecessors",
        "trials so far | 3",
    ):
        assert figure in text, figure
    page = card.html()
    assert page.count("<table>") == page.count("</table>") == sum(bool(s.table) for s in card.sections)
    assert "<svg" in page
    assert "http" not in page.replace("http-equiv", ""), "the page loads nothing"
    markdown, html = card.write(tmp_path)
    assert markdown.read_text(encoding="utf-8") == text
    assert html.read_text(encoding="utf-8") == page


# ---------------------------------------------------------------- drift


def test_the_stability_index_is_nothing_on_itself_and_grows_with_the_shift() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((5000, 2))
    reference = reference_of(X)
    assert population_stability(reference, X) == pytest.approx(0.0, abs=1e-3)
    shifted = [population_stability(reference, X + np.array([s, 0.0]))[0] for s in (0.1, 0.5, 1.0)]
    assert shifted == sorted(shifted)
    assert shifted[0] < 0.1 < 0.25 < shifted[2]


def test_the_stability_index_is_its_definition() -> None:
    rng = np.random.default_rng(1)
    train, now = rng.standard_normal(4000), rng.standard_normal(1000) * 1.5
    edges = np.quantile(train, np.arange(1, 10) / 10)
    bins = [-np.inf, *edges, np.inf]
    cut = [pd.Series(pd.cut(x, bins, right=False)) for x in (train, now)]
    p, q = (c.value_counts(sort=False, normalize=True).to_numpy() for c in cut)
    expected = float(np.sum((q - p) * np.log(q / p)))
    assert population_stability(reference_of(train[:, None]), now[:, None])[0] == pytest.approx(expected, rel=1e-9)
