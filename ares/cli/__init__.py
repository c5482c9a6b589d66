"""The command line: one file a command, `ares backtest`, `ares paper`, `ares replay`."""

from __future__ import annotations

import sys
from io import TextIOWrapper

__all__ = ["main"]


def main() -> None:
    """Run the program on the arguments of the process and leave with its exit code."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that lacks a dot loses the dot, and not the result
    try:
        from ares.cli.program import program
    except KeyboardInterrupt:  # an impatient Ctrl-C, before there is a command to end
        sys.exit(130)
    program(prog_name="ares")
