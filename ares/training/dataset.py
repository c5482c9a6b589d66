"""What a model is trained on: the feature rows of decisions, and what became of each after all costs."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import pandas as pd
from attrs import evolve, field, frozen
from attrs.validators import ge, gt, in_, lt
from numpy.typing import NDArray

from ares.analyst.active import bars_since_close
from ares.errors import InvalidInput, TooShort, unknown_name
from ares.features.config import timeframe_ratio
from ares.features.orchestrator import FeatureOrchestrator
from ares.features.sources import kinds_of
from ares.instruments import Interval
from ares.kernels import barriers
from ares.models.autoencoder import Autoencoder
from ares.models.regime import RegimeModel
from ares.models.regime_columns import OBSERVED, PREFIX, regime_columns, regime_names
from ares.training.bootstrap import sequential_weights
from ares.training.labels import BarrierConfig, Labels, cusum, interval_ns, triple_barrier
from ares.training.regime import RegimeConfig, fit_regimes

__all__ = ["Bets", "Dataset", "TrainConfig", "limited", "make_dataset"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@frozen(kw_only=True)
class TrainConfig:
    """How a dual model is trained. Lengths are in bars of the klines unless they say otherwise."""

    barriers: BarrierConfig = field(factory=BarrierConfig)  # the bet, with its costs
    volatility: str = "volatility.ewma_128"  # the column that scales the barriers
    events: str = field(default="every", validator=in_(("every", "cusum")))  # which bars are decisions
    cusum_threshold: float = field(default=1.0, validator=gt(0.0))  # deviations, of `cusum`
    first_share: float = field(default=0.4, validator=[gt(0.0), lt(1.0)])  # of the warm bars, before the first test
    folds: int = field(default=6, validator=ge(3))  # test blocks: the first serves the meta model, the next calibrate
    window: int | None = None  # rows of a training window that moves along; None: it grows
    side_timeframe: str | None = None  # higher timeframe whose closes decide sides, by its columns; None: any bar, all
    timing: bool = True  # False: no timing model
    time_to_live: int = field(default=4, validator=ge(1))  # how long an entry may wait for its moment
    meta: bool = True  # False: no meta model
    aggregator: str = "log_odds"
    calibration: str = "sigmoid"  # of the confidence; overlapping labels are too few for a step function
    bound_level: float = field(default=0.9, validator=[ge(0.5), lt(1.0)])  # one-sided, of the confidence's lower bound
    regime_features: bool = True  # the models read the filtered probabilities of regimes as columns
    max_missing: float = field(default=0.01, validator=[ge(0.0), lt(1.0)])  # share of the first window; else optional
    lifetime: int | None = None  # bars after the last label for which the model may decide; None: no end
    resamples: int = field(default=200, validator=ge(20))  # of bootstrap intervals
    weighting: str = field(default="uniqueness", validator=in_(("uniqueness", "sequential")))  # of rows in fits
    seed: int = field(default=7, validator=ge(0))
    threads: int | None = field(default=1)  # of the fits; more help on idle cores only. None: the library's choice

    def __attrs_post_init__(self) -> None:
        if self.side_timeframe is not None and self.events != "every":
            raise InvalidInput("with a side timeframe its closes are the decisions: leave events at 'every'")

    @threads.validator
    def _some(self, attribute: object, value: int | None) -> None:
        if value is not None and value < 1:
            raise InvalidInput(f"threads must be at least 1, not {value}", threads=value)


@frozen(kw_only=True, eq=False)
class Bets:
    """What a bet on one side would have brought at each row. Arrays are (n,)."""

    hit: NDArray[np.int64]  # 1: the target came before the stop and the time barrier
    late: NDArray[np.int64]  # 1: the time barrier came before both
    net: Floats  # fraction of notional, after all costs
    t1: Ints  # ns, when it was over
    last: Ints  # position of the bar in which it was


@frozen(kw_only=True, eq=False)
class Dataset:
    """One row a decision, in time order; nothing in `X` is later than `t0`. Arrays are (n,) unless noted."""

    X: Floats = field(repr=False)  # (n, columns)
    columns: tuple[str, ...] = field(repr=False)
    required: tuple[str, ...] = field(repr=False)  # columns that no row misses
    head: int  # klines of the first training window: which columns there are was decided on these alone
    higher: tuple[str, ...] | None = field(repr=False)  # columns that the side model is held to; None: it reads all
    timing_columns: tuple[str, ...] = field(repr=False)  # of the base timeframe; empty: there is no lower timeframe
    decided: NDArray[np.bool_] = field(repr=False)  # a side is decided here; elsewhere its moment is asked for again
    event: Ints = field(repr=False)  # positions of the deciding bars among the klines
    open_ns: Ints = field(repr=False)
    t0: Ints = field(repr=False)  # ns, the decision
    t1: Ints = field(repr=False)  # ns, when every outcome of the row was known
    y: NDArray[np.int64] = field(repr=False)  # -1 target down first, 0 neither, 1 target up first
    rises: NDArray[np.int64] = field(repr=False)  # 1: the price rises within the entry's time to live
    long: Bets = field(repr=False)
    short: Bets = field(repr=False)
    target_width: Floats = field(repr=False)  # log
    stop_width: Floats = field(repr=False)
    first: Ints = field(repr=False)  # position of the bar in which a label's life begins
    last: Ints = field(repr=False)  # ... and ends
    uniqueness: float  # mean share of its life that a label has to itself
    fingerprint: str  # of the features
    autoencoder: Autoencoder | None  # made its columns of the features; fitted on the first training window. None: off
    regimes: RegimeModel | None  # made its regime columns; fitted on the first training window. None: off
    interval: Interval
    bars: int  # of the klines
    dropped: dict[str, int]  # rows left out, by reason
    weighting: str = "uniqueness"  # of rows in fits; "sequential": draws of the sequential bootstrap
    seed: int = 0  # of those draws

    def __len__(self) -> int:
        return int(self.event.size)

    @property
    def side_columns(self) -> tuple[str, ...]:
        """What the side model reads, and the meta model beside its probabilities."""
        return self.columns if self.higher is None else self.higher

    @property
    def side_at(self) -> Ints:
        """Where the side model's columns stand in `X`."""
        return np.array([self.columns.index(name) for name in self.side_columns], dtype=np.int64)

    @property
    def side_rows(self) -> Floats:
        """What the side model reads, (n, side columns)."""
        return self.X if self.higher is None else self.X[:, self.side_at]

    @property
    def timing_at(self) -> Ints:
        """Where the timing model's columns stand in `X`."""
        return np.array([self.columns.index(name) for name in self.timing_columns], dtype=np.int64)

    def bets(self, side: NDArray[np.int64]) -> Bets:
        """The bets on these sides; where the side is 0 there is none: hit 0, late 1, net NaN."""
        up, down = side > 0, side < 0
        return Bets(
            late=np.where(up, self.long.late, np.where(down, self.short.late, 1)),
            hit=np.where(up, self.long.hit, np.where(down, self.short.hit, 0)),
            net=np.where(up, self.long.net, np.where(down, self.short.net, np.nan)),
            t1=np.where(up, self.long.t1, np.where(down, self.short.t1, self.t1)),
            last=np.where(up, self.long.last, np.where(down, self.short.last, self.last)),
        )

    def weights(self, rows: Ints | None = None) -> Floats:
        """Weights of `rows` in a fit, mean 1; None: all rows.

        "uniqueness": the share of its life that each label has to itself among them. "sequential": how often it is
        drawn when each draw avoids the lives of those before; rows that are never drawn weigh nothing.
        """
        chosen = np.arange(len(self)) if rows is None else rows
        unique = self.uniqueness_of(chosen)
        if self.weighting == "sequential":
            return sequential_weights(self.first[chosen], self.last[chosen], float(unique.mean()), seed=self.seed)
        return np.asarray(unique / unique.mean())

    def uniqueness_of(self, rows: Ints, side: NDArray[np.int64] | None = None) -> Floats:
        """Mean share of its life that each label of `rows` has to itself among them; given sides (n,), each bet."""
        last = self.last if side is None else self.bets(side).last
        return _uniqueness(self.first[rows], last[rows], self.bars)

    def take(self, chosen: NDArray[Any]) -> Dataset:
        """The rows at `chosen`, a mask or increasing positions."""
        rows = {name: getattr(self, name)[chosen] for name in _ROWS}
        long, short = (
            Bets(hit=b.hit[chosen], late=b.late[chosen], net=b.net[chosen], t1=b.t1[chosen], last=b.last[chosen])
            for b in (self.long, self.short)
        )
        unique = _uniqueness(rows["first"], rows["last"], self.bars)
        return evolve(self, **rows, long=long, short=short, uniqueness=float(unique.mean()))


