"""`--retrain`: the same models at the same bars in backtest and paper, over a kill, and a replay that never trains."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ares.errors import TooShort
from ares.models.registry import Registry
from ares.training import schedule as scheduling
from tests.at_record import DEAD

Run = Callable[..., Any]
MARKET = ("--bars", "2200", "--seed", "3", "--edge", "0.4")
SETTINGS = """
feature_engineering_orchestrator: {groups: [returns, volatility, trend]}
analyst: {horizon: 12}
retraining: {first: 800, every: 300, delay: 12, nice: 0}
"""
# A session that is killed soon after its first model has begun.
DYING = """
import sys
from ares.cli.program import program
from ares.events import ModelActivated
from tests.at_record import at_record, die_soon
at_record(lambda journal, event: isinstance(event, ModelActivated), die_soon)
program(sys.argv[1:], prog_name="ares")
"""
LATER = {"journal", "mode", "finished", "trials_by_kind", "events", "commands", "identical", "difference", "tape"}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("retrain") / "bot.yaml"
    path.write_text(SETTINGS, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def models(settings: Path) -> Path:
    return settings.parent / "models"


@pytest.fixture(scope="module")
def backtest(ares: Run, settings: Path, models: Path) -> dict[str, Any]:
    read: dict[str, Any] = ares(
        "backtest", *MARKET, "--config", settings, "--retrain", "--models", models, "--json"
    ).answer
    assert read["closed_trades"] > 0, "the test market must make the bot trade"
    return read


def told(read: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in read.items() if key not in LATER}


def test_a_backtest_says_which_models_traded_and_when(backtest: dict[str, Any], models: Path) -> None:
    written = {manifest.model_id for manifest in Registry(models).manifests()}
    assert [each["model_id"] for each in backtest["models"]] and len(backtest["models"]) == 3
    assert {each["model_id"] for each in backtest["models"]} == written
    begins = [each["begins"] for each in backtest["models"]]
    assert begins[0] == backtest["start"], "trading starts with the first model"
    assert begins == sorted(begins)


def test_paper_trains_the_same_models_by_itself_and_its_replay_never_trains(
    ares: Run, backtest: dict[str, Any], settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, book = tmp_path / "own", tmp_path / "bot.sqlite"
    given = ("--config", settings, "--models", own, "--journal", book)
    paper = ares("paper", *MARKET, *given, "--json").answer
    assert {k: v for k, v in told(paper).items() if k in told(backtest)} == told(backtest)
    assert {m.model_id for m in Registry(own).manifests()} == {each["model_id"] for each in backtest["models"]}

    def refuse(*_: object, **__: object) -> None:
        raise TooShort("a replay must not train")

    monkeypatch.setattr(scheduling._Pass, "cut", refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    replay = ares("replay", "--journal", book, "--json").answer
    assert replay["identical"] is True
    assert replay["models"] == backtest["models"]
    moved = own.rename(tmp_path / "moved")
    assert ares("replay", "--journal", book, "--models", moved, "--json").answer["identical"] is True
    lost = ares("replay", "--journal", book, "--json")
    assert lost.returncode != 0 and "is not a model" in lost.stderr


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_killed_session_goes_on_with_its_models(
    ares: Run, backtest: dict[str, Any], settings: Path, tmp_path: Path
) -> None:
    book, own = tmp_path / "bot.sqlite", tmp_path / "own"
    given = ("paper", *MARKET, "--config", str(settings), "--models", str(own), "--journal", str(book), "--json")
    pace = ("--realtime", "--speed", "1000000")
    command = [sys.executable, "-c", DYING, *given, *pace]
    killed = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=600)
    assert killed.returncode == DEAD, killed.stderr
    assert len(list(own.glob("[0-9a-f]*"))) >= 1
    done = ares(*given)
    assert "continued" in done.stderr
    answer = done.answer
    assert answer["models"] == backtest["models"]
    assert {k: v for k, v in told(answer).items() if k in told(backtest)} == told(backtest)
    assert ares("replay", "--journal", book, "--json").answer["identical"] is True


def test_what_cannot_be_retrained_is_refused_with_the_numbers(ares: Run, settings: Path, tmp_path: Path) -> None:
    for command in ("backtest", "paper"):
        short = ares(command, "--bars", "900", "--config", settings, "--models", tmp_path, "--json")
        assert short.returncode == 2 and "1412" in short.stderr, short.stderr
    stray = ares("backtest", "--bars", "900", "--models", tmp_path)
    assert stray.returncode == 2 and "--retrain" in stray.stderr


def test_the_settings_section_retrains_unless_the_command_says_no(
    ares: Run, backtest: dict[str, Any], settings: Path, models: Path
) -> None:
    by_settings = ares("backtest", *MARKET, "--config", settings, "--models", models)
    assert backtest["models"][0]["model_id"][:12] in by_settings.stdout
    plain = ares("backtest", *MARKET, "--config", settings, "--no-retrain", "--json").answer
    assert plain["models"] == [] and plain["bars"] == 2200
