"""What came of a session: figures after costs, beside what doing nothing, holding and chance would have earned."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from attrs import field, frozen

from ares.backtesting.discount import Discount
from ares.backtesting.recorder import MarketMemory, Recorder
from ares.errors import DataError
from ares.instruments import Interval
from ares.orders import Order
from ares.pipeline.records import ClosedTrade, Decision, DeskRecords
from ares.report.baselines import Baselines, baselines
from ares.report.statistics import Statistics, performance

__all__ = ["BacktestResult", "refused_by", "result_of"]

@frozen(kw_only=True, eq=False)
class BacktestResult:
    """The result of a backtest, a paper session or a replay; money in the quote asset, fractions, not percent.

    stats: every figure by name. equity: after each bar, indexed by its close time. baselines: by symbol.
    """

    mode: str  # "backtest", "paper", "live" or "replay"
    symbols: tuple[str, ...]
    interval: Interval
    asset: str
    statistics: Statistics
    baselines: dict[str, Baselines]
    equity: pd.Series[float]
    closes: dict[str, pd.Series[float]] = field(repr=False)  # by symbol, indexed by close time
    fees: float  # quote, paid
    funding: float | None  # quote, received; None: funding is not in the data
    orders_sent: int
    alerts: dict[str, int]  # by code, how often; the same that a live session would have told a person
    models: tuple[tuple[int, str], ...] = ()  # (from when, id) of models that took over during the session
    discount: Discount | None = None  # among all that was tried; None: not a trial, such as a replay
    records: DeskRecords = field(repr=False)

    @cached_property
    def stats(self) -> pd.Series[Any]:
        """Every figure by name, the baselines among them."""
        figures = {k: v for k, v in self.summary().items() if k not in ("alerts", "baselines", "models")}
        return pd.Series({**self.statistics.to_dict(), **figures})

    @cached_property
    def trades(self) -> pd.DataFrame:
        """One row a closed trade, in order of closing. `r_multiple`: net profit over the risk planned at entry."""
        return pd.DataFrame([_trade_row(t) for t in self.records.trades], columns=_COLUMNS["trades"].split())

    @cached_property
    def orders(self) -> pd.DataFrame:
        """One row an order that the venue reported, in its last state."""
        return pd.DataFrame([_order_row(o) for o in self.records.orders.values()], columns=_COLUMNS["orders"].split())

    @cached_property
    def decisions(self) -> pd.DataFrame:
        """One row a decision. `refused_by`: code of the reason that decided against it, the last; None when planned."""
        return pd.DataFrame([_decision_row(d) for d in self.records.decisions], columns=_COLUMNS["decisions"].split())

    def summary(self) -> dict[str, Any]:
        """The result as plain values for JSON; None for what is not defined.

        `start` is the open of the first bar, `end` the close of the last, exclusive.
        """
        stats = self.statistics.to_dict()
        index = self.equity.index
        per_symbol = {symbol: b.to_dict() for symbol, b in self.baselines.items()}
        return {
            "mode": self.mode,
            "symbol": ",".join(self.symbols),
            "interval": self.interval.name,
            "bars": stats["bars"],
            "start": (index[0] - pd.Timedelta(self.interval.ns, "ns")).isoformat() if len(index) else None,
            "end": index[-1].isoformat() if len(index) else None,
            "asset": self.asset,
            "orders": self.orders_sent,
            "closed_trades": self.records.closed_trades,
            "alerts": dict(self.alerts),
            "net_return": stats["total_return"],
            "fees": self.fees,
            "funding": self.funding,
            "max_drawdown": stats["max_drawdown"],
            "sharpe": stats["sharpe"],
            **(self.discount.to_dict() if self.discount is not None else {}),
            "models": [{"begins": _time(ns).isoformat(), "model_id": model_id} for ns, model_id in self.models],
            "baselines": _mean(list(per_symbol.values())),
        }

    def plot(self) -> Any:
        """Equity beside buy and hold, drawdown, price and trades as a plotly figure.

        Raises: InvalidInput naming the extra to install when plotly is absent.
        """
        from ares.report.plots import equity_figure

        return equity_figure(self.equity, **self._drawing())

    def report(self, path: str | Path) -> Path:
        """Write a self-contained HTML tear sheet and give its path. Raises as `plot`."""
        from ares.report.tearsheet import write_tear_sheet

        summary = self.summary()
        return write_tear_sheet(
            path,
            self.equity,
            self.statistics,
            title=f"{', '.join(self.symbols)} {self.interval.name}, {self.mode}",
            baselines=summary["baselines"],
            notes=self._notes(),
            **self._drawing(),
        )

    def _notes(self) -> tuple[str, ...]:
        """What a reader of the report must know beside the figures."""
        notes = () if self.funding is not None else ("Funding is not in the data: no funding was paid or received.",)
        if self.discount is None:
            return notes
        found = self.discount
        chance = "not defined" if math.isnan(found.deflated_sharpe) else f"{found.deflated_sharpe:.1%}"
        told = f"Deflated Sharpe ratio among {found.trials:,} trials on this market ({found.in_words()}): {chance}."
        return (*notes, told)

    def _drawing(self) -> dict[str, Any]:
        """What a picture shows beside the equity: prices and trades only when there is one price to draw."""
        if len(self.closes) != 1:
            return {}
        ((symbol, close),) = self.closes.items()
        trades = self.trades.rename(columns={"net": "profit"})
        return {"curves": {f"{symbol} held": close}, "klines": close.to_frame("close"), "trades": trades}


def result_of(mode: str, recorder: Recorder, *, slippage: Decimal | None = None, draws: int = 1000) -> BacktestResult:
    """The result of what a recorder saw.

    slippage: fraction that the simulated venue adds to each taker fill; None on a real venue, where it is not known.
    Raises: DataError when the session never heard of its account.
    """
    recorder.finish()
    desk = recorder.desk
    if recorder.start_units is None:
        raise DataError("the session ended before the venue told of the account")
    records, account = desk.records, desk.account()
    start = recorder.start_units / 1e8
    curve = np.array([start, *(units / 1e8 for units in recorder.equity_units)])
    traded = [float(f.price * f.quantity) for f in records.fills]
    taken = [value for value, f in zip(traded, records.fills, strict=True) if not f.maker]
    statistics = performance(
        curve,
        desk.interval.per_year,
        years=_years(recorder, desk.interval),
        profits=[float(t.net) for t in records.trades],
        holding_bars=[_held_bars(t, desk.interval) for t in records.trades],
        in_position=recorder.in_position,
        traded_notional=sum(traded),
        fees=float(account.fees),
        slippage=sum(taken) * float(slippage) if slippage is not None else float("nan"),
        funding=float(account.funding),
    )
    return BacktestResult(
        mode=mode,
        symbols=desk.symbols,
        interval=desk.interval,
        asset=account.asset,
        statistics=statistics,
        baselines={s: _baselines(recorder, s, m, curve, slippage, draws) for s, m in recorder.markets.items()},
        equity=pd.Series(curve[1:], index=_stamps(recorder.times_ns), name="equity"),
        closes={s: pd.Series(m.close, index=_stamps(m.close_ns), name=s) for s, m in recorder.markets.items()},
        fees=float(account.fees),
        funding=float(account.funding) if any(m.settled for m in recorder.markets.values()) else None,
        orders_sent=records.orders_sent,
        models=tuple(recorder.models),
        alerts=dict(recorder.alerts),
        records=records,
    )


def _baselines(
    recorder: Recorder,
    symbol: str,
    market: MarketMemory,
    curve: np.ndarray[Any, np.dtype[np.float64]],
    slippage: Decimal | None,
    draws: int,
) -> Baselines:
    """The yardsticks of one symbol, at the costs that its instrument charges and the sizes that were traded."""
    desk = recorder.desk
    trades = [t for t in desk.records.trades if t.symbol == symbol]
    opened = np.array([t.opened_ns for t in trades], dtype=np.int64)
    equity = curve[np.searchsorted(np.array(recorder.times_ns, dtype=np.int64), opened, side="right")]
    instrument = desk.instrument(symbol)
    return baselines(
        market.open,
        market.close,
        desk.interval.per_year,
        sides=[t.side.sign for t in trades],
        holding_bars=[_held_bars(t, desk.interval) for t in trades],
        sizes=[float(t.quantity * t.entry_price) / e for t, e in zip(trades, equity, strict=True)],
        fee=float(instrument.taker_fee) if instrument is not None else 0.0,
        slippage=float(slippage or 0),
        funding=market.funding if market.settled else None,
        draws=draws,
    )


def _held_bars(trade: ClosedTrade, interval: Interval) -> float:
    return (trade.closed_ns - trade.opened_ns) / interval.ns


def _years(recorder: Recorder, interval: Interval) -> float:
    if not recorder.times_ns:
        return 0.0
    return (recorder.times_ns[-1] - recorder.times_ns[0] + interval.ns) / (365 * 86_400e9)


def _mean(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Each yardstick over the symbols, as money split evenly between them would earn it."""
    if not rows:
        return {"flat": 0.0, "buy_and_hold": None, "random_entries": None}
    return {
        name: None if any(row[name] is None for row in rows) else float(np.mean([row[name] for row in rows]))
        for name in rows[0]
    }


