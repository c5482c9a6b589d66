"""The values that pass between stages: frozen, checked at birth, each with its reasons."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import evolve, field, frozen
from attrs.validators import ge, gt, instance_of, le, optional
from numpy.typing import NDArray

from ares.account import Account, Position
from ares.errors import InvalidInput, unknown_name
from ares.instruments import Instrument, Interval, Side
from ares.market import MarketView
from ares.orders import OrderType

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Action",
    "AnalysisInput",
    "AnalysisResult",
    "Assessment",
    "AssessmentInput",
    "FeatureRow",
    "HealthView",
    "Leg",
    "Limits",
    "LiquidationView",
    "OpenTrade",
    "Reason",
    "RegimeView",
    "TacticsInput",
    "TacticsResult",
    "Target",
    "TechnicalView",
    "TradePlan",
]


@frozen(kw_only=True)
class Reason:
    """Why a decision came out as it did: a stable code and the numbers that decided.

    >>> str(Reason(code="payoff.too_small", numbers={"p": 0.41, "needed": 0.47}))
    'payoff.too_small p=0.41 needed=0.47'
    """

    code: str
    numbers: Mapping[str, float] = field(factory=dict)

    def __str__(self) -> str:
        return " ".join((self.code, *(f"{name}={value:.6g}" for name, value in self.numbers.items())))


def _readonly(values: Any) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.flags.writeable:
        array = array.copy()
        array.setflags(write=False)
    return array


def _check_interval(features: pd.DataFrame, place: int, interval: str) -> None:
    """Refuse a frame of another interval: as its maker noted, else by the commonest step of the rows before `place`."""
    wanted, noted = Interval.parse(interval), features.attrs.get("interval")
    if noted is None:
        near = features.index[max(0, place - _ROWS_LOOKED_AT) : place + 1]
        opened = near.as_unit("ns").asi8  # type: ignore[attr-defined]
        steps, counts = np.unique(np.diff(opened), return_counts=True)
        if opened.size < 3 or steps[np.argmax(counts)] == wanted.ns:
            return
        noted = f"{steps[np.argmax(counts)] / 60e9:g} minutes"
    elif noted == wanted.name:
        return
    raise InvalidInput(f"the frame's rows are {noted} apart, not {interval}", interval=interval)


_ROWS_LOOKED_AT = 32


@frozen(kw_only=True, eq=False)
class FeatureRow:
    """All features of one symbol at the close of one bar."""

    symbol: str
    interval: str
    open_ns: int  # ns UTC, the bar's open time
    known_ns: int  # ns UTC, when the row was known: the bar's close time
    schema_id: str  # fingerprint of names, order, parameters and kernel version
    values: NDArray[np.float64] = field(converter=_readonly)  # (n,) read-only; NaN is missing
    ready: bool  # warm-up is over
    names: tuple[str, ...] = ()  # (n,) column names, shared by all rows of a stream

    @classmethod
    def from_frame(
        cls, features: pd.DataFrame, symbol: str, interval: str, *, row: int = -1, schema_id: str = ""
    ) -> FeatureRow:
        """One row of a features frame, the last unless told otherwise; ready when no value is missing.

        features: as from `generate_all_features`, indexed by open time. Raises: InvalidInput without such a row or when
        the frame is of another interval.
        """
        found = cls.at(features, symbol, interval, row)
        named = schema_id or f"frame:{'|'.join(found.names)}"
        return evolve(found, schema_id=named, ready=bool(np.isfinite(found.values).all()))

    @classmethod
    def at(cls, features: pd.DataFrame, symbol: str, interval: str, row: int = -1) -> FeatureRow:
        """One row of a features frame as stages take it; the last one unless `row` says otherwise.

        `ready` and `schema_id` come from what `generate_all_features` noted in `features.attrs`; without the note, a
        row without NaN is ready. Raises: InvalidInput when there is no such row or the frame is of another interval.
        """
        if not -len(features) <= row < len(features):
            raise InvalidInput(f"a frame of {len(features)} rows has no row {row}", row=row)
        place = row % len(features)
        values = features.iloc[place].to_numpy(np.float64)
        open_ns = int(features.index[[place]].as_unit("ns").asi8[0])  # type: ignore[attr-defined]
        warmup = features.attrs.get("warmup")
        _check_interval(features, place, interval)
        return cls(
            symbol=symbol,
            interval=interval,
            open_ns=open_ns,
            known_ns=open_ns + Interval.parse(interval).ns,
            schema_id=str(features.attrs.get("schema_id", "")),
            values=values,
            ready=not np.isnan(values).any() if warmup is None else place >= warmup,
            names=tuple(map(str, features.columns)),
        )

    def __getitem__(self, name: str) -> float:
        """The value of one feature. Raises InvalidInput naming the nearest feature there is."""
        try:
            return float(self.values[self.names.index(name)])
        except ValueError:
            raise unknown_name("feature", name, self.names) from None


@frozen(kw_only=True)
class RegimeView:
    """The market's state, filtered: it uses nothing later than its row."""

    state: str
    probabilities: Mapping[str, float]  # by state; sum 1


