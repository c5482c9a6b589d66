"""Recorded markets from Binance's public archives, and the last days by REST, into Parquet.

The archives are zip files by symbol and month or day, each with a checksum beside it. A file is kept only once its
checksum is right; a broken download goes on where it stopped; what is there already is not fetched again.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import io
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen
from attrs.validators import in_

from ares.data.stamps import stamps_to_ns
from ares.data.store import load_funding, load_klines, save_klines
from ares.errors import DataError, InvalidInput, Rejected, Retryable
from ares.instruments import Interval
from ares.protocols import MarketData
from ares.storage import atomic_path, atomic_write, sha256_file

if TYPE_CHECKING:
    import httpx
    import pandas as pd

__all__ = ["ARCHIVES", "KINDS", "Archive", "Downloader", "append_recent", "build_store", "plan"]

ARCHIVES = "https://data.binance.vision"
KINDS = ("klines", "aggTrades", "fundingRate", "metrics")
_MOST_BYTES = 4 << 30
_TRIES = 4


def _is_symbol(symbol: str) -> str:
    """A name that can stand in an address and in a path: letters of any script, digits and underscores.

    Raises: InvalidInput.
    """
    if not symbol.replace("_", "").isalnum():
        raise InvalidInput(f"{symbol!r} is no symbol: it has letters, digits and underscores only, such as ETHUSDT")
    return symbol


@frozen(kw_only=True)
class Archive:
    """One archive file. `period`: a month such as 2024-10, or a day such as 2024-10-28."""

    kind: str = field(validator=in_(KINDS))
    symbol: str = field(converter=_is_symbol)
    interval: str = ""  # of klines
    period: str

    @property
    def name(self) -> str:
        """The file's name."""
        middle = self.interval if self.kind == "klines" else self.kind
        return f"{self.symbol}-{middle}-{self.period}.zip"

    @property
    def path(self) -> str:
        """Where it lies below the archive's address."""
        span = "monthly" if len(self.period) == 7 else "daily"
        folder = f"data/futures/um/{span}/{self.kind}/{self.symbol}"
        return f"{folder}/{self.interval}/{self.name}" if self.kind == "klines" else f"{folder}/{self.name}"

    @property
    def days(self) -> tuple[Archive, ...]:
        """The daily files that hold what a monthly one does; empty for a day and for funding, which comes by months."""
        if len(self.period) != 7 or self.kind == "fundingRate":
            return ()
        first = dt.date.fromisoformat(f"{self.period}-01")
        dates = (first + dt.timedelta(days=n) for n in range(31))
        return tuple(evolve(self, period=f"{date:%Y-%m-%d}") for date in dates if date.month == first.month)


def plan(kind: str, symbol: str, start: dt.date, end: dt.date, interval: str = "") -> list[Archive]:
    """The files that cover the days from `start` to `end`, both included: whole months where there are, else days.

    Funding comes by months only, metrics by days only. Raises: InvalidInput for an unknown kind, an empty span, or a
    symbol that is no name.
    """
    if kind not in KINDS:
        raise InvalidInput(f"unknown kind of archive {kind!r}: {', '.join(KINDS)}")
    if end < start:
        raise InvalidInput(f"the span from {start} to {end} is empty")
    if kind == "klines":
        interval = Interval.parse(interval).name
    found: list[Archive] = []
    day = start
    while day <= end:
        following = (day.replace(day=1) + dt.timedelta(days=32)).replace(day=1)
        whole = day.day == 1 and following - dt.timedelta(days=1) <= end
        if kind == "fundingRate" or (whole and kind != "metrics"):
            period, day = f"{day:%Y-%m}", following
        else:
            period, day = f"{day:%Y-%m-%d}", day + dt.timedelta(days=1)
        found.append(Archive(kind=kind, symbol=symbol, interval=interval if kind == "klines" else "", period=period))
    return found


