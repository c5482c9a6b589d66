"""The page of a result: whole, self-contained, and honest about what is not defined."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ares.data.synthetic import synthetic_market
from ares.errors import InvalidInput
from ares.report.baselines import baselines
from ares.report.plots import equity_figure, thin
from ares.report.statistics import performance
from ares.report.tearsheet import monthly_returns, tear_sheet, write_tear_sheet


def curve(points: int = 3000) -> pd.Series:
    steps = np.random.default_rng(1).normal(1e-5, 1e-3, points)
    times = pd.date_range("2024-01-01", periods=points, freq="h", tz="UTC")
    return pd.Series(1000 * np.exp(np.cumsum(steps)), index=times)


def trades() -> pd.DataFrame:
    times = pd.to_datetime(["2024-01-03", "2024-02-03"], utc=True)
    return pd.DataFrame(
        {
            "entry_time": times,
            "exit_time": times + pd.Timedelta("5h"),
            "side": ["BUY", "SELL"],
            "entry_price": [2500.0, 2400.0],
            "exit_price": [2510.0, 2410.0],
            "profit": [10.0, -10.0],
        }
    )


def test_months_compound_to_the_total() -> None:
    equity = curve()
    table = monthly_returns(equity)
    assert list(table.columns) == list(range(1, 13))
    assert np.nanprod(1 + table.to_numpy()) == pytest.approx(equity.iloc[-1] / equity.iloc[0])
    february = equity[equity.index.month == 2]
    january = equity[equity.index.month == 1]
    assert table.loc[2024, 2] == pytest.approx(february.iloc[-1] / january.iloc[-1] - 1)
    assert monthly_returns(equity.iloc[:1]).empty


def test_thinning_keeps_the_extremes_and_the_ends() -> None:
    series = curve(50_000)
    few = thin(series, 1000)
    assert len(few) <= 1000
    assert (few.min(), few.max(), few.iloc[0], few.iloc[-1]) == (
        series.min(),
        series.max(),
        series.iloc[0],
        series.iloc[-1],
    )
    assert few.index.is_monotonic_increasing
    assert thin(series.iloc[:10]).equals(series.iloc[:10])


def test_the_page_is_self_contained_and_shows_what_it_was_given(tmp_path: Path) -> None:
    pytest.importorskip("plotly", reason="the extra ares-trading[report] is not installed")
    market, equity = synthetic_market(1, 3000), curve()
    figures = performance(equity, 8760.0, profits=[10.0, -10.0])
    beside = baselines(market.klines["open"], market.klines["close"], 8760.0, sides=[1, -1], holding_bars=[5, 5])
    path = write_tear_sheet(
        tmp_path / "out" / "page.html",
        equity,
        figures,
        title="ETHUSDT <1h>",
        baselines=beside,
        curves={"buy and hold": market.klines["close"]},
        klines=market.klines,
        trades=trades(),
        notes=["funding: not in data"],
    )
    page = path.read_text(encoding="utf-8")
    assert "ETHUSDT &lt;1h&gt;" in page
    assert "ETHUSDT <1h>" not in page
    assert f"{figures.total_return:.2%}" in page
    assert f"{beside.random_entries.mean:.2%}" in page
    assert "funding: not in data" in page
    assert "not defined" in page  # mean holding time was not given
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=.https?:", page)


def test_a_figure_of_equity_alone_and_of_trades_without_columns() -> None:
    pytest.importorskip("plotly", reason="the extra ares-trading[report] is not installed")
    assert len(equity_figure(curve(10)).data) == 2
    assert len(equity_figure(curve(10), klines=synthetic_market(1, 10).klines, trades=trades()).data) == 6
    with pytest.raises(InvalidInput, match="exit_price"):
        equity_figure(curve(10), klines=synthetic_market(1, 10).klines, trades=trades().drop(columns="exit_price"))
    with pytest.raises(InvalidInput, match="no equity"):
        equity_figure(curve(0))


def test_without_plotly_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [m for m in sys.modules if m.split(".")[0] == "plotly"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "plotly", None)
    with pytest.raises(InvalidInput, match=r'pip install "ares-trading\[report\]"'):
        tear_sheet(curve(10), {"net_return": 0.1})