_ROWS = ("X", "decided", "event", "open_ns", "t0", "t1", "y", "rises", "target_width", "stop_width", "first", "last")


def klines_of(source: Any, symbol: str | None = None) -> pd.DataFrame:
    """A klines frame from a frame, or from anything with a `frame(symbol)` such as a tape."""
    if isinstance(source, pd.DataFrame):
        return source
    ask = getattr(source, "frame", None)
    if ask is None:
        raise InvalidInput(f"klines must be a frame or a tape, not {type(source).__name__}")
    frame: pd.DataFrame = ask(symbol)
    return frame


def recorded_of(source: Any, symbol: str | None, features: FeatureOrchestrator) -> dict[str, pd.DataFrame]:
    """What a tape holds of the sources that the features read, as they take it; nothing from a frame."""
    kinds, ask = kinds_of(features.config.sources), getattr(source, "recorded", None)
    if not kinds or ask is None:
        return {}
    found: dict[str, pd.DataFrame] = ask(symbol, kinds)
    return found


def make_dataset(
    klines: pd.DataFrame,
    config: TrainConfig,
    features: FeatureOrchestrator,
    *,
    interval: Interval | str | None = None,
    funding: pd.Series | pd.DataFrame | None = None,
    table: pd.DataFrame | None = None,
    head: int | None = None,
    recorded: Mapping[str, pd.DataFrame] | None = None,
) -> Dataset:
    """Features and outcomes of every decision in `klines` whose outcome the data hold.

    funding: rates by settlement time; None: the assumed rate, charged to both sides. table: features computed before,
    of the same klines and orchestrator. head: klines of the first training window, which alone decide what columns
    there are and which of them are required; None: the warm-up and `first_share` of the rest. recorded: other frames of
    `features.compute`, such as `agg_trades_df`.
    When the features enable an autoencoder and bring none that is fitted, one is fitted on that window, its columns
    join the features' from the first row to the last, and it belongs to every model trained on these rows. So it is
    with the regimes of `regime_features`, where the features have the columns that regimes are told by.
    Raises: InvalidInput, TooShort, DataError.
    """
    made = _features(klines, features, interval, recorded or {}) if table is None else table
    step = Interval.parse(interval) if interval is not None else Interval.of_ns(interval_ns(klines))
    if not made.index.equals(klines.index):
        raise InvalidInput("features and klines must have the same open times", rows=len(made))
    first = _head(len(made), features.warmup, config) if head is None else head
    names = tuple(str(name) for name in made.columns)
    if config.volatility not in names:
        raise unknown_name("feature", config.volatility, names)
    values = made.to_numpy(dtype=np.float64)
    warm = np.arange(len(made)) >= features.warmup
    opened = pd.DatetimeIndex(klines.index).as_unit("ns").asi8
    encoder = _autoencoder(made.iloc[:first], features, config)
    if encoder is not None:
        at = [names.index(name) for name in encoder.inputs]
        values, names = np.hstack([values, encoder.of_rows(values[:, at])]), (*names, *encoder.names)
    regimes = _regimes(values[:first][warm[:first]], names, step, config)
    if regimes is not None:
        at = [names.index(name) for name in OBSERVED]
        followed = np.full((len(made), len(regimes.states)), np.nan)
        followed[warm] = regime_columns(regimes, opened[warm], values[warm][:, at], step.ns)
        values, names = np.hstack([values, followed]), (*names, *regime_names(regimes))
    sigma = np.where(warm, values[:, names.index(config.volatility)], np.nan)
    kept, required = _columns(values[:first][warm[:first]], names, config.max_missing)
    if not kept:
        raise TooShort(
            f"the first {first} of {len(klines)} bars leave no feature after {features.warmup} of warm-up", rows=first
        )
    higher, base = _higher(kept, step, config), tuple(name for name in kept if "@" not in name)
    complete = warm & np.isfinite(values[:, [names.index(n) for n in required]]).all(axis=1)
    age = _ages(opened, step, config)
    events = np.flatnonzero(complete & (sigma > 0) & (age <= config.time_to_live))
    if config.events == "cusum":
        events = np.intersect1d(events, cusum(klines, config.cusum_threshold, sigma))
    dropped = {"incomplete": int(len(made) - complete.sum())}
    sides, long, short, timing = _labels(klines, events, sigma, config, funding)
    rows = np.intersect1d(np.intersect1d(sides.event, long.event), np.intersect1d(short.event, timing.event))
    dropped |= {f"label_{name}": count for name, count in long.dropped.items()}
    if rows.size < 100:
        raise TooShort(f"{rows.size} decisions with known outcomes are too few to train on", rows=int(rows.size))
    sides, long, short, timing = (x.take(np.isin(x.event, rows)) for x in (sides, long, short, timing))
    return Dataset(
        X=np.ascontiguousarray(values[rows][:, [names.index(n) for n in kept]]),
        columns=kept,
        required=required,
        head=first,
        higher=higher,
        timing_columns=base if len(base) < len(kept) else (),
        decided=age[rows] == 0,
        event=rows,
        open_ns=sides.open_ns,
        t0=sides.t0,
        t1=np.maximum(np.maximum(sides.t1, timing.t1), np.maximum(long.t1, short.t1)),
        y=sides.barrier.astype(np.int64),
        rises=(timing.gross > 0).astype(np.int64),
        long=_bets(long),
        short=_bets(short),
        target_width=long.target_width,
        stop_width=long.stop_width,
        first=sides.first,
        last=sides.last,
        uniqueness=float(sides.uniqueness().mean()),
        fingerprint=features.fingerprint,
        autoencoder=encoder,
        regimes=regimes,
        interval=step,
        bars=len(klines),
        dropped=dropped,
        weighting=config.weighting,
        seed=config.seed,
    )


