"""`ares paper --exchange BINANCE`, over real sockets against a Binance of our own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ares.events import CandleClosed, LinkChanged
from ares.pipeline.journal import SqliteJournal

Run = Callable[..., Any]
KEY, SECRET = "canary-key-4Tz8", "canary-secret-4Tz8"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals")


# What goes wrong at the second venue: while the bot reads its history, and then on its market stream.
FAULTS = (
    "unavailable_503 at GET /fapi/v1/klines",
    "truncated at GET /fapi/v1/klines nth 2",
    "dropped at ethusdt@kline_1m nth 9",
    "truncated at ethusdt@markPrice* nth 12 count 3",
    "reordered at ethusdt@kline_1m nth 20 count 2",
    "duplicated at ethusdt@kline_1m nth 26 count 3",
)


@contextmanager
def local_venue(folder: Path, *faults: str) -> Iterator[Path]:
    """A settings file that points at a local venue, which plays a minute a second."""
    command = [sys.executable, "-m", "ares", "simulate", "--port", "0", "--interval", "1m", "--bars", "3000"]
    command += ["--api-key", KEY, "--api-secret", SECRET, "--pace", "60"]
    for fault in faults:
        command += ["--fault", fault]
    venue = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert venue.stdout is not None
    where = json.loads(venue.stdout.readline())
    path = folder / "bot.yaml"
    path.write_text(f"binance_exchange: {{rest_url: '{where['rest']}', stream_url: '{where['streams']}'}}\n")
    try:
        yield path
    finally:
        venue.terminate()
        venue.communicate(timeout=240)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with local_venue(tmp_path_factory.mktemp("binance")) as path:
        yield path


def arguments(settings: Path, book: Path, *more: str) -> list[str]:
    chosen = ["--exchange", "BINANCE", "--interval", "1m", "--config", str(settings), "--journal", str(book)]
    return ["paper", *chosen, "--json", *more]


def test_it_follows_the_venues_market_and_replays(ares: Run, settings: Path, tmp_path: Path) -> None:
    book = tmp_path / "bot.sqlite"
    done = ares(*arguments(settings, book, "--bars", "3"))
    assert done.answer["bars"] == 3
    assert done.answer["finished"] is True
    assert "http://127.0.0.1" in done.stderr
    assert ares("replay", "--journal", book, "--json").answer["identical"] is True
    assert KEY.encode() not in book.read_bytes()


def test_faults_on_the_way_end_nothing_and_lose_no_bar(ares: Run, tmp_path: Path) -> None:
    book = tmp_path / "bot.sqlite"
    with local_venue(tmp_path, *FAULTS) as settings:
        assert ares(*arguments(settings, book, "--bars", "10")).answer["finished"] is True
    assert ares("replay", "--journal", book, "--json").answer["identical"] is True
    journal = SqliteJournal(book, read_only=True)
    events = [event for event, _ in journal.records()]
    journal.close()
    opens = [e.candle.open_ns for e in events if isinstance(e, CandleClosed)]
    assert all(after - before == 60 * 10**9 for before, after in zip(opens, opens[1:], strict=False))
    links = [e.up for e in events if isinstance(e, LinkChanged)]
    assert links and links == [False, True] * (len(links) // 2)  # told that the market is lost, and that it is back


def test_ctrl_c_ends_it_in_order(ares: Run, settings: Path, tmp_path: Path) -> None:
    book = tmp_path / "bot.sqlite"
    command = [sys.executable, "-m", "ares", *arguments(settings, book, "--progress")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stderr is not None
    seen = b""
    while b"ETHUSDT" not in seen:  # the bar is drawn once the first event is in
        piece = os.read(process.stderr.fileno(), 4096)
        assert piece, seen
        seen += piece
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130, err
    if out:  # stopped after the session began: its summary is there
        assert json.loads(out)["finished"] is False
        assert ares("replay", "--journal", book, "--json").answer["identical"] is True


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--symbol", "ETHUSD"], "ETHUSDT"),
        (["--tape", "x.parquet"], "goes with --exchange SIM"),
        (["--interval", "1mm"], "did you mean"),
    ],
)
def test_bad_input_is_refused(ares: Run, settings: Path, tmp_path: Path, more: list[str], told: str) -> None:
    done = ares(*arguments(settings, tmp_path / "bot.sqlite"), *more)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr


def test_a_venue_that_is_not_there_may_be_tried_again(ares: Run, tmp_path: Path) -> None:
    settings = tmp_path / "bot.yaml"
    with socket.socket() as taken:  # nobody listens there
        taken.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        settings.write_text(
            f"binance_exchange: {{rest_url: 'http://{where}', stream_url: 'ws://{where}', max_retries: 0}}\n"
        )
        done = ares(*arguments(settings, tmp_path / "bot.sqlite"))
    assert done.returncode == 75
    assert "Traceback" not in done.stderr
