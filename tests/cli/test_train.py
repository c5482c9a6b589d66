"""`ares train` from the outside: what it writes, what it prints, and that the model it wrote can trade."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ares.analyst.analyst import Analyst
from ares.training.trials import TrialLedger

Run = Callable[..., Any]
FEATURES = "feature_engineering_orchestrator: {groups: [returns, volatility]}\nanalyst: {horizon: 12}\n"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("train")
    (folder / "bot.yaml").write_text(FEATURES, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def answer(ares: Run, work: Path) -> dict[str, Any]:
    options = ("--bars", "3000", "--seed", "3", "--folds", "4", "--config", str(work / "bot.yaml"))
    places = ("--out", str(work / "models"), "--trials", str(work / "trials.sqlite"))
    answer: dict[str, Any] = ares("train", *options, *places, "--json").answer
    return answer


def test_it_writes_a_model_that_can_be_loaded_and_its_card(answer: dict[str, Any], work: Path) -> None:
    analyst = Analyst(model=work / "models" / answer["model_id"])
    assert analyst.model_id == answer["model_id"]
    assert analyst.live_refusal() is None
    text = Path(answer["card"]).read_text(encoding="utf-8")
    assert answer["model_id"] in text
    assert "12 bars" in text, "the bet is that of the settings"
    assert Path(answer["page"]).read_text(encoding="utf-8").startswith("<!doctype html>")


def test_the_figures_come_with_their_intervals(answer: dict[str, Any]) -> None:
    for name in ("auc_direction", "brier_skill", "calibration_error"):
        assert answer[f"{name}_low"] <= answer[name] <= answer[f"{name}_high"]
    assert answer["trials"] == 1
    assert answer["suspected_leak"] in (True, False)
    assert answer["verdict"].startswith("Its probabilities are better") == (answer["brier_skill_low"] > 0)
    assert answer["verdict"].startswith("Its probabilities are worse") == (answer["brier_skill_high"] < 0)


def test_two_trainings_and_a_backtest_are_three_trials(answer: dict[str, Any], work: Path, ares: Run) -> None:
    ledger = work / "more.sqlite"
    ledger.write_bytes((work / "trials.sqlite").read_bytes())
    given = ("--seed", "3", "--config", work / "bot.yaml", "--trials", ledger, "--json")
    again = ares("train", "--bars", "3000", "--folds", "3", "--no-placebos", "--out", work / "other", *given).answer
    assert (again["trials"], again["trials_by_kind"]) == (2, {"train": 2})
    options = ("--bars", "4000", "--seed", "3", "--config", work / "bot.yaml", "--model", work / "models", "--trials")
    played = ares("backtest", *options, ledger, "--json").answer
    assert (played["trials"], played["trials_by_kind"]) == (3, {"backtest": 1, "train": 2})
    alone = ares("backtest", *options, work / "alone.sqlite", "--json").answer
    assert alone["trials"] == 1 and alone["net_return"] == played["net_return"]
    if alone["deflated_sharpe"] is not None:
        assert played["deflated_sharpe"] < alone["deflated_sharpe"]
    told = ares("backtest", *options, ledger)
    assert "2 train" in told.stdout or played["deflated_sharpe"] is None


def test_every_training_is_written_down(answer: dict[str, Any], work: Path) -> None:
    with TrialLedger(work / "trials.sqlite") as ledger:
        ledger.verify()
        assert ledger.summary("ETHUSDT 1h made up").kinds == {"train": 1}
