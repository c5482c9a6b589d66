"""`ares warm`: compile all that a bot calls once, ahead of time, so that no trade waits for a compiler."""

from __future__ import annotations

import typer

from ares.cli import options
from ares.cli.exits import UNWRITABLE, ends_with_exit_code

__all__ = ["warm"]


@ends_with_exit_code
def warm(json: options.JsonOut = False, progress: options.Progress = None) -> None:
    """Compile every kernel that a bot calls for this machine and keep the result; later starts load it from disk.

    Training compiles its own few kernels at its first use, in some seconds. The exit code is 74 when the result could
    not be kept.
    """
    from ares.backtesting.rehearsal import compile_all
    from ares.cli.screen import note, print_json, progress_bar
    from ares.clock import SystemClock
    from ares.kernels.jit import unkept

    clock = SystemClock()
    began = clock.now_ns()
    with progress_bar("compiling", 1, progress) as advance:
        compile_all()
        advance(1)
    if unkept() is not None:  # a warning has said why
        raise typer.Exit(UNWRITABLE)
    seconds = (clock.now_ns() - began) / 1e9
    if json:
        print_json({"seconds": seconds})
    else:
        note(f"everything that trades is compiled: {seconds:.1f} s")
