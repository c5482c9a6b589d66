"""A trained model on the command line: traded alike in every mode, and never on the bars it was trained on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ares.models.registry import Registry

Run = Callable[..., Any]
TRAINED, PLAYED = "1800", "2400"


@pytest.fixture(scope="module")
def models(ares: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    done = ares("train", "--bars", TRAINED, "--folds", "3", "--no-placebos", "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_trading_begins_where_training_ended(ares: Run, models: Path) -> None:
    (manifest,) = Registry(models).manifests()
    assert "autoencoder" in Registry(models).load(manifest.model_id).model, "the settings enable it"
    played = ares("backtest", "--bars", PLAYED, "--model", models, "--json").answer
    trained_to = pd.Timestamp(manifest.record.trained_to_ns, tz="UTC")
    assert pd.Timestamp(played["start"]) >= trained_to.floor("h")
    assert played["bars"] < int(PLAYED) - int(TRAINED) + 48


def test_paper_and_backtest_agree_and_the_journal_replays(ares: Run, models: Path, tmp_path: Path) -> None:
    book = tmp_path / "bot.sqlite"
    backtest = ares("backtest", "--bars", PLAYED, "--model", models, "--json").answer
    paper = ares("paper", "--bars", PLAYED, "--model", models, "--journal", book, "--json").answer
    for key in ("bars", "start", "end", "orders", "closed_trades", "net_return", "fees"):
        assert paper[key] == backtest[key], key
    assert ares("replay", "--journal", book, "--json").answer["identical"]


def test_a_folder_without_models_says_what_to_do(ares: Run, tmp_path: Path) -> None:
    done = ares("backtest", "--bars", "500", "--model", tmp_path)
    assert done.returncode == 2 and "ares train" in done.stderr


def test_a_model_that_knows_the_whole_market_is_refused(ares: Run, models: Path) -> None:
    done = ares("backtest", "--bars", TRAINED, "--model", models)
    assert done.returncode == 2 and "has not seen" in done.stderr
