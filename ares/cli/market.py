"""Which market a command plays: the tape that its options name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ares.cli.recorded import Recorded
from ares.cli.screen import note
from ares.errors import DataError, InvalidInput, unknown_name
from ares.instrument_tables import DEFAULT_SYMBOLS, symbol_in
from ares.instruments import Interval

if TYPE_CHECKING:
    from ares.simulation.tape import Tape

__all__ = [
    "DEFAULT_BARS",
    "DEFAULT_INTERVAL",
    "DEFAULT_SYMBOL",
    "check_exchange_name",
    "known_exchange",
    "open_tape",
    "symbol_of",
]

DEFAULT_INTERVAL = "1h"
DEFAULT_BARS = 5_000  # of the synthetic market: seven months of hours
DEFAULT_SYMBOL = "ETHUSDT"
_LEAST_BARS = 30  # no figure means anything over fewer
_MOST_BARS = 500_000  # of the synthetic market: more does not fit a small machine
_DAY_NS = 86_400_000_000_000
_EXCHANGES = ("SIM", "BINANCE")


def known_exchange(name: str, *usable: str) -> str:
    """The venue's name in capitals.

    usable: the venues this command can work on. Raises: InvalidInput for another venue, or one that does not exist.
    """
    asked = name.upper()
    if asked not in _EXCHANGES:
        raise unknown_name("exchange", name, _EXCHANGES)
    if asked not in usable:
        raise InvalidInput(
            f"--exchange {asked} comes with a later version of this command; it works on {' and '.join(usable)}"
        )
    return asked


def check_exchange_name(name: str) -> None:
    """Refuse a venue that a command on recorded data does not work on. Raises InvalidInput."""
    known_exchange(name, "SIM")


def symbol_of(symbol: str | None, tape: Path | None) -> str:
    """The symbol to trade: `symbol`, or the one that the tape's file is named after, or ETHUSDT.

    A file that is named after another one than `symbol`, or after none when none is given, is said on standard error:
    fees, filters and margin tiers are the symbol's own.
    """
    named = symbol_in(tape.name) if tape is not None else None
    if symbol is None:
        if tape is not None and named is None:
            note(f"{tape.name} is named after no symbol, and played with the rules of {DEFAULT_SYMBOL}: see --symbol")
        return named or DEFAULT_SYMBOL
    if tape is not None and named not in (None, symbol):
        note(f"{tape.name} is named after {named}, and played with the rules of {symbol}")
    return symbol


def open_tape(
    symbol: str,
    *,
    tape: Path | None,
    interval: str | None,
    funding: Path | None = None,
    recorded: Recorded | None = None,
    seed: int = 0,
    edge: float | None = None,
    bars: int | None = None,
) -> Tape:
    """The recorded market in the file `tape`, or the synthetic one.

    interval: None takes the file's own, or 1h. funding: recorded rates to go with the file. recorded: other recordings
    to go with it. edge: planted in the synthetic market; None: its usual one. bars: only so many from the beginning.
    Raises: InvalidInput for an unknown symbol, interval or file; DataError for data that cannot be played honestly.
    """
    from ares.simulation.tape import Tape

    _check_symbol(symbol, tape)
    length = Interval.parse(interval) if interval is not None else None
    beside = recorded or Recorded()
    if tape is None:
        if beside.given:
            names = " and ".join(f"--{name.replace('_', '-')}" for name in beside.given)
            raise InvalidInput(f"{names} goes with --tape: of the synthetic market there is no such recording")
        played = _synthetic(symbol, length, funding, seed, edge, bars)
    else:
        if edge is not None:
            raise InvalidInput("--edge is of the synthetic market, and goes without --tape", edge=edge)
        played = _recorded(symbol, tape, length, funding, beside)
    if bars is not None and bars < len(played):
        track = played.track(symbol)
        played = Tape((track.slice(track.start_ns, int(track.close_ns[bars - 1])),))
    if len(played) < _LEAST_BARS:
        raise DataError(f"{len(played)} bars of {played.interval} are too few: at least {_LEAST_BARS} are needed")
    return played


def _synthetic(
    symbol: str, length: Interval | None, funding: Path | None, seed: int, edge: float | None, bars: int | None
) -> Tape:
    from ares.simulation.tape import Tape

    if funding is not None:
        raise InvalidInput("--funding goes with --tape: the synthetic market brings its own", funding=str(funding))
    if bars is not None and bars > _MOST_BARS:
        raise InvalidInput(f"the synthetic market has at most {_MOST_BARS:,} bars, not {bars:,}", bars=bars)
    longest = max(bars or DEFAULT_BARS, _LEAST_BARS)  # a longer market begins with the shorter one
    planted = {} if edge is None else {"predictability": edge}
    return Tape.synthetic(symbol, length or DEFAULT_INTERVAL, bars=longest, seed=seed, **planted)


def _recorded(
    symbol: str, path: Path, length: Interval | None, funding: Path | None, recorded: Recorded
) -> Tape:
    """The tape in a file; what was found in it, and how much of it the funding covers, goes to standard error."""
    from ares.data.stamps import format_ns
    from ares.simulation.tape import Tape

    tape = Tape.from_file(
        path, symbol=symbol, interval=length, funding=funding, agg_trades=recorded.agg_trades, quotes=recorded.quotes,
        futures=recorded.futures,
    )  # fmt: skip
    for line in tape.reports[symbol].summary()[1:]:
        note(f"{path.name}: {line}")
    track = tape.track(symbol)
    for name, file in recorded.given.items():
        recording = track.recordings[{"quotes": "book_top"}.get(name, name)]
        if not len(recording):
            raise DataError(f"{file.name}: nothing of it lies within the bars of {path.name}", path=str(file))
        span = " to ".join(format_ns(int(recording.time_ns[i])) for i in (0, -1))
        note(f"{file.name}: {len(recording):,} rows of {name} within the bars, {span} UTC")
    if funding is not None:
        settled = int(track.funding_ns.size)
        days = (track.end_ns - track.start_ns) / _DAY_NS
        first, last = (track.funding_ns[0], track.funding_ns[-1]) if settled else (track.end_ns, track.end_ns)
        if first - track.start_ns > _DAY_NS or track.end_ns - last > _DAY_NS:
            covered = max(0.0, float(last - first)) / _DAY_NS
            note(
                f"{funding.name}: rates cover {covered:,.0f} of {days:,.0f} days; before and after, nothing is paid or "
                "received for funding"
            )
    return tape


def _check_symbol(symbol: str, tape: Path | None) -> None:
    """Refuse a symbol without built-in filters, unless the tape's file is named after it: then it is no misspelling."""
    if symbol not in DEFAULT_SYMBOLS and not (tape is not None and symbol in tape.name):
        raise unknown_name("symbol", symbol, DEFAULT_SYMBOLS)
