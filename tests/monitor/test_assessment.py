"""The verdict on a position: its rules, its deadlines, and that looking more often changes nothing."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from attrs import evolve
from hypothesis import given as hypothesis_given
from hypothesis import strategies as st

from ares.account import Position
from ares.instruments import Instrument, Side
from ares.kernels.assessment import aged_doubt, position_risk, tightened_stop
from ares.market import Candle, MarketView
from ares.monitor.assessment import next_deadline
from ares.monitor.config import MonitorConfig
from ares.monitor.position_monitor import PositionMonitor
from ares.protocols import Action, AnalysisResult, Assessment, AssessmentInput, OpenTrade, Target

HOUR = 3_600_000_000_000
SECOND = 1_000_000_000
T0 = 1_700_000_000_000_000_000
ETH = Instrument(
    symbol="ETHUSDT",
    base_asset="ETH",
    quote_asset="USDT",
    tick_size=Decimal("0.01"),
    lot_step=Decimal("0.001"),
    min_quantity=Decimal("0.001"),
    max_quantity=Decimal(10000),
    max_market_quantity=Decimal(2000),
    min_notional=Decimal(20),
)


def opinion(side: Side | None = Side.BUY, p_up: float = 0.5, p_down: float = 0.3, **changes: object) -> AnalysisResult:
    fields: dict[str, object] = {
        "symbol": "ETHUSDT",
        "now_ns": T0,
        "p_up": p_up,
        "p_down": p_down,
        "p_timeout": 1.0 - p_up - p_down,
        "side": side,
        "confidence": 0.5,
        "horizon": 24,
        "horizon_ns": 24 * HOUR,
        "stop_width": 0.03,
        "target_width": 0.03,
        "volatility": 0.006,
        "valid_until_ns": T0 + HOUR,
        "model_id": "test",
    }
    return AnalysisResult(**{**fields, **changes})  # type: ignore[arg-type]


def question(mark: float = 3000.0, *, side: Side = Side.BUY, now_ns: int = T0, **changes: object) -> AssessmentInput:
    """A position of 1 ETH entered at 3000 with its stop 3 % away and one target 3 % away."""
    sign = side.sign
    liquidation = changes.pop("liquidation", Decimal(3000 - sign * 700))
    candle_ns = changes.pop("candle_ns", T0)
    fields: dict[str, object] = {
        "trade_id": "t",
        "symbol": "ETHUSDT",
        "side": side,
        "quantity": Decimal(1),
        "initial_quantity": Decimal(1),
        "entry_price": Decimal(3000),
        "opened_ns": T0,
        "stop": Decimal(3000 - sign * 90),
        "initial_stop": Decimal(3000 - sign * 90),
        "targets": (Target(price=Decimal(3000 + sign * 90), fraction=1.0),),
        "exit_by_ns": T0 + 24 * HOUR,
    }
    analysis = changes.pop("analysis", None)
    trade = OpenTrade(**{**fields, **changes})  # type: ignore[arg-type]
    position = Position(
        symbol="ETHUSDT",
        quantity=trade.quantity * sign,
        entry_price=trade.entry_price,
        mark_price=Decimal(repr(mark)),
        leverage=4,
        margin=Decimal(750),
        maintenance_margin=Decimal(12),
        unrealised=Decimal(0),
        realised=Decimal(0),
        liquidation_price=liquidation,  # type: ignore[arg-type]
    )
    bar = Candle(
        symbol="ETHUSDT",
        interval="1h",
        open_ns=int(candle_ns) - HOUR,  # type: ignore[call-overload]
        close_ns=int(candle_ns),  # type: ignore[call-overload]
        open=mark,
        high=mark,
        low=mark,
        close=mark,
        volume=1.0,
    )
    return AssessmentInput(
        now_ns=now_ns,
        trade=trade,
        position=position,
        instrument=ETH,
        market=MarketView(symbol="ETHUSDT", now_ns=now_ns, candle=bar, mark_price=mark),
        analysis=analysis,  # type: ignore[arg-type]
    )


def judge(given: AssessmentInput, **settings: object) -> Assessment:
    return PositionMonitor(MonitorConfig(**settings)).assess_position(given)  # type: ignore[arg-type]


def code(verdict: Assessment) -> str:
    return verdict.reasons[0].code


SIDES = pytest.mark.parametrize("side", [Side.BUY, Side.SELL])


# ---------------------------------------------------------------- rules


@SIDES
def test_a_position_that_does_nothing_is_held(side: Side) -> None:
    verdict = judge(question(side=side))
    assert (verdict.action, code(verdict), verdict.risk) == (Action.HOLD, "risk.low", 0.0)


@SIDES
def test_the_time_barrier_closes(side: Side) -> None:
    assert judge(question(side=side, now_ns=T0 + 24 * HOUR - 1)).action is Action.HOLD
    verdict = judge(question(side=side, now_ns=T0 + 24 * HOUR))
    assert (verdict.action, verdict.quantity, code(verdict)) == (Action.CLOSE, Decimal(1), "time.up")


@SIDES
def test_a_crossed_stop_is_left_to_the_venue_when_it_rests_there(side: Side) -> None:
    beyond = 3000 - side.sign * 95.0
    assert judge(question(beyond, side=side)).action is Action.HOLD
    verdict = judge(question(beyond, side=side, stop=None))
    assert (verdict.action, code(verdict)) == (Action.CLOSE, "stop.crossed_unprotected")
    far = judge(question(3000 - side.sign * 140.0, side=side))
    assert (far.action, code(far)) == (Action.CLOSE, "stop.overrun")


@SIDES
def test_liquidation_coming_near_closes(side: Side) -> None:
    near = question(3000 - side.sign * 85.0, side=side, liquidation=Decimal(3000 - side.sign * 100))
    verdict = judge(near)
    assert (verdict.action, code(verdict)) == (Action.CLOSE, "risk.high")
    assert verdict.risk == pytest.approx(0.85)


@SIDES
def test_an_opposite_opinion_closes_only_when_it_is_clear(side: Side) -> None:
    def after(share: float) -> Action:
        chances = {"p_up": 0.8 * share, "p_down": 0.8 * (1.0 - share)}
        if side is Side.BUY:
            chances = {"p_up": chances["p_down"], "p_down": chances["p_up"]}
        return judge(question(side=side, analysis=opinion(side.opposite, **chances))).action  # type: ignore[arg-type]

    assert after(0.56) is Action.CLOSE  # doubt (0.56 - 0.5) / 0.5 = 0.12
    assert after(0.54) is Action.HOLD


def test_an_opinion_is_judged_against_a_driftless_walk_with_the_same_widths() -> None:
    """Target twice as far as the stop: a short's stop above is hit first two times of three without any drift."""
    wide = opinion(Side.SELL, p_up=0.5, p_down=0.25, target_width=0.06, stop_width=0.03)
    assert judge(question(analysis=wide)).action is Action.HOLD
    knows = opinion(Side.SELL, p_up=0.4, p_down=0.35, target_width=0.06, stop_width=0.03)
    assert judge(question(analysis=knows)).action is Action.CLOSE


