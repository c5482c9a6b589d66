"""`ares backtest` from the outside: what it prints, what it writes, how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

Run = Callable[..., Any]
KEYS = {
    *("mode", "symbol", "interval", "bars", "start", "end", "orders", "closed_trades", "net_return"),
    *("fees", "funding", "max_drawdown", "sharpe", "baselines"),
}


@pytest.fixture(scope="module")
def synthetic(ares: Run) -> dict[str, Any]:
    return ares("backtest", "--bars", "1500", "--seed", "5", "--json").answer


def test_json_has_every_promised_key(synthetic: dict[str, Any]) -> None:
    assert synthetic.keys() >= KEYS
    assert synthetic["baselines"].keys() >= {"flat", "buy_and_hold", "random_entries"}
    assert (synthetic["mode"], synthetic["symbol"], synthetic["interval"]) == ("backtest", "ETHUSDT", "1h")
    assert synthetic["bars"] == 1500


def test_start_and_end_span_the_bars(synthetic: dict[str, Any]) -> None:
    span = pd.Timestamp(synthetic["end"]) - pd.Timestamp(synthetic["start"])
    assert span == pd.Timedelta(hours=1500)


def test_the_same_command_gives_the_same_answer(ares: Run, synthetic: dict[str, Any]) -> None:
    assert ares("backtest", "--bars", "1500", "--seed", "5", "--json").answer == synthetic


def test_a_recording_is_played_and_a_report_written(ares: Run, real_data: Path, tmp_path: Path) -> None:
    tape = real_data / "market" / "um_ETHUSDT_1h.parquet"
    page = tmp_path / "report.html"
    done = ares("backtest", "--tape", tape, "--bars", "3000", "--json", "--report", page, folder=tmp_path)
    read = done.answer
    assert read["bars"] == 3000
    assert read["funding_in_data"] is False
    assert read["tape"] == str(tape)
    assert "<html" in page.read_text(encoding="utf-8")
    assert sorted(tmp_path.rglob("*.*")) == [tmp_path / "data" / "trials.sqlite", page]  # nothing else is written


def test_people_get_a_summary(ares: Run) -> None:
    done = ares("backtest", "--bars", "600")
    assert done.returncode == 0
    assert "net return, after all costs" in done.stdout
    assert "random entries" in done.stdout


def test_progress_goes_to_standard_error(ares: Run) -> None:
    done = ares("backtest", "--bars", "600", "--json", "--progress")
    assert done.answer["bars"] == 600
    assert "600/600" in done.stderr


def test_a_balance_scales_the_money_not_the_market(ares: Run, synthetic: dict[str, Any]) -> None:
    richer = ares("backtest", "--bars", "1500", "--seed", "5", "--json", "--balance", "50000").answer
    assert richer["baselines"]["buy_and_hold"] == synthetic["baselines"]["buy_and_hold"]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--exchange", "BINANCE"], 2, "later version"),
        (["--exchange", "SMI"], 2, "did you mean 'SIM'"),
        (["--symbol", "ETHUSD"], 2, "did you mean 'ETHUSDT'"),
        (["--interval", "1hr"], 2, "did you mean '1h'"),
        (["--tape", "nowhere.parquet"], 2, "nowhere.parquet"),
        (["--config", "nowhere.yaml"], 2, "no settings file nowhere.yaml"),
        (["--frobnicate"], 2, "--frobnicate"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    ares: Run, arguments: list[str], code: int, told: str, tmp_path: Path
) -> None:
    done = ares("backtest", *arguments, "--json", folder=tmp_path)
    assert done.returncode == code
    assert done.stdout == ""
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_bad_data_is_refused_with_its_row(ares: Run, tmp_path: Path) -> None:
    rows = ["open_time,open,high,low,close,volume"]
    rows += [f"{1_700_006_400_000 + n * 3_600_000},10,11,9,10,5" for n in range(50)]
    rows[20] = rows[20].replace(",11,9,", ",9,11,")  # high below low
    path = tmp_path / "ETHUSDT.csv"
    path.write_text("\n".join(rows))
    done = ares("backtest", "--tape", path, "--json")
    assert done.returncode == 3
    assert "19" in done.stderr


def test_a_setting_reaches_its_stage(ares: Run, tmp_path: Path) -> None:
    path = tmp_path / "bot.yaml"
    path.write_text("analyst: {enable_ml_predictions: false}\n")
    assert ares("backtest", "--bars", "1500", "--seed", "5", "--json", "--config", path).answer["orders"] == 0


def test_the_program_says_its_version_and_its_commands(ares: Run) -> None:
    assert ares("--version").stdout.startswith("ares ")
    assert "backtest" in ares("--help").stdout


def test_python_m_ares_is_the_same_program(synthetic: dict[str, Any], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ares", "backtest", "--bars", "1500", "--seed", "5", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == synthetic


def test_a_terminal_without_our_signs_gets_the_summary_all_the_same(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ares", "backtest", "--bars", "300"]
    plain = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=tmp_path, env=plain)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ETHUSDT 1h ? backtest ? 300 bars"), done.stdout
