"""A made-up market, seeded: for examples, tests and everything that must run offline.

Log price moves on sub-steps of a bar: `-s^2/2 + s z` plus rare jumps, with `s` from a Markov chain of regimes, an AR(1)
log volatility, and the time of day and week. All sub-steps are compensated, so with `predictability=0` the price is a
martingale: no rule earns anything before funding, and none can lose more than its costs in expectation.
A martingale of this volatility is worth nothing after some decades, so above `reach` times and below one `reach`th of
its first price it is drawn back. A market of a year hardly ever comes there; `truth["edge"]` says where one did.

The planted edge is one slow AR(1) state, the tide. It is fed in part by past return shocks and leans on the taker flow,
so a trend of past returns and an average of past flow both show it, in any setting. Only `predictability` decides
whether the next bar's price heeds it: the drift of bar t+1 is `predictability * tide[t] * volatility`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import accumulate
from typing import Any

import numpy as np
import pandas as pd
from attrs import field, fields, frozen
from attrs.validators import and_, ge, gt, le, lt
from numpy.typing import NDArray

from ares.errors import InvalidInput, unknown_name
from ares.instrument_tables import default_instrument
from ares.instruments import Interval
from ares.market import MADE_UP

__all__ = ["SyntheticConfig", "SyntheticMarket", "synthetic_market"]

FloatArray = NDArray[np.float64]

_CHUNK = 4096  # bars simulated together, each chunk from its own stream: a longer market begins with the shorter one
_SUBSTEPS = 12  # of a bar; extremes between them are drawn exactly, from the Brownian bridge
_YEAR_HOURS = 8760.0
_HOUR_NS = 3_600_000_000_000
_DAY_NS = 24 * _HOUR_NS
_FUNDING_NS = 8 * _HOUR_NS
_LAST_NS = 2**63 - 1 - _CHUNK * 7 * _DAY_NS  # a chunk before the end of int64
_WEEK_START_NS = 4 * _DAY_NS  # 1970-01-05, a Monday

_PRICES = {"BTCUSDT": 60_000.0, "ETHUSDT": 2_500.0, "BNBUSDT": 500.0, "SOLUSDT": 150.0, "XRPUSDT": 0.5, "LTCUSDT": 70.0}
_positive = and_(gt(0.0), lt(math.inf))


@frozen(kw_only=True)
class SyntheticConfig:
    """What the made-up market is like. Times are in hours, whatever the interval of the bars."""

    name: str = ""  # markets of different names are independent, also under one seed
    start: str = "2024-01-01"  # ISO, UTC; floored to the interval's grid
    price: float = field(default=2500.0, validator=_positive)  # quote per base, the first open
    reach: float = field(default=10.0, validator=gt(1.0))  # the price is drawn back beyond this factor of the first
    tick_size: float = field(default=0.01, validator=_positive)  # quote per base
    lot_step: float = field(default=0.001, validator=_positive)  # base
    volatility: float = field(default=0.6, validator=_positive)  # a year, of the normal regime; 0.6 is 60 %
    regime_volatility: tuple[float, ...] = (0.6, 1.0, 2.0)  # multiples of `volatility`
    regime_hours: tuple[float, ...] = (240.0, 120.0, 36.0)  # mean stay in each regime
    volatility_spread: float = field(default=0.35, validator=ge(0.0))  # deviation of log volatility in a regime
    volatility_half_life: float = field(default=12.0, validator=_positive)  # hours
    leverage_effect: float = field(default=-0.2, validator=and_(gt(-1.0), lt(1.0)))  # falls raise volatility if < 0
    jumps_per_year: float = field(default=60.0, validator=ge(0.0))
    jump_size: float = field(default=0.02, validator=ge(0.0))  # standard deviation of a jump's log return
    seasonality: float = field(default=0.35, validator=and_(ge(0.0), lt(1.0)))  # of the day's volatility; 0: none
    turnover: float = field(default=5e8, validator=_positive)  # quote a day
    trade_size: float = field(default=5000.0, validator=_positive)  # quote, mean
    predictability: float = field(default=0.04, validator=and_(ge(0.0), le(0.5)))  # correlation of tide, next return
    tide_half_life: float = field(default=24.0, validator=_positive)  # bars, not hours
    trend_share: float = field(default=0.7, validator=and_(ge(0.0), le(1.0)))  # correlation of tide and past returns
    interest: float = 0.0001  # a funding interval of 8 h
    premium_spread: float = field(default=0.0004, validator=ge(0.0))  # standard deviation of perpetual over index

    @classmethod
    def for_symbol(cls, symbol: str, **changes: Any) -> SyntheticConfig:
        """A market named `symbol`, on the grid of its built-in instrument, from a price it has once had.

        changes: fields to set otherwise. Raises: InvalidInput for an ill-formed symbol or an unknown field.
        """
        unknown = sorted(set(changes) - {f.name for f in fields(cls)})
        if unknown:
            raise unknown_name("field of SyntheticConfig", unknown[0], (f.name for f in fields(cls)))
        price = float(changes.get("price", _PRICES.get(symbol, 10.0)))
        instrument = default_instrument(symbol, price)
        grid = {"tick_size": float(instrument.tick_size), "lot_step": float(instrument.lot_step)}
        return cls(**{"name": symbol, "price": price, **grid, **changes})

    def __attrs_post_init__(self) -> None:
        if not 1 <= len(self.regime_volatility) == len(self.regime_hours):
            raise InvalidInput("regime_volatility and regime_hours need one number for each regime")
        if min(*self.regime_volatility, *self.regime_hours, 1.0) <= 0:
            raise InvalidInput("regime_volatility and regime_hours must be positive")


@frozen(kw_only=True, eq=False)
class SyntheticMarket:
    """A made-up market and the truth behind it. All frames but `funding` share the index `open_time`."""

    klines: pd.DataFrame  # all columns of a klines frame
    funding: pd.DataFrame  # index funding_time; funding_rate (fraction per 8 h), mark_price
    mark: pd.DataFrame  # open, high, low, close of the mark price
    truth: pd.DataFrame  # known to nobody on the market; see `synthetic_market`
    interval: Interval
    seed: int
    config: SyntheticConfig


def synthetic_market(
    seed: int, bars: int, interval: Interval | str = "1h", config: SyntheticConfig | None = None
) -> SyntheticMarket:
    """A market of `bars` bars; the same seed, interval and config give the same bits, and a longer market begins
    with the shorter one.

    `truth` has for each bar: `edge`, its log return expected at its open beyond that of a martingale (if
    `predictability` is 0, then 0 except where the price is beyond its `reach`); `tide`, the planted state at its close,
    of variance 1; `volatility` while it lasted, a year; and `regime`, the number in `regime_volatility`.
    Raises: InvalidInput unless bars >= 1 and seed >= 0, and for a market that would last beyond the year 2261.
    """
    settings, step = config or SyntheticConfig(), Interval.parse(interval)
    if bars < 1 or seed < 0:
        raise InvalidInput(f"bars must be at least 1 and the seed at least 0, not {bars} and {seed}")
    start = _start_ns(settings.start, step)
    if bars > (most := (_LAST_NS - start) // step.ns):
        raise InvalidInput(f"{bars:,} bars of {step} from {settings.start} end after the year 2261: {most:,} fit")
    columns: dict[str, list[NDArray[Any]]] = {}
    state = _State.initial(settings)
    for number in range(-(-bars // _CHUNK)):
        entropy = np.random.SeedSequence([seed, number, *settings.name.encode()])
        generator = np.random.Generator(np.random.PCG64(entropy))
        times = start + (number * _CHUNK + np.arange(_CHUNK)) * step.ns
        chunk, state = _simulate(generator, times, step, settings, state)
        for name, value in chunk.items():
            columns.setdefault(name, []).append(value)
    whole = {name: np.concatenate(parts)[:bars] for name, parts in columns.items()}
    opens = start + np.arange(bars) * step.ns
    index = pd.DatetimeIndex(opens, tz="UTC", name="open_time")
    klines = pd.DataFrame({name: whole[name] for name in _KLINE_ORDER}, index=index)
    klines["close_time"] = pd.DatetimeIndex(opens + step.ns, tz="UTC")
    klines.attrs[MADE_UP] = True
    return SyntheticMarket(
        klines=klines,
        funding=_funding(opens, step, whole["premium"], whole["mark_close"], settings),
        mark=pd.DataFrame({name: whole[f"mark_{name}"] for name in _KLINE_ORDER[:4]}, index=index),
        truth=pd.DataFrame({name: whole[name] for name in ("edge", "tide", "volatility", "regime")}, index=index),
        interval=step,
        seed=seed,
        config=settings,
    )


_KLINE_ORDER = (
    "open",
    "high",
    "low",
    "close",
    "volume",
    "quote_volume",
    "taker_buy_volume",
    "taker_buy_quote_volume",
    "trades",
)


@frozen(kw_only=True)
class _State:
    """What one chunk hands to the next."""

    log_price: float
    close: float  # quote per base, on the tick grid
    mark: float
    shock: float  # of the last bar, standard deviations
    regime: int
    log_volatility: float  # deviation from the regime's
    tide: float
    premium: float
    mark_error: float

    @classmethod
    def initial(cls, config: SyntheticConfig) -> _State:
        price = max(round(config.price / config.tick_size), 1) * config.tick_size
        return cls(
            log_price=math.log(price),
            close=price,
            mark=price,
            shock=0.0,
            regime=min(1, len(config.regime_hours) - 1),
            log_volatility=0.0,
            tide=0.0,
            premium=0.0,
            mark_error=0.0,
        )


def _start_ns(text: str, step: Interval) -> int:
    try:
        moment = pd.Timestamp(datetime.fromisoformat(text))
    except ValueError:
        raise InvalidInput(f"start {text!r} is no time: write 2024-01-01") from None
    ns = (moment.tz_localize("UTC") if moment.tz is None else moment.tz_convert("UTC")).as_unit("ns").value
    phase = _WEEK_START_NS if step.ns == 7 * _DAY_NS else 0
    return (ns - phase) // step.ns * step.ns + phase


def _ar1(shocks: FloatArray, keep: float, start: float) -> FloatArray:
    """State after each shock: `keep * state + sqrt(1 - keep^2) * shock`, of variance 1 for shocks of variance 1."""
    scale = math.sqrt(1.0 - keep * keep)
    states = accumulate((shocks * scale).tolist(), lambda state, shock: keep * state + shock, initial=start)
    return np.fromiter(states, dtype=np.float64, count=shocks.size + 1)[1:]


def _regimes(uniform: FloatArray, hours: float, config: SyntheticConfig, start: int) -> NDArray[np.int8]:
    """The regime of each bar: stays are geometric, and a change goes to any other regime with equal chance."""

    def walk(draws: Iterable[float]) -> Iterator[int]:
        count, regime = len(config.regime_hours), start
        leave = [1.0 - math.exp(-hours / stay) if count > 1 else 0.0 for stay in config.regime_hours]
        for draw in draws:
            if draw < leave[regime]:
                regime = (regime + 1 + int(draw / leave[regime] * (count - 1))) % count
            yield regime

    return np.fromiter(walk(uniform.tolist()), dtype=np.int8, count=uniform.size)


def _season(times: NDArray[np.int64], step: Interval, size: float) -> FloatArray:
    """(n, substeps) volatility multiplier: highest at 15:00 UTC, lower at weekends; its mean square in a week is 1."""

    def shape(ns: NDArray[np.int64]) -> FloatArray:
        hour = (ns % _DAY_NS) / _HOUR_NS
        weekend = (ns - _WEEK_START_NS) % (7 * _DAY_NS) >= 5 * _DAY_NS
        return (1 + size * np.cos((hour - 15) * (2 * math.pi / 24))) * np.where(weekend, 1 - 0.6 * size, 1.0)

    week = shape(_WEEK_START_NS + np.arange(7 * 24) * _HOUR_NS)
    middles = times[:, None] + ((2 * np.arange(_SUBSTEPS) + 1) * step.ns // (2 * _SUBSTEPS))[None, :]
    return shape(middles) / math.sqrt(float(np.mean(week**2)))


def _simulate(
    generator: np.random.Generator,
    times: NDArray[np.int64],
    step: Interval,
    config: SyntheticConfig,
    state: _State,
) -> tuple[dict[str, NDArray[Any]], _State]:
    """One chunk of bars that open at `times`, and the state in which it ends."""
    n, k, hours = times.size, _SUBSTEPS, step.ns / _HOUR_NS
    z = generator.standard_normal((n, k))
    bridge = -np.log1p(-generator.random((2, n, k)))  # exponential: the squared reach of a Brownian bridge
    jump_draw, jump_normal = generator.random((n, k)), generator.standard_normal((n, k))
    noise = generator.standard_normal((6, n))
    uniform = generator.random((2, n))

    shock = z.sum(axis=1) / math.sqrt(k)  # each bar's return in standard deviations, before drift and jumps
    before = np.concatenate(([state.shock], shock[:-1]))  # volatility of a bar hears of the bar before it
    hear = config.leverage_effect
    keep = 0.5 ** (hours / config.volatility_half_life)
    deviation = _ar1(hear * before + math.sqrt(1 - hear * hear) * noise[0], keep, state.log_volatility)
    regime = _regimes(uniform[0], hours, config, state.regime)
    spread = config.volatility_spread
    level = np.array(config.regime_volatility)[regime] * np.exp(spread * deviation - spread * spread)
    season = _season(times, step, config.seasonality)
    sigma = (config.volatility * level * math.sqrt(hours / _YEAR_HOURS / k))[:, None] * season  # of a sub-step

    share = config.trend_share
    feed = share * shock + math.sqrt(1 - share * share) * noise[1]
    tide = _ar1(feed, 0.5 ** (1 / config.tide_half_life), state.tide)
    tide_before = np.concatenate(([state.tide], tide[:-1]))
    bar_sigma = np.sqrt((sigma * sigma).sum(axis=1))
    edge = config.predictability * tide_before * bar_sigma  # drift of this bar, set at the close before it

    chance = min(config.jumps_per_year * hours / _YEAR_HOURS / k, 1.0)
    jump = np.where(jump_draw < chance, config.jump_size * jump_normal, 0.0)
    compensation = math.log1p(chance * math.expm1(config.jump_size**2 / 2))
    diffusion = sigma * z - 0.5 * sigma * sigma + (edge / k)[:, None] - compensation
    pull = _pull(state.log_price, (diffusion + jump).sum(axis=1), bar_sigma**2, config)
    edge += pull
    diffusion += (pull / k)[:, None]
    path = state.log_price + np.cumsum(diffusion + jump).reshape(n, k)
    first = np.concatenate(([state.log_price], path.ravel()[:-1])).reshape(n, k)
    last = first + diffusion  # a jump comes at the end of its sub-step
    reach = np.sqrt(diffusion**2 + 2 * sigma**2 * bridge)
    top = np.maximum((first + last + reach[0]) / 2, path).max(axis=1)
    bottom = np.minimum((first + last - reach[1]) / 2, path).min(axis=1)

    prices = _prices(path[:, -1], top, bottom, uniform[1], config.tick_size, state.close)
    vwap = np.clip(np.exp(path).mean(axis=1), prices["low"], prices["high"])
    activity = level * np.sqrt((season**2).mean(axis=1))
    trading = _trading(generator, vwap, activity, shock, tide, noise[2:4], hours, config)
    keep = 0.5 ** (hours / 24.0)
    premium = _ar1(0.5 * feed + math.sqrt(0.75) * noise[4], keep, state.premium)
    error = _ar1(noise[5], 0.5 ** (hours / 0.25), state.mark_error)
    mark = _mark(path[:, -1], top, bottom, error, state.mark)
    truth = {
        "edge": edge,
        "tide": tide,
        "volatility": bar_sigma * math.sqrt(_YEAR_HOURS / hours),
        "regime": regime,
        "premium": config.premium_spread * premium,
    }
    end = _State(
        log_price=float(path[-1, -1]),
        close=float(prices["close"][-1]),
        mark=float(mark["mark_close"][-1]),
        shock=float(shock[-1]),
        regime=int(regime[-1]),
        log_volatility=float(deviation[-1]),
        tide=float(tide[-1]),
        premium=float(premium[-1]),
        mark_error=float(error[-1]),
    )
    return {**prices, **trading, **mark, **truth}, end


def _pull(start: float, moves: FloatArray, variance: FloatArray, config: SyntheticConfig) -> FloatArray:
    """(n,) drift that draws each bar's log price back: nothing within `reach`, twice its variance of what is beyond.

    So the price stays beyond by a quarter of a logarithm on average, with a standard deviation of a half, whatever the
    volatility. start: the log price before the first bar. moves: (n,) what the bars add to it without the pull.
    """
    at, free = start - math.log(config.price), math.log(config.reach)
    ahead = at + np.cumsum(moves)
    if max(abs(at), float(np.abs(ahead).max())) <= free:
        return np.zeros(moves.size)
    pulls = []
    for move, strength in zip(moves.tolist(), np.minimum(2.0 * variance, 1.0).tolist(), strict=True):
        pull = -strength * (at - min(max(at, -free), free))
        at += move + pull
        pulls.append(pull)
    return np.array(pulls)


def _on_grid(count: FloatArray, step: float) -> FloatArray:
    """`count * step` as the float nearest to the decimal number, where the step is one over a whole number."""
    inverse = round(1.0 / step)
    return count / inverse if inverse >= 1 and math.isclose(inverse * step, 1.0, rel_tol=1e-12) else count * step


def _prices(
    ends: FloatArray, top: FloatArray, bottom: FloatArray, uniform: FloatArray, tick: float, close_before: float
) -> dict[str, FloatArray]:
    """OHLC on the tick grid. A bar opens within one tick of the last close: another trade, at the same market."""
    closes = np.maximum(np.rint(np.exp(ends) / tick), 1.0)
    nudge = np.where(uniform < 0.2, -1.0, np.where(uniform < 0.4, 1.0, 0.0))
    opens = np.maximum(np.concatenate(([round(close_before / tick)], closes[:-1])) + nudge, 1.0)
    highs = np.maximum(np.rint(np.exp(top) / tick), np.maximum(opens, closes))
    lows = np.maximum(np.minimum(np.rint(np.exp(bottom) / tick), np.minimum(opens, closes)), 1.0)
    return {
        name: _on_grid(ticks, tick) for name, ticks in zip(_KLINE_ORDER[:4], (opens, highs, lows, closes), strict=True)
    }


def _trading(
    generator: np.random.Generator,
    vwap: FloatArray,
    activity: FloatArray,
    shock: FloatArray,
    tide: FloatArray,
    noise: FloatArray,
    hours: float,
    config: SyntheticConfig,
) -> dict[str, NDArray[Any]]:
    """Volume rises with volatility and with the bar's own move; takers buy when price rises, and with the tide."""
    turnover = config.turnover * hours / 24 * activity**1.3 * (0.6 + 0.5 * np.abs(shock)) * np.exp(0.25 * noise[0])
    lots = np.floor(turnover / vwap / config.lot_step)
    lean = 0.08 * (0.7 * shock + 0.25 * tide + 0.65 * noise[1])  # of bought minus sold, as a share of volume
    volume = _on_grid(lots, config.lot_step)
    bought = _on_grid(np.rint(lots * (0.5 + 0.5 * np.tanh(lean))), config.lot_step)
    return {
        "volume": volume,
        "quote_volume": volume * vwap,
        "taker_buy_volume": bought,
        "taker_buy_quote_volume": bought * vwap,
        "trades": np.where(lots > 0, 1 + generator.poisson(turnover / config.trade_size), 0),
    }


