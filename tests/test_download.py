"""The downloader against a local server that publishes recorded archives as the real one does."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import zipfile
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest

from ares.data import load_klines
from ares.download import Archive, Downloader, append_recent, build_store, plan
from ares.errors import DataError, InvalidInput, Retryable


class Archives(httpx.AsyncBaseTransport):
    """Files by path, with their checksums; keeps count of what was asked."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files, self.asked = files, []
        self.wrong: set[str] = set()  # sent damaged
        self.cut_at = 0  # bytes after which the first answer breaks off

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.lstrip("/")
        self.asked.append((path, request.headers.get("range")))
        if path.endswith(".CHECKSUM"):
            name = path.removesuffix(".CHECKSUM")
            if name not in self.files:
                return httpx.Response(404)
            line = f"{hashlib.sha256(self.files[name]).hexdigest()}  {name.rsplit('/', 1)[-1]}\n"
            return httpx.Response(200, text=line)
        if path not in self.files:
            return httpx.Response(404)
        data = self.files[path]
        if path in self.wrong:
            return httpx.Response(200, content=data[::-1])
        if self.cut_at:
            at, self.cut_at = self.cut_at, 0
            return httpx.Response(200, stream=Breaking(data[:at]))
        asked = request.headers.get("range")
        if asked:
            return httpx.Response(206, content=data[int(asked[6:-1]) :])
        return httpx.Response(200, content=data)


