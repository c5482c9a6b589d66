"""Labels by the triple barrier: what a bet decided at a bar's close would have brought, after all costs.

A decision at the close of bar i enters at the open of the next tradable bar. Barriers lie at multiples of the
volatility known at i. Whichever is touched first names the label; the time barrier keeps its own. Costs, spread,
slippage and funding are inside the net return. Source: Lopez de Prado 2018, chapters 3 and 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from attrs import field, frozen
from attrs.validators import ge, gt
from numpy.typing import ArrayLike, NDArray

from ares.errors import DataError, InvalidInput, TooShort
from ares.kernels import barriers
from ares.training import given

__all__ = ["BarrierConfig", "Costs", "Labels", "bar_volatility", "cusum", "interval_ns", "triple_barrier"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_EIGHT_HOURS = 8 * 3600 * 10**9
_MINUTE = 60 * 10**9
_PRICES = ("open", "high", "low", "close")


@frozen(kw_only=True)
class Costs:
    """What a trade pays, as fractions of price or notional: 0.0005 is 0.05 %."""

    taker_fee: float = field(default=0.0005, validator=ge(0.0))
    maker_fee: float = field(default=0.0002, validator=ge(0.0))
    half_spread: float = field(default=0.0001, validator=ge(0.0))
    slippage: float = field(default=0.0001, validator=ge(0.0))  # beyond the spread, of an order at market
    target_is_maker: bool = False  # True: a resting limit order takes the target, at its price and the maker's fee
    assumed_funding: float = field(
        default=0.0001, validator=ge(0.0)
    )  # per 8 h, charged to both sides if no rates are given

    @property
    def round_trip(self) -> float:
        """Entering and leaving at market, without funding."""
        return 2.0 * (self.taker_fee + self.half_spread + self.slippage)


@frozen(kw_only=True)
class BarrierConfig:
    """Where the barriers lie. Widths are in multiples of `sigma * sqrt(horizon)`, as log distances from entry."""

    horizon: int = field(default=24, validator=ge(1))  # bars from entry to the time barrier
    target: float = field(default=1.0, validator=gt(0.0))
    stop: float = field(default=1.0, validator=gt(0.0))
    volatility_span: int = field(default=100, validator=ge(2))  # bars, of the exponential weights
    least_width: float = field(
        default=1.5, validator=ge(0.0)
    )  # target width in round-trip costs below which no event is made
    costs: Costs = field(factory=Costs)

    @property
    def driftless_win_rate(self) -> float:
        """Chance that the target is touched before the stop without drift, costs or time barrier: the base rate to
        beat.
        """
        return self.stop / (self.target + self.stop)


@frozen(kw_only=True, eq=False)
class Labels:
    """One row an event, in time order. A model may use an event for training only after its `t1`.

    All arrays are (n,). Returns are fractions of the entry's notional.
    """

    event: Ints  # position of the bar whose close was the decision
    open_ns: Ints  # that bar's open time: the index of its feature row
    t0: Ints  # ns, when the decision was made: that bar's close
    entry_ns: Ints
    t1: Ints  # ns, when the outcome was known
    first: Ints  # position of the entry bar
    last: Ints  # position of the exit bar
    side: NDArray[np.int8]  # +1 long, -1 short, 0 none
    barrier: NDArray[np.int8]  # +1 target (upper, if no side), -1 stop (lower), 0 time
    tie: NDArray[np.bool_]  # one bar reached both barriers: the stop was taken, or 0 if there is no side
    gross: Floats  # of the bet, or of the price if there is no side; without costs
    net: Floats  # after fees, spread, slippage and funding; NaN if there is no side
    holding_bars: Ints  # bars recorded between entry and exit
    holding_ns: Ints
    target_width: Floats  # log distance from entry
    stop_width: Floats
    volatility: Floats  # deviation of one bar's log return, known at the decision
    bars: int  # length of the klines they were made from
    dropped: Mapping[str, int]  # events asked for that have no label, by reason

    def __len__(self) -> int:
        return int(self.event.size)

    @property
    def ties(self) -> int:
        """Bars that reached both barriers, so that only finer data would tell which came first."""
        return int(self.tie.sum())

    @property
    def frame(self) -> pd.DataFrame:
        """The labels as a table indexed by the open time of the event's bar; times as UTC time stamps."""
        data: dict[str, Any] = {
            name: pd.to_datetime(getattr(self, name), unit="ns", utc=True) for name in ("t0", "entry_ns", "t1")
        }
        data["entry"] = data.pop("entry_ns")
        for name in (
            "side",
            "barrier",
            "tie",
            "gross",
            "net",
            "holding_bars",
            "target_width",
            "stop_width",
            "volatility",
        ):
            data[name] = getattr(self, name)
        data["holding"] = pd.to_timedelta(self.holding_ns, unit="ns")
        return pd.DataFrame(data, index=pd.to_datetime(self.open_ns, unit="ns", utc=True).rename("open_time"))

    def take(self, chosen: ArrayLike) -> Labels:
        """The labels at `chosen`, a mask or increasing positions."""
        at = np.asarray(chosen)
        kept = {name: getattr(self, name)[at] for name in _ARRAYS}
        return Labels(**kept, bars=self.bars, dropped=self.dropped)

    def alive(self) -> Ints:
        """How many labels are alive at each bar, (bars,)."""
        out = np.empty(self.bars, dtype=np.int64)
        barriers.concurrency(self.first, self.last, out)
        return out

    def uniqueness(self) -> Floats:
        """Mean share of its bars that each label has to itself, in (0, 1], (n,)."""
        out = np.empty(len(self))
        barriers.uniqueness(self.first, self.last, self.alive(), np.empty(self.bars + 1), out)
        return out

    def return_weights(self, close: ArrayLike) -> Floats:
        """Absolute log return attributed to each label, shared with those alive beside it; mean 1, (n,).

        close: (bars,) of the klines the labels were made from.
        """
        price = np.asarray(close, dtype=np.float64)
        if price.size != self.bars:
            raise InvalidInput(f"close has {price.size} rows, the labels were made from {self.bars}", rows=price.size)
        log_return = np.full(self.bars, np.nan)
        log_return[1:] = np.diff(np.log(price))
        out = np.empty(len(self))
        barriers.attributed_returns(self.first, self.last, self.alive(), log_return, np.empty(self.bars + 1), out)
        total = out.sum()
        return out * (out.size / total) if total > 0 else np.ones_like(out)

    def time_decay(self, oldest: float = 0.5) -> Floats:
        """Weights that fall linearly with cumulated uniqueness from 1 (newest) to `oldest`, (n,).

        oldest: in (-1, 1]; 1 is no decay, a negative one erases that share of the oldest labels.
        """
        if not -1.0 < oldest <= 1.0:
            raise InvalidInput(f"oldest must lie in (-1, 1], not {oldest}", oldest=oldest)
        age: Floats = np.cumsum(self.uniqueness())
        if age.size == 0:
            return age
        slope = (1.0 - oldest) / age[-1] if oldest >= 0 else 1.0 / ((1.0 + oldest) * age[-1])
        weights: Floats = np.maximum(1.0 - slope * (age[-1] - age), 0.0)
        return weights


