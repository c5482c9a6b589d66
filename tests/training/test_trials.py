"""The trial ledger: nothing leaves it, nothing in it changes, and many alike count as few."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ares.errors import DataError, InvalidInput
from ares.training.trials import TrialLedger, effective_trials, session_ledger

HOURS = pd.date_range("2024-01-01", periods=500, freq="h", tz="UTC")


def returns(seed: int, n: int = 500, **settings: object) -> pd.Series:
    return pd.Series(np.random.default_rng(seed).normal(1e-4, 0.01, n), index=HOURS[:n])


def test_what_is_recorded_comes_back_from_memory_and_from_disk(tmp_path: Path) -> None:
    for path in (None, tmp_path / "deep" / "trials.sqlite"):
        with TrialLedger(path) as ledger:
            first = ledger.record(
                kind="train", name="side", recorded_ns=10**18, parameters={"leaves": 31}, metrics={"brier": 0.24}
            )
            second = ledger.record(
                kind="backtest", name="eth", recorded_ns=10**18 + 1, returns=returns(0), family="eth"
            )
            assert (first, second, len(ledger)) == (1, 2, 2)
            table = ledger.trials()
            assert table.loc[1, "parameters"] == {"leaves": 31}
            assert table.loc[1, "metrics"] == {"brier": 0.24}
            assert table["periods"].tolist() == [0, 500]
            assert ledger.trials("eth").index.tolist() == [2]
            pd.testing.assert_series_equal(
                ledger.returns()[2], returns(0), check_names=False, check_freq=False, check_index_type=False
            )
            ledger.verify()
    with TrialLedger(tmp_path / "deep" / "trials.sqlite") as again:
        assert len(again) == 2
        again.verify()


def test_nothing_can_be_changed_or_removed(tmp_path: Path) -> None:
    path = tmp_path / "trials.sqlite"
    with TrialLedger(path) as ledger:
        for seed in range(4):
            ledger.record(kind="sweep", name=str(seed), recorded_ns=seed, returns=returns(seed))
    raw = sqlite3.connect(path)
    for statement in ("UPDATE trials SET name = 'better'", "DELETE FROM trials WHERE number = 2"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            raw.execute(statement)
    for forgery, told in (
        ("UPDATE trials SET metrics = '{\"sharpe\": 9}' WHERE number = 3", "trial 3 was altered"),
        ("DELETE FROM trials WHERE number = 4", "trial 3 was altered"),
        ("DELETE FROM trials WHERE number = 3", "last 2 trials are missing"),
        ("DELETE FROM trials WHERE number = 1", "missing"),
    ):
        raw.execute("DROP TRIGGER trials_stay")
        raw.execute("DROP TRIGGER trials_keep_their_values")
        raw.execute(forgery)
        raw.commit()
        with TrialLedger(path) as ledger, pytest.raises(DataError, match=told):
            ledger.verify()
    raw.close()


def test_several_writers_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "trials.sqlite"
    TrialLedger(path).close()

    def write(who: int) -> None:
        with TrialLedger(path) as mine:
            for i in range(20):
                mine.record(kind="sweep", name=f"{who}-{i}", recorded_ns=i)

    threads = [threading.Thread(target=write, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with TrialLedger(path) as ledger:
        assert len(ledger) == 80
        ledger.verify()


def test_trials_that_move_together_count_as_one() -> None:
    rng = np.random.default_rng(0)
    ideas = rng.normal(size=(2000, 4))
    assert effective_trials(ideas) == 4
    variants = np.repeat(ideas, 25, axis=1) + 0.3 * rng.normal(size=(2000, 100))
    assert effective_trials(variants) == 4
    assert effective_trials(np.column_stack([ideas, np.zeros((2000, 3))])) == 5
    assert effective_trials(np.repeat(ideas[:, :1], 7, axis=1)) == 1
    assert effective_trials(np.zeros((10, 3))) == 1
    with pytest.raises(InvalidInput, match="alike"):
        effective_trials(ideas, alike=0.0)


@pytest.fixture
def ledger() -> Iterator[TrialLedger]:
    with TrialLedger() as opened:
        yield opened


def test_the_summary_gives_what_the_deflated_sharpe_ratio_needs(ledger: TrialLedger) -> None:
    empty = ledger.summary()
    assert (empty.count, empty.effective, empty.period_ns) == (0, 0, None)
    for seed in range(5):
        ledger.record(kind="backtest", name="x", recorded_ns=seed, returns=returns(seed), family="a")
    ledger.record(kind="train", name="y", recorded_ns=9, family="a")
    ledger.record(kind="backtest", name="z", recorded_ns=9, returns=returns(9), family="b")
    told = ledger.summary("a")
    expected = np.array([returns(s).mean() / returns(s).std() for s in range(5)])
    np.testing.assert_allclose(told.sharpe, expected)
    assert told.sharpe_variance == pytest.approx(expected.var(ddof=1))
    assert (told.count, told.effective) == (6, 6)
    assert told.period_ns == 3600 * 10**9
    assert ledger.returns("a").shape == (500, 5)
    assert ledger.summary().count == 7


def test_trials_on_other_clocks_or_at_other_times_are_different_ones(ledger: TrialLedger) -> None:
    """A training's daily returns cannot be laid beside hourly equity, nor this year's beside the next one's."""
    hourly, daily = returns(1), returns(1).set_axis(pd.date_range("2022-01-01", periods=500, freq="D", tz="UTC"))
    later = hourly.set_axis(hourly.index + pd.Timedelta(days=365))
    for number, (kind, made) in enumerate((("backtest", hourly), ("train", daily), ("backtest", later))):
        ledger.record(kind=kind, name=str(number), recorded_ns=number, returns=made, family="a")
    told = ledger.summary("a")
    assert (told.count, told.effective, dict(told.kinds)) == (3, 3, {"backtest": 2, "train": 1})
    ledger.record(kind="backtest", name="3", recorded_ns=3, returns=2.0 * hourly, family="b")
    ledger.record(kind="backtest", name="4", recorded_ns=4, returns=hourly, family="b")
    assert ledger.summary("b").effective == 1


