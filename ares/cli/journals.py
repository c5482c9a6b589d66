"""The journal a paper run writes: begun, gone on with, or set aside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ares.errors import InvalidInput
from ares.storage import sha256_bytes

if TYPE_CHECKING:
    from ares.config import AresConfig
    from ares.pipeline.journal import SqliteJournal
    from ares.simulation.tape import Tape

__all__ = ["default_path", "facts_of", "klines_digest", "open_journal"]

_NAMED = ("bars", "seed", "tape")  # where a difference in the tape's digest comes from, in the words of the options
_ALPHABET = "alphabet"  # the journal's own fact: of the events that it can hold, whatever the run
_SAME = ("mode", "exchange", "symbol", "interval", "tape_sha256", "settings")  # must agree to go on


def default_path(symbol: str, interval: str) -> Path:
    """Where the command line keeps the journal of paper trading unless it is told otherwise."""
    return Path("data") / f"paper-{symbol}-{interval}.sqlite"


def facts_of(config: AresConfig, *, exchange: str, symbol: str, interval: str, **origin: Any) -> dict[str, Any]:
    """What must be known to build the same desk on the same market again. origin: what identifies the market."""
    from ares.config import settings_to_store

    return {
        "mode": "paper",
        "exchange": exchange,
        "symbol": symbol,
        "interval": interval,
        **origin,
        "settings": settings_to_store(config),
    }


def klines_digest(market: Tape) -> str:
    """Hex digest of the bars alone, whatever else goes with them: a file of klines is known again by it."""
    frame = market.frame(market.symbols[0])
    values = frame[["open", "high", "low", "close"]].to_numpy(dtype="<f8")
    return sha256_bytes(market.tracks[0].open_ns.astype("<i8").tobytes() + values.tobytes())


def open_journal(path: Path, facts: Mapping[str, Any], *, restart: bool = False) -> tuple[SqliteJournal, str]:
    """The journal at `path`, ready to write, and what was done with it: "begun", "continued" or "set aside to FILE".

    restart: set an unfinished one aside too. One without a record has not begun: it takes these facts.
    Raises: InvalidInput when an unfinished one belongs to another run; Retryable while another process holds it;
        DataError when the file is no journal.
    """
    from ares.pipeline.journal import SqliteJournal

    path.parent.mkdir(parents=True, exist_ok=True)
    existed = path.exists()
    journal = SqliteJournal(path, dict(facts))
    about = journal.about()
    if len(journal) == 0 and not journal.finished:
        if existed and _differences(about, facts):  # its session was refused before anything happened
            for key in (about.keys() | facts.keys()) - {_ALPHABET}:
                journal.note(key, facts.get(key))  # None: as if it had never been noted
        return journal, "begun"
    if restart or journal.finished:
        journal.close()
        aside = _set_aside(path)
        return SqliteJournal(path, dict(facts)), f"begun; the earlier one is {aside}"
    if differences := _differences(about, facts):
        journal.close()
        raise InvalidInput(
            f"{path} holds an unfinished run that differs in {'; '.join(differences)}: give the options it was begun "
            "with, another --journal, or --restart to set it aside",
            path=str(path),
        )
    return journal, "continued"


def _set_aside(path: Path) -> Path:
    """Rename a closed journal to the first free `NAME.1.sqlite`, `NAME.2.sqlite`, ...; its new name."""
    number = 1
    while (aside := path.with_name(f"{path.stem}.{number}{path.suffix}")).exists():
        number += 1
    path.rename(aside)
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    return aside


def _differences(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """What the stored facts and the wanted ones disagree about, in words."""
    found = {key: list(_compare(key, stored.get(key), wanted[key])) for key in _SAME}
    named = [line for key in _NAMED for line in _compare(key, stored.get(key), wanted.get(key))]
    if found["tape_sha256"] and named:
        found["tape_sha256"] = named
    return [line for lines in found.values() for line in lines]


def _compare(path: str, stored: Any, wanted: Any) -> Iterator[str]:
    if isinstance(stored, Mapping) and isinstance(wanted, Mapping):
        for key in {**stored, **wanted}:
            yield from _compare(f"{path}.{key}", stored.get(key), wanted.get(key))
    elif stored != wanted:
        yield f"{path} (was {stored!r}, now {wanted!r})"