@SIDES
def test_a_target_takes_its_share(side: Side) -> None:
    ladder = (
        Target(price=Decimal(3000 + side.sign * 45), fraction=0.4),
        Target(price=Decimal(3000 + side.sign * 90), fraction=0.6),
    )
    first = judge(question(3000 + side.sign * 50.0, side=side, targets=ladder))
    assert (first.action, first.quantity, first.targets_hit) == (Action.TAKE_PROFIT, Decimal("0.4"), 1)
    both = judge(question(3000 + side.sign * 95.0, side=side, targets=ladder))
    assert (both.action, both.quantity, both.targets_hit) == (Action.TAKE_PROFIT, Decimal(1), 2)
    last = judge(
        question(
            3000 + side.sign * 95.0, side=side, targets=ladder[1:], targets_taken=1, quantity=Decimal("0.601")
        )
    )
    assert last.quantity == Decimal("0.601")  # the lot that rounding left over goes with it


def test_a_target_may_leave_a_part_running() -> None:
    runner = (Target(price=Decimal(3090), fraction=0.5),)
    assert judge(question(3095.0, targets=runner)).quantity == Decimal("0.5")


@SIDES
def test_medium_risk_scales_down_once(side: Side) -> None:
    against = {"p_up": 0.16, "p_down": 0.64} if side is Side.BUY else {"p_up": 0.64, "p_down": 0.16}
    doubtful = question(3000 - side.sign * 80.0, side=side, analysis=opinion(None, **against))  # type: ignore[arg-type]
    verdict = judge(doubtful)
    assert verdict.risk == pytest.approx(0.5 * 80 / 90 + 0.35 * 0.6)
    assert (verdict.action, verdict.quantity) == (Action.SCALE_DOWN, Decimal("0.5"))
    smaller = question(
        3000 - side.sign * 80.0, side=side, quantity=Decimal("0.5"), analysis=opinion(None, **against)  # type: ignore[arg-type]
    )
    assert judge(smaller).action is Action.HOLD