_ARRAYS = tuple(a.name for a in Labels.__attrs_attrs__ if a.name not in {"bars", "dropped"})


def interval_ns(klines: pd.DataFrame) -> int:
    """Length of one bar in ns: `close_time - open_time` when there, else the commonest step between open times."""
    opened = _open_ns(klines)
    if "close_time" in klines.columns:
        closed = pd.DatetimeIndex(klines["close_time"]).as_unit("ns").asi8
        return int(closed[0] - opened[0])
    steps, counts = np.unique(np.diff(opened), return_counts=True)
    return int(steps[np.argmax(counts)])


def _open_ns(klines: pd.DataFrame) -> Ints:
    if not isinstance(klines.index, pd.DatetimeIndex):
        raise InvalidInput("klines need a DatetimeIndex of open times", index=type(klines.index).__name__)
    if len(klines) < 2:
        raise TooShort(f"labels need at least 2 bars, not {len(klines)}", rows=len(klines))
    opened = np.ascontiguousarray(klines.index.as_unit("ns").asi8)
    step = np.diff(opened)
    if (step <= 0).any():
        row = int(np.argmax(step <= 0)) + 1
        raise DataError(f"open times must increase; row {row} does not", row=row)
    return opened


def bar_volatility(klines: pd.DataFrame, span: int = 100) -> Floats:
    """Deviation of one bar's log return, known at each bar's close, (n,); the first `span` rows are NaN.

    Exponentially weighted root mean square with the usual `alpha = 2 / (span + 1)`; a gap counts as the bars it spans.
    """
    close = np.array(given.with_columns(klines, "close")["close"], dtype=np.float64)
    out = np.empty(close.size)
    barriers.ewma_volatility(_open_ns(klines), close, interval_ns(klines), 2.0 / (span + 1.0), span, out)
    return out


