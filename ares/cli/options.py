"""The options that the commands share: one spelling, one meaning, one help text."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "AggTradesFile",
    "Balance",
    "Bars",
    "ConfigFile",
    "ExchangeName",
    "FundingFile",
    "FuturesFile",
    "IntervalName",
    "JsonOut",
    "LogLevel",
    "LogLevelName",
    "ModelFolder",
    "ModelsFolder",
    "Progress",
    "QuotesFile",
    "Edge",
    "Retrain",
    "Seed",
    "Symbol",
    "TapeFile",
    "TrialsFile",
]


class LogLevelName(str, Enum):
    """How much of what happens is logged."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


Symbol = Annotated[
    str | None,
    typer.Option(help="What to trade, such as BTCUSDT. None: what the tape's file is named after, or ETHUSDT."),
]
ExchangeName = Annotated[
    str, typer.Option("--exchange", help="SIM: the built-in venue. BINANCE: the venue's own market.")
]
TapeFile = Annotated[
    Path | None,
    typer.Option("--tape", help="Recorded klines, Parquet or CSV. None: the built-in synthetic market."),
]
IntervalName = Annotated[
    str | None, typer.Option("--interval", help="Length of a bar, such as 15m, 1h, 4h. None: the tape's own, or 1h.")
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the synthetic market.")]
Edge = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        max=0.5,
        help="Strength of the edge planted in the synthetic market. None: its usual 0.04, hardly to be found; 0: none.",
    ),
]
Bars = Annotated[int | None, typer.Option(min=1, help="Play only so many bars, from the beginning.")]
Balance = Annotated[
    float | None, typer.Option(min=1.0, help="What the account begins with, in the quote asset. None: the settings'.")
]
FundingFile = Annotated[
    Path | None, typer.Option("--funding", help="Recorded funding rates, Parquet or CSV, to go with --tape.")
]
AggTradesFile = Annotated[
    Path | None,
    typer.Option("--agg-trades", help="Recorded aggregated trades to go with --tape; the features then read them."),
]
QuotesFile = Annotated[
    Path | None, typer.Option("--quotes", help="Recorded best quotes to go with --tape; the features then read them.")
]
FuturesFile = Annotated[
    Path | None,
    typer.Option("--futures", help="Recorded futures statistics to go with --tape; the features then read them."),
]
ModelFolder = Annotated[
    Path | None,
    typer.Option("--model", help="A trained model, or a folder of them: the latest. None: the settings', or rules."),
]
Retrain = Annotated[
    bool | None,
    typer.Option("--retrain/--no-retrain", help="Train models anew on a schedule. None: if the settings say so."),
]
ModelsFolder = Annotated[
    Path | None, typer.Option("--models", help="With --retrain: folder of its models. None: the settings'.")
]
TrialsFile = Annotated[
    Path, typer.Option("--trials", help="Where every run is written down, so that results can be judged among all.")
]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="Settings, YAML. None: the defaults.")]
JsonOut = Annotated[bool, typer.Option("--json", help="Standard output is one JSON object and nothing else.")]
Progress = Annotated[
    bool | None,
    typer.Option("--progress/--no-progress", help="Progress bars on standard error. None: only on a terminal."),
]
LogLevel = Annotated[
    LogLevelName | None, typer.Option("--log", help="Log events of this level and above, to standard error.")
]