class Downloader:
    """Fetches archives into a folder, several at once."""

    def __init__(
        self,
        folder: Path | str,
        *,
        base: str = ARCHIVES,
        transport: httpx.AsyncBaseTransport | None = None,
        parallel: int = 4,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """base: the archive's address. transport: None is the network. progress: told how many files are done."""
        self.folder = Path(folder)
        self.missing: list[Archive] = []  # not published (yet)
        self._base, self._transport, self._progress = base.rstrip("/"), transport, progress
        self._gate = asyncio.Semaphore(parallel)
        self._done = 0

    async def fetch(self, archives: Iterable[Archive]) -> list[Path]:
        """All of them that exist, in order. What the archive does not have is listed in `missing`.

        For a month that is not published, its days are fetched.
        Raises: Retryable when the archive cannot be reached; DataError when a checksum stays wrong.
        """
        import httpx

        async with httpx.AsyncClient(
            transport=self._transport, trust_env=False, follow_redirects=False, timeout=60.0
        ) as client:
            found = await asyncio.gather(*(self._all_of(client, archive) for archive in archives))
        return [path for paths in found for path in paths]

    async def _all_of(self, client: httpx.AsyncClient, archive: Archive) -> list[Path]:
        """The file itself, else those of its days; a month without any is missing as a whole."""
        found = {archive: await self._one(client, archive)}
        if found[archive] is None and archive.days:
            paths = await asyncio.gather(*(self._one(client, day) for day in archive.days))
            if any(paths):
                found = dict(zip(archive.days, paths, strict=True))
        self.missing += [each for each, path in found.items() if path is None]
        self._done += 1
        if self._progress is not None:
            self._progress(self._done)
        return [path for path in found.values() if path is not None]

    async def _one(self, client: httpx.AsyncClient, archive: Archive) -> Path | None:
        async with self._gate:
            target = self.folder / archive.path
            note = target.with_name(target.name + ".sha256")
            if not (target.is_file() and note.is_file() and note.read_text() == sha256_file(target)):
                wanted = await self._checksum(client, archive)
                if wanted is None:
                    return None
                await self._until_right(client, archive, target, wanted)
                atomic_write(note, wanted.encode())
            return target

    async def _until_right(self, client: httpx.AsyncClient, archive: Archive, target: Path, wanted: str) -> None:
        part = target.with_name(target.name + ".part")
        part.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(_TRIES):
            await self._body(client, archive, part)
            if sha256_file(part) == wanted:
                part.replace(target)
                return
            part.unlink()  # it cannot be mended: begin anew
        raise DataError(f"{archive.name}: its checksum stays wrong", file=archive.name, wanted=wanted)

    async def _checksum(self, client: httpx.AsyncClient, archive: Archive) -> str | None:
        """The published SHA-256; None when there is no such file."""
        answer = await self._get(client, f"{self._base}/{archive.path}.CHECKSUM")
        if answer.status_code == 404:
            return None
        word = answer.text.split()[0].lower() if answer.status_code == 200 and answer.text.split() else ""
        if len(word) != 64 or not all(c in "0123456789abcdef" for c in word):
            raise DataError(f"{archive.name}: its checksum file is none", file=archive.name)
        return word

    async def _body(self, client: httpx.AsyncClient, archive: Archive, part: Path) -> None:
        """Fetch the file, from where an earlier try stopped."""
        import httpx

        url = f"{self._base}/{archive.path}"
        for attempt in range(_TRIES):
            have = _size(part)
            headers = {"Range": f"bytes={have}-"} if have else {}
            try:
                async with client.stream("GET", url, headers=headers) as answer:
                    if answer.status_code == 416:
                        return
                    if answer.status_code not in (200, 206):
                        raise Rejected(f"{archive.name}: HTTP {answer.status_code}", code=answer.status_code)
                    with part.open("ab" if answer.status_code == 206 else "wb") as file:
                        async for block in answer.aiter_bytes():
                            file.write(block)
                            if file.tell() > _MOST_BYTES:
                                raise DataError(f"{archive.name}: larger than any archive is", file=archive.name)
                return
            except httpx.HTTPError as error:
                if attempt + 1 == _TRIES:
                    raise Retryable(f"{archive.name}: {type(error).__name__}", file=archive.name) from None
                await asyncio.sleep(0.2 * 2**attempt)

    async def _get(self, client: httpx.AsyncClient, url: str) -> httpx.Response:
        import httpx

        for attempt in range(_TRIES):
            try:
                answer = await client.get(url)
                if answer.status_code < 500:
                    return answer
            except httpx.HTTPError as error:
                if attempt + 1 == _TRIES:
                    raise Retryable(f"the archive cannot be reached: {type(error).__name__}") from None
            await asyncio.sleep(0.2 * 2**attempt)
        raise Retryable("the archive answers with server errors")


def build_store(kind: str, symbol: str, files: Sequence[Path], store: Path | str, interval: str = "") -> Path:
    """One Parquet file of everything in `files` and of what the store held before; its path.

    klines: as `save_klines` writes them. funding: funding_time, funding_rate. aggTrades: time, agg_id, price, quantity,
    first_id, last_id, is_buyer_maker. metrics: time and the venue's columns as numbers, blanks as NaN.
    Raises: InvalidInput without any file or for a symbol that is no name; DataError for content that cannot be.
    """
    import pandas as pd

    folder, symbol = Path(store), _is_symbol(symbol)
    target = folder / kind / (f"{symbol}-{interval}.parquet" if kind == "klines" else f"{symbol}.parquet")
    if not files and not target.is_file():
        raise InvalidInput(f"the archive has no {kind} of {symbol} in this span")
    if kind == "klines":
        parts = [load_klines(path, interval, min_rows=1)[0] for path in files]
        _save_bars(parts, target, interval)
        return target
    read = {"fundingRate": _funding, "aggTrades": _agg_trades, "metrics": _metrics}[kind]
    tables = [read(path) for path in files]
    if target.is_file():
        tables.insert(0, pd.read_parquet(target))
    joined = pd.concat(tables, ignore_index=True)
    identity = {"fundingRate": "funding_time", "aggTrades": "agg_id", "metrics": "time"}[kind]
    joined = joined.drop_duplicates(identity, keep="last").sort_values(identity, ignore_index=True)
    with atomic_path(target) as temporary:
        joined.to_parquet(temporary, compression="zstd", index=False)
    return target


async def append_recent(source: MarketData, symbol: str, interval: str, store: Path | str, days: int = 3) -> int:
    """Add the closed bars since the stored ones, by REST; how many. days: to read when nothing is stored.

    Raises: what the source raises.
    """
    target = Path(store) / "klines" / f"{symbol}-{interval}.parquet"
    step = Interval.parse(interval)
    if target.is_file():
        held = load_klines(target, interval, min_rows=1)[0]
        start = held.index[-1].to_pydatetime() + dt.timedelta(microseconds=step.ns // 1000)
    else:
        newest = await source.get_klines(symbol, interval, 1)
        start = newest.index[-1].to_pydatetime() - dt.timedelta(days=days)
    parts: list[pd.DataFrame] = []
    while True:
        frame = await source.get_klines(symbol, interval, 1500, start=start)
        if frame.empty:
            break
        parts.append(frame)
        start = frame.index[-1].to_pydatetime() + dt.timedelta(microseconds=step.ns // 1000)
        if len(frame) < 1500:
            break
    if parts:
        _save_bars(parts, target, interval)
    return sum(len(part) for part in parts)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _save_bars(parts: list[pd.DataFrame], target: Path, interval: str) -> None:
    import pandas as pd

    if target.is_file():
        parts = [load_klines(target, interval, min_rows=1)[0], *parts]
    joined = pd.concat(parts)
    joined = joined[~joined.index.duplicated(keep="last")].sort_index()
    save_klines(joined.reset_index(), target, interval)


def _funding(path: Path) -> pd.DataFrame:
    return load_funding(path).reset_index()


def _agg_trades(path: Path) -> pd.DataFrame:
    import pandas as pd

    names = ["agg_id", "price", "quantity", "first_id", "last_id", "time", "is_buyer_maker"]
    table = _csv(path, "agg_trade_id", names)
    maker = table["is_buyer_maker"].astype(str).str.lower()
    if not maker.isin(("true", "false")).all():
        raise DataError(f"{path.name}: is_buyer_maker is neither true nor false")
    return pd.DataFrame(
        {
            "time": pd.DatetimeIndex(stamps_to_ns(table["time"])[0], tz="UTC"),
            "agg_id": table["agg_id"].astype("int64"),
            "price": _positive(table["price"], path),
            "quantity": _positive(table["quantity"], path),
            "first_id": table["first_id"].astype("int64"),
            "last_id": table["last_id"].astype("int64"),
            "is_buyer_maker": maker == "true",
        }
    )


def _metrics(path: Path) -> pd.DataFrame:
    import pandas as pd

    table = _csv(path, "create_time", [])
    if "create_time" not in table:
        raise DataError(f"{path.name}: no column create_time")
    numbers = {
        name: pd.to_numeric(column, errors="coerce").astype("float64")
        for name, column in table.items()
        if name not in ("create_time", "symbol")
    }
    times = pd.to_datetime(table["create_time"], utc=True, format="%Y-%m-%d %H:%M:%S")
    return pd.DataFrame({"time": times.dt.as_unit("ns"), **{str(k): v for k, v in numbers.items()}})


def _positive(column: Any, path: Path) -> Any:
    values = column.astype("float64")
    if not ((values > 0) & (values < float("inf"))).all():
        raise DataError(f"{path.name}: {column.name} holds a value that is not above 0")
    return values


def _csv(path: Path, first: str, names: list[str]) -> pd.DataFrame:
    """The one table inside an archive, with a header or without."""
    import pandas as pd

    try:
        with zipfile.ZipFile(path) as archive:
            inside = [n for n in archive.namelist() if n.endswith(".csv")]
            if len(inside) != 1:
                raise DataError(f"{path.name}: holds {len(inside)} tables, not one")
            data = archive.read(inside[0])
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path.name}: {error}") from None
    headed = data.startswith(first.encode())
    table = pd.read_csv(io.BytesIO(data), header=0 if headed else None)
    if names:
        if len(table.columns) < len(names):
            raise DataError(f"{path.name}: {len(table.columns)} columns instead of {len(names)}")
        table = table.iloc[:, : len(names)].set_axis(names, axis="columns")
    return table