def cusum(klines: pd.DataFrame, threshold: float = 1.0, volatility: ArrayLike | None = None, span: int = 100) -> Ints:
    """Positions of bars where the price has moved by `threshold` deviations since the last event on that side.

    volatility: (n,) known at each bar's close; None: `bar_volatility` over `span` bars.
    """
    if threshold <= 0:
        raise InvalidInput(f"threshold must be > 0, not {threshold}", threshold=threshold)
    log_price = np.log(np.array(given.with_columns(klines, "close")["close"], dtype=np.float64))
    if volatility is None:
        sigma = bar_volatility(klines, span)
    else:
        sigma = given.numbers("volatility", volatility, log_price.size)
    event = np.empty(log_price.size, dtype=np.int64)
    count = barriers.cusum_events(log_price, threshold * sigma, event, np.empty_like(event))
    return event[:count].copy()


def triple_barrier(
    klines: pd.DataFrame,
    events: ArrayLike | pd.DatetimeIndex | None = None,
    *,
    side: ArrayLike | int | None = None,
    volatility: ArrayLike | None = None,
    funding: pd.Series | pd.DataFrame | None = None,
    config: BarrierConfig | None = None,
) -> Labels:
    """Label each event by the barrier that a position entered at the next bar's open touches first.

    klines: frame of bars, (n,). A bar with a missing price or no volume is one nobody can trade in.
    events: increasing positions, a mask of all bars, or open times of the deciding bars; None: every bar.
    side: +1 or -1 per event or for all; None: no bet, the label tells only which way the price went.
    volatility: (n,) deviation of a bar's log return known at its close; None: `bar_volatility`.
    funding: rates indexed by settlement time, positive when longs pay, or the frame of `ares.data.load_funding`; None:
    `costs.assumed_funding` charged to both sides.
    Returns: labels whose outcome the data hold; the rest are counted in `dropped`.
    Raises: InvalidInput, TooShort, DataError.
    """
    config = config or BarrierConfig()
    opened = _open_ns(given.with_columns(klines, *_PRICES))
    step = interval_ns(klines)
    event = given.positions(opened, events)
    sides = given.sides(side, event.size)
    if volatility is None:
        sigma = bar_volatility(klines, config.volatility_span)
    else:
        sigma = given.numbers("volatility", volatility, opened.size)
    width = np.empty((event.size, 2))
    barriers.barrier_widths_batch(sigma[event], config.horizon, config.target, config.stop, width)
    known = np.isfinite(width).all(axis=1) & (width > 0).all(axis=1)
    worth = width[:, 0] > config.least_width * config.costs.round_trip
    kept = known & worth
    dropped = {"no_volatility": int((~known).sum()), "too_narrow": int((known & ~worth).sum())}
    event, width = event[kept], np.ascontiguousarray(width[kept])
    sides = np.ascontiguousarray(sides[kept])
    place, outcome = _walk(klines, opened, step, event, sides, width, funding, config)
    done = place[:, 0] == barriers.DONE
    dropped["no_entry"] = int((place[:, 0] == barriers.NO_ENTRY).sum())
    dropped["unmatured"] = int((place[:, 0] == barriers.UNMATURED).sum())
    place, outcome, event = place[done], outcome[done], event[done]
    return Labels(
        event=event,
        open_ns=opened[event],
        t0=opened[event] + step,
        entry_ns=place[:, 5].copy(),
        t1=place[:, 6].copy(),
        first=place[:, 3].copy(),
        last=place[:, 4].copy(),
        side=sides[done].astype(np.int8),
        barrier=place[:, 1].astype(np.int8),
        tie=place[:, 2].astype(np.bool_),
        gross=outcome[:, 0].copy(),
        net=outcome[:, 1].copy(),
        holding_bars=place[:, 7].copy(),
        holding_ns=place[:, 6] - place[:, 5],
        target_width=width[done, 0].copy(),
        stop_width=width[done, 1].copy(),
        volatility=sigma[event],
        bars=opened.size,
        dropped=dropped,
    )


