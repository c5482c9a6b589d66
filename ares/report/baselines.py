"""What doing nothing, holding, and trading at random would have earned in the same market at the same costs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import ArrayLike, NDArray

from ares.errors import InvalidInput
from ares.report.statistics import drawdown, returns_of, sharpe

__all__ = ["Baselines", "Holding", "RandomEntries", "baselines", "buy_and_hold", "random_entries"]

FloatArray = NDArray[np.float64]
_NAN = float("nan")


@frozen(kw_only=True)
class Holding:
    """Bought with all equity at the first open, sold at the last close."""

    net_return: float  # fraction, after costs and funding
    max_drawdown: float  # positive fraction
    sharpe: float  # a year; NaN without variance


@frozen(kw_only=True, eq=False)
class RandomEntries:
    """Net returns of the strategy's own trades (side, size, holding time) begun at random times."""

    trades: int
    draws: int
    mean: float  # fraction of the starting equity
    low: float  # 5th percentile
    median: float
    high: float  # 95th percentile
    returns: NDArray[np.float64]  # (draws,)

    def share_below(self, net_return: float) -> float:
        """Share of the draws that earned less: near 0.5 the timing of the entries was worth nothing."""
        return float(np.mean(self.returns < net_return) + np.mean(self.returns == net_return) / 2)


