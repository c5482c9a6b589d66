"""The local book against a plain dictionary, and against the best quotes that the venue recorded beside it."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares.errors import DataError
from ares.exchange.book import LocalBook
from ares.exchange.wire.depth import DepthFrame, decode_depth
from ares.exchange.wire.market import Depth

LEVELS = st.lists(
    st.tuples(st.integers(1, 30).map(float), st.sampled_from([0.0, 1.0, 2.5])), max_size=12
)


def frame(first: int, last: int, before: int, bids: list, asks: list) -> DepthFrame:
    return DepthFrame.of("X", (first, last, before), bids, asks, T=1)


@given(st.lists(st.tuples(LEVELS, LEVELS), max_size=20))
def test_the_book_is_that_of_a_dictionary(changes: list[tuple[list, list]]) -> None:
    book = LocalBook("X")
    assert book.load(Depth(last_update_id=0, time_ms=1, bids=[("10", "1")], asks=[("11", "1")]))
    bids, asks = {10.0: 1.0}, {11.0: 1.0}
    for i, (b, a) in enumerate(changes):
        assert book.update(frame(i if i == 0 else i + 1, i + 1, i, b, a))
        for side, levels in ((bids, b), (asks, a)):
            for price, size in levels:
                side.pop(price, None)
                if size:
                    side[price] = size
    top = book.top(100)
    assert top.bids.tolist() == [list(x) for x in sorted(bids.items(), reverse=True)]
    assert top.asks.tolist() == [list(x) for x in sorted(asks.items())]


def test_changes_before_the_snapshot_are_kept_and_old_ones_skipped() -> None:
    book = LocalBook("X")
    for i in range(4):
        assert not book.update(frame(i * 10, i * 10 + 9, i * 10 - 1, [(float(i + 1), 1.0)], []))
    assert book.load(Depth(last_update_id=15, time_ms=1, bids=[("9", "1")], asks=[]))
    assert book.last_update_id == 39 and book.top().bids[:, 0].tolist() == [9.0, 4.0, 3.0, 2.0]


def test_a_snapshot_older_than_the_first_change_asks_for_another() -> None:
    book = LocalBook("X")
    book.update(frame(100, 110, 99, [], []))
    assert not book.load(Depth(last_update_id=50, time_ms=1, bids=[("1", "1")], asks=[]))
    assert not book.synced
    with pytest.raises(DataError):
        book.top()
    assert book.load(Depth(last_update_id=105, time_ms=1, bids=[("1", "1")], asks=[]))


def test_a_broken_chain_is_a_gap_and_heals_by_a_snapshot() -> None:
    book = LocalBook("X")
    book.load(Depth(last_update_id=5, time_ms=1, bids=[("1", "1")], asks=[]))
    assert book.update(frame(4, 8, 3, [], []))
    assert not book.update(frame(12, 14, 11, [(2.0, 1.0)], []))
    assert book.gaps == 1 and not book.synced
    assert book.load(Depth(last_update_id=13, time_ms=1, bids=[("1", "1")], asks=[]))
    assert book.last_update_id == 14 and book.top().bids[0].tolist() == [2.0, 1.0]


@pytest.mark.parametrize("level", [(float("nan"), 1.0), (1.0, float("inf")), (0.0, 1.0), (1.0, -1.0)])
def test_a_level_that_cannot_be_unsettles_the_book(level: tuple[float, float]) -> None:
    book = LocalBook("X")
    book.load(Depth(last_update_id=5, time_ms=1, bids=[("1", "1")], asks=[]))
    with pytest.raises(DataError):
        book.update(frame(4, 8, 3, [level], []))
    assert not book.synced


def test_warming_leaves_nothing_to_compile_for_a_stream() -> None:
    """In a fresh process."""
    code = (
        "from ares.exchange.book_stream import warm\n"
        "from ares.kernels.book import apply_levels, best_levels\n"
        "from ares.kernels.depth import scan_depth\n"
        "kernels = (scan_depth, apply_levels, best_levels)\n"
        "before = [len(k.signatures) for k in kernels]\n"
        "warm()\n"
        "print(before, [len(k.signatures) for k in kernels])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "[0, 0, 0] [1, 1, 1]", done.stderr


def test_the_book_grows() -> None:
    book = LocalBook("X")
    book.load(Depth(last_update_id=1, time_ms=1, bids=[], asks=[]))
    many = [(float(i), 1.0) for i in range(1, 10_001)]
    assert book.update(frame(1, 2, 1, many, [])) and book.depth() == (10_000, 0)
    assert book.top(2).bids.tolist() == [[10_000.0, 1.0], [9_999.0, 1.0]]


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
def test_a_recorded_book_is_rebuilt_exactly(real_data: Path, symbol: str) -> None:
    """After every recorded change the best levels equal a dictionary's, and the best quotes the venue's own."""
    folder = real_data / "market"
    raw = folder / "raw" / f"um_{symbol}_20240808.stream.gz"
    if not raw.is_file():
        pytest.skip(f"no recording {raw.name}")
    snapshot = pd.read_parquet(folder / f"um_{symbol}_20240808_snapshot.parquet")
    quotes = pd.read_parquet(folder / f"um_{symbol}_20240808_bookticker.parquet").sort_values("update_id")
    start = {
        side: [(repr(float(p)), repr(float(q))) for p, q in part[["price", "quantity"]].itertuples(index=False)]
        for side, part in snapshot.groupby("side")
    }
    book = LocalBook(symbol)
    held: list[dict[float, float]] = [{float(p): float(q) for p, q in start[s]} for s in ("bid", "ask")]
    last_id = int(snapshot["last_update_id"].iloc[0])
    loaded = False
    ids = quotes["update_id"].to_numpy()
    best = quotes[["bid_price", "bid_qty", "ask_price", "ask_qty"]].to_numpy()
    applied = compared = 0
    with gzip.open(raw, "rb") as lines:
        for line in lines:
            if b"@depth" not in line:
                continue
            change = decode_depth(line.split(b" ", 1)[1])
            if not loaded and change.u >= last_id:
                assert book.load(Depth(last_update_id=last_id, time_ms=1, bids=start["bid"], asks=start["ask"]))
                loaded = True
            assert book.update(change) is loaded
            if not loaded:
                continue
            applied += 1
            for side, levels in zip(held, (change.b.tolist(), change.a.tolist()), strict=True):
                for price, size in levels:
                    side[price] = size
                    if size == 0:
                        del side[price]
            if applied % 200 == 0:
                top = book.top(100_000)
                assert top.bids.tolist() == [list(x) for x in sorted(held[0].items(), reverse=True)]
                assert top.asks.tolist() == [list(x) for x in sorted(held[1].items())]
            at = int(np.searchsorted(ids, change.u, side="right")) - 1
            if 0 <= at < len(ids) - 1:
                assert list(book.best()) == best[at].tolist(), change.u
                compared += 1
    assert book.gaps == 0 and applied > 6_000 and compared > 6_000
