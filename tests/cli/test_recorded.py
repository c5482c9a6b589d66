"""Recordings beside a tape on the command line: read by the features, alike in backtest and paper."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ares.cli.recorded import Recorded
from ares.config import AresConfig
from ares.pipeline.journal import SqliteJournal

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def files(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Half a day of recorded trades, the bars they make, quotes beside them, open interest."""
    folder = tmp_path_factory.mktemp("recorded")
    trades = pd.read_parquet(real_data / "market" / "um_APEUSDT_aggTrades_2024-10-18.parquet").iloc[:20_000]
    grouped = trades.groupby(pd.DatetimeIndex(trades.time).as_unit("ns").floor("5min"))
    bars = grouped.price.ohlc()
    bars["volume"] = grouped.quantity.sum()
    bars.index.name = "open_time"
    few = trades.iloc[::50]
    quotes = pd.DataFrame({"time": few.time, "bid_price": few.price - 1e-4, "bid_qty": few.quantity,
                           "ask_price": few.price + 1e-4, "ask_qty": 7.0})  # fmt: skip
    futures = pd.DataFrame({"time": bars.index, "open_interest": np.linspace(1e6, 2e6, len(bars))})
    frames = {"tape": bars.reset_index(), "agg_trades": trades, "quotes": quotes, "futures": futures}
    paths = {name: folder / f"APEUSDT_{name}.parquet" for name in frames}
    for name, frame in frames.items():
        frame.to_parquet(paths[name])
    return paths


def options(files: dict[str, Path]) -> list[str | Path]:
    return ["--symbol", "APEUSDT", "--tape", files["tape"], "--agg-trades", files["agg_trades"],
            "--quotes", files["quotes"], "--futures", files["futures"]]  # fmt: skip


def test_backtest_and_paper_are_alike_and_the_journal_replays(
    ares: Run, files: dict[str, Path], tmp_path: Path
) -> None:
    tested = ares("backtest", *options(files), "--json")
    assert "20,000 rows of agg_trades" in tested.stderr
    paper = ares("paper", *options(files), "--json", folder=tmp_path).answer
    for key in ("orders", "closed_trades", "net_return", "fees"):
        assert paper[key] == tested.answer[key]
    journal = SqliteJournal(Path(paper["journal"]) if Path(paper["journal"]).is_absolute() else
                            tmp_path / paper["journal"], read_only=True)  # fmt: skip
    kinds = {type(event).__name__ for event, _ in journal.records()}
    journal.close()
    assert kinds >= {"AggTrades", "BookTop", "FuturesStatistics", "CandleClosed"}
    assert ares("replay", "--journal", paper["journal"], "--json", folder=tmp_path).returncode == 0


def test_recordings_go_with_a_tape_they_overlap(ares: Run, files: dict[str, Path], tmp_path: Path) -> None:
    alone = ares("backtest", "--agg-trades", files["agg_trades"])
    assert alone.returncode != 0 and "--agg-trades goes with --tape" in alone.stderr
    late = pd.read_parquet(files["agg_trades"])
    late["time"] = late.time + pd.Timedelta("30D")
    late.to_parquet(tmp_path / "late.parquet")
    done = ares("backtest", "--symbol", "APEUSDT", "--tape", files["tape"], "--agg-trades", tmp_path / "late.parquet")
    assert done.returncode != 0 and "nothing of it lies within the bars" in done.stderr


def test_a_file_adds_its_source_once() -> None:
    given = Recorded(agg_trades=Path("a"), quotes=Path("b"), futures=Path("c"))
    once = given.read_by(AresConfig())
    assert once.features.sources == ("agg_trades", "book_top", "futures")
    assert given.read_by(once) == once
    assert Recorded().read_by(AresConfig()) == AresConfig()