@SIDES
def test_the_stop_moves_to_break_even_after_the_first_target(side: Side) -> None:
    taken = question(3000 + side.sign * 50.0, side=side, targets=(), targets_taken=1, quantity=Decimal("0.6"))
    verdict = judge(taken)
    assert verdict.action is Action.MOVE_STOP
    assert verdict.new_stop == Decimal(3000 + side.sign * 3)
    assert judge(taken, break_even_after_target=False).action is Action.HOLD


@SIDES
def test_the_stop_trails_the_best_price_by_volatility(side: Side) -> None:
    best = 3000 + side.sign * 200.0
    trailing = question(best - side.sign * 10, side=side, targets=(), best_price=best, analysis=opinion(side))
    verdict = judge(trailing)
    assert verdict.action is Action.MOVE_STOP
    expected = best * math.exp(-side.sign * 0.006 * math.sqrt(24))
    assert verdict.new_stop is not None
    assert float(verdict.new_stop) == pytest.approx(expected, abs=0.01)
    assert judge(evolve(trailing, trade=evolve(trailing.trade, stop=verdict.new_stop))).action is Action.HOLD


def test_a_flat_position_is_held_without_looking() -> None:
    given = question()
    flat = evolve(given, position=evolve(given.position, quantity=Decimal(0)))
    assert code(judge(flat)) == "position.flat"


# ---------------------------------------------------------------- risk


def test_risk_is_its_stated_combination() -> None:
    config = MonitorConfig()
    weights = (config.loss_weight, config.doubt_weight, config.time_weight)
    risk, loss, near = position_risk(1, 3000.0, 2955.0, 2910.0, 2700.0, True, 0.4, 0.25, *weights)
    assert (loss, near) == (0.5, pytest.approx(0.15))
    assert risk == pytest.approx(0.5 * 0.5 + 0.35 * 0.4 + 0.15 * 0.25)
    assert position_risk(1, 3000.0, 2955.0, 2910.0, 2700.0, False, 0.0, 0.0, *weights)[0] == 0.5
    assert position_risk(1, 3000.0, 2955.0, math.nan, math.nan, False, math.nan, math.nan, *weights)[0] == 0.0


