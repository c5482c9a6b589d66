"""`RuleAnalyst`: any rule that reads a feature row, with a probability learned from what became of its states."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ares.analyst import reference
from ares.analyst.config import AnalystConfig
from ares.analyst.learner import Learner, Odds
from ares.analyst.reference import Reading
from ares.errors import DataError, InvalidInput, ModelError, settings_or_default
from ares.instruments import Interval, Side
from ares.kernels.barriers import barrier_widths
from ares.market import Candle
from ares.protocols import AnalysisInput, AnalysisResult, FeatureRow, Reason, RegimeView

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Rule", "RuleAnalyst"]

Rule = Callable[[FeatureRow], float | Side | None]
_STRENGTHS = 3  # cells of a user's rule: weak, middling and strong conviction
_NAN = math.nan


class RuleAnalyst:
    """Opinions from a rule, and from what became of the rule's earlier states on the same symbol.

    fn: a function of a feature row that gives a signed conviction in [-1, 1], a `Side`, or None to abstain; its states
    are the sides, each weak, middling or strong. A missing value that it reads by name makes it abstain.
    None: the reference rule (`ares.analyst.reference`), whose nine states consider both sides.

    At each closed bar one hypothetical trade is entered for the state and side, at the next bar's open, with barriers
    at multiples of the volatility over the horizon; it is counted once a barrier is touched or the horizon is over.
    The probability is the posterior mean over these counts with a stated prior (a driftless walk, `RuleConfig`).
    `confidence_low` is its one-sided lower bound; unless that exceeds the break-even chance after the assumed costs,
    the analyst abstains, and says why.

    Call it once for each closed bar, in order; a second call for the same bar counts nothing twice. A bar with no
    volume neither enters nor ends a trade, and missing bars do not stop the horizon.
    """

    def __init__(self, fn: Rule | None = None, config: AnalystConfig | None = None) -> None:
        if fn is not None and not callable(fn):
            raise InvalidInput(f"fn is a function of a feature row, not {type(fn).__name__}; settings go by config=")
        self.config = settings_or_default(config, AnalystConfig)
        self._fn = fn
        self._name = "rule.reference" if fn is None else f"rule.{getattr(fn, '__name__', type(fn).__name__)}"
        self._cells = reference.CELLS if fn is None else _STRENGTHS
        self._learners: dict[str, Learner] = {}
        self._columns: dict[str, reference.Columns | int] = {}
        self._results: dict[str, deque[AnalysisResult]] = {}
        self._regimes = tuple(RegimeView(state=name, probabilities={name: 1.0}) for name in reference.STATES)

    # ------------------------------------------------------------ the verb

    async def execute_analysis(self, given: AnalysisInput) -> AnalysisResult:
        """The opinion on the last closed bar."""
        return self.analyze(given)

    def analyze(self, given: AnalysisInput) -> AnalysisResult:
        """The opinion on the last closed bar: the plain twin of `execute_analysis`.

        A bar before one it has learned from, as when history is played again after a restart, gets no opinion.
        Without the reference rule's columns it abstains and names the first.
        Raises: DataError when the row or the candle is from the future; InvalidInput when the row lacks a column that
        the settings name or your rule reads, or your rule's answer is no conviction.
        """
        row, candle = given.row, given.market.candle
        if row.known_ns > given.now_ns or (candle is not None and candle.close_ns > given.now_ns):
            raise DataError(f"{given.symbol}: a bar that closes after {given.now_ns} cannot be known", now=given.now_ns)
        learner = self._learner(given.symbol, row.interval)
        reading = self._read(row)
        widths = self._widths(reading)
        if candle is not None and learner.is_new(candle.open_ns):
            fresh = candle.open_ns == row.open_ns
            _learn(learner, candle, reading.cell if fresh else -1, reading.sides, widths)
        result = self._opinion(given, learner, reading, widths)
        self._results.setdefault(given.symbol, deque(maxlen=self.config.max_results)).append(result)
        return result

    def learn(
        self, symbol: str, interval: str, klines: pd.DataFrame, features: pd.DataFrame, *, warmup: int = 0
    ) -> int:
        """Learn from history: the same as analysing bar by bar, without the opinions.

        klines, features: frames with the same index of open times, oldest first. warmup: rows at the beginning that
        are not read, as a stream's first rows are not ready. Returns: outcomes counted.
        Bars up to the last one learned from are passed over. Raises: InvalidInput when the indexes differ.
        """
        import pandas as pd

        if not klines.index.equals(features.index):
            raise InvalidInput("klines and features must have the same open times", rows=len(klines))
        step = Interval.parse(interval).ns
        learner = self._learner(symbol, interval)
        before = learner.counted
        names = tuple(str(name) for name in features.columns)
        schema = f"frame:{'|'.join(names)}"
        rows = features.to_numpy(dtype=float, copy=True)
        rows.setflags(write=False)
        bars = klines[["open", "high", "low", "close", "volume"]].to_numpy(dtype=float).tolist()
        times = pd.DatetimeIndex(klines.index).as_unit("ns").asi8.tolist()
        for number, (open_ns, bar, values) in enumerate(zip(times, bars, rows, strict=True)):
            if not learner.is_new(open_ns):
                continue
            row = FeatureRow(
                symbol=symbol,
                interval=interval,
                open_ns=open_ns,
                known_ns=open_ns + step,
                schema_id=schema,
                values=values,
                ready=number >= warmup,
                names=names,
            )
            reading = self._read(row)
            prices = (bar[0], bar[1], bar[2], bar[3])
            learner.learn(
                open_ns, open_ns + step, prices, bar[4], reading.cell, reading.sides, self._widths(reading)
            )
        return learner.counted - before

    # ------------------------------------------------------------ what people ask

    def get_analysis_results(self) -> Mapping[str, tuple[AnalysisResult, ...]]:
        """The recent opinions of each symbol, newest last."""
        return {symbol: tuple(results) for symbol, results in self._results.items()}

    def get_analysis_status(self) -> Mapping[str, object]:
        """The rule, its states, and for each symbol how many outcomes it has learned from."""
        return {
            "model_id": self._name,
            "states": reference.STATES if self._fn is None else ("weak", "middling", "strong"),
            "symbols": {
                symbol: {"interval": x.interval, "last_open_ns": x.last_open_ns, "outcomes": x.counted}
                for symbol, x in self._learners.items()
            },
        }

    def tallies(self, symbol: str) -> Any:
        """(states, 2, 4) counts of the symbol: long and short; targets, stops, timeouts, outcomes ever counted."""
        return self._learners[symbol].tallies()

    def save_state(self) -> dict[str, Any]:
        """Everything learned, as plain values and arrays."""
        return {
            "rule": self._name,
            "symbols": {symbol: learner.save_state() for symbol, learner in self._learners.items()},
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take up what was learned. Raises ModelError when another rule learned it."""
        if state.get("rule") != self._name:
            raise ModelError(f"this state was learned by {state.get('rule')!r}, not by {self._name!r}")
        loaded = {}
        for symbol, part in state["symbols"].items():
            loaded[symbol] = Learner(part["interval"], self._cells, self.config)
            loaded[symbol].load_state(part)
        self._learners = loaded

    # ------------------------------------------------------------ parts

    def _learner(self, symbol: str, interval: str) -> Learner:
        learner = self._learners.get(symbol)
        if learner is None:
            learner = self._learners[symbol] = Learner(interval, self._cells, self.config)
        elif learner.interval != interval:
            raise InvalidInput(f"{symbol} was learned on {learner.interval} bars, this row is of {interval}")
        return learner

    def _read(self, row: FeatureRow) -> Reading:
        """What the rule says of a row; cell -1 when it says nothing."""
        if not row.ready or not self.config.enable_feature_engineering:
            return _SILENT
        found = self._columns.get(row.schema_id)
        rules = self.config.rules
        if self._fn is None:
            if found is None:
                lacks = row.names and reference.lacking(row.names)  # such as with the classic features switched off
                found = self._columns[row.schema_id] = -1 if lacks else reference.columns(row.names, rules)
            return reference.read(row.values, found, rules) if isinstance(found, reference.Columns) else _SILENT
        if not isinstance(found, int):
            name = rules.volatility or reference.VOLATILITY
            row[name]  # names the nearest column when it is missing
            found = self._columns[row.schema_id] = row.names.index(name)
        return self._convicted(row, float(row.values[found]))

    def _convicted(self, row: FeatureRow, volatility: float) -> Reading:
        assert self._fn is not None
        noting = _NotingRow.of(row)
        answer = self._fn(noting)
        score = float(answer.sign) if isinstance(answer, Side) else _NAN if answer is None else float(answer)
        if abs(score) > 1.0:
            raise InvalidInput(f"{self._name} gave {score}; a conviction lies in [-1, 1]", conviction=score)
        if noting.nan_read:
            return Reading(cell=-1, sides=0, volatility=volatility, score=_NAN, ratio=_NAN, nan_read=noting.nan_read)
        if math.isnan(score) or score == 0.0 or not volatility > 0.0:
            return Reading(cell=-1, sides=0, volatility=volatility, score=score, ratio=_NAN)
        cell = min(_STRENGTHS - 1, int(abs(score) * _STRENGTHS))
        return Reading(cell=cell, sides=1 if score > 0.0 else 2, volatility=volatility, score=score, ratio=_NAN)

    def _widths(self, reading: Reading) -> tuple[float, float]:
        """Log distances of target and stop."""
        config = self.config
        return barrier_widths(reading.volatility, config.horizon, config.target_multiple, config.stop_multiple)

    def _opinion(
        self, given: AnalysisInput, learner: Learner, reading: Reading, widths: tuple[float, float]
    ) -> AnalysisResult:
        config, row = self.config, given.row
        step = row.known_ns - row.open_ns
        valid_until = row.known_ns + config.valid_bars * step
        odds = None
        reasons: tuple[Reason, ...]
        candle = given.market.candle
        if learner.is_past(row.open_ns if candle is None else candle.open_ns):
            reasons = (Reason(code="row.outdated", numbers={"seconds": (given.now_ns - row.known_ns) / 1e9}),)
        elif reading.cell < 0:
            reasons = (self._silence(row, reading),)
        elif not config.enable_ml_predictions:
            reasons = (self._state(reading), Reason(code="predictions.off"))
        else:
            odds = learner.odds(reading.cell, reading.sides, widths)
            reasons = (self._state(reading), _odds_reason(odds))
        refusal = None if odds is None else self._refusal(given, odds, valid_until)
        side = None if odds is None or refusal is not None else Side.BUY if odds.side > 0 else Side.SELL
        regime = None
        if self._fn is None and config.enable_regime_classification and reading.cell >= 0:
            regime = self._regimes[reading.cell]
        return AnalysisResult(
            symbol=given.symbol,
            now_ns=given.now_ns,
            p_up=None if odds is None else odds.p_target if odds.side > 0 else odds.p_stop,
            p_down=None if odds is None else odds.p_stop if odds.side > 0 else odds.p_target,
            p_timeout=None if odds is None else odds.p_timeout,
            timeout_loss=0.0 if odds is None else odds.timeout_loss,
            side=side,
            confidence=0.0 if odds is None or side is None else odds.p_target,
            confidence_low=None if odds is None or side is None else odds.low,
            horizon=config.horizon,
            horizon_ns=config.horizon * step,
            stop_width=widths[1],
            target_width=widths[0],
            volatility=reading.volatility if reading.volatility > 0.0 else None,
            feature_age_ns=given.feature_age_ns,
            valid_until_ns=valid_until,
            model_id=self._name,
            regime=regime,
            reasons=reasons if refusal is None else (*reasons, refusal),
        )

    def _silence(self, row: FeatureRow, reading: Reading) -> Reason:
        """Why the rule says nothing of a row."""
        if not self.config.enable_feature_engineering:
            return Reason(code="features.off")
        if not row.ready:
            return Reason(code="row.not_ready")
        if self._fn is None and (column := reference.lacking(row.names)):
            return Reason(code="row.lacks_column", numbers={column: _NAN})
        if not reading.volatility > 0.0:
            return Reason(code="volatility.unknown", numbers={"volatility": reading.volatility})
        if self._fn is None:
            return Reason(code="row.has_nan", numbers={"score": reading.score, "ratio": reading.ratio})
        if reading.nan_read:
            return Reason(code="row.has_nan", numbers={reading.nan_read: _NAN})
        return Reason(code="rule.abstained", numbers={"conviction": reading.score})

    def _state(self, reading: Reading) -> Reason:
        if self._fn is not None:
            return Reason(code="rule.convinced", numbers={"conviction": reading.score})
        name = reference.STATES[reading.cell]
        return Reason(code=f"state.{name}", numbers={"score": reading.score, "volatility_ratio": reading.ratio})

    def _refusal(self, given: AnalysisInput, odds: Odds, valid_until: int) -> Reason | None:
        """Why the analyst abstains although it knows the odds; None when it does not."""
        candle = given.market.candle
        if given.now_ns >= valid_until or (candle is not None and candle.open_ns > given.row.open_ns):
            return Reason(code="row.stale", numbers={"seconds": (given.now_ns - given.row.known_ns) / 1e9})
        if odds.outcomes < self.config.rules.min_matured:
            numbers = {"outcomes": float(odds.outcomes), "needed": float(self.config.rules.min_matured)}
            return Reason(code="outcomes.too_few", numbers=numbers)
        if odds.low <= odds.needed:
            return Reason(code="edge.below_break_even", numbers={"low": odds.low, "needed": odds.needed})
        return None