@frozen(kw_only=True)
class HealthView:
    """How fit the market is for trading, in [0, 1]; `parts` are the scores it was made of."""

    score: float = field(validator=[ge(0.0), le(1.0)])
    parts: Mapping[str, float]


@frozen(kw_only=True)
class LiquidationView:
    """How near liquidation is for a position of the usual leverage, per side or for the one that is open."""

    price: float  # quote per base
    distance: float  # fraction of the mark price
    probability: float  # of touching it within the horizon


@frozen(kw_only=True)
class TechnicalView:
    """A reading of patterns and levels. `score` in [-1, 1]: negative is bearish; `evidence` names what spoke."""

    score: float = field(validator=[ge(-1.0), le(1.0)])
    evidence: tuple[Reason, ...]


@frozen(kw_only=True, eq=False)
class AnalysisInput:
    """What an analyst may know at `now_ns`. Raises: InvalidInput when its parts are of different symbols."""

    symbol: str
    now_ns: int
    row: FeatureRow
    market: MarketView
    position: Position | None = None  # None: flat

    def __attrs_post_init__(self) -> None:
        symbols = {"row": self.row.symbol, "market": self.market.symbol}
        if self.position is not None:
            symbols["position"] = self.position.symbol
        for name, symbol in symbols.items():
            if symbol != self.symbol:
                raise InvalidInput(f"the {name} is of {symbol}, the input of {self.symbol}", part=name)

    @property
    def feature_age_ns(self) -> int:
        """How long the row has been known; 0 when this machine's clock is behind the venue's."""
        return max(0, self.now_ns - self.row.known_ns)


def _probability(_: object, attribute: object, value: float | None) -> None:
    if value is not None and not 0.0 <= value <= 1.0:
        raise InvalidInput(f"{getattr(attribute, 'name', 'p')} must lie in [0, 1], not {value}")


@frozen(kw_only=True)
class AnalysisResult:
    """An analyst's opinion. Probabilities are of the next barrier touched: target up, target down, or neither.

    A part that is switched off is None. `side` None means abstain, which is an answer, not "down".
    """

    symbol: str
    now_ns: int
    p_up: float | None = field(validator=_probability)
    p_down: float | None = field(validator=_probability)
    p_timeout: float | None = field(validator=_probability)
    side: Side | None
    confidence: float = field(validator=[ge(0.0), le(1.0)])  # that the side's target comes first; 0 when abstaining
    confidence_low: float | None = field(default=None, validator=_probability)  # its lower bound; None: not estimated
    horizon: int = field(validator=ge(1))  # bars until the time barrier
    horizon_ns: int = field(validator=gt(0))  # the same in ns
    stop_width: float  # log distance of the stop from entry, > 0; NaN when abstaining for want of volatility
    target_width: float  # log distance of the target from entry, > 0; NaN likewise
    timeout_loss: float = field(default=0.0, validator=ge(0.0))  # mean loss of a timeout before costs, of the notional
    volatility: float | None = None  # standard deviation of the log return of one bar
    size_factor: float = field(default=1.0, validator=[ge(0.0), le(1.0)])  # of the usual size; less under an alarm
    feature_age_ns: int | None = None  # from when the features were known to `now_ns`; None: there were none
    valid_until_ns: int
    model_id: str
    regime: RegimeView | None = None
    health: HealthView | None = None
    liquidation: LiquidationView | None = None
    technical: TechnicalView | None = None
    alarm: Reason | None = None  # why the model is not to be believed at all; the desk takes no new risk on it
    reasons: tuple[Reason, ...] = ()  # when abstaining, the last one is what decided


