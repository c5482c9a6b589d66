"""What a session tells besides bars, when asked for: the recorded trades, quotes and statistics of each bar."""

from __future__ import annotations

from collections.abc import Collection

from ares.errors import InvalidInput
from ares.events import Event, FuturesStatistics
from ares.simulation.tape import Tape

__all__ = ["Feed", "statistics"]


class Feed:
    """Gives each bar's recordings once, before its candle. Nothing that is known by `start_ns` is told."""

    def __init__(self, tape: Tape, kinds: Collection[str], start_ns: int) -> None:
        """kinds: of agg_trades, book_top, futures. Raises: InvalidInput when the tape does not hold one of them."""
        for kind in sorted(kinds):
            lacking = [t.symbol for t in tape.tracks if kind not in t.kinds]
            if lacking:
                raise InvalidInput(
                    f"the tape holds no {kind} of {', '.join(lacking)}: give it a recording of them, or take them out "
                    "of the features' sources",
                    kind=kind,
                    symbols=lacking,
                )
        self.kinds = frozenset(kinds)
        self._tape = tape
        self._recordings = [[t.recording(kind) for kind in sorted(kinds)] for t in tape.tracks]
        self._told = [[recording.known_by(start_ns) for recording in each] for each in self._recordings]

    def until(self, number: int, close_ns: int) -> list[Event]:
        """What became known of symbol `number` since it was asked last, told at `close_ns`."""
        track, told = self._tape.tracks[number], self._told[number]
        events: list[Event] = []
        for i, recording in enumerate(self._recordings[number]):
            known = recording.known_by(close_ns)
            events += recording.events(track.symbol, told[i], known, close_ns, track.interval.ns)
            told[i] = known
        return events


def statistics(tape: Tape, symbol: str, start_ns: int, now_ns: int) -> tuple[FuturesStatistics, ...]:
    """The futures statistics published after `start_ns` and by `now_ns`, the last of each name within a bar."""
    track = tape.track(symbol)
    if "futures" not in track.kinds:
        return ()
    recording = track.recording("futures")
    first, last = recording.known_by(start_ns), recording.known_by(now_ns)
    events = recording.events(symbol, first, last, now_ns, track.interval.ns)
    return tuple(event for event in events if isinstance(event, FuturesStatistics))
