"""`ares download` as its user starts it, from a server on this machine that publishes recorded archives."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ares.data import load_klines

DAY = "data/futures/um/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2024-10-28.zip"
TRADES = "data/futures/um/daily/aggTrades/APEUSDT/APEUSDT-aggTrades-2024-10-18.zip"
RECORDED = {DAY: "futures-um-klines-BTCUSDT-1h-2024-10-28.zip", TRADES: "futures-APEUSDT-aggTrades-2024-10-18.zip"}


class Server(ThreadingHTTPServer):
    """The archives by path; `asked` are the paths in the order they were asked for."""

    files: dict[str, Path]
    asked: list[str]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Server)
        path = self.path.lstrip("/")
        self.server.asked.append(path)
        file = self.server.files.get(path.removesuffix(".CHECKSUM"))
        if file is None:
            self.send_error(404)
            return
        data = file.read_bytes()
        if path.endswith(".CHECKSUM"):
            data = f"{hashlib.sha256(data).hexdigest()}  {path.rpartition('/')[2]}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the test looks at `asked`."""


@pytest.fixture
def archive(real_data: Path) -> Iterator[Server]:
    raw = real_data / "market" / "raw"
    files = {path: raw / name for path, name in RECORDED.items()}
    if not all(file.is_file() for file in files.values()):
        pytest.skip(f"no recorded archives in {raw}")
    server = Server(("127.0.0.1", 0), Handler)
    server.files, server.asked = files, []
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(120)


def test_a_month_that_is_not_published_comes_by_its_days(
    archive: Server, ares: Callable[..., Any], tmp_path: Path, real_data: Path
) -> None:
    given = (
        "download", "--symbol", "BTCUSDT", "--kind", "klines", "--interval", "1h", "--to", str(tmp_path),
        "--start", "2024-10-01", "--end", "2024-10-31", "--archive-url", f"http://127.0.0.1:{archive.server_port}",
        "--json",
    )  # fmt: skip
    done = ares(*given)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    month = "data/futures/um/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2024-10.zip.CHECKSUM"
    assert archive.asked[0] == month and archive.asked.count(DAY) == 1
    assert answer["written"][0]["files"] == 1 and len(answer["missing"]) == 30 and DAY not in answer["missing"]
    stored = load_klines(answer["written"][0]["path"], "1h")[0]
    recorded = load_klines(pd.read_parquet(real_data / "market" / "um_BTCUSDT_1h.parquet"))[0]
    hours = stored.index[:20]  # the venue mended its bars of that evening later
    assert len(stored) == 24
    assert np.array_equal(stored.loc[hours, "close"], recorded.loc[hours, "close"])
    assert ares(*given).returncode == 0 and archive.asked.count(DAY) == 1  # what is there is not fetched again


def test_a_month_of_which_nothing_is_published_is_missing_once(
    archive: Server, ares: Callable[..., Any], tmp_path: Path
) -> None:
    address = f"http://127.0.0.1:{archive.server_port}"
    span = ("--start", "2024-10-01", "--end", "2024-10-31")
    given = ("--kind", "aggTrades", "--to", str(tmp_path), "--archive-url", address, "--json")
    both = ares("download", "--symbol", "APEUSDT", "--symbol", "NOSUCH", *span, *given)
    assert both.returncode == 0, both.stderr
    answer = json.loads(both.stdout)
    assert [w["symbol"] for w in answer["written"]] == ["APEUSDT"]
    assert [p for p in answer["missing"] if "NOSUCH" in p] == [
        "data/futures/um/monthly/aggTrades/NOSUCH/NOSUCH-aggTrades-2024-10.zip"
    ]
    alone = ares("download", "--symbol", "NOSUCH", *span, *given)
    assert alone.returncode == 2 and "nothing was published" in alone.stderr
