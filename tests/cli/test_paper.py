"""`ares paper` and `ares replay`: the same bot as a backtest, written down; killed, stopped, and gone on with."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ares.events import FillBooked, OrderUpdate, Submit
from ares.pipeline.journal import SqliteJournal
from tests.at_record import DEAD

Run = Callable[..., Any]
MARKET = ("--bars", "3000", "--seed", "3")
SLOW = ("--realtime", "--speed", "3600000")  # a thousand hours a second


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return tmp_path / "bot.sqlite"


@pytest.fixture(scope="module")
def whole(ares: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """An uninterrupted run."""
    read = ares("paper", *MARKET, "--json", "--journal", tmp_path_factory.mktemp("whole") / "bot.sqlite").answer
    assert read["closed_trades"] > 0, "the test market must make the bot trade"
    return dict(read)


# A paper run that, once its journal holds so many events, is killed, or gets a signal as if from somebody else.
ENDING = """
import os, sys
from ares.cli.program import program
from tests.at_record import at_record, die_soon
events, by = int(sys.argv[1]), int(sys.argv[2])
at_record(lambda journal, event: len(journal) == events, lambda: os.kill(os.getpid(), by) if by else die_soon())
program(sys.argv[3:], prog_name="ares")
"""


def ended(book: Path, events: int, by: int = 0) -> subprocess.CompletedProcess[str]:
    """A paper run in a process of its own, which gets the signal `by` at so many events; none: it is killed."""
    command = [sys.executable, "-c", ENDING, str(events), str(by), "paper", *MARKET, *SLOW]
    return subprocess.run(
        [*command, "--json", "--journal", str(book)], capture_output=True, text=True, cwd=Path(__file__).parents[2],
        timeout=600,
    )  # fmt: skip


def recorded(book: Path) -> int:
    """Durable events of a journal."""
    journal = SqliteJournal(book, read_only=True)
    journal.close()
    return len(journal)


def figures(read: dict[str, Any]) -> dict[str, Any]:
    """The result without the names of files."""
    return {key: value for key, value in read.items() if key not in {"journal", "mode", "finished", "trials_by_kind"}}


def orders_and_fills(book: Path) -> tuple[list[str], list[str]]:
    """Intents sent, and venue trade ids of fills, in order, as a journal has them."""
    journal = SqliteJournal(book, read_only=True)
    sent, fills = [], []
    for event, commands in journal.records():
        sent += [c.intent.intent_id for c in commands if isinstance(c, Submit)]
        if isinstance(event, FillBooked):
            fills.append(event.fill.trade_id)
        elif isinstance(event, OrderUpdate):
            assert event.order.client_order_id
    journal.close()
    return sent, fills


def test_paper_is_the_backtest(ares: Run, whole: dict[str, Any]) -> None:
    backtest = ares("backtest", *MARKET, "--json").answer
    assert whole["mode"] == "paper"
    assert whole["finished"] is True
    common = figures(whole).keys() & backtest.keys()
    assert len(common) > 15
    assert {key: whole[key] for key in common} == {key: backtest[key] for key in common}


def test_a_session_that_repeats_a_backtest_is_no_further_trial(ares: Run, tmp_path: Path) -> None:
    options = ("--bars", "400", "--trials", tmp_path / "trials.sqlite", "--json")
    first = ares("backtest", *options).answer
    again = ares("paper", *options, "--journal", tmp_path / "a.sqlite").answer
    other = ares("paper", *options, "--seed", "1", "--journal", tmp_path / "b.sqlite").answer
    assert first["trials_by_kind"] == again["trials_by_kind"] == {"backtest": 1}
    assert other["trials_by_kind"] == {"backtest": 1, "paper": 1}


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_kill_9_loses_nothing(ares: Run, book: Path, whole: dict[str, Any]) -> None:
    for events in (1500, 4000):
        killed = ended(book, events)
        assert killed.returncode == DEAD, killed.stderr
    done = ares("paper", *MARKET, "--json", "--journal", book)
    assert "continued" in done.stderr
    assert figures(done.answer) == figures(whole)
    sent, fills = orders_and_fills(book)
    assert len(sent) == len(set(sent)) == whole["orders"]
    assert len(fills) == len(set(fills))
    assert ares("replay", "--journal", book, "--json").answer["identical"] is True


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize(("by", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_ends_it_in_order(ares: Run, book: Path, by: signal.Signals, code: int) -> None:
    done = ended(book, 3000, by)
    assert done.returncode == code, done.stderr
    read = json.loads(done.stdout)  # the summary is printed all the same
    assert read["finished"] is False
    assert read["bars"] < 3000
    assert "stopping" in done.stderr
    assert ares("replay", "--journal", book, "--json").answer["identical"] is True
    gone_on = ares("paper", *MARKET, "--json", "--journal", book)
    assert "continued" in gone_on.stderr
    assert gone_on.answer["finished"] is True
    assert gone_on.answer["bars"] == 3000
    sent, _ = orders_and_fills(book)
    assert len(sent) == len(set(sent))


def test_a_finished_journal_is_set_aside(ares: Run, book: Path) -> None:
    first = ares("paper", "--bars", "400", "--json", "--journal", book).answer
    again = ares("paper", "--bars", "400", "--json", "--journal", book)
    assert figures(again.answer) == figures(first)
    assert "bot.1.sqlite" in again.stderr
    assert (book.parent / "bot.1.sqlite").exists()


def unfinished(book: Path) -> None:
    db = sqlite3.connect(book)
    with db:
        db.execute("DELETE FROM about WHERE key = 'finished'")
    db.close()


def test_a_finished_journal_that_was_cut_does_not_replay(ares: Run, book: Path) -> None:
    assert ares("paper", "--bars", "400", "--journal", book).returncode == 0
    last = recorded(book) - 1
    assert ares("replay", "--json", "--journal", book).answer["events"] == last + 1
    db = sqlite3.connect(book)
    with db:
        db.execute("DELETE FROM events WHERE seq = ?", (last,))
        db.execute("DELETE FROM commands WHERE seq = ?", (last,))
    db.close()
    cut = ares("replay", "--json", "--journal", book)
    assert (cut.returncode, cut.stdout) == (3, "")
    assert "damaged at its end" in cut.stderr
    unfinished(book)  # one that a crash left so is whole as far as it goes
    assert ares("replay", "--json", "--journal", book).answer["identical"] is True


def test_another_run_is_not_gone_on_with(ares: Run, book: Path, tmp_path: Path) -> None:
    assert ares("paper", "--bars", "400", "--journal", book).returncode == 0
    unfinished(book)
    other = ares("paper", "--bars", "400", "--seed", "9", "--journal", book)
    assert (other.returncode, other.stdout) == (2, "")
    assert "seed (was 0, now 9)" in other.stderr
    assert "sha256" not in other.stderr
    assert "--restart" in other.stderr
    richer = ares("paper", "--bars", "400", "--balance", "500", "--journal", book)
    assert "settings.backtest.venue.start_balance (was '10000', now '500.0')" in richer.stderr
    assert ares("paper", "--bars", "400", "--seed", "9", "--journal", book, "--restart").returncode == 0


def test_one_process_at_a_time(ares: Run, book: Path) -> None:
    held = SqliteJournal(book)
    try:
        assert ares("paper", "--bars", "400", "--journal", book).returncode == 75
    finally:
        held.close()


def test_the_journal_has_a_place_of_its_own(ares: Run, tmp_path: Path) -> None:
    read = ares("paper", "--bars", "400", "--json", folder=tmp_path).answer
    assert read["journal"] == "data/paper-ETHUSDT-1h.sqlite"
    assert ares("replay", "--json", folder=tmp_path).answer["identical"] is True
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_replay_gives_the_figures_of_the_session(ares: Run, whole: dict[str, Any]) -> None:
    replayed = ares("replay", "--journal", whole["journal"], "--json").answer
    assert replayed["mode"] == "replay"
    assert {key: replayed[key] for key in figures(whole).keys() & replayed.keys()} == {
        key: whole[key] for key in figures(whole).keys() & replayed.keys()
    }


def test_replay_counts_the_alerts_of_the_session(ares: Run, tmp_path: Path) -> None:
    settings, book = tmp_path / "strict.yaml", tmp_path / "bot.sqlite"
    settings.write_text("desk: {guard: {drawdown_limit: 0.0005}}\n")
    session = ares("paper", *MARKET, "--config", settings, "--json", "--journal", book).answer
    assert "guard.drawdown" in session["alerts"]
    assert ares("replay", "--journal", book, "--json").answer["alerts"] == session["alerts"]


def test_replay_names_the_first_difference(ares: Run, whole: dict[str, Any], tmp_path: Path) -> None:
    settings = tmp_path / "other.yaml"
    settings.write_text("tactician: {risk_per_trade: 0.001}\n")
    done = ares("replay", "--journal", whole["journal"], "--json", "--config", settings)
    assert done.returncode == 3
    read = json.loads(done.stdout)
    assert read["identical"] is False
    assert read["difference"]["recorded"] != read["difference"]["replayed"]
    assert f"event {read['difference']['seq']}" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--symbol", "BTCUSDT"], "symbol 'ETHUSDT', not 'BTCUSDT'"),
        (["--interval", "4h"], "interval '1h', not '4h'"),
        (["--seed", "4"], "seed 3, not 4"),
    ],
)
def test_replay_refuses_another_market(ares: Run, whole: dict[str, Any], arguments: list[str], told: str) -> None:
    done = ares("replay", "--journal", whole["journal"], "--json", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr


def test_replay_of_nothing_says_so(ares: Run, tmp_path: Path) -> None:
    done = ares("replay", "--journal", tmp_path / "none.sqlite")
    assert done.returncode == 2
    assert "no journal" in done.stderr
