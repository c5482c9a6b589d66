"""The command line: one file a command, `ares backtest`, `ares paper`, `ares replay`."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the program on the arguments of the process and leave with its exit code."""
    try:
        from ares.cli.program import program
    except KeyboardInterrupt:  # an impatient Ctrl-C, before there is a command to end
        sys.exit(130)
    program(prog_name="ares")