def _head(bars: int, warmup: int, config: TrainConfig) -> int:
    return min(warmup, bars) + int(max(bars - warmup, 0) * config.first_share)


def _ages(opened: Ints, step: Interval, config: TrainConfig) -> Ints:
    """How many bars ago the last side could be decided, at the close of each bar; raises InvalidInput."""
    if config.side_timeframe is None:
        return np.zeros(opened.size, dtype=np.int64)
    timeframe_ratio(config.side_timeframe, step)
    return np.asarray(bars_since_close(opened, step.ns, Interval.parse(config.side_timeframe).ns))


def _higher(kept: tuple[str, ...], step: Interval, config: TrainConfig) -> tuple[str, ...] | None:
    """The columns of the side's timeframe and higher ones; None when sides have none of their own."""
    if config.side_timeframe is None:
        return None
    least = Interval.parse(config.side_timeframe).ns
    side = tuple(name for name in kept if "@" in name and Interval.parse(name.partition("@")[2]).ns >= least)
    if not side:
        raise InvalidInput(
            f"no feature is of timeframe {config.side_timeframe} or higher: name it in the features' `timeframes`",
            timeframe=config.side_timeframe,
            interval=step.name,
        )
    return side


def _features(
    klines: pd.DataFrame,
    features: FeatureOrchestrator,
    interval: Interval | str | None,
    recorded: Mapping[str, pd.DataFrame],
) -> pd.DataFrame:
    trades, quotes, futures = (recorded.get(name) for name in ("agg_trades_df", "book_df", "futures_df"))
    return features.compute(klines, trades, futures, book_df=quotes, interval=interval)


