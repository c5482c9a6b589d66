"""The tape: a recorded market of one or more symbols that never changes, ready to be played.

It holds what was recorded and nothing else: arrays, not decisions. Who fills what inside a bar is the venue's affair;
`Tape.steps` only says what comes when.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from ares.clock import moment_ns
from ares.data.quality import QualityReport, validate_klines
from ares.data.recorded import load_agg_trades, load_quotes, load_statistics
from ares.data.stamps import format_ns
from ares.data.store import load_klines, read_frame
from ares.errors import InvalidInput, unknown_name
from ares.instruments import Interval
from ares.market import Candle
from ares.simulation.recording import Recording, quotes_of, statistics_of, trades_of
from ares.simulation.track import CANDLE_BLOCK, Track, track_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["StepKind", "Tape", "Track"]

IntArray = NDArray[np.int64]
Step = tuple[int, int, int, int]


class StepKind(IntEnum):
    """What a step of the tape is. At one moment they come in this order, each kind in the tape's order of symbols."""

    CLOSE = 0  # bar `row` has ended: its whole path is known
    FUNDING = 1  # funding number `row` settles on what is held now
    OPEN = 2  # bar `row` begins: its open is the next tradable price


def _distinct(_: object, __: object, tracks: tuple[Track, ...]) -> None:
    if not tracks:
        raise InvalidInput("a tape needs at least one symbol")
    symbols = [t.symbol for t in tracks]
    if len(set(symbols)) < len(symbols):
        raise InvalidInput(f"a symbol stands twice on the tape: {', '.join(symbols)}", symbols=symbols)
    intervals = sorted({t.interval.name for t in tracks})
    if len({t.interval.ns for t in tracks}) > 1:
        raise InvalidInput(f"all symbols of a tape have one interval, not {', '.join(intervals)}", intervals=intervals)


