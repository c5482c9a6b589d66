"""Interactive figures of a result: equity, drawdown, price with its trades. Needs the extra `ares-trading[report]`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd

from ares.errors import InvalidInput

__all__ = ["TRADE_COLUMNS", "equity_figure", "thin"]

TRADE_COLUMNS = ("entry_time", "exit_time", "side", "entry_price", "exit_price")
"""What a frame of closed trades must hold to be drawn: times UTC, prices in quote per base; `profit` is welcome."""

_POINTS = 4000  # of one line; more cannot be told apart on a screen
_BLUE, _GREY, _RED, _GREEN = "#2a5db0", "#8a8f98", "#c0392b", "#2e8b57"


def plotly(module: str) -> Any:
    """A module of plotly. Raises InvalidInput, naming the extra, when plotly is not installed."""
    try:
        return import_module(module)
    except ImportError:
        raise InvalidInput('figures need plotly: pip install "ares-trading[report]"', missing="plotly") from None


def thin(series: pd.Series[Any], points: int = _POINTS) -> pd.Series[Any]:
    """At most about `points` of a series: of each stretch its first, lowest, highest and last, so no peak is lost."""
    if len(series) <= points:
        return series
    values = series.to_numpy(dtype=np.float64)
    edges = np.linspace(0, values.size, points // 4 + 1).astype(np.int64)
    kept = [edges[:-1], edges[1:] - 1]
    for first, last in zip(edges[:-1], edges[1:], strict=True):
        stretch = np.nan_to_num(values[first:last])
        kept.append(np.array([first + stretch.argmin(), first + stretch.argmax()]))
    return series.iloc[np.unique(np.concatenate(kept))]


def equity_figure(
    equity: pd.Series[Any],
    *,
    curves: Mapping[str, pd.Series[Any]] | None = None,
    klines: pd.DataFrame | None = None,
    trades: pd.DataFrame | None = None,
) -> Any:
    """A plotly Figure on one time axis: equity beside other curves, its drawdown, and the price with entries and exits.

    equity: quote, index of UTC times. curves: name to equity of a baseline, drawn from the same start. klines: a klines
    frame; None leaves the price out. trades: see `TRADE_COLUMNS`; drawn on the price.
    Raises: InvalidInput without plotly, for an empty equity, or for trades without their columns.
    """
    subplots = plotly("plotly.subplots")
    graph = plotly("plotly.graph_objects")
    if len(equity) == 0:
        raise InvalidInput("there is no equity to draw")
    rows = 2 if klines is None else 3
    figure = subplots.make_subplots(
        rows=rows, cols=1, shared_xaxes=True, vertical_spacing=0.03, row_heights=[0.45, 0.2, 0.35][:rows]
    )
    line = thin(equity)
    figure.add_trace(graph.Scatter(x=line.index, y=line, name="equity", line={"color": _BLUE}), row=1, col=1)
    for name, curve in (curves or {}).items():
        scaled = thin(curve * (equity.iloc[0] / curve.iloc[0]))
        style = {"color": _GREY, "dash": "dot"}
        figure.add_trace(graph.Scatter(x=scaled.index, y=scaled, name=name, line=style), row=1, col=1)
    fall = thin(equity / equity.cummax() - 1)
    under = graph.Scatter(x=fall.index, y=fall, name="drawdown", line={"color": _RED}, fill="tozeroy", showlegend=False)
    figure.add_trace(under, row=2, col=1)
    if klines is not None:
        price = thin(klines["close"])
        figure.add_trace(graph.Scatter(x=price.index, y=price, name="price", line={"color": _GREY}), row=3, col=1)
        if trades is not None:
            _add_trades(figure, graph, trades)
    figure.update_yaxes(title_text="equity, quote", row=1, col=1)
    figure.update_yaxes(title_text="drawdown", tickformat=".1%", row=2, col=1)
    if klines is not None:
        figure.update_yaxes(title_text="price", row=3, col=1)
    figure.update_layout(height=280 * rows, margin={"l": 60, "r": 20, "t": 20, "b": 30}, template="plotly_white")
    return figure


def _add_trades(figure: Any, graph: Any, trades: pd.DataFrame) -> None:
    missing = [c for c in TRADE_COLUMNS if c not in trades]
    if missing:
        raise InvalidInput(f"the trades have no column {', '.join(missing)}", missing=missing)
    long = trades["side"].astype(str).str.upper().str.contains("BUY|LONG") | (trades["side"].astype(str) == "1")
    profit = trades["profit"].map("{:+.2f}".format) if "profit" in trades else pd.Series("", index=trades.index)
    for name, chosen, symbol, colour in (
        ("long entry", long, "triangle-up", _GREEN),
        ("short entry", ~long, "triangle-down", _RED),
    ):
        if chosen.any():
            marker = {"symbol": symbol, "color": colour, "size": 8}
            x, y = trades.loc[chosen, "entry_time"], trades.loc[chosen, "entry_price"]
            figure.add_trace(graph.Scatter(x=x, y=y, mode="markers", name=name, marker=marker), row=3, col=1)
    if len(trades):
        marker = {"symbol": "x", "color": _GREY, "size": 6}
        x, y = trades["exit_time"], trades["exit_price"]
        exits = graph.Scatter(x=x, y=y, mode="markers", name="exit", marker=marker, text=profit)
        figure.add_trace(exits, row=3, col=1)
