"""`ares precompute` and `ares warm` from the outside."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ares.features.orchestrator import FeatureOrchestrator
from ares.simulation.tape import Tape
from tests.cli.test_paper_binance import local_venue

Run = Callable[..., Any]


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "bot.yaml"
    folder = tmp_path / "cache"
    path.write_text(f"feature_engineering_orchestrator:\n  wavelet_cache:\n    cache_dir: {folder}\n")
    return path


def test_a_second_run_continues_from_the_cache(ares: Run, settings: Path) -> None:
    first = ares("precompute", "--bars", "800", "--config", settings, "--json").answer
    again = ares("precompute", "--bars", "800", "--config", settings, "--json").answer
    assert first["symbols"]["ETHUSDT"]["rows"] == 800
    assert [r["symbols"]["ETHUSDT"]["resumed"] for r in (first, again)] == [False, True]


def test_what_is_cached_is_what_would_be_computed(ares: Run, settings: Path) -> None:
    from ares.config import load_config

    ares("precompute", "--bars", "800", "--seed", "2", "--config", settings)
    klines = Tape.synthetic("ETHUSDT", "1h", bars=800, seed=2).frame()
    cached = FeatureOrchestrator(load_config(settings).features)
    read = cached.compute(klines)
    assert cached.get_feature_status()["cache"]["hits"] == 1
    pd.testing.assert_frame_equal(read, FeatureOrchestrator().compute(klines))


def test_many_symbols_in_parallel_from_one_pattern(ares: Run, settings: Path, tmp_path: Path) -> None:
    for number, symbol in enumerate(("ETHUSDT", "BTCUSDT")):
        Tape.synthetic(symbol, "1h", bars=300, seed=number).frame().to_parquet(tmp_path / f"{symbol}.parquet")
    answer = ares(
        *("precompute", "--symbol", "ETHUSDT", "--symbol", "BTCUSDT", "--workers", "2"),
        *("--tape", tmp_path / "{symbol}.parquet", "--config", settings, "--json"),
    ).answer
    assert {name: row["rows"] for name, row in answer["symbols"].items()} == {"ETHUSDT": 300, "BTCUSDT": 300}


def test_one_tape_for_two_symbols_is_refused(ares: Run, settings: Path) -> None:
    done = ares("precompute", "--symbol", "A", "--symbol", "B", "--tape", "x.parquet", "--config", settings)
    assert done.returncode == 2 and "{symbol}" in done.stderr


def test_a_recording_of_binance_needs_no_binance(ares: Run, settings: Path, tmp_path: Path) -> None:
    Tape.synthetic("ETHUSDT", "1h", bars=300, seed=1).frame().to_parquet(tmp_path / "ETHUSDT.parquet")
    told = ("--exchange", "BINANCE", "--tape", tmp_path / "ETHUSDT.parquet", "--config", settings, "--json")
    answers = [ares("precompute", "--symbol", "ETHUSDT", *told).answer["symbols"]["ETHUSDT"] for _ in range(2)]
    assert [(a["rows"], a["resumed"]) for a in answers] == [(300, False), (300, True)]


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_binances_own_klines_are_kept_and_continued(ares: Run, tmp_path: Path) -> None:
    with local_venue(tmp_path) as settings:
        told = ("precompute", "--exchange", "BINANCE", "--interval", "1m", "--config", settings, "--json")
        first = ares(*told, "--bars", "500", folder=tmp_path).answer["symbols"]["ETHUSDT"]
        again = ares(*told, folder=tmp_path).answer["symbols"]["ETHUSDT"]
        assert (first["rows"], first["resumed"], again["resumed"]) == (500, False, True)
        assert again["rows"] >= 500
        unknown = ares(*told, "--symbol", "ETHUSD", folder=tmp_path)
        assert unknown.returncode == 2 and "did you mean 'ETHUSDT'" in unknown.stderr
    kept = pd.read_parquet(tmp_path / "data" / "klines" / "ETHUSDT-1m.parquet")
    assert len(kept) == again["rows"] and "taker_buy_volume" in kept


def test_warm_says_how_long_it_took(ares: Run) -> None:
    assert ares("warm", "--json").answer["seconds"] > 0
