"""Progress goes to standard error, results to standard output; JSON is one strict object."""

from __future__ import annotations

import json
import math
import time

import pytest

from ares.cli.screen import note, print_json, print_summary, progress_bar

RESULT = {
    "mode": "backtest",
    "symbol": "ETHUSDT",
    "interval": "1h",
    "asset": "USDT",
    "bars": 5000,
    "start": "2024-01-01T00:00:00+00:00",
    "end": "2024-07-27T08:00:00+00:00",
    "orders": 84,
    "closed_trades": 28,
    "net_return": -0.0123,
    "fees": 31.5,
    "funding": -2.25,
    "max_drawdown": -0.05,
    "sharpe": math.nan,
    "baselines": {"flat": 0.0, "buy_and_hold": 0.31, "random_entries": -0.02},
}


def test_json_is_one_strict_object(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({**RESULT, "nested": [math.inf, {"x": math.nan}]})
    out, err = capsys.readouterr()
    read = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert err == ""
    assert read["sharpe"] is None
    assert read["nested"] == [None, {"x": None}]
    assert read["net_return"] == RESULT["net_return"]


def test_the_summary_shows_result_costs_and_baselines(capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(RESULT)
    out = capsys.readouterr().out
    for shown in ("ETHUSDT 1h", "backtest", "5,000 bars", "-1.23%", "84 / 28", "31.50 USDT", "buy and hold", "+31.00%"):
        assert shown in out
    assert "nan" not in out


def test_a_bar_is_shown_on_standard_error_when_forced(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("playing", 100, shown=True) as advance:
        for done in range(1, 101):
            advance(done)
    out, err = capsys.readouterr()
    assert out == ""
    assert "100/100" in err


def test_without_a_terminal_there_is_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("playing", 100) as advance:
        advance(100)
    assert capsys.readouterr() == ("", "")


def test_notes_are_no_results(capsys: pytest.CaptureFixture[str]) -> None:
    note("3 gaps, left as they are")
    assert capsys.readouterr() == ("", "3 gaps, left as they are\n")


def test_silence_is_explained(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ares.cli.screen._PATIENCE", 0.01)
    out, err, until = "", "", time.monotonic() + 120
    with progress_bar("playing", 100):
        while "compiles" not in err and time.monotonic() < until:
            time.sleep(0.02)
            out, err = (before + more for before, more in zip((out, err), capsys.readouterr(), strict=True))
    assert out == ""
    assert "compiles" in err
