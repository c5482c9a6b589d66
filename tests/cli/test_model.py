"""A trained model on the command line: traded alike in every mode, and never on the bars it was trained on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ares.market import REQUIRED_COLUMNS
from ares.models.registry import Registry
from ares.pipeline.journal import SqliteJournal
from ares.simulation.tape import Tape

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


def test_a_model_whose_own_scores_speak_against_it_is_called_so(ares: Run, models: Path) -> None:
    (manifest,) = Registry(models).manifests()
    done = ares("backtest", "--bars", PLAYED, "--model", models)
    found = manifest.record.metrics
    worse = {"base rate": found["brier_skill_high"] < 0.0, "coin": found["auc_direction_high"] < 0.5}
    loses = found.get("net_per_bet_high", 0.0) < 0.0
    for what, against in worse.items():
        assert (f"worse than {'a' if what == 'coin' else 'the'} {what}" in done.stderr) == against
    assert ("bets lose" in done.stderr) == loses
    assert ("speak against" in done.stderr) == (loses or any(worse.values()))
    (card,) = models.glob("*card.md")
    verdict = done.stderr.split(f"model {manifest.model_id[:12]}: ")[1].split(" All this")[0]
    assert verdict.removeprefix("its own scores speak against it. ") in card.read_text(encoding="utf-8")


def test_paper_and_backtest_agree_and_the_journal_replays(ares: Run, models: Path, tmp_path: Path) -> None:
    book = tmp_path / "bot.sqlite"
    backtest = ares("backtest", "--bars", PLAYED, "--model", models, "--json").answer
    paper = ares("paper", "--bars", PLAYED, "--model", models, "--journal", book, "--json").answer
    for key in ("bars", "start", "end", "orders", "closed_trades", "net_return", "fees"):
        assert paper[key] == backtest[key], key
    assert ares("replay", "--journal", book, "--json").answer["identical"]


def test_a_session_does_not_begin_with_a_model_of_other_features(ares: Run, models: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("feature_engineering_orchestrator: {groups: [returns, volatility]}\n", encoding="utf-8")
    for command in ("backtest", "paper"):
        done = ares(command, "--bars", PLAYED, "--model", models, "--config", other, folder=tmp_path)
        assert (done.returncode, done.stdout) == (4, ""), done.stderr
        assert "train it again" in done.stderr


def test_a_folder_without_models_says_what_to_do(ares: Run, tmp_path: Path) -> None:
    done = ares("backtest", "--bars", "500", "--model", tmp_path)
    assert done.returncode == 2 and "ares train" in done.stderr


def test_a_model_that_knows_the_whole_market_is_refused(ares: Run, models: Path) -> None:
    done = ares("backtest", "--bars", TRAINED, "--model", models)
    assert done.returncode == 2 and "has not seen" in done.stderr


def test_sides_of_one_hour_and_entries_of_quarters_go_through_every_mode(ares: Run, tmp_path: Path) -> None:
    settings = tmp_path / "quarters.yaml"
    settings.write_text(
        "feature_engineering_orchestrator: {groups: [returns, volatility, autoencoder], timeframes: [1h, 4h]}\n"
        "analyst: {horizon: 24, side_timeframe: 1h, time_to_live: 2}\n",
        encoding="utf-8",
    )
    market = ("--interval", "15m", "--config", settings, "--json")
    asked = ("--time-to-live", "3", "--folds", "3", "--no-placebos")
    trained = ares("train", "--bars", "4000", *asked, "--out", tmp_path / "models", *market).answer
    text = Path(trained["card"]).read_text(encoding="utf-8")
    assert "closes of 1h" in text, "of the settings"
    assert "for up to 3 bars" in text, "of the option, which goes before the settings"
    book, model = tmp_path / "bot.sqlite", ("--model", trained["model"])
    backtest = ares("backtest", "--bars", "4600", *model, *market).answer
    paper = ares("paper", "--bars", "4600", *model, "--journal", book, *market).answer
    for key in ("bars", "start", "end", "orders", "closed_trades", "net_return", "fees"):
        assert paper[key] == backtest[key], key
    assert ares("replay", "--journal", book, "--json").answer["identical"]
    foreign = ares("backtest", "--bars", "4600", *model, "--interval", "30m", "--config", settings)
    assert foreign.returncode != 0
    assert "15m features" in foreign.stderr


@pytest.fixture(scope="module")
def plain(ares: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tape of nothing but prices and volumes, and the folder of a model trained on its beginning."""
    folder = tmp_path_factory.mktemp("plain")
    frame = Tape.synthetic("ETHUSDT", "1h", bars=int(PLAYED)).frame("ETHUSDT")[list(REQUIRED_COLUMNS)]
    for name, bars in (("ETHUSDT-early", int(TRAINED)), ("ETHUSDT-all", int(PLAYED))):
        frame.head(bars).reset_index().to_parquet(folder / f"{name}.parquet", index=False)
    tape = ("--symbol", "ETHUSDT", "--tape", folder / "ETHUSDT-early.parquet")
    done = ares("train", *tape, "--folds", "3", "--no-placebos", "--out", folder / "models")
    assert done.returncode == 0, done.stderr
    return folder / "ETHUSDT-all.parquet", folder / "models"


def test_a_model_of_plain_bars_trades_plain_bars_in_every_mode(
    ares: Run, plain: tuple[Path, Path], tmp_path: Path
) -> None:
    tape, models = plain
    asked = ("--symbol", "ETHUSDT", "--tape", tape, "--model", models, "--json")
    backtest = ares("backtest", *asked).answer
    paper = ares("paper", *asked, "--journal", tmp_path / "bot.sqlite").answer
    for key in ("bars", "start", "end", "orders", "closed_trades", "net_return", "fees", "alerts"):
        assert paper[key] == backtest[key], key
    assert paper["bars"] > 0 and not paper["alerts"], "each bar was read by the model"


def test_a_model_of_plain_bars_does_not_begin_on_bars_with_more_columns(
    ares: Run, plain: tuple[Path, Path], tmp_path: Path
) -> None:
    done = ares("paper", "--bars", PLAYED, "--model", plain[1], "--journal", tmp_path / "bot.sqlite")
    assert (done.returncode, done.stdout) == (4, "")
    assert "other columns" in done.stderr and "taker_buy_volume" in done.stderr


def test_a_refused_start_does_not_stand_in_the_way_of_one_with_other_options(
    ares: Run, plain: tuple[Path, Path], tmp_path: Path
) -> None:
    book = tmp_path / "bot.sqlite"
    assert ares("paper", "--bars", PLAYED, "--model", plain[1], "--journal", book).returncode == 4
    with contextlib.closing(SqliteJournal(book)) as refused:
        refused.note("learn_from_ns", 1)
    done = ares("paper", "--bars", "400", "--seed", "7", "--journal", book, "--json")
    assert done.answer["finished"] is True, "begun without --restart"
    with contextlib.closing(SqliteJournal(book, read_only=True)) as begun:
        assert (begun.about()["seed"], begun.about()["learn_from_ns"]) == (7, None), "nothing of the refused start"
    assert [path.name for path in tmp_path.glob("*.sqlite")] == [book.name], "there was nothing to set aside"
    assert ares("replay", "--journal", book, "--json").answer["identical"] is True