def test_the_spread_of_sharpe_ratios_is_told_for_any_period(ledger: TrialLedger) -> None:
    """By the definition: over k periods means grow k-fold and variances too, so the ratio's variance grows k-fold."""
    for seed in range(4):
        ledger.record(kind="backtest", name=str(seed), recorded_ns=seed, returns=returns(seed))
    told = ledger.summary()
    assert told.variance_per(24 * 3600 * 10**9) == pytest.approx(24 * told.sharpe_variance)
    assert np.isnan(TrialLedger().summary().variance_per(1))


def test_what_is_no_trial_is_refused(tmp_path: Path, ledger: TrialLedger) -> None:
    with pytest.raises(InvalidInput, match="JSON"):
        ledger.record(kind="train", name="x", recorded_ns=0, parameters={"model": object()})
    with pytest.raises(InvalidInput, match="finite"):
        ledger.record(kind="train", name="x", recorded_ns=0, metrics={"brier": float("nan")})
    with pytest.raises(InvalidInput, match="finite"):
        ledger.record(kind="train", name="x", recorded_ns=0, returns=returns(0) * np.nan)
    with pytest.raises(InvalidInput, match="DatetimeIndex"):
        ledger.record(kind="train", name="x", recorded_ns=0, returns=pd.Series([0.1]))
    assert len(ledger) == 0
    (tmp_path / "text").write_text("this is no database" * 100)
    with pytest.raises(DataError, match="no trial ledger"):
        TrialLedger(tmp_path / "text")
    assert session_ledger() is session_ledger()


def test_a_ledger_that_the_machine_refuses_says_where(tmp_path: Path) -> None:
    with TrialLedger(tmp_path / "trials.sqlite") as full:
        full._connection.execute("PRAGMA max_page_count = 8")  # a disk of 32 KiB
        full.record(kind="train", name="small", recorded_ns=0)
        with pytest.raises(InvalidInput, match=r"cannot be written .*full"):
            full.record(kind="train", name="x" * 100_000, recorded_ns=0)
        full.verify()
        assert len(full) == 1


@pytest.mark.parametrize("table", ["books (title TEXT)", "trials (number INTEGER PRIMARY KEY, verdict TEXT)"])
def test_a_database_of_somebody_else_is_left_alone(tmp_path: Path, table: str) -> None:
    path = tmp_path / "books.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute(f"CREATE TABLE {table}")
        database.commit()
    before = path.read_bytes()
    with pytest.raises(DataError, match=f"it holds {table.split()[0]}"):
        TrialLedger(path)
    assert path.read_bytes() == before