def _trade_row(t: ClosedTrade) -> dict[str, Any]:
    return {
        "trade_id": t.trade_id,
        "symbol": t.symbol,
        "side": t.side.value,
        "quantity": float(t.quantity),
        "entry_price": float(t.entry_price),
        "exit_price": float(t.exit_price),
        "entry_time": _time(t.opened_ns),
        "exit_time": _time(t.closed_ns),
        "gross": float(t.gross),
        "fees": float(t.fees),
        "funding": float(t.funding),
        "net": float(t.net),
        "exit_reason": t.exit_reason,
        "leverage": t.leverage,
        "r_multiple": float(t.net / t.planned_risk) if t.planned_risk else None,
    }


def _order_row(o: Order) -> dict[str, Any]:
    return {
        "order_id": o.order_id,
        "client_order_id": o.client_order_id,
        "symbol": o.symbol,
        "side": o.side.value,
        "order_type": o.order_type.value,
        "quantity": float(o.quantity),
        "price": _float(o.price),
        "stop_price": _float(o.stop_price),
        "reduce_only": o.reduce_only,
        "status": o.status.value,
        "filled": float(o.filled),
        "average_price": _float(o.average_price),
        "created": _time(o.created_ns),
        "updated": _time(o.updated_ns),
        "reason": o.reason,
    }


