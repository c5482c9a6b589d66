"""`ares replay`: a recorded session told to a fresh desk, which must answer as it did then."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from attrs import evolve

from ares.cli import options
from ares.cli.exits import EXIT_CODES, ends_with_exit_code
from ares.errors import DataError, InvalidInput

if TYPE_CHECKING:
    from ares.backtesting.recorder import Recorder
    from ares.config import AresConfig
    from ares.events import Command, Event
    from ares.pipeline.journal import SqliteJournal
    from ares.pipeline.recovery import ReplayReport

__all__ = ["replay", "replayed"]


@ends_with_exit_code
def replay(
    symbol: Annotated[str | None, typer.Option(help="What was traded. None: the journal's, or ETHUSDT.")] = None,
    exchange: options.ExchangeName = "SIM",
    tape: options.TapeFile = None,
    interval: options.IntervalName = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Refuse a journal of another seed.")] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="Settings, YAML. None: those the journal was written with.")
    ] = None,
    journal: Annotated[Path | None, typer.Option(help="None: data/paper-SYMBOL-INTERVAL.sqlite.")] = None,
    models: Annotated[
        Path | None, typer.Option("--models", help="Folder of a retrained session's models. None: the journal's.")
    ] = None,
    json: options.JsonOut = False,
    progress: options.Progress = None,
    log: options.LogLevel = None,
) -> None:
    """Tell a journal's events to a fresh desk and compare its commands with the recorded ones, byte for byte.

    The first event that is answered otherwise is named, with both answers, and the exit code is 3. A journal of another
    symbol, interval, tape or seed than the options name is refused.
    """
    from ares.backtesting.result import result_of
    from ares.cli.journals import default_path
    from ares.cli.market import DEFAULT_INTERVAL, DEFAULT_SYMBOL, known_exchange
    from ares.cli.outcome import describe, show
    from ares.cli.screen import note
    from ares.cli.settings import settings
    from ares.pipeline.journal import SqliteJournal

    known_exchange(exchange, "SIM", "BINANCE")
    path = journal or default_path(symbol or DEFAULT_SYMBOL, interval or DEFAULT_INTERVAL)
    if not path.exists():
        raise InvalidInput(f"there is no journal at {path}; `ares paper` writes one", path=str(path))
    given = settings(config, log=log)
    book = SqliteJournal(path, read_only=True)
    try:
        about = book.about()
        _check_origin(about, path, symbol=symbol, interval=interval, tape=tape, seed=seed)
        chosen = given if config is not None else stored_settings(about, path)
        if models is not None and chosen.retraining is not None:
            chosen = evolve(chosen, retraining=evolve(chosen.retraining, models=models))
        recorder, report = replayed(book, chosen, progress)
    finally:
        book.close()
    difference = None if report.identical else _difference(report)
    values = describe(
        result_of("replay", recorder, slippage=chosen.backtest.venue.slippage),
        journal=str(path),
        events=report.events,
        commands=report.commands,
        identical=report.identical,
        difference=difference,
    )
    show(values, as_json=json)
    if difference is not None:
        note(f"NOT identical: event {difference['seq']} was answered {difference['recorded']}")
        note(f"it is now answered {difference['replayed']}")
        raise typer.Exit(EXIT_CODES[DataError])
    note(f"identical: {report.events:,} events, {report.commands:,} commands")


def replayed(
    journal: SqliteJournal, config: AresConfig, progress: bool | None = None
) -> tuple[Recorder, ReplayReport]:
    """A fresh desk with these settings that was told the journal's events, watched by a recorder; and how it went."""
    from ares.assembly import stages
    from ares.backtesting.recorder import Recorder
    from ares.cli.screen import progress_bar
    from ares.pipeline.desk import Desk
    from ares.pipeline.recovery import replay as replay_records

    about, bot = journal.about(), stages(config)
    desk = Desk(
        features=bot.features,
        analyst=bot.analyst,
        tactician=bot.tactician,
        monitor=bot.monitor,
        symbols=[about["symbol"]],
        interval=about["interval"],
        config=config.desk,
        records_limit=None,
    )
    recorder = Recorder(desk)
    with progress_bar(f"replaying {about['symbol']} {about['interval']}", len(journal), progress) as advance:

        def each(event: Event, commands: list[Command]) -> None:
            recorder(event, commands)
            advance(event.seq + 1)

        return recorder, replay_records(journal.records(), desk, each=each)


def stored_settings(about: dict[str, Any], path: Path) -> AresConfig:
    """The settings a journal was written with. Raises: DataError for a journal that the command line did not write."""
    from ares.config import settings_from_store

    if "settings" not in about or "symbol" not in about:
        raise DataError(f"{path} does not say which settings it was written with: give --config", path=str(path))
    return settings_from_store(about["settings"], str(path))


def _check_origin(about: dict[str, Any], path: Path, **wanted: Any) -> None:
    """Refuse a journal of another symbol, interval, tape or seed than the options name."""
    tape = wanted.pop("tape")
    for key, value in wanted.items():
        if value is not None and about.get(key) != value:
            raise InvalidInput(f"{path} was written with {key} {about.get(key)!r}, not {value!r}", path=str(path))
    if tape is not None:
        from ares.cli.journals import klines_digest
        from ares.cli.market import open_tape

        market = open_tape(about["symbol"], tape=tape, interval=about["interval"], bars=about.get("bars"))
        if klines_digest(market) != about.get("klines_sha256"):
            raise InvalidInput(f"{path} was written on another tape than {tape}: {about.get('tape')}", path=str(path))


def _difference(report: ReplayReport) -> dict[str, Any]:
    """The first event answered otherwise, with both answers in words."""
    return {
        "seq": report.difference,
        "recorded": [str(command) for command in report.recorded],
        "replayed": [str(command) for command in report.replayed],
    }
