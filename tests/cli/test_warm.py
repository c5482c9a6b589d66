"""`ares warm`: the trading rules are compiled beside the features, and a compiler that dies is not overlooked."""

from __future__ import annotations

import json
import os
import subprocess
import sys

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


def test_the_other_process_calls_every_kernel_but_that_of_the_features() -> None:
    done = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    rules, everything = json.loads(done.stdout)
    assert {"ledger_step", "appraise", "size_caps"} <= set(rules)
    assert set(everything) - set(rules) == {"advance"}


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
    monkeypatch.setattr(rehearsal, "rehearse", lambda beside: None)
    monkeypatch.setattr(jit, "_unkept", ["compiled kernels cannot be kept"])
    done = CliRunner().invoke(program, ["warm", "--json"])
    assert (done.exit_code, done.stdout) == (74, "")