def _decision_row(d: Decision) -> dict[str, Any]:
    opinion, plan = d.analysis, d.plan
    return {
        "time": _time(d.now_ns),
        "symbol": d.symbol,
        "side": opinion.side.value if opinion.side is not None else None,
        "confidence": opinion.confidence,
        "confidence_low": opinion.confidence_low,
        "p_up": opinion.p_up,
        "p_down": opinion.p_down,
        "p_timeout": opinion.p_timeout,
        "planned": plan is not None,
        "refused_by": refused_by(d),
        "quantity": float(plan.quantity) if plan is not None else 0.0,
        "stop": float(plan.stop) if plan is not None else None,
        "leverage": plan.leverage if plan is not None else None,
        "reasons": "; ".join(str(r) for r in d.reasons),
    }


_COLUMNS: dict[str, str] = {
    "trades": "trade_id symbol side quantity entry_price exit_price entry_time exit_time gross fees funding net "
    "exit_reason leverage r_multiple",
    "orders": "order_id client_order_id symbol side order_type quantity price stop_price reduce_only status filled "
    "average_price created updated reason",
    "decisions": "time symbol side confidence confidence_low p_up p_down p_timeout planned refused_by quantity stop "
    "leverage reasons",
}


def refused_by(decision: Decision) -> str | None:
    """Code of the reason that decided against a trade: the last that was given. None: it was planned."""
    return decision.reasons[-1].code if decision.plan is None and decision.reasons else None


def _stamps(times_ns: list[int]) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(np.array(times_ns, dtype="datetime64[ns]"), name="close_time").tz_localize("UTC")


def _float(value: Decimal | None) -> float | None:
    return float(value) if value is not None else None


def _time(ns: int) -> datetime:
    return datetime.fromtimestamp(ns / 1e9, UTC)