@frozen(eq=False, repr=False)
class Tape:
    """A recorded market: one `Track` a symbol, in the order in which simultaneous events are told.

    Make one with `from_file`, `from_frame`, `synthetic` or `merge`. Raises InvalidInput when symbols repeat or their
    intervals differ.
    """

    tracks: tuple[Track, ...] = field(validator=_distinct)
    _cache: dict[int, tuple[int, list[Candle]]] = field(factory=dict, init=False, repr=False)

    @classmethod
    def from_frame(
        cls,
        klines: pd.DataFrame,
        *,
        symbol: str,
        interval: Interval | str | None = None,
        funding: pd.DataFrame | None = None,
        mark: pd.DataFrame | None = None,
        agg_trades: pd.DataFrame | None = None,
        quotes: pd.DataFrame | None = None,
        futures: pd.DataFrame | None = None,
        now_ns: int | None = None,
    ) -> Tape:
        """A tape of one symbol from a klines frame; see `ares.data.validate_klines` for what is accepted.

        interval: None infers it. funding: see `ares.data.load_funding`; None: the tape has no funding events. mark:
            mark-price klines of any interval that divides ours or is a multiple of it (a coarser one gives the mark
            at its opens and closes only); None: unknown. now_ns: bars that close later are dropped as unfinished.
        agg_trades, quotes, futures: recordings for features, see `ares.data.load_agg_trades`, `load_quotes` (the last
            quote of each quarter of a second is kept) and `load_statistics`; told only to who asks for them.
        Raises: DataError, InvalidInput.
        """
        clean, report = validate_klines(klines, interval, now_ns=now_ns)
        return cls((track_of(clean, report, symbol, funding, mark, _recordings(symbol, agg_trades, quotes, futures)),))

    @classmethod
    def from_file(
        cls,
        path: Path | str,
        *,
        symbol: str,
        interval: Interval | str | None = None,
        funding: Path | str | None = None,
        mark: Path | str | None = None,
        agg_trades: Path | str | None = None,
        quotes: Path | str | None = None,
        futures: Path | str | None = None,
        now_ns: int | None = None,
    ) -> Tape:
        """A tape of one symbol from Parquet or CSV files (plain, gzipped or zipped); otherwise as `from_frame`."""
        clean, report = load_klines(path, interval, now_ns=now_ns)
        rates, marks = (None if file is None else read_frame(Path(file)) for file in (funding, mark))
        return cls((track_of(clean, report, symbol, rates, marks, _recordings(symbol, agg_trades, quotes, futures)),))

    @classmethod
    def synthetic(
        cls, symbol: str = "ETHUSDT", interval: Interval | str = "1h", *, bars: int = 5000, seed: int = 0, **config: Any
    ) -> Tape:
        """A tape of one made-up symbol with funding and mark price, on the grid of its built-in instrument.

        config: fields of `SyntheticConfig` to set otherwise. Symbols are independent, also under one seed.
        """
        from ares.data.synthetic import SyntheticConfig, synthetic_market

        market = synthetic_market(seed, bars, interval, SyntheticConfig.for_symbol(symbol, **config))
        funding = market.funding if len(market.funding) else None  # too short for a settlement
        return cls.from_frame(market.klines, symbol=symbol, interval=interval, funding=funding, mark=market.mark)

    @classmethod
    def merge(cls, *tapes: Tape) -> Tape:
        """One tape of all symbols, in the order given. Their spans may differ; their interval may not."""
        return cls(tuple(track for tape in tapes for track in tape.tracks))

    @property
    def symbols(self) -> tuple[str, ...]:
        """In the order in which simultaneous events are told."""
        return tuple(t.symbol for t in self.tracks)

    @property
    def made_up(self) -> bool:
        """Whether any of its markets was invented and not recorded."""
        return any(t.made_up for t in self.tracks)

    @property
    def interval(self) -> Interval:
        """Of the bars, the same for every symbol."""
        return self.tracks[0].interval

    @property
    def start_ns(self) -> int:
        """Open of the first bar of all."""
        return min(t.start_ns for t in self.tracks)

    @property
    def end_ns(self) -> int:
        """Close of the last bar of all, exclusive."""
        return max(t.end_ns for t in self.tracks)

    def __len__(self) -> int:
        """Bars of all symbols together."""
        return sum(len(t) for t in self.tracks)

    def track(self, symbol: str) -> Track:
        """The recording of one symbol. Raises InvalidInput, naming the nearest symbol."""
        for track in self.tracks:
            if track.symbol == symbol:
                return track
        raise unknown_name("symbol", symbol, self.symbols)

    def recorded(self, symbol: str | None = None, kinds: Collection[str] | None = None) -> dict[str, pd.DataFrame]:
        """What is known besides candles, by the names under which `FeatureOrchestrator.compute` takes it.

        symbol: None: the only one. kinds: of agg_trades, book_top, futures; None: all that the tape holds.
        """
        track = self.tracks[0] if symbol is None else self.track(symbol)
        names = {"agg_trades": "agg_trades_df", "book_top": "book_df", "futures": "futures_df"}
        wanted = track.kinds if kinds is None else track.kinds & set(kinds)
        return {names[kind]: track.recording(kind).frame() for kind in sorted(wanted)}

    @property
    def reports(self) -> Mapping[str, QualityReport]:
        """What was found in each symbol's source."""
        return {t.symbol: t.report for t in self.tracks}

    def frame(self, symbol: str | None = None) -> pd.DataFrame:
        """The klines frame of `symbol`; None: of the only one."""
        if symbol is None and len(self.tracks) > 1:
            raise InvalidInput(f"say which symbol: {', '.join(self.symbols)}")
        return (self.tracks[0] if symbol is None else self.track(symbol)).frame()

    def candle(self, symbol: str, row: int) -> Candle:
        """Bar `row` of `symbol`, counted from 0; neighbours are made together, so reading in order is fast."""
        for number, track in enumerate(self.tracks):
            if track.symbol == symbol:
                return self.candle_at(number, row)
        raise unknown_name("symbol", symbol, self.symbols)

    def candle_at(self, number: int, row: int) -> Candle:
        """Bar `row` of symbol `number`, both as `steps` gives them. Raises IndexError beyond the tape."""
        block = row // CANDLE_BLOCK
        held = self._cache.get(number)
        if held is None or held[0] != block:
            if not 0 <= row < len(self.tracks[number]):
                raise IndexError(f"no bar {row}: {self.symbols[number]} has {len(self.tracks[number])}")
            first = block * CANDLE_BLOCK
            held = (block, self.tracks[number].block(first, min(first + CANDLE_BLOCK, len(self.tracks[number]))))
            self._cache[number] = held
        return held[1][row - block * CANDLE_BLOCK]

    def steps(self, start_ns: int | None = None, end_ns: int | None = None) -> Iterator[Step]:
        """What happens when: `(time_ns, kind, number, row)` by time, `StepKind`, and the order of symbols.

        number: index into `symbols`. row: of the bar, or of the settlement for `StepKind.FUNDING`.
        Only steps with start_ns <= time_ns <= end_ns; None: unbounded. A bar may so lack its OPEN or its CLOSE.
        """
        times, kinds, numbers, rows = self._ordered()
        first = 0 if start_ns is None else int(np.searchsorted(times, start_ns, side="left"))
        last = times.size if end_ns is None else int(np.searchsorted(times, end_ns, side="right"))
        for at in range(first, last, CANDLE_BLOCK):
            part = slice(at, min(at + CANDLE_BLOCK, last))
            yield from zip(
                times[part].tolist(), kinds[part].tolist(), numbers[part].tolist(), rows[part].tolist(), strict=True
            )

    def _ordered(self) -> tuple[IntArray, NDArray[np.int8], NDArray[np.int16], NDArray[np.int32]]:
        """Columns of all steps. They are joined by kind and symbol, so a stable sort by time completes the order."""
        parts = [(StepKind.CLOSE, n, t.close_ns) for n, t in enumerate(self.tracks)]
        parts += [(StepKind.FUNDING, n, t.funding_ns) for n, t in enumerate(self.tracks)]
        parts += [(StepKind.OPEN, n, t.open_ns) for n, t in enumerate(self.tracks)]
        times = np.concatenate([t for _, _, t in parts])
        kinds = np.concatenate([np.full(t.size, kind, dtype=np.int8) for kind, _, t in parts])
        numbers = np.concatenate([np.full(t.size, number, dtype=np.int16) for _, number, t in parts])
        rows = np.concatenate([np.arange(t.size, dtype=np.int32) for _, _, t in parts])
        order = np.argsort(times, kind="stable")
        return times[order], kinds[order], numbers[order], rows[order]

    def slice(self, start: datetime | str | int | None = None, end: datetime | str | int | None = None) -> Tape:
        """The whole bars between `start` and `end` (datetime or ISO text, naive is UTC, or ns; None: unbounded).

        Numbers are shared, not copied. Raises TooShort when a symbol has no bar there.
        """
        first = self.start_ns if start is None else moment_ns(start)
        last = self.end_ns if end is None else moment_ns(end)
        return Tape(tuple(t.slice(first, last) for t in self.tracks))

    @cached_property
    def sha256(self) -> str:
        """Fingerprint of the content: equal for equal recordings, whatever file or frame they came from."""
        return hashlib.sha256(" ".join(t.sha256 for t in self.tracks).encode()).hexdigest()

    def __repr__(self) -> str:
        return f"Tape({'; '.join(_line(t) for t in self.tracks)})"

    def summary(self) -> tuple[str, ...]:
        """Lines for a person: what is on the tape, what was found in its sources, and what is not in the data."""
        lines = []
        for track in self.tracks:
            lines += [f"{track.symbol}: {line}" for line in track.report.summary()]
            lines.append(f"{track.symbol}: {_funding_line(track)}")
            lines.append(f"{track.symbol}: mark price: {'recorded' if track.has_mark else 'not in data'}")
            for kind, recording in sorted(track.recordings.items()):
                lines.append(f"{track.symbol}: {kind}: {len(recording):,} rows")
        return tuple(lines)


def _recordings(symbol: str, trades: Any, quotes: Any, futures: Any) -> list[Recording]:
    """From frames or files; None: not recorded."""
    made: list[Recording] = []
    if trades is not None:
        made.append(trades_of(load_agg_trades(trades, symbol)))
    if quotes is not None:
        made.append(quotes_of(load_quotes(quotes, symbol)))
    if futures is not None:
        made.append(statistics_of(load_statistics(futures, symbol)))
    return made


def _line(track: Track) -> str:
    span = f"{format_ns(track.start_ns)} to {format_ns(track.end_ns)}"
    return f"{track.symbol}, {len(track):,} bars of {track.interval}, {span} UTC"


def _funding_line(track: Track) -> str:
    if not track.has_funding:
        return "funding: not in data"
    if track.funding_ns.size == 0:
        return "funding: none settled in this span"
    first, last = format_ns(int(track.funding_ns[0])), format_ns(int(track.funding_ns[-1]))
    return f"funding: {track.funding_ns.size:,} settlements, {first} to {last} UTC"
