"""The verdict on an open position, as a pure function of what is known about it.

Rules, first match wins:

1. CLOSE: the time barrier has passed; no stop rests and the price is beyond it; the price has run far beyond a stop
   that rests; risk is high; the opinion is now clearly the opposite one.
2. TAKE_PROFIT: the mark has reached one or more targets.
3. SCALE_DOWN, once in a trade: risk is medium.
4. MOVE_STOP: to break-even after the first target, then behind the best price; it only tightens.
5. HOLD.

The verdict depends on the time only through deadlines (`next_deadline`), so looking more often changes nothing.
"""

from __future__ import annotations

from decimal import Decimal
from math import isfinite, log, nan, sqrt

from attrs import frozen

from ares.instruments import Side
from ares.kernels.assessment import aged_doubt, driftless_share, position_risk, tightened_stop
from ares.monitor.config import MonitorConfig
from ares.protocols import Action, AnalysisResult, Assessment, AssessmentInput, OpenTrade, Reason

__all__ = ["judge", "next_deadline"]

_EIGHTHS = 8  # steps in which the time of a trade passes when no candle tells it


@frozen(kw_only=True)
class _Standing:
    """How a position stands at its mark."""

    mark: float
    risk: float
    loss: float  # of the way from entry to the first stop, [0, 1]
    liquidation: float  # of the way from entry to liquidation, [0, 1]
    doubt: float  # what the opinion says against it, or how stale it is, [0, 1]
    opposition: float  # what the opinion alone says against it, [0, 1]
    time_used: float  # of the time until the time barrier, [0, 1]

    @property
    def numbers(self) -> dict[str, float]:
        return {
            "risk": self.risk,
            "loss": self.loss,
            "liquidation": self.liquidation,
            "doubt": self.doubt,
            "time_used": self.time_used,
        }


def judge(given: AssessmentInput, config: MonitorConfig) -> Assessment:
    """What to do with the position now. Raises InvalidInput when the market view holds no price."""
    if given.position.quantity == 0:
        return _verdict(given, Action.HOLD, 0.0, "position.flat")
    standing = _standing(given, config)
    return (
        _close(given, standing, config)
        or _take_profit(given, standing)
        or _scale_down(given, standing, config)
        or _move_stop(given, standing, config)
        or _verdict(given, Action.HOLD, standing.risk, f"risk.{_band(standing.risk, config)}", standing.numbers)
    )


