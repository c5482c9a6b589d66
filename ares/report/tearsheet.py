"""One self-contained HTML page of a result: figures, yardsticks, months and curves. It needs no network to be read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ares.report.baselines import Baselines
from ares.report.plots import equity_figure, plotly
from ares.report.statistics import Statistics
from ares.storage import atomic_write

__all__ = ["monthly_returns", "tear_sheet", "write_tear_sheet"]

_FRACTIONS = {
    "total_return",
    "annual_return",
    "net_return",
    "volatility",
    "max_drawdown",
    "psr",
    "hit_rate",
    "exposure",
    "flat",
    "buy_and_hold",
    "buy_and_hold_max_drawdown",
    "random_entries",
    "random_entries_p05",
    "random_entries_median",
    "random_entries_p95",
}

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2128; margin: 2em auto; max-width: 72em; padding: 0 1em; }
h1 { font-size: 1.6em; margin-bottom: 0; } h2 { font-size: 1.15em; margin: 1.6em 0 .4em; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: .15em .9em .15em 0; text-align: right; font-weight: normal; }
td:first-child, th:first-child { text-align: left; } th { color: #667; border-bottom: 1px solid #ccd; }
.columns { display: flex; flex-wrap: wrap; gap: 0 4em; } .minus { color: #b03020; } .note { color: #667; }
"""


def monthly_returns(equity: pd.Series[Any]) -> pd.DataFrame:
    """Return of each calendar month (UTC): rows are years, columns 1 to 12; NaN where the curve says nothing.

    equity: quote, index of UTC times; its first value is where the first month starts.
    """
    if len(equity) < 2:
        return pd.DataFrame(columns=range(1, 13), dtype=np.float64)
    ends = equity.resample("ME").last().ffill()
    starts = ends.shift(1)
    starts.iloc[0] = equity.iloc[0]
    change = ends / starts - 1
    stamps = pd.DatetimeIndex(change.index)
    table = pd.DataFrame({"year": stamps.year, "month": stamps.month, "change": change.to_numpy()})
    return table.pivot_table(index="year", columns="month", values="change").reindex(columns=range(1, 13))


def tear_sheet(
    equity: pd.Series[Any],
    statistics: Statistics | Mapping[str, Any],
    *,
    title: str = "Result",
    baselines: Baselines | Mapping[str, Any] | None = None,
    curves: Mapping[str, pd.Series[Any]] | None = None,
    klines: pd.DataFrame | None = None,
    trades: pd.DataFrame | None = None,
    notes: Sequence[str] = (),
) -> str:
    """The page as text.

    equity, curves, klines, trades: see `equity_figure`. statistics, baselines: theirs, or any mapping of names to
    numbers. notes: lines printed below the title, such as what the data lack.
    Raises: InvalidInput without plotly or without equity.
    """
    figure = equity_figure(equity, curves=curves, klines=klines, trades=trades)
    chart = plotly("plotly.io").to_html(figure, include_plotlyjs=True, full_html=False)
    figures = statistics.to_dict() if isinstance(statistics, Statistics) else dict(statistics)
    beside = baselines.to_dict() if isinstance(baselines, Baselines) else dict(baselines or {})
    parts = [
        f"<h1>{escape(title)}</h1>",
        *(f'<div class="note">{escape(line)}</div>' for line in notes),
        '<div class="columns">',
        _table("After costs", figures),
        _table("Yardsticks, after costs", beside) if beside else "",
        "</div>",
        chart,
        _months(monthly_returns(equity)),
    ]
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    return f"<!doctype html><html lang='en'><head>{head}</head><body>{''.join(parts)}</body></html>"


def write_tear_sheet(
    path: Path | str, equity: pd.Series[Any], statistics: Statistics | Mapping[str, Any], **parts: Any
) -> Path:
    """Write the page of `tear_sheet` to `path`, whole or not at all, and return the path."""
    target = Path(path)
    atomic_write(target, tear_sheet(equity, statistics, **parts).encode())
    return target


def _table(heading: str, values: Mapping[str, Any]) -> str:
    rows = "".join(f"<tr><td>{escape(name.replace('_', ' '))}</td>{_cell(name, v)}</tr>" for name, v in values.items())
    return f"<div><h2>{escape(heading)}</h2><table>{rows}</table></div>"


def _cell(name: str, value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return '<td class="note">not defined</td>'
    if isinstance(value, float | np.floating):
        text = f"{value:.2%}" if name in _FRACTIONS else f"{value:,.2f}"
        return f'<td class="minus">{text}</td>' if value < 0 else f"<td>{text}</td>"
    return f"<td>{escape(f'{value:,}' if isinstance(value, int) else str(value))}</td>"


def _months(table: pd.DataFrame) -> str:
    if table.empty:
        return ""
    head = "".join(f"<th>{month}</th>" for month in table.columns)
    rows = []
    for year, row in table.iterrows():
        cells = "".join(_cell("net_return", float(x)) if np.isfinite(x) else "<td></td>" for x in row)
        rows.append(f"<tr><td>{year}</td>{cells}</tr>")
    return f"<h2>Months</h2><table><tr><th>year</th>{head}</tr>{''.join(rows)}</table>"
