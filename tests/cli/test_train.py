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


def test_every_training_is_written_down(answer: dict[str, Any], work: Path) -> None:
    with TrialLedger(work / "trials.sqlite") as ledger:
        ledger.verify()
        assert ledger.summary("ETHUSDT 1h training").count == 1