def _walk(
    klines: pd.DataFrame,
    opened: Ints,
    step: int,
    event: Ints,
    sides: Ints,
    width: Floats,
    funding: pd.Series | pd.DataFrame | None,
    config: BarrierConfig,
) -> tuple[Ints, Floats]:
    # a copy: what pandas lends may be read only, for which the kernel would be compiled once more
    prices = np.array(klines[list(_PRICES)].to_numpy(dtype=np.float64).T, order="C")
    tradable = np.isfinite(prices).all(axis=0) & (prices > 0).all(axis=0)
    if "volume" in klines.columns:
        tradable &= klines["volume"].to_numpy(dtype=np.float64) > 0
    costs = config.costs
    taker = costs.half_spread + costs.slippage
    target_slip, target_fee = (0.0, costs.maker_fee) if costs.target_is_maker else (taker, costs.taker_fee)
    friction = np.array([taker, taker, target_slip, costs.taker_fee, costs.taker_fee, target_fee])
    settled, paid = _settlements(opened, step, prices[0], funding, costs)
    place = np.empty((event.size, 8), dtype=np.int64)
    outcome = np.empty((event.size, 2))
    barriers.triple_barrier_batch(
        opened, prices, tradable, step, event, sides, width, config.horizon, friction, settled, paid, place, outcome
    )
    return place, outcome


def _settlements(
    opened: Ints, step: int, open_: Floats, funding: pd.Series | pd.DataFrame | None, costs: Costs
) -> tuple[Ints, Floats]:
    """Settlement instants and what a long and a short pay there, quote per base, at the price of the bar that holds
    them.

    A venue stamps some settlements a few ms late; each counts as on its whole minute.
    """
    if funding is None:
        first = -(-int(opened[0]) // _EIGHT_HOURS) * _EIGHT_HOURS
        count = (int(opened[-1]) + step - first) // _EIGHT_HOURS + 1  # in ns a range would be counted in floats
        settled = first + _EIGHT_HOURS * np.arange(count, dtype=np.int64)
        long_rate = short_rate = np.full(settled.size, costs.assumed_funding)
    else:
        rates = given.rates(funding)
        settled = np.ascontiguousarray(pd.DatetimeIndex(rates.index).as_unit("ns").asi8 // _MINUTE * _MINUTE)
        long_rate = rates.to_numpy()
        short_rate = -long_rate
    price = pd.Series(open_).ffill().to_numpy()
    at = np.clip(np.searchsorted(opened, settled, side="right") - 1, 0, opened.size - 1)
    return settled, np.ascontiguousarray(np.stack([long_rate * price[at], short_rate * price[at]]))