def next_deadline(given: AssessmentInput) -> int | None:
    """The next moment (ns UTC) at which an unchanged input could get another verdict; None when there is none."""
    moments = []
    exit_by = given.trade.exit_by_ns
    if exit_by is not None and exit_by > given.now_ns:
        moments.append(exit_by)
    if exit_by is not None and given.market.candle is None and given.trade.opened_ns <= given.now_ns < exit_by:
        opened = given.trade.opened_ns
        passed = (given.now_ns - opened) * _EIGHTHS // (exit_by - opened)
        moments.append(opened - (-(passed + 1) * (exit_by - opened) // _EIGHTHS))
    if given.analysis is not None:
        end, bar = given.analysis.valid_until_ns, _bar_ns(given.analysis)
        ended_bars = max(0, -((end - given.now_ns) // bar))  # bars begun since the opinion ended
        moments.append(end + ended_bars * bar + 1)
    return min(moments, default=None)


def _standing(given: AssessmentInput, config: MonitorConfig) -> _Standing:
    trade, mark = given.trade, given.market.price
    liquidation = given.position.liquidation_price
    opposition, doubt = _doubt(given, config)
    used = _time_used(given)
    risk, loss, near = position_risk(
        trade.side.sign,
        float(trade.entry_price),
        mark,
        _price(trade.initial_stop),
        _price(liquidation),
        trade.stop is not None,
        doubt,
        used,
        config.loss_weight,
        config.doubt_weight,
        config.time_weight,
    )
    return _Standing(
        mark=mark, risk=risk, loss=loss, liquidation=near, doubt=doubt, opposition=opposition, time_used=used
    )


def _doubt(given: AssessmentInput, config: MonitorConfig) -> tuple[float, float]:
    """What the opinion says against the position, and the same or its staleness, whichever is larger."""
    analysis = given.analysis
    if analysis is None:
        return 0.0, 0.0
    share, base = _share_against(analysis, given.trade.side)
    late = given.now_ns - analysis.valid_until_ns
    opposition, left = aged_doubt(share, base, late, _bar_ns(analysis), config.opinion_half_life)
    return opposition, max(opposition, 1.0 - left)


def _share_against(analysis: AnalysisResult, side: Side) -> tuple[float, float]:
    """Chance that the barrier against `side` is touched first, of all touches, and the driftless one; NaN: no opinion.

    An abstaining analysis does not say which side its widths belong to, so it speaks only when they are equal.
    """
    target, stop = analysis.target_width, analysis.stop_width
    p_up, p_down = analysis.p_up, analysis.p_down
    if p_up is None or p_down is None or not p_up + p_down > 0.0 or not (target > 0.0 and stop > 0.0):
        return nan, 0.5
    if analysis.side is None and target != stop:
        return nan, 0.5
    against = p_down if side is Side.BUY else p_up
    width, other = (stop, target) if analysis.side is side else (target, stop)
    return against / (p_up + p_down), driftless_share(width, other)


def _time_used(given: AssessmentInput) -> float:
    """Share of the trade's time that had passed at the last closed candle; without candles it steps by eighths."""
    trade, candle = given.trade, given.market.candle
    if trade.exit_by_ns is None or trade.exit_by_ns <= trade.opened_ns:
        return 0.0
    life = trade.exit_by_ns - trade.opened_ns
    if candle is None:
        return min(_EIGHTHS, max(0, (given.now_ns - trade.opened_ns) * _EIGHTHS // life)) / _EIGHTHS
    return min(1.0, max(0.0, (candle.close_ns - trade.opened_ns) / life))


def _close(given: AssessmentInput, standing: _Standing, config: MonitorConfig) -> Assessment | None:
    trade, sign, mark = given.trade, given.trade.side.sign, standing.mark
    code, numbers = "", standing.numbers
    if trade.exit_by_ns is not None and given.now_ns >= trade.exit_by_ns:
        code, numbers = "time.up", {**numbers, "seconds_over": (given.now_ns - trade.exit_by_ns) / 1e9}
    elif trade.stop is None and (mark - _price(trade.initial_stop)) * sign <= 0.0:
        code, numbers = "stop.crossed_unprotected", {**numbers, "mark": mark, "stop": _price(trade.initial_stop)}
    elif trade.stop is not None and (_price(trade.stop) - mark) * sign > config.stop_overrun * _unit_of_risk(trade):
        code, numbers = "stop.overrun", {**numbers, "mark": mark, "stop": float(trade.stop)}
    elif standing.risk >= config.high_risk_threshold:
        code, numbers = "risk.high", {**numbers, "limit": config.high_risk_threshold}
    elif _opposite(given) and standing.opposition >= config.opposite_doubt:
        code, numbers = "analysis.opposite", {**numbers, "opposition": standing.opposition}
    if not code:
        return None
    return _verdict(given, Action.CLOSE, standing.risk, code, numbers, quantity=_held(given))


def _take_profit(given: AssessmentInput, standing: _Standing) -> Assessment | None:
    trade, instrument, held = given.trade, given.instrument, _held(given)
    sign = trade.side.sign
    reached = [t for t in trade.targets if (standing.mark - float(t.price)) * sign >= 0.0]
    if not reached:
        return None
    share = sum(t.fraction for t in reached)
    quantity = instrument.quantity(trade.initial_quantity * Decimal(repr(share)), market=True)
    dust = instrument.min_quantity + instrument.lot_step * (trade.targets_taken + len(reached))
    if quantity == 0 or held - quantity < dust:  # what rounding has left over goes with it
        quantity = held
    numbers = {"mark": standing.mark, "target": float(reached[-1].price), "share": share}
    return _verdict(
        given,
        Action.TAKE_PROFIT,
        standing.risk,
        "target.reached",
        numbers,
        quantity=min(quantity, held),
        targets_hit=len(reached),
    )


def _scale_down(given: AssessmentInput, standing: _Standing, config: MonitorConfig) -> Assessment | None:
    """Down to a stated share of the initial quantity: what is already that small is not cut again."""
    if standing.risk < config.medium_risk_threshold:
        return None
    held, instrument = _held(given), given.instrument
    keep = given.trade.initial_quantity * Decimal(repr(config.scale_down_to))
    quantity = instrument.quantity(held - keep, market=True)
    if quantity == 0 or held - quantity < instrument.min_quantity:
        return None
    numbers = {**standing.numbers, "limit": config.medium_risk_threshold}
    return _verdict(given, Action.SCALE_DOWN, standing.risk, "risk.medium", numbers, quantity=quantity)


def _move_stop(given: AssessmentInput, standing: _Standing, config: MonitorConfig) -> Assessment | None:
    trade, instrument, sign = given.trade, given.instrument, given.trade.side.sign
    if trade.stop is None:
        return None
    entry = float(trade.entry_price)
    first = trade.initial_stop if trade.initial_stop is not None else trade.stop
    taken = config.break_even_after_target and trade.targets_taken > 0
    wanted = tightened_stop(
        sign,
        entry,
        standing.mark,
        trade.best_price if trade.best_price is not None else standing.mark,
        float(trade.stop),
        float(first),
        _trail(given, config, entry, float(first)),
        config.trail_after,
        float(trade.entry_price * (1 + sign * 2 * instrument.taker_fee)) if taken else nan,
        float(instrument.tick_size),
        config.min_stop_move,
    )
    if not isfinite(wanted):
        return None
    new_stop = instrument.stop_price(wanted, trade.side.opposite)
    if (new_stop - trade.stop) * sign < instrument.tick_size:
        return None
    numbers = {"stop": float(trade.stop), "new_stop": float(new_stop), "mark": standing.mark}
    return _verdict(given, Action.MOVE_STOP, standing.risk, "stop.tightened", numbers, new_stop=new_stop)


def _trail(given: AssessmentInput, config: MonitorConfig, entry: float, first_stop: float) -> float:
    """Log distance of a trailing stop: from volatility over the horizon, else the initial risk."""
    analysis = given.analysis
    if analysis is not None and analysis.volatility is not None and analysis.volatility > 0.0:
        return config.trail_sigmas * analysis.volatility * sqrt(analysis.horizon)
    return abs(log(entry / first_stop))


def _opposite(given: AssessmentInput) -> bool:
    return given.analysis is not None and given.analysis.side is given.trade.side.opposite


def _unit_of_risk(trade: OpenTrade) -> float:
    """Distance from entry to the first stop, quote per base; to the present one when the first is unknown."""
    first = trade.initial_stop if trade.initial_stop is not None else trade.stop
    return abs(float(trade.entry_price) - _price(first))


def _held(given: AssessmentInput) -> Decimal:
    """What the venue says is held, base: it is right about quantity."""
    return abs(given.position.quantity)


def _bar_ns(analysis: AnalysisResult) -> int:
    return max(1, analysis.horizon_ns // analysis.horizon)


def _price(value: Decimal | None) -> float:
    return nan if value is None else float(value)


def _band(risk: float, config: MonitorConfig) -> str:
    return "low" if risk < config.low_risk_threshold else "watched"


def _verdict(
    given: AssessmentInput,
    action: Action,
    risk: float,
    code: str,
    numbers: dict[str, float] | None = None,
    *,
    quantity: Decimal | None = None,
    new_stop: Decimal | None = None,
    targets_hit: int = 0,
) -> Assessment:
    return Assessment(
        trade_id=given.trade.trade_id,
        now_ns=given.now_ns,
        action=action,
        quantity=quantity,
        new_stop=new_stop,
        targets_hit=targets_hit,
        risk=risk,
        reasons=(Reason(code=code, numbers=numbers or {}),),
    )
