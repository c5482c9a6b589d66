"""`ares download`: recorded markets from the public archives, and the last days by REST."""

from __future__ import annotations

import asyncio
import datetime as dt
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ares.cli.exits import ends_with_exit_code
from ares.cli.options import JsonOut, Progress
from ares.cli.screen import note, print_json, progress_bar
from ares.errors import InvalidInput

if TYPE_CHECKING:
    from ares.download import Archive

__all__ = ["download"]


class Kind(str, Enum):
    """What the archives hold."""

    klines = "klines"
    agg_trades = "aggTrades"
    funding = "fundingRate"
    metrics = "metrics"


@ends_with_exit_code
def download(
    symbol: Annotated[list[str], typer.Option(help="Symbol, such as ETHUSDT. May be repeated.")],
    start: Annotated[str, typer.Option(help="First day, such as 2024-01-01.")],
    end: Annotated[str, typer.Option(help="Last day, included.")],
    kind: Annotated[list[Kind] | None, typer.Option(help="May be repeated. None: klines and funding.")] = None,
    interval: Annotated[str, typer.Option(help="Of klines.")] = "1h",
    to: Annotated[Path, typer.Option(help="Folder of the store and of the archives.")] = Path("data"),
    recent: Annotated[bool, typer.Option("--recent", help="Add the bars since then by REST, without keys.")] = False,
    parallel: Annotated[int, typer.Option(min=1, max=16, help="Files at once.")] = 4,
    archive_url: Annotated[str | None, typer.Option(help="Another address of the archives.")] = None,
    rest_url: Annotated[str | None, typer.Option(help="Another address of REST, with --recent.")] = None,
    json: JsonOut = False,
    progress: Progress = None,
) -> None:
    """Fetch Binance's public archives, check their checksums, and join them into Parquet.

    A second run fetches only what is new. A month that is not published as a whole comes by its days. Files that are
    not published (yet) are counted, not an error.
    """
    from ares.download import build_store, plan

    first, last = _day(start), _day(end)
    wanted: list[Archive] = []
    jobs: list[tuple[Kind, str, list[Archive]]] = []
    for name in symbol:
        for each in kind or [Kind.klines, Kind.funding]:
            archives = plan(each.value, name, first, last, interval)
            jobs.append((each, name, archives))
            wanted += archives
    with progress_bar("archives", len(wanted), progress) as advance:
        fetched, missing = asyncio.run(_fetch(to, jobs, archive_url, parallel, advance))
    written: list[dict[str, Any]] = []
    for (each, name, _), files in zip(jobs, fetched, strict=True):
        if not files:
            note(f"{name} {each.value}: nothing published in this span", quiet=json)
            continue
        path = build_store(each.value, name, files, to, interval)
        written.append({"symbol": name, "kind": each.value, "files": len(files), "path": str(path)})
        note(f"{name} {each.value}: {_files(len(files))} -> {path}", quiet=json)
    added: dict[str, int] = {}
    if recent:
        added = asyncio.run(_recent(symbol, interval, to, rest_url))
        for name, count in added.items():
            note(f"{name}: {count:,} recent bars by REST", quiet=json)
    if not written and not any(added.values()):
        raise InvalidInput("nothing was published for these symbols in this span")
    if json:
        print_json({"written": written, "missing": [a.path for a in missing], "recent": added})
    elif missing:
        note(f"not published: {_files(len(missing))}")


def _day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"{text!r} is no day: write 2024-08-05") from None


async def _fetch(
    folder: Path, jobs: list[tuple[Kind, str, list[Archive]]], url: str | None, parallel: int, advance: Any
) -> tuple[list[list[Path]], list[Archive]]:
    from ares.download import ARCHIVES, Downloader

    loader = Downloader(folder / "archives", base=url or ARCHIVES, parallel=parallel, progress=advance)
    fetched = [await loader.fetch(archives) for _, _, archives in jobs]
    return fetched, loader.missing


async def _recent(symbols: list[str], interval: str, folder: Path, url: str | None) -> dict[str, int]:
    from ares.cli.reach import remembering
    from ares.download import append_recent
    from ares.exchange.binance import BinanceExchange
    from ares.exchange.config import BinanceConfig

    async with BinanceExchange(remembering(BinanceConfig(use_testnet=False, rest_url=url))) as source:
        return {name: await append_recent(source, name, interval, folder) for name in symbols}


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"
