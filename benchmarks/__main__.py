"""Runs the benchmarks and prints one table.

    python -m benchmarks                     every workload
    python -m benchmarks features desk       only files whose name contains one of these words
    python -m benchmarks --quick --json      small inputs; one JSON object on standard output

A benchmark is a file of this folder with `run(quick: bool) -> list[dict]`. Each dict is one line of the table:

    workload   what was done, such as "classic indicators, batch, 1,000,000 bars"
    ours       our figure
    peer       the peer's figure in the same process; None when it is not installed, "none" when there is no such peer
    ratio      how many times better ours is than the peer's (above 1 is better), None without a peer
    unit       of both figures, such as "bars/s" or "us per bar"
    note       the peer's name and version, the target, or why the peer is absent
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import platform
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

import benchmarks

COLUMNS = ("workload", "ours", "peer", "ratio", "unit", "note")


def chosen(words: list[str]) -> list[str]:
    """Names of the benchmark files that contain one of the words; all of them without words."""
    names = [m.name for m in pkgutil.iter_modules(benchmarks.__path__) if not m.name.startswith("_")]
    found = [name for name in names if not words or any(word in name for word in words)]
    if not found:
        raise SystemExit(f"no benchmark is called like {' or '.join(words)}; there are: {', '.join(names)}")
    return found


def measure(name: str, *, quick: bool) -> list[dict[str, Any]]:
    """The lines of one benchmark file."""
    lines = importlib.import_module(f"benchmarks.{name}").run(quick)
    for line in lines:
        if missing := [column for column in COLUMNS if column not in line]:
            raise SystemExit(f"benchmarks/{name}.py left out {', '.join(missing)} in {line}")
    return [{"benchmark": name, **line} for line in lines]


def figure(value: float | str | None) -> str:
    """A figure for people: three significant digits, thousands grouped; None is a peer that is not installed."""
    if value is None or isinstance(value, str):
        return value or "absent"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def machine() -> dict[str, object]:
    """Where it was measured: a figure without its machine means little."""
    return {"python": platform.python_version(), "system": platform.platform(), "cores": os.cpu_count()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure ares beside its peers.")
    parser.add_argument("names", nargs="*", help="words that the file names must contain; all when none is given")
    parser.add_argument("--quick", action="store_true", help="small inputs, a minute in all; figures are rough")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    given = parser.parse_args()

    screen = Console(stderr=True)
    lines = []
    for name in chosen(given.names):
        screen.print(f"measuring {name} ...", style="dim", highlight=False)
        lines += measure(name, quick=given.quick)

    if given.json:
        json.dump({"quick": given.quick, **machine(), "lines": lines}, sys.stdout, indent=2)
        print()
        return
    table = Table(title=" · ".join(str(fact) for fact in machine().values()))
    for column in COLUMNS:
        table.add_column(column, justify="right" if column in {"ours", "peer", "ratio"} else "left")
    for line in lines:
        ratio = "" if line["ratio"] is None else f"{line['ratio']:.2f}x"
        table.add_row(line["workload"], figure(line["ours"]), figure(line["peer"]), ratio, line["unit"], line["note"])
    Console().print(table)


if __name__ == "__main__":
    main()
