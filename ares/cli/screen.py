"""What a person sees: progress on standard error, a summary on standard output; or one JSON object for machines."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Timer
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

__all__ = ["counted", "note", "print_json", "print_summary", "progress_bar"]

_PATIENCE = 2.0  # seconds of silence after which a person wants to know why
_REFUSALS = 3  # the most frequent reasons to stay out are shown, so that a bot that does not trade says why
_REDRAWS = 200  # a bar is drawn at most so many times, so that drawing costs nothing beside the work


def note(text: str, *, quiet: bool = False) -> None:
    """One line of news on standard error."""
    if not quiet:
        Console(stderr=True, highlight=False, soft_wrap=True).print(text, style="dim", markup=False)


@contextmanager
def progress_bar(label: str, total: int | None, shown: bool | None = None) -> Iterator[Callable[[int], None]]:
    """A bar on standard error; the function it gives takes how much is done so far.

    total: None when nobody knows. shown: None shows it on a terminal only, True always, False never.
    When nothing is done after two seconds, a note tells why, bar or no bar.
    """
    waiting = Timer(_PATIENCE, note, ["preparing: the first run compiles for this machine, later ones start at once"])
    waiting.daemon = True
    waiting.start()
    try:
        with _bar(label, total, sys.stderr.isatty() if shown is None else shown) as advance:

            def first(done: int) -> None:
                waiting.cancel()
                advance(done)

            yield first
    finally:
        waiting.cancel()


@contextmanager
def _bar(label: str, total: int | None, shown: bool) -> Iterator[Callable[[int], None]]:
    if not shown:
        yield lambda done: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True, force_terminal=True)
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(label, total=total)
        step = max(1, (total or 0) // _REDRAWS)
        drawn = 0

        def advance(done: int) -> None:
            nonlocal drawn
            if done - drawn >= step or done == total:
                drawn = done
                bar.update(task, completed=done)

        yield advance


def print_json(result: Mapping[str, Any]) -> None:
    """The result as the only object on standard output. A number that is not known is null."""
    sys.stdout.write(json.dumps(_finite(result), indent=2, allow_nan=False) + "\n")
    sys.stdout.flush()


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def print_summary(result: Mapping[str, Any]) -> None:
    """The result for people: what was played, what came of it, what it cost, and what doing less would have given."""
    screen = Console(highlight=False)
    screen.print(
        f"[bold]{result['symbol']} {result['interval']}[/bold] · {result['mode']} · {result['bars']:,} bars, "
        f"{(result['start'] or '-')[:16]} to {(result['end'] or '-')[:16]} UTC"
    )
    asset = result.get("asset", "")
    lines = Table(show_header=False, box=None, pad_edge=False)
    lines.add_column(style="dim")
    lines.add_column(justify="right")
    lines.add_row("net return, after all costs", _percent(result["net_return"]))
    lines.add_row("largest drawdown", _percent(0.0 - abs(result["max_drawdown"] or 0.0)))
    lines.add_row("Sharpe ratio, yearly", _number(result["sharpe"]))
    if result.get("deflated_sharpe") is not None:
        label = f"  above luck, in {counted(result)}"
        lines.add_row(label, _percent(result["deflated_sharpe"]).lstrip("+"))
    lines.add_row("orders / closed trades", f"{result['orders']:,} / {result['closed_trades']:,}")
    for reason, count in result.get("exits", {}).items():
        lines.add_row(f"  closed by {reason}", f"{count:,}")
    for reason, count in list(result.get("refusals", {}).items())[:_REFUSALS]:
        lines.add_row(f"  stayed out for {reason}", f"{count:,}")
    for code, count in result.get("alerts", {}).items():
        lines.add_row(f"  alert {code}", f"{count:,}")
    lines.add_row("fees paid", f"{_number(result['fees'])} {asset}")
    if result.get("funding_in_data", True):
        lines.add_row("funding received", f"{_number(result['funding'])} {asset}")
    else:
        lines.add_row("funding", "not in the data")
    for each in result.get("models", ()):
        lines.add_row(f"model {each['model_id'][:12]}", f"from {each['begins'][:16]}")
    for name in ("flat", "buy_and_hold", "random_entries"):
        lines.add_row(f"instead: {name.replace('_', ' ')}", _percent(result["baselines"][name]))
    screen.print(lines)


def counted(result: Mapping[str, Any]) -> str:
    """How many trials a result was judged among, such as `5 trials (3 backtest, 2 train)`."""
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(result["trials_by_kind"].items()))
    return f"{result['trials']:,} trials ({kinds})"


def _percent(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:+.2%}"


def _number(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(float(value)) else f"{float(value):,.2f}"
