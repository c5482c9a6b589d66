"""`ares warm`: the trading rules are compiled beside the features, and a compiler that dies is not overlooked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ares.backtesting import rehearsal
from ares.cli.program import program
from ares.kernels import jit

ASK = """
import importlib, json, pkgutil
from ares.backtesting.rehearsal import _compile_trading_rules, _trade_briefly
import ares.kernels

def called():
    found = set()
    for module in pkgutil.iter_modules(ares.kernels.__path__):
        for name, kernel in vars(importlib.import_module(f"ares.kernels.{module.name}")).items():
            if getattr(kernel, "signatures", None) and hasattr(kernel, "py_func"):
                found.add(name)
    return found

_compile_trading_rules()
rules = called()
_trade_briefly()
print(json.dumps([sorted(rules), sorted(called())]))
"""


def run(program: str, *arguments: str) -> str:
    """What another interpreter prints."""
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=800)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_other_process_calls_every_kernel_but_that_of_the_features() -> None:
    run("from ares.backtesting.rehearsal import rehearse; rehearse()")  # a compiler names also what it compiles inside
    rules, everything = json.loads(run(ASK))
    assert {"ledger_step", "appraise", "size_caps"} <= set(rules)
    assert set(everything) - set(rules) == {"advance"}


MARKET = """
from ares import Analyst, Backtester, FeatureOrchestrator, train
from ares.data.synthetic import SyntheticConfig, synthetic_market
from ares.features.config import FeatureConfig
from ares.training import TrainConfig

market = synthetic_market(4, 4000, config=SyntheticConfig(predictability=0.5))
features = FeatureOrchestrator(FeatureConfig(groups=("returns", "volatility", "trend")))
"""
TRAIN = """
import sys
train(market.klines.iloc[:3000], features=features, config=TrainConfig(folds=3, resamples=20)).save(sys.argv[1])
"""
TRADE = """
import importlib, json, pkgutil, sys
import ares
from ares.backtesting.rehearsal import rehearse

def compiled():
    found = set()
    for module in pkgutil.walk_packages(ares.__path__, "ares."):
        if not module.name.endswith("__main__"):
            for name, kernel in vars(importlib.import_module(module.name)).items():
                if hasattr(kernel, "py_func"):
                    found |= {f"{module.name}.{name}{types}" for types in kernel.signatures}
    return found

rehearse()
known = compiled()
bot = Backtester(features=features, analyst=Analyst(model=sys.argv[1]))
trades = bot.run(market.klines, start=int(market.klines.index[3000].value)).trades
print(json.dumps([len(trades), sorted(compiled() - known)]))
"""


def test_nothing_is_left_to_compile_when_a_model_is_traded(tmp_path: Path) -> None:
    model = str(tmp_path / "model")
    run(MARKET + TRAIN, model)
    trades, late = json.loads(run(MARKET + TRADE, model))
    assert trades > 0
    assert late == []


def _die() -> None:
    os._exit(9)


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """As on two cores with nothing compiled."""
    monkeypatch.setattr(rehearsal, "is_warm", lambda: False)
    monkeypatch.setattr(rehearsal, "_cores", lambda: 2)
    return monkeypatch


def test_both_halves_are_compiled(cold: pytest.MonkeyPatch) -> None:
    done = CliRunner().invoke(program, ["warm", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["seconds"] > 0


def test_a_process_that_dies_is_told(cold: pytest.MonkeyPatch) -> None:
    cold.setattr(rehearsal, "_compile_trading_rules", _die)
    cold.setattr(rehearsal, "warm_engine", lambda: None)
    done = CliRunner().invoke(program, ["warm"])
    assert done.exit_code == 75
    assert "run `ares warm` again" in done.stderr


def test_what_could_not_be_kept_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "compile_all", lambda: None)
    monkeypatch.setattr(jit, "_unkept", ["compiled kernels cannot be kept"])
    done = CliRunner().invoke(program, ["warm", "--json"])
    assert (done.exit_code, done.stdout) == (74, "")
