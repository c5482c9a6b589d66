"""The command line: one file a command, `ares backtest`, `ares paper`, `ares replay`."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the program on the arguments of the process and leave with its exit code."""
    from ares.cli.program import program

    program(prog_name="ares")
