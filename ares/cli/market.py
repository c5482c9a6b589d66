"""Which market a command plays: the tape that its options name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ares.cli.screen import note
from ares.errors import InvalidInput, unknown_name
from ares.instrument_tables import DEFAULT_SYMBOLS
from ares.instruments import Interval

if TYPE_CHECKING:
    from ares.simulation.tape import Tape

__all__ = ["DEFAULT_BARS", "DEFAULT_INTERVAL", "check_exchange_name", "known_exchange", "open_tape"]

DEFAULT_INTERVAL = "1h"
DEFAULT_BARS = 5_000  # of the synthetic market: seven months of hours
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


def open_tape(
    symbol: str,
    *,
    tape: Path | None,
    interval: str | None,
    funding: Path | None = None,
    seed: int = 0,
    bars: int | None = None,
) -> Tape:
    """The recorded market in the file `tape`, or the synthetic one.

    interval: None takes the file's own, or 1h. funding: recorded rates to go with the file. bars: only so many from
    the beginning.
    Raises: InvalidInput for an unknown symbol, interval or file; DataError for data that cannot be played honestly.
    """
    from ares.simulation.tape import Tape

    _check_symbol(symbol, tape)
    length = Interval.parse(interval) if interval is not None else None
    if tape is None:
        if funding is not None:
            raise InvalidInput("--funding goes with --tape: the synthetic market brings its own", funding=str(funding))
        return Tape.synthetic(symbol, length or DEFAULT_INTERVAL, bars=bars or DEFAULT_BARS, seed=seed)
    recorded = Tape.from_file(tape, symbol=symbol, interval=length, funding=funding)
    for line in recorded.reports[symbol].summary()[1:]:
        note(f"{tape.name}: {line}")
    if bars is None or len(recorded) <= bars:
        return recorded
    track = recorded.track(symbol)
    return Tape((track.slice(track.start_ns, int(track.close_ns[bars - 1])),))


def _check_symbol(symbol: str, tape: Path | None) -> None:
    """Refuse a symbol without built-in filters, unless the tape's file is named after it: then it is no misspelling."""
    if symbol not in DEFAULT_SYMBOLS and not (tape is not None and symbol in tape.name):
        raise unknown_name("symbol", symbol, DEFAULT_SYMBOLS)