class Breaking(httpx.AsyncByteStream):
    """A body whose connection breaks."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def __aiter__(self):
        yield self._data
        raise httpx.ReadError("broken")


def zipped(name: str, text: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, text)
    return data.getvalue()


def bars(day: str, interval_ms: int = 3_600_000, count: int = 24) -> bytes:
    start = int(dt.datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp() * 1000)
    rows = [
        f"{start + i * interval_ms},{100 + i},{102 + i},{99 + i},{101 + i},5,"
        f"{start + (i + 1) * interval_ms - 1},500,7,2,200,0"
        for i in range(count)
    ]
    return zipped("x.csv", "\n".join(rows))


def test_whole_months_come_by_month_and_the_rest_by_day() -> None:
    found = [a.period for a in plan("klines", "X", dt.date(2024, 1, 30), dt.date(2024, 4, 2), "1h")]
    assert found == ["2024-01-30", "2024-01-31", "2024-02", "2024-03", "2024-04-01", "2024-04-02"]
    assert [a.period for a in plan("fundingRate", "X", dt.date(2024, 1, 30), dt.date(2024, 3, 2))] == [
        "2024-01", "2024-02", "2024-03",
    ]  # fmt: skip
    assert len(plan("metrics", "X", dt.date(2024, 2, 1), dt.date(2024, 2, 29))) == 29
    path = Archive(kind="klines", symbol="ETHUSDT", interval="1h", period="2024-02").path
    assert path == "data/futures/um/monthly/klines/ETHUSDT/1h/ETHUSDT-1h-2024-02.zip"
    with pytest.raises(InvalidInput):
        plan("klines", "X", dt.date(2024, 2, 2), dt.date(2024, 2, 1), "1h")


async def test_what_is_there_is_not_fetched_again(tmp_path: Path) -> None:
    days = plan("klines", "ETHUSDT", dt.date(2024, 5, 2), dt.date(2024, 5, 4), "1h")
    server = Archives({a.path: bars(a.period) for a in days[:2]})
    loader = Downloader(tmp_path, base="http://archive", transport=server)
    paths = await loader.fetch(days)
    assert len(paths) == 2 and [a.period for a in loader.missing] == ["2024-05-04"]
    asked = len(server.asked)
    again = Downloader(tmp_path, base="http://archive", transport=server)
    assert await again.fetch(days) == paths and len(server.asked) == asked + 1  # only the missing one
    stored = build_store("klines", "ETHUSDT", paths, tmp_path / "store", "1h")
    frame, report = load_klines(stored)
    assert len(frame) == 48 and report.interval == "1h" and frame["close"].iloc[-1] == 124.0
    assert (frame["close_time"] - frame.index).dt.total_seconds().eq(3600).all()


async def test_a_broken_download_goes_on_where_it_stopped(tmp_path: Path) -> None:
    archive = Archive(kind="klines", symbol="ETHUSDT", interval="1h", period="2024-05-02")
    server = Archives({archive.path: bars(archive.period)})
    server.cut_at = 100
    paths = await Downloader(tmp_path, base="http://archive", transport=server).fetch([archive])
    assert paths[0].read_bytes() == server.files[archive.path]
    assert [r for p, r in server.asked if p == archive.path] == [None, "bytes=100-"]
    assert not list(tmp_path.rglob("*.part"))  # noqa: ASYNC240


async def test_a_wrong_checksum_is_never_accepted(tmp_path: Path) -> None:
    archive = Archive(kind="klines", symbol="ETHUSDT", interval="1h", period="2024-05-02")
    server = Archives({archive.path: bars(archive.period)})
    server.wrong.add(archive.path)
    with pytest.raises(DataError, match="checksum"):
        await Downloader(tmp_path, base="http://archive", transport=server).fetch([archive])
    assert not list(tmp_path.rglob("*.zip"))  # noqa: ASYNC240


async def test_an_unreachable_archive_is_retryable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no", request=request)

    async def at_once(seconds: float) -> None: ...

    monkeypatch.setattr("ares.download.asyncio.sleep", at_once)
    archive = Archive(kind="metrics", symbol="ETHUSDT", period="2024-05-02")
    with pytest.raises(Retryable):
        await Downloader(tmp_path, transport=httpx.MockTransport(answer)).fetch([archive])


async def test_recorded_archives_become_tables(real_data: Path, tmp_path: Path) -> None:
    raw = real_data / "market" / "raw"
    wanted = {
        Archive(kind="klines", symbol="BTCUSDT", interval="1h", period="2024-10-28"): "futures-um-klines-BTCUSDT-1h",
        Archive(kind="aggTrades", symbol="APEUSDT", period="2024-10-18"): "futures-APEUSDT-aggTrades",
        Archive(kind="metrics", symbol="BTCUSDT", period="2022-01-01"): "um-BTCUSDT-metrics",
    }
    wanted = {archive: f"{name}-{archive.period}.zip" for archive, name in wanted.items()}
    if not all((raw / name).is_file() for name in wanted.values()):
        pytest.skip(f"no recorded archives in {raw}")
    server = Archives({a.path: (raw / name).read_bytes() for a, name in wanted.items()})
    loader = Downloader(tmp_path, base="http://archive", transport=server)
    paths = await loader.fetch(wanted)
    klines = load_klines(build_store("klines", "BTCUSDT", paths[:1], tmp_path / "s", "1h"))[0]
    recorded = pd.read_parquet(real_data / "market" / "um_BTCUSDT_1h.parquet")
    assert len(klines) == 24
    day = load_klines(recorded)[0].loc["2024-10-28"]
    before = day.index < "2024-10-28 20:00"  # the venue mended its bars of that evening later
    assert np.array_equal(klines["close"].to_numpy()[:20], day["close"].to_numpy()[before])
    trades = pd.read_parquet(build_store("aggTrades", "APEUSDT", paths[1:2], tmp_path / "s"))
    theirs = pd.read_parquet(real_data / "market" / "um_APEUSDT_aggTrades_2024-10-18.parquet")
    assert len(trades) == len(theirs) and trades["agg_id"].is_monotonic_increasing
    assert np.isclose(trades["quantity"].sum(), theirs["quantity"].sum())
    metrics = pd.read_parquet(build_store("metrics", "BTCUSDT", paths[2:], tmp_path / "s"))
    assert len(metrics) == 288 and metrics["count_long_short_ratio"].isna().all()
    assert metrics["sum_open_interest"].iloc[0] == 74803.41
    again = pd.read_parquet(build_store("metrics", "BTCUSDT", paths[2:], tmp_path / "s"))
    assert len(again) == 288  # a second run adds nothing


@pytest.mark.parametrize("symbol", ["../../x", "a/b", "BTCUSDT.zip", "", "BTC USDT", "\x00"])
def test_a_symbol_that_could_lead_elsewhere_is_refused(tmp_path: Path, symbol: str) -> None:
    day = dt.date(2024, 10, 28)
    for work in (
        lambda: plan("klines", symbol, day, day, "1h"),
        lambda: Archive(kind="metrics", symbol=symbol, period="2024-10-28"),
        lambda: build_store("metrics", symbol, [], tmp_path),
    ):
        with pytest.raises(InvalidInput, match="no symbol"):
            work()
    assert Archive(kind="metrics", symbol="币安人生USDT", period="2024-10-28").path.count("币安人生USDT") == 2


async def test_the_last_days_come_by_rest(tmp_path: Path) -> None:
    from ares.simulation.simulated_exchange import SimulatedExchange
    from ares.simulation.tape import Tape

    tape = Tape.synthetic("ETHUSDT", "1h", bars=2000, seed=1)
    async with SimulatedExchange(tape, start=tape.start_ns + 1900 * tape.interval.ns) as source:
        first = await append_recent(source, "ETHUSDT", "1h", tmp_path, days=2)
        await source.advance(bars=5)
        more = await append_recent(source, "ETHUSDT", "1h", tmp_path)
        held = load_klines(tmp_path / "klines" / "ETHUSDT-1h.parquet")[0]
        wanted = await source.get_klines("ETHUSDT", "1h", len(held))
    assert (first, more) == (49, 5) and len(held) == 54
    assert held["close"].tolist() == wanted["close"].tolist()