def _mark(
    ends: FloatArray, top: FloatArray, bottom: FloatArray, error: FloatArray, mark_before: float
) -> dict[str, FloatArray]:
    """The mark price follows the last price with an error of one basis point."""
    factor = 1 + 1e-4 * error
    closes = np.round(np.exp(ends) * factor, 8)
    opens = np.concatenate(([mark_before], closes[:-1]))
    return {
        "mark_open": opens,
        "mark_high": np.maximum(np.round(np.exp(top) * factor, 8), np.maximum(opens, closes)),
        "mark_low": np.minimum(np.round(np.exp(bottom) * factor, 8), np.minimum(opens, closes)),
        "mark_close": closes,
    }


def _funding(
    opens: NDArray[np.int64], step: Interval, premium: FloatArray, mark: FloatArray, config: SyntheticConfig
) -> pd.DataFrame:
    """Every 8 h: average premium + clamp(interest - average, +-0.05 %), within +-0.75 %; mark NaN inside a bar.

    The average is over the bars that closed since the last settlement, else the last bar that closed.
    """
    closes = opens + step.ns
    times = np.arange(opens[0] // _FUNDING_NS + 1, closes[-1] // _FUNDING_NS + 1) * _FUNDING_NS
    after = np.searchsorted(closes, times, side="right")
    before = np.minimum(np.searchsorted(closes, times - _FUNDING_NS, side="right"), np.maximum(after - 1, 0))
    total = np.concatenate(([0.0], np.cumsum(premium)))
    average = np.where(after > 0, (total[after] - total[before]) / np.maximum(after - before, 1), 0.0)
    rate = np.clip(average + np.clip(config.interest - average, -0.0005, 0.0005), -0.0075, 0.0075)
    row = np.maximum(after - 1, 0)
    exact = (after > 0) & (closes[row] == times)
    return pd.DataFrame(
        {"funding_rate": np.round(rate, 8), "mark_price": np.where(exact, mark[row], np.nan)},
        index=pd.DatetimeIndex(times, tz="UTC", name="funding_time"),
    )