@frozen(kw_only=True, eq=False)
class Baselines:
    """The three yardsticks beside a result; returns are fractions after costs."""

    flat: float  # always 0: the money stayed where it was
    buy_and_hold: Holding
    random_entries: RandomEntries

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; None for what is not defined."""
        chance, held = self.random_entries, self.buy_and_hold
        values = {
            "flat": self.flat,
            "buy_and_hold": held.net_return,
            "buy_and_hold_max_drawdown": held.max_drawdown,
            "buy_and_hold_sharpe": held.sharpe,
            "random_entries": chance.mean,
            "random_entries_p05": chance.low,
            "random_entries_median": chance.median,
            "random_entries_p95": chance.high,
        }
        plain = {name: value if math.isfinite(value) else None for name, value in values.items()}
        return {**plain, "random_entries_trades": chance.trades, "random_entries_draws": chance.draws}


def baselines(
    open: ArrayLike,
    close: ArrayLike,
    per_year: float,
    *,
    sides: ArrayLike = (),
    holding_bars: ArrayLike = (),
    sizes: ArrayLike = (),
    fee: float = 0.0005,
    slippage: float = 0.0,
    funding: ArrayLike | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> Baselines:
    """All three, over the bars that the strategy could trade.

    open, close: (n,) quote per base. per_year: bars a year.
    sides: (k,) +1 long, -1 short, of the strategy's trades. holding_bars: (k,) from entry to exit, at least 1 is taken.
    sizes: (k,) notional over equity at entry; empty: 1 each. fee: of the notional, each side. slippage: fraction of
    the price, each side. funding: (n,) sum of the rates settled in or at the end of each bar; None: not in the data.
    Raises: InvalidInput when arrays do not fit or prices are not positive.
    """
    first, last = _prices(open, close)
    paid = _paid(funding, last)
    return Baselines(
        flat=0.0,
        buy_and_hold=buy_and_hold(first, last, per_year, fee=fee, slippage=slippage, funding=funding),
        random_entries=_random(first, last, sides, holding_bars, sizes, fee, slippage, paid, draws, seed),
    )


def _prices(open: ArrayLike, close: ArrayLike) -> tuple[FloatArray, FloatArray]:
    first, last = np.asarray(open, dtype=np.float64), np.asarray(close, dtype=np.float64)
    if first.ndim != 1 or first.shape != last.shape or not (np.all(first > 0) and np.all(last > 0)):
        raise InvalidInput("open and close must be positive and of one length", shapes=(first.shape, last.shape))
    return first, last


def _paid(funding: ArrayLike | None, close: FloatArray) -> FloatArray:
    """(n + 1,) running sum of funding, quote, that one base unit held long has paid."""
    rates = np.zeros(close.size) if funding is None else np.asarray(funding, dtype=np.float64)
    if rates.shape != close.shape:
        raise InvalidInput(f"funding needs one sum for each of the {close.size} bars", shape=rates.shape)
    return np.concatenate(([0.0], np.cumsum(np.nan_to_num(rates) * close)))


def buy_and_hold(
    open: ArrayLike,
    close: ArrayLike,
    per_year: float,
    *,
    fee: float = 0.0005,
    slippage: float = 0.0,
    funding: ArrayLike | None = None,
) -> Holding:
    """Long from the first open to the last close with the whole equity, without leverage; fees are taken from it.

    Arguments as in `baselines`. Without bars the return is 0.
    """
    first, last = _prices(open, close)
    if last.size == 0:
        return Holding(net_return=0.0, max_drawdown=0.0, sharpe=_NAN)
    paid = _paid(funding, last)[1:]
    entry, leave = first[0] * (1 + slippage), last[-1] * (1 - slippage)
    equity = 1.0 - fee + (last - paid) / entry - 1.0
    equity[-1] = 1.0 - fee + (leave - paid[-1]) / entry - 1.0 - fee * leave / entry
    curve = np.concatenate(([1.0], np.maximum(equity, 0.0)))
    return Holding(
        net_return=float(curve[-1] - 1),
        max_drawdown=drawdown(curve).depth,
        sharpe=sharpe(returns_of(curve), per_year),
    )


def random_entries(
    open: ArrayLike,
    close: ArrayLike,
    *,
    sides: ArrayLike,
    holding_bars: ArrayLike,
    sizes: ArrayLike = (),
    fee: float = 0.0005,
    slippage: float = 0.0,
    funding: ArrayLike | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> RandomEntries:
    """The strategy's trades in random order at random times; arguments as in `baselines`.

    Each draw keeps every trade's side, size and holding time, and spreads the idle bars at random between them, so no
    two overlap. When they cannot fit one after another (several at once), each begins anywhere on its own. Equity
    compounds from trade to trade; a trade that loses all ends the draw. Without trades every return is 0.
    """
    first, last = _prices(open, close)
    return _random(first, last, sides, holding_bars, sizes, fee, slippage, _paid(funding, last), draws, seed)


def _random(
    open: FloatArray,
    close: FloatArray,
    sides: ArrayLike,
    holding_bars: ArrayLike,
    sizes: ArrayLike,
    fee: float,
    slippage: float,
    paid: FloatArray,
    draws: int,
    seed: int,
) -> RandomEntries:
    side, held = np.asarray(sides, dtype=np.float64), np.asarray(holding_bars, dtype=np.float64)
    size = np.asarray(sizes, dtype=np.float64)
    size = np.ones(side.size) if size.size == 0 else size
    if not side.shape == held.shape == size.shape or draws < 1:
        raise InvalidInput("sides, holding_bars and sizes need one number a trade, and draws at least 1")
    n, k = close.size, side.size
    if k == 0 or n == 0:
        return _spread_of(np.zeros(draws), 0)
    bars = np.clip(np.rint(held), 1, n).astype(np.int64)
    grid = np.concatenate((open, close[-1:]))  # a position held h bars from bar i leaves at grid[i + h]
    generator = np.random.Generator(np.random.PCG64(seed))
    at_once = max(1, 500_000 // k)
    results = []
    for begin in range(0, draws, at_once):
        many = min(at_once, draws - begin)
        order = generator.permuted(np.tile(np.arange(k), (many, 1)), axis=1)
        span = bars[order]
        entry = _entries(generator, span, n)
        way, weight = side[order], size[order]
        price_in = grid[entry] * (1 + way * slippage)
        ratio = grid[entry + span] * (1 - way * slippage) / price_in
        settled = (paid[entry + span] - paid[entry]) / price_in
        gains = weight * (way * (ratio - 1) - fee * (1 + ratio) - way * settled)
        results.append(np.prod(np.maximum(1 + gains, 0.0), axis=1) - 1)
    return _spread_of(np.concatenate(results), k)


def _entries(generator: np.random.Generator, span: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Entry bars: idle bars cut at random into the gaps before trades; on their own when they do not fit."""
    many, k = span.shape
    idle = n - int(span[0].sum())
    if idle < 0:
        return np.floor(generator.random((many, k)) * (n - span + 1)).astype(np.int64)
    cuts = np.sort(generator.integers(0, idle + 1, (many, k)), axis=1)
    return cuts + np.cumsum(span, axis=1) - span


def _spread_of(returns: FloatArray, trades: int) -> RandomEntries:
    low, median, high = np.quantile(returns, [0.05, 0.5, 0.95])
    return RandomEntries(
        trades=trades,
        draws=int(returns.size),
        mean=float(returns.mean()),
        low=float(low),
        median=float(median),
        high=float(high),
        returns=returns,
    )
