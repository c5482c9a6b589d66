"""A model begins a fixed time after its training window, and a bot takes it up by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from ares.analyst.analyst import Analyst
from ares.backtesting.backtester import Backtester
from ares.errors import ModelError
from ares.models.registry import Registry
from ares.models.succession import Succession
from tests.training.markets import market, orchestrator, quick, trained

DAY = 86_400 * 10**9


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """Two models, of 4,000 and of 4,500 bars."""
    store = Registry(tmp_path_factory.mktemp("models"))
    for model in (trained(), quick(market().klines.iloc[:4500])):
        store.add(model.bundle, model.loaded.manifest.record)
    return store


def test_each_model_begins_after_its_window_and_the_delay(store: Registry) -> None:
    source = Succession(registry=store, delay_ns=DAY)
    first, second = store.manifests()
    for model in (first, second):
        assert model.record.trained_to_ns is not None
        begins = model.record.trained_to_ns + DAY
        assert source.due(begins, "none") == model.model_id
        assert source.due(begins, model.model_id) is None
        assert source.due(begins - 1, "none") != model.model_id
    assert source.due(0, "none") is None


def test_a_bot_takes_each_model_up_at_its_bar(store: Registry) -> None:
    source = Succession(registry=store, delay_ns=DAY)
    bot = Backtester(features=orchestrator(), analyst=Analyst(library=store))
    start = int(market().klines.index[4030].value)
    result = bot.run(market().klines.iloc[:4800], start=start, models=source)
    first, second = store.manifests()
    assert {d.analysis.model_id for d in result.records.decisions} == {first.model_id, second.model_id}
    for d in result.records.decisions:
        trained_to = (second if d.analysis.model_id == second.model_id else first).record.trained_to_ns
        assert trained_to is not None
        assert d.now_ns >= trained_to + DAY


def test_a_damaged_model_is_not_passed_over_in_silence(store: Registry, tmp_path: Path) -> None:
    folder = tmp_path / ("a" * 64)
    folder.mkdir()
    (folder / "manifest.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ModelError):
        Succession(registry=Registry(tmp_path)).due(2**62, "none")
