"""The program `ares`: its commands and the options that stand before them."""

from __future__ import annotations

from importlib import metadata
from typing import Annotated

import typer

from ares.cli.backtest import backtest
from ares.cli.download import download
from ares.cli.paper import paper
from ares.cli.precompute import precompute
from ares.cli.replay import replay
from ares.cli.simulate import simulate
from ares.cli.train import train
from ares.cli.verify import verify
from ares.cli.warm import warm

__all__ = ["program"]

program = typer.Typer(
    name="ares",
    help="Machine-learning trading bots on crypto perpetual futures: backtest, paper, replay.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # its tracebacks print local variables
)
program.command()(backtest)
program.command()(paper)
program.command()(replay)
program.command()(precompute)
program.command()(warm)
program.command()(simulate)
program.command()(download)
program.command()(verify)
program.command()(train)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"ares {metadata.version('ares-trading')}")
        raise typer.Exit


@program.callback()
def _before(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which.")] = False,
) -> None:
    """Options that stand before a command."""