def _autoencoder(made: pd.DataFrame, features: FeatureOrchestrator, config: TrainConfig) -> Autoencoder | None:
    """One fitted on these rows; None when it is switched off, or when the features hold a fitted one's columns."""
    if features.autoencoder is not None or "autoencoder" not in features.config.enabled_groups():
        return None
    from ares.features.autoencoder import fit_autoencoder

    with limited(config.threads):
        return fit_autoencoder(made, features.config.autoencoder)


def _regimes(rows: Floats, names: tuple[str, ...], step: Interval, config: TrainConfig) -> RegimeModel | None:
    """One fitted on these rows; None when it is switched off, or when the features lack what it is told by."""
    taken = [name for name in names if name.startswith(PREFIX)]
    if taken:
        raise InvalidInput(f"feature {taken[0]!r} has a name that is kept for regimes: rename it", feature=taken[0])
    if not config.regime_features or not set(OBSERVED) <= set(names):
        return None
    observed = rows[:, [names.index(name) for name in OBSERVED]]
    chosen = RegimeConfig(restarts=2, iterations=40, seed=config.seed)
    try:
        with limited(config.threads):
            return fit_regimes(observed, columns=OBSERVED, config=chosen, timeframe=step.name).model
    except TooShort as error:
        raise TooShort(
            f"the first training window is too short for regimes: {error}; give it longer data, or switch "
            "`regime_features` off",
            rows=len(rows),
        ) from error