@hypothesis_given(
    st.sampled_from([1, -1]),
    st.lists(st.floats(2000, 4000), min_size=2, max_size=2),
    st.floats(1, 500),
    st.floats(1, 900),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_risk_lies_in_the_unit_interval_and_grows_as_the_price_turns_against_us(
    sign: int, marks: list[float], stop: float, liquidation: float, doubt: float, used: float
) -> None:
    worse, better = sorted(marks) if sign > 0 else sorted(marks, reverse=True)
    first = 3000.0 - sign * stop
    far = 3000.0 - sign * liquidation
    risks = [position_risk(sign, 3000.0, m, first, far, True, doubt, used, 0.5, 0.35, 0.15)[0] for m in (worse, better)]
    assert 0.0 <= risks[1] <= risks[0] <= 1.0


def test_an_opinion_ages_once_a_bar_after_its_end() -> None:
    def at(late: float) -> float:
        return aged_doubt(0.75, 0.5, round(late * HOUR), HOUR, 4.0)[0]

    assert [at(x) for x in (-1, 0)] == [0.5, 0.5]
    assert at(1e-9) == at(0.5) == at(1.0) == pytest.approx(0.5 * 0.5**0.25)
    assert at(3.5) == pytest.approx(0.25)


@hypothesis_given(
    side=st.sampled_from([Side.BUY, Side.SELL]),
    mark=st.floats(2500, 3500),
    best=st.floats(2500, 3500),
    stop=st.floats(2600, 3400),
    trail=st.floats(0.001, 0.1),
    taken=st.booleans(),
)
def test_a_stop_only_tightens_and_never_crosses_the_price(
    side: Side, mark: float, best: float, stop: float, trail: float, taken: bool
) -> None:
    sign = side.sign
    new = tightened_stop(
        sign, 3000.0, mark, best, stop, 3000.0 - sign * 90, trail, 1.0, 3000.0 + sign if taken else math.nan, 0.01, 0.1
    )
    if not math.isnan(new):
        assert sign * (new - stop) >= 9.0 - 1e-9
        assert sign * (mark - new) > 0.01


# ---------------------------------------------------------------- looking often


@st.composite
def stories(draw: st.DrawFn) -> tuple[Side, list[float], list[float]]:
    """A side, the mark at each hour's close, and the share an opinion speaks against the position there."""
    side = draw(st.sampled_from([Side.BUY, Side.SELL]))
    steps = draw(st.lists(st.floats(-0.02, 0.02), min_size=4, max_size=12))
    marks = [3000.0]
    for step in steps:
        marks.append(marks[-1] * math.exp(step))
    return side, marks, draw(st.lists(st.floats(0.2, 0.8), min_size=len(marks), max_size=len(marks)))


def play(story: tuple[Side, list[float], list[float]], looks_an_hour: int, stale: bool) -> list[tuple[int, Assessment]]:
    """What happens to a trade along a story when it is looked at so often; deadlines are always kept."""
    side, marks, shares = story
    monitor = PositionMonitor(MonitorConfig(opinion_half_life=1.0))
    ladder = tuple(Target(price=ETH.price(3000 * (1 + side.sign * d)), fraction=0.5) for d in (0.02, 0.04))
    trade = question(side=side, targets=ladder).trade
    acted: list[tuple[int, Assessment]] = []
    for hour, mark in enumerate(marks):
        start = T0 + hour * HOUR
        opened = T0 if stale else start
        against = shares[hour] if not stale else shares[0]
        chances = (1 - against, against) if side is Side.BUY else (against, 1 - against)
        analysis = opinion(None, 0.9 * chances[0], 0.9 * chances[1], now_ns=opened, valid_until_ns=opened + HOUR)
        best = trade.best_price
        trade = evolve(trade, best_price=mark if best is None or (mark - best) * side.sign > 0 else best)
        moments = {start + k * HOUR // looks_an_hour for k in range(looks_an_hour)}
        while moments:
            now = min(moments)
            moments.discard(now)
            given = question(mark, side=side, now_ns=now, candle_ns=start, analysis=analysis)
            given = evolve(given, trade=trade, position=evolve(given.position, quantity=trade.quantity * side.sign))
            verdict = monitor.assess_position(given)
            if (deadline := monitor.next_look(given)) is not None and now < deadline < start + HOUR:
                moments.add(deadline)
            if verdict.action is Action.HOLD:
                continue
            acted.append((now, verdict))
            if verdict.new_stop is not None:
                trade = evolve(trade, stop=verdict.new_stop)
            if verdict.quantity is not None:
                left = trade.quantity - verdict.quantity
                if left <= 0:
                    return acted
                hit = verdict.targets_hit
                trade = evolve(
                    trade, quantity=left, targets=trade.targets[hit:], targets_taken=trade.targets_taken + hit
                )
            moments.add(now)  # something changed: look again at once
    return acted


@hypothesis_given(story=stories(), stale=st.booleans())
def test_dense_and_sparse_looks_agree(story: tuple[Side, list[float], list[float]], stale: bool) -> None:
    assert play(story, 1, stale) == play(story, 36, stale)


@hypothesis_given(now=st.integers(0, 25 * 3600 * SECOND), life=st.integers(8, 24 * 3600 * SECOND))
def test_without_candles_time_passes_in_eighths_and_each_is_a_deadline(now: int, life: int) -> None:
    monitor = PositionMonitor(MonitorConfig(low_risk_threshold=0.01))
    given = question(exit_by_ns=T0 + life, now_ns=T0 + now)
    given = evolve(given, market=evolve(given.market, candle=None))
    deadline = monitor.next_look(given)
    if now >= life:
        assert deadline is None
        return
    assert deadline is not None
    used = monitor.assess_position(given).reasons[0].numbers["time_used"]
    assert used <= now / life < used + 0.125

    def at(ns: int) -> Assessment:
        return evolve(monitor.assess_position(evolve(given, now_ns=ns)), now_ns=0)

    assert T0 + now < deadline <= T0 + life
    assert at(deadline - 1) == at(T0 + now)
    assert at(deadline) != at(T0 + now)


@hypothesis_given(mark=st.floats(2800, 3200), later=st.integers(0, 30 * 3600))
def test_before_the_next_deadline_an_unchanged_input_gets_the_same_verdict(mark: float, later: int) -> None:
    monitor = PositionMonitor()
    given = question(mark, analysis=opinion(None, 0.2, 0.6))
    deadline = monitor.next_look(given)
    assert deadline == T0 + HOUR + 1
    assert next_deadline(evolve(given, now_ns=T0 + 24 * HOUR, analysis=None)) is None
    now = T0 + later * SECOND
    follow = evolve(given, now_ns=now)
    if now < deadline:
        assert evolve(monitor.assess_position(follow), now_ns=T0) == monitor.assess_position(given)