@frozen(kw_only=True)
class Leg:
    """One order of a plan. `price` None: at market."""

    order_type: OrderType = OrderType.MARKET
    quantity: Decimal = field(validator=gt(Decimal(0)))  # base
    price: Decimal | None = None  # quote per base


@frozen(kw_only=True)
class Target:
    """Take `fraction` of the original quantity off at `price`."""

    price: Decimal = field(validator=gt(Decimal(0)))  # quote per base
    fraction: float = field(validator=[gt(0.0), le(1.0)])


@frozen(kw_only=True)
class TradePlan:
    """A trade ready to be ordered: entry legs, one stop, targets, and every cap that limited its size."""

    trade_id: str  # "" until the desk names it
    symbol: str
    side: Side
    legs: tuple[Leg, ...]
    stop: Decimal = field(validator=gt(Decimal(0)))  # trigger price, quote per base
    targets: tuple[Target, ...]
    leverage: int = field(validator=ge(1))
    valid_until_ns: int  # entries not filled by then are cancelled
    exit_by_ns: int | None = None  # the time barrier: what is still held then is closed
    caps: Mapping[str, float] = field(factory=dict)  # quote notional each rule allowed; the least one decided
    reasons: tuple[Reason, ...] = ()

    @property
    def quantity(self) -> Decimal:
        """Sum of the legs, base."""
        return sum((leg.quantity for leg in self.legs), Decimal(0))


@frozen(kw_only=True)
class Limits:
    """What the account as a whole still allows, set by the desk."""

    may_enter: bool = True
    max_notional: Decimal | None = None  # quote, for this symbol's next entry; None: no limit beyond the tactician's
    max_leverage: int | None = None
    drawdown: float | None = None  # equity below its highest so far, fraction; None: not tracked
    reasons: tuple[Reason, ...] = ()  # why entering is not allowed


@frozen(kw_only=True)
class OpenTrade:
    """A trade on the books, from its first fill to its last."""

    trade_id: str
    symbol: str
    side: Side
    quantity: Decimal  # base, still held, > 0
    initial_quantity: Decimal  # base, all that was entered
    entry_price: Decimal  # quote per base, average
    opened_ns: int
    stop: Decimal | None  # trigger resting at the venue; None: unprotected
    initial_stop: Decimal | None  # the first stop, which defines the trade's risk
    targets: tuple[Target, ...] = ()  # still to come, nearest first
    targets_taken: int = 0  # how many came already
    exit_by_ns: int | None = None
    best_price: float | None = None  # most favourable mark price seen


@frozen(kw_only=True, eq=False)
class TacticsInput:
    """What a tactician may know. `trade`: the symbol's open trade, None when flat."""

    analysis: AnalysisResult
    instrument: Instrument
    account: Account
    market: MarketView
    trade: OpenTrade | None = None
    limits: Limits = field(factory=Limits)


@frozen(kw_only=True)
class TacticsResult:
    """A plan, or None and the reasons why not."""

    plan: TradePlan | None = field(validator=optional(instance_of(TradePlan)))
    reasons: tuple[Reason, ...] = ()  # of a refusal, the last one is what decided


class Action(str, Enum):
    """What a monitor wants done with a position."""

    HOLD = "HOLD"
    MOVE_STOP = "MOVE_STOP"
    TAKE_PROFIT = "TAKE_PROFIT"
    SCALE_DOWN = "SCALE_DOWN"
    SCALE_UP = "SCALE_UP"
    CLOSE = "CLOSE"


@frozen(kw_only=True, eq=False)
class AssessmentInput:
    """What a monitor may know about one position."""

    now_ns: int
    trade: OpenTrade
    position: Position
    instrument: Instrument
    market: MarketView
    analysis: AnalysisResult | None = None  # the latest opinion; None: there is none


@frozen(kw_only=True)
class Assessment:
    """A monitor's verdict. `quantity` (base) goes with scaling, profit taking and closing; `new_stop` with moving."""

    trade_id: str
    now_ns: int
    action: Action
    quantity: Decimal | None = None
    new_stop: Decimal | None = None
    targets_hit: int = 0  # how many of the trade's targets a TAKE_PROFIT takes, nearest first
    risk: float = field(validator=[ge(0.0), le(1.0)])  # 0 calm .. 1 act now
    reasons: tuple[Reason, ...] = ()
