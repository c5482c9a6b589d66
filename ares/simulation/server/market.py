"""The market of the local venue: a tape brought to the present, played tick by tick.

A bar of which trades were recorded is told by them. Any other knows no path, so it is walked from its open to both
extremes and to its close in equal steps (`walk`), its volume spread evenly. Everything else follows from the last
price: quotes a slippage apart, a ladder of levels around them.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from attrs import define, field, frozen

from ares.errors import InvalidInput
from ares.exchange.wire.numbers import MS
from ares.instruments import Instrument, to_units
from ares.kernels.matching import slipped_ticks
from ares.simulation.depth import Depth
from ares.simulation.server.walk import Tick, Walk
from ares.simulation.session import settled_rate
from ares.simulation.tape import Tape
from ares.simulation.track import Track

__all__ = ["Market", "Pace", "SymbolState"]

_MOST_STEPS, _LEAST_STEPS = 60, 4
_TRADES_KEPT = 1000
_DAY_NS, _FUNDING_NS = 86_400_000_000_000, 28_800_000_000_000
_USUAL_RATE = Decimal("0.0001")  # 0.01 % every eight hours: the venue's interest rate alone


@frozen(kw_only=True)
class Pace:
    """How the tape's time runs. speed 1 is real time: stamps equal the clock.

    Faster, the market lies in the past and reaches the present when the tape ends, so no stamp is of the future.
    """

    speed: float = 1.0

    @classmethod
    def parse(cls, text: str) -> Pace:
        """From "realtime" or a number such as 60. Raises InvalidInput."""
        if text == "realtime":
            return cls()
        try:
            speed = float(text)
        except ValueError:
            raise InvalidInput(f"pace is realtime or a number, not {text!r}") from None
        if not 0.01 <= speed <= 1e6:
            raise InvalidInput(f"a pace lies between 0.01 and 1000000, not {text}")
        return cls(speed=speed)


@define
class SymbolState:
    """What the market knows of one symbol now."""

    track: Track
    instrument: Instrument
    last: float
    mark: float
    row: int  # the bar that is forming; len(track) when the tape has ended
    seen_high: float = 0.0
    seen_low: float = math.inf
    part: float = 0.0  # of the forming bar that has passed, in [0, 1]
    agg_id: int = 1000
    update_id: int = 10_000
    before_id: int = 9_999
    trades: list[tuple[int, float, float, int, bool]] = field(factory=list)  # id, price, quantity, ms, buyer makes
    funding_done: int = 0
    book: tuple[dict[str, str], dict[str, str]] = field(factory=lambda: ({}, {}))  # as last told: price to quantity


class Market:
    """Plays a tape on a clock of its own. `play(now)` performs every tick that is due and tells each to `on_tick`."""

    def __init__(
        self, tape: Tape, instruments: dict[str, Instrument], now_ns: int, pace: Pace, history: int | None
    ) -> None:
        """now_ns: the clock's time at the start. history: bars that are past by then; None: up to 1000, at most half.

        Raises: InvalidInput when the tape is too short.
        """
        bars = min(len(t) for t in tape.tracks)
        past = min(1000, bars // 2) if history is None else history
        if not 1 <= past < bars:
            raise InvalidInput(f"a tape of {bars} bars cannot begin after {past} bars of history")
        self.tape, self.pace, self.interval = tape, pace, tape.interval
        self.instruments = instruments
        self.depth = Depth()
        begin = max(int(t.open_ns[past]) for t in tape.tracks)
        left = tape.end_ns - begin
        real_start = now_ns - left + round(left / pace.speed) if pace.speed > 1 else now_ns
        self.shift_ns = (real_start - begin) // self.interval.ns * self.interval.ns  # tape time + shift = market time
        self._start_clock, self._start_market = now_ns, begin + self.shift_ns if pace.speed > 1 else now_ns
        self.on_tick: Callable[[Tick, SymbolState], None] = lambda tick, state: None
        self.symbols = {t.symbol: self._state(t) for t in tape.tracks}
        self._ticks: Iterator[Tick] = heapq.merge(
            *(self._walk(s, number) for number, s in enumerate(self.symbols.values())),
            key=lambda t: (t.market_ns, t.order),
        )
        self._next: Tick | None = None
        self._skip_past()

    def market_ns(self, now_ns: int) -> int:
        """The market's time when the clock shows `now_ns`."""
        return self._start_market + round((now_ns - self._start_clock) * self.pace.speed)

    def play(self, now_ns: int) -> None:
        """Perform everything due by now."""
        due = self.market_ns(now_ns)
        while self._next is not None and self._next.market_ns <= due:
            tick, self._next = self._next, next(self._ticks, None)
            self._perform(tick)

    def next_clock_ns(self) -> int | None:
        """When, by the clock, the next tick is due; None at the tape's end."""
        return None if self._next is None else self.clock_ns(self._next.market_ns)

    def clock_ns(self, market_ns: int) -> int:
        """What the clock shows when the market's time is `market_ns`."""
        return self._start_clock + math.ceil((market_ns - self._start_market) / self.pace.speed)

    @property
    def ended(self) -> bool:
        """True once the tape is over; prices then stand still."""
        return self._next is None

    def klines(
        self, symbol: str, interval_ns: int, limit: int, start_ms: int | None, end_ms: int | None, *, forming: bool
    ) -> list[list[Any]]:
        """Rows as the venue sends them, oldest first, made of the tape's bars."""
        state = self.symbols[symbol]
        bars = self._bars(state, interval_ns, limit, start_ms, end_ms, forming=forming)
        return [self._row(state, first, stop, key, interval_ns) for first, stop, key in bars]

    def mark_klines(
        self, symbol: str, interval_ns: int, limit: int, start_ms: int | None, end_ms: int | None, *, forming: bool
    ) -> list[list[Any]]:
        """The same of the mark price, without volumes; the last price's where the tape has no mark."""
        state = self.symbols[symbol]
        bars = self._bars(state, interval_ns, limit, start_ms, end_ms, forming=forming)
        rows = [self._row(state, first, stop, key, interval_ns) for first, stop, key in bars]
        track, i = state.track, state.instrument
        for row, (first, stop, _) in zip(rows, bars, strict=True):
            if track.has_mark and stop - 1 != state.row:
                part = slice(first, stop)
                marks = (track.mark_open[first], track.mark_high[part].max(), track.mark_low[part].min(),
                         track.mark_close[stop - 1])  # fmt: skip
                row[1:5] = [str(i.price(float(m))) if m > 0 else old for m, old in zip(marks, row[1:5], strict=True)]
            row[5], row[7], row[8], row[9], row[10] = "0", "0", 0, "0", "0"
        return rows

    def _bars(
        self, state: SymbolState, interval_ns: int, limit: int, start_ms: int | None, end_ms: int | None, *,
        forming: bool,
    ) -> list[tuple[int, int, int]]:  # fmt: skip
        """First and last (exclusive) bar of the tape, and open time, of each bar that was asked for."""
        track = state.track
        stop = state.row + (1 if forming and state.row < len(track) and state.part > 0 else 0)
        newest = start_ms is None and end_ms is None
        begin = max(0, stop - (limit + 2) * (interval_ns // self.interval.ns)) if newest else 0
        opens = track.open_ns[begin : stop + 1] + self.shift_ns
        bucket = opens[: stop - begin] // interval_ns * interval_ns
        heads = np.flatnonzero(np.diff(bucket, prepend=-1)) + begin
        following = int(opens[-1]) // interval_ns * interval_ns if stop < len(track) else -1
        if begin:  # the first bucket may have begun before
            heads = heads[1:]
        if not forming and heads.size and following == bucket[-1]:
            heads, stop = heads[:-1], int(heads[-1])
        keys = bucket[heads - begin]
        first = 0 if start_ms is None else int(np.searchsorted(keys, start_ms * MS))
        last = keys.size if end_ms is None else int(np.searchsorted(keys, end_ms * MS, side="right"))
        if start_ms is not None:
            last = min(last, first + limit)
        first = max(first, last - limit)
        ends = [*heads[1:].tolist(), stop]
        return [(int(heads[i]), ends[i], int(keys[i])) for i in range(first, last)]

    def day(self, symbol: str) -> list[Any]:
        """The last 24 hours as one row of klines: from the bar that was open a day ago to the one that forms."""
        state = self.symbols[symbol]
        stop = state.row + (1 if state.row < len(state.track) and state.part > 0 else 0)
        opens = state.track.open_ns
        stop = max(stop, 1)
        since = int(opens[stop - 1]) + self.interval.ns - _DAY_NS
        first = min(stop - 1, int(np.searchsorted(opens[:stop], since)))
        return self._row(state, first, stop, int(opens[first]) + self.shift_ns, _DAY_NS)

    def funding(self, state: SymbolState, now_ns: int) -> tuple[Decimal, int]:
        """The rate settled last (the venue's usual one when none was), and when the next one settles (ns).

        Where the tape does not say, or its time lies in the past because it is played faster: every eight hours.
        """
        track, done = state.track, state.funding_done
        rate = settled_rate(track, done - 1) if done else _USUAL_RATE
        due = int(track.funding_ns[done]) + self.shift_ns if done < track.funding_ns.size else 0
        return rate, due if due > now_ns else (now_ns // _FUNDING_NS + 1) * _FUNDING_NS

    def ladder(self, symbol: str, slippage: Decimal, levels: int) -> tuple[list[list[str]], list[list[str]]]:
        """Bids and asks around the last price, best first."""
        state = self.symbols[symbol]
        i = state.instrument
        last = i.nearest_ticks(state.last)
        bid = i.from_ticks(slipped_ticks(-1, last, to_units(slippage)))
        ask = max(i.from_ticks(slipped_ticks(1, last, to_units(slippage))), bid + i.tick_size)
        size = i.from_lots(self.depth.lots(i, i.from_ticks(last)))
        bids = [[str(bid - n * i.tick_size), str(size * (n + 1))] for n in range(levels) if bid > n * i.tick_size]
        asks = [[str(ask + n * i.tick_size), str(size * (n + 1))] for n in range(levels)]
        return bids, asks

    # ------------------------------------------------------------ inside

    def _state(self, track: Track) -> SymbolState:
        row = int(np.searchsorted(track.open_ns + self.shift_ns, self._start_market, side="right")) - 1
        row = max(0, min(row, len(track) - 1))
        mark = float(track.mark_open[row]) if track.mark_open[row] > 0 else float(track.open[row])
        return SymbolState(
            track=track,
            instrument=self.instruments[track.symbol],
            last=float(track.open[row]),
            mark=mark,
            row=row,
            funding_done=int(np.searchsorted(track.funding_ns + self.shift_ns, self._start_market, side="right")),
        )

    def _walk(self, state: SymbolState, number: int) -> Iterator[Tick]:
        track, symbol = state.track, state.track.symbol
        funding = state.funding_done
        seconds = self.interval.ns / 1e9 / self.pace.speed
        steps = max(_LEAST_STEPS, min(_MOST_STEPS, int(seconds)))
        walk = Walk(track, number, len(self.symbols), steps, self.shift_ns)
        for row in range(state.row, len(track)):
            opened = int(track.open_ns[row]) + self.shift_ns
            while funding < track.funding_ns.size and int(track.funding_ns[funding]) + self.shift_ns <= opened:
                yield Tick(int(track.funding_ns[funding]) + self.shift_ns, number, "funding", symbol, funding)
                funding += 1
            yield from walk.bar(row)

    def _skip_past(self) -> None:
        """Perform what lies before the start silently, so that the market begins in the middle of things."""
        self._next = next(self._ticks, None)
        told, self.on_tick = self.on_tick, lambda tick, state: None
        while self._next is not None and self._next.market_ns <= self._start_market:
            tick, self._next = self._next, next(self._ticks, None)
            self._perform(tick)
        self.on_tick = told

    def _perform(self, tick: Tick) -> None:
        state = self.symbols[tick.symbol]
        track = state.track
        if tick.kind == "price":
            self._price(state, tick)
        elif tick.kind == "close":
            state.last = float(track.close[tick.row])
            state.mark = float(track.mark_close[tick.row]) if track.mark_close[tick.row] > 0 else state.last
            state.row, state.part = tick.row + 1, 0.0
            state.seen_high, state.seen_low = 0.0, math.inf
        else:
            state.funding_done = tick.row + 1
        self.on_tick(tick, state)

    def _price(self, state: SymbolState, tick: Tick) -> None:
        track, row = state.track, tick.row
        makes = tick.buyer_makes if tick.quantity is not None else tick.price < state.last
        state.last = tick.price
        state.mark = tick.mark if tick.mark > 0 else tick.price
        state.row = row
        state.seen_high, state.seen_low = max(state.seen_high, tick.price), min(state.seen_low, tick.price)
        steps = max(1, self.interval.ns)
        state.part = max(1e-9, (tick.market_ns - int(track.open_ns[row]) - self.shift_ns) / steps)
        state.agg_id += 1
        size = tick.quantity
        if size is None:
            quantity = state.instrument.quantity(float(track.volume[row]) / _MOST_STEPS, market=False)
            size = float(quantity or state.instrument.lot_step)
        state.trades.append((state.agg_id, tick.price, size, tick.market_ns // MS, makes))
        del state.trades[:-_TRADES_KEPT]
        state.before_id, state.update_id = state.update_id, state.update_id + 3

    def _row(self, state: SymbolState, first: int, stop: int, opened: int, span: int) -> list[Any]:
        track, i = state.track, state.instrument
        part = slice(first, stop)
        opening, high = float(track.open[first]), float(track.high[part].max())
        low, close = float(track.low[part].min()), float(track.close[stop - 1])
        whole, share = part, 0.0
        if stop - 1 == state.row:  # the bar still forms: only what was seen of it
            whole, share = slice(first, stop - 1), min(1.0, state.part)
            close = state.last
            high = max([state.seen_high, *track.high[whole].tolist()])
            low = min([state.seen_low, *track.low[whole].tolist()])
        sums = (track.volume, track.quote_volume, track.taker_buy_volume, track.taker_buy_quote_volume, track.trades)
        volume, quote, taker, taker_quote, count = (
            _known(a[whole].sum() + (share * a[stop - 1] if share else 0.0)) for a in sums
        )
        prices = [str(i.price(p)) for p in (opening, high, low, close)]
        return [
            opened // MS, *prices, _text(volume), (opened + span) // MS - 1, _text(quote), max(0, int(count)),
            _text(taker), _text(taker_quote), "0",
        ]  # fmt: skip

    def settled(self, state: SymbolState) -> Sequence[tuple[int, Decimal, float]]:
        """Funding settled so far: market time (ns), rate, mark price."""
        track = state.track
        return [
            (int(track.funding_ns[row]) + self.shift_ns, settled_rate(track, row), float(track.funding_mark[row]))
            for row in range(state.funding_done)
        ]


def _known(value: float) -> float:
    return 0.0 if math.isnan(value) else float(value)


def _text(value: float) -> str:
    return format(Decimal(repr(round(value, 8))), "f")