def limited(threads: int | None) -> AbstractContextManager[Any]:
    """Fits inside it use at most so many threads; None leaves it to the library."""
    if threads is None:
        return nullcontext()
    from threadpoolctl import threadpool_limits

    return threadpool_limits(threads)  # type: ignore[no-any-return]


def _uniqueness(first: Ints, last: Ints, bars: int) -> Floats:
    alive, out = np.empty(bars, dtype=np.int64), np.empty(first.size)
    barriers.concurrency(first, last, alive)
    barriers.uniqueness(first, last, alive, np.empty(bars + 1), out)
    return out


def _columns(values: Floats, names: tuple[str, ...], allowed: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Columns worth reading (some value varies), and those of them that may not be missing."""
    missing = np.isnan(values).mean(axis=0) if values.size else np.ones(len(names))
    with np.errstate(invalid="ignore"):
        varies = np.array([np.unique(c[np.isfinite(c)][:5000]).size > 1 for c in values.T])
    kept = tuple(n for n, v in zip(names, varies, strict=True) if v)
    required = tuple(n for n, v, m in zip(names, varies, missing, strict=True) if v and m <= allowed)
    return kept, required


def _labels(
    klines: pd.DataFrame, events: Ints, sigma: Floats, config: TrainConfig, funding: pd.Series | pd.DataFrame | None
) -> tuple[Labels, Labels, Labels, Labels]:
    """Which target comes first; a long and a short bet; and where the price goes within the time to live."""
    bet = config.barriers
    both = evolve(bet, stop=bet.target)
    soon = evolve(bet, horizon=config.time_to_live, target=1.0, stop=1.0, least_width=0.0)

    def labelled(side: int, barriers: BarrierConfig) -> Labels:
        return triple_barrier(klines, events, side=side, volatility=sigma, funding=funding, config=barriers)

    return labelled(0, both), labelled(1, bet), labelled(-1, bet), labelled(0, soon)


def _bets(labels: Labels) -> Bets:
    hit, late = ((labels.barrier > 0).astype(np.int64), (labels.barrier == 0).astype(np.int64))
    return Bets(hit=hit, late=late, net=labels.net, t1=labels.t1, last=labels.last)