class _NotingRow(FeatureRow):
    """A row that notes when a missing value is read from it by name: such a value decides nothing."""

    nan_read: str

    @classmethod
    def of(cls, row: FeatureRow) -> _NotingRow:
        noting = cls(
            symbol=row.symbol,
            interval=row.interval,
            open_ns=row.open_ns,
            known_ns=row.known_ns,
            schema_id=row.schema_id,
            values=row.values,
            ready=row.ready,
            names=row.names,
        )
        object.__setattr__(noting, "nan_read", "")
        return noting

    def __getitem__(self, name: str) -> float:
        value = super().__getitem__(name)
        if math.isnan(value):
            object.__setattr__(self, "nan_read", name)
        return value


_SILENT = Reading(cell=-1, sides=0, volatility=_NAN, score=_NAN, ratio=_NAN)


def _odds_reason(odds: Odds) -> Reason:
    return Reason(
        code="odds.learned",
        numbers={
            "side": float(odds.side),
            "p_target": odds.p_target,
            "p_stop": odds.p_stop,
            "low": odds.low,
            "needed": odds.needed,
            "outcomes": float(odds.outcomes),
        },
    )


def _learn(learner: Learner, candle: Candle, cell: int, sides: int, widths: tuple[float, float]) -> None:
    learner.learn(
        candle.open_ns,
        candle.close_ns,
        (candle.open, candle.high, candle.low, candle.close),
        candle.volume,
        cell,
        sides,
        widths,
    )
