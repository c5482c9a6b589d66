"""Real hours through the whole program: trained, backtested, traded on paper, replayed; also with retraining."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ares.models.registry import Registry
from ares.simulation.tape import Tape

Run = Callable[..., Any]
BARS, TRAINED = 6000, 4500
GIVEN = ("--tape", "ETHUSDT.parquet", "--funding", "funding.parquet", "--config", "bot.yaml")
SETTINGS = """
feature_engineering_orchestrator: {groups: [returns, volatility, trend, momentum], enable_autoencoder_features: false}
retraining: {first: 3000, every: 1200, delay: 1d, models: retrained}
"""
FIGURES = ("bars", "start", "end", "orders", "closed_trades", "net_return", "fees", "funding", "sharpe", "models")


@pytest.fixture(scope="module")
def work(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with eight months of real hours of ETHUSDT, their funding, and settings."""
    folder = tmp_path_factory.mktemp("real")
    market = real_data / "market"
    tape = Tape.from_file(market / "um_ETHUSDT_1h.parquet", symbol="ETHUSDT").slice("2023-02-01", None)
    tape.frame("ETHUSDT").iloc[:BARS].to_parquet(folder / "ETHUSDT.parquet")
    rates = pd.read_parquet(market / "um_ETHUSDT_funding.parquet")
    rates.to_parquet(folder / "funding.parquet")
    (folder / "bot.yaml").write_text(SETTINGS, encoding="utf-8")
    return folder


def figures(read: dict[str, Any]) -> dict[str, Any]:
    return {name: read[name] for name in FIGURES}


def test_a_model_of_real_hours_trades_alike_in_every_mode(ares: Run, work: Path) -> None:
    options = (*GIVEN, "--no-retrain", "--model", "models", "--json")
    quick = ("--bars", str(TRAINED), "--folds", "4", "--no-placebos", "--out", "models")
    trained = ares("train", *GIVEN, *quick, "--json", folder=work).answer
    backtest = ares("backtest", *options, folder=work).answer
    (manifest,) = Registry(work / "models").manifests()
    assert manifest.model_id == trained["model_id"]
    assert pd.Timestamp(backtest["start"]).value == manifest.record.trained_to_ns, "no bar that it was trained on"
    assert backtest["trials_by_kind"] == {"backtest": 1, "train": 1}
    assert backtest["bars"] > BARS - TRAINED - 48 and backtest["funding_in_data"]
    paper = ares("paper", *options, "--journal", "model.sqlite", folder=work).answer
    assert figures(paper) == figures(backtest)
    replay = ares("replay", "--journal", "model.sqlite", "--tape", "ETHUSDT.parquet", "--json", folder=work).answer
    assert replay["identical"] and figures(replay) == figures(backtest)


def test_retraining_on_real_hours_trades_alike_in_every_mode(ares: Run, work: Path) -> None:
    options = (*GIVEN, "--retrain", "--json")
    backtest = ares("backtest", *options, folder=work).answer
    (model,) = backtest["models"]
    record = Registry(work / "retrained").load(model["model_id"]).manifest.record
    assert model["begins"] == backtest["start"]
    assert record.trained_to_ns is not None
    assert pd.Timestamp(model["begins"]).value - record.trained_to_ns >= 86_400 * 10**9
    paper = ares("paper", *options, "--journal", "retrained.sqlite", folder=work).answer
    assert figures(paper) == figures(backtest)
    assert ares("replay", "--journal", "retrained.sqlite", "--json", folder=work).answer["identical"]
    pd.read_parquet(work / "ETHUSDT.parquet").iloc[1:].to_parquet(work / "other.parquet")
    other = ares("replay", "--journal", "retrained.sqlite", "--tape", "other.parquet", folder=work)
    assert other.returncode == 2 and "another tape" in other.stderr
