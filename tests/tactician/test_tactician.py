"""Plans against the definitions of quant finance, the venue's filters and the account."""

from __future__ import annotations

import asyncio
import math
from decimal import Decimal

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given as hypothesis_given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from ares.account import Account
from ares.analyst.dual_model import needed_confidence
from ares.errors import InvalidInput
from ares.instruments import Instrument, MarginTier, Side
from ares.kernels.sizing import drawdown_factor, growth_optimal, lever, liquidation_distance
from ares.market import Candle, FundingRate, MarketView, Ticker
from ares.protocols import AnalysisResult, Limits, TacticsInput, TacticsResult
from ares.tactician.config import TacticianConfig
from ares.tactician.payoff import round_trip_cost, value
from ares.tactician.tactician import Tactician

HOUR = 3_600_000_000_000
T0 = 1_700_000_000_000_000_000
TIERS = tuple(
    MarginTier(floor=Decimal(low), cap=Decimal(cap), rate=Decimal(rate), cum=Decimal(cum), max_leverage=leverage)
    for low, cap, rate, cum, leverage in (
        ("0", "50000", "0.004", "0", 125),
        ("50000", "600000", "0.005", "50", 100),
        ("600000", "3000000", "0.0065", "950", 75),
        ("3000000", "12000000", "0.01", "11450", 50),
        ("12000000", "70000000", "0.02", "131450", 25),
    )
)
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
    tiers=TIERS,
)


def analysis(side: Side | None = Side.BUY, **changes: object) -> AnalysisResult:
    fields: dict[str, object] = {
        "symbol": "ETHUSDT",
        "now_ns": T0,
        "p_up": 0.6,
        "p_down": 0.3,
        "p_timeout": 0.1,
        "side": side,
        "confidence": 0.6,
        "horizon": 24,
        "horizon_ns": 24 * HOUR,
        "stop_width": 0.03,
        "target_width": 0.03,
        "volatility": 0.006,
        "valid_until_ns": T0 + HOUR,
        "model_id": "test",
    }
    return AnalysisResult(**{**fields, **changes})  # type: ignore[arg-type]


def account(wallet: str = "10000", start: str = "10000", margin: str = "0") -> Account:
    zero = Decimal(0)
    return Account(
        asset="USDT",
        wallet=Decimal(wallet),
        start=Decimal(start),
        realised=zero,
        fees=zero,
        funding=zero,
        unrealised=zero,
        margin=Decimal(margin),
    )


def market(price: float = 3000.0, volume: float = 1e5, **parts: object) -> MarketView:
    bar = Candle(
        symbol="ETHUSDT",
        interval="1h",
        open_ns=T0 - HOUR,
        close_ns=T0,
        open=price,
        high=price,
        low=price,
        close=price,
        volume=volume,
    )
    return MarketView(symbol="ETHUSDT", now_ns=T0, candle=bar, mark_price=price, **parts)  # type: ignore[arg-type]


def question(**changes: object) -> TacticsInput:
    parts: dict[str, object] = {
        "analysis": analysis(),
        "instrument": ETH,
        "account": account(),
        "market": market(),
    }
    return TacticsInput(**{**parts, **changes})  # type: ignore[arg-type]


def codes(result: TacticsResult) -> list[str]:
    return [reason.code for reason in result.reasons]


# ---------------------------------------------------------------- the edge


def test_kelly_of_an_even_bet_without_costs_is_two_p_less_one() -> None:
    assert growth_optimal(0.6, 0.0, 1.0, 1.0, 0.0, 0.0) == pytest.approx(0.2, abs=1e-12)


@hypothesis_given(
    p=st.floats(0.05, 0.9),
    timeout=st.floats(0.0, 0.5),
    gain=st.floats(0.005, 0.3),
    loss=st.floats(0.005, 0.3),
    cost=st.floats(0.0, 0.004),
    late=st.one_of(st.just(0.0), st.floats(0.0, 1.0)),
)
def test_kelly_maximises_expected_log_growth(
    p: float, timeout: float, gain: float, loss: float, cost: float, late: float
) -> None:
    p_timeout = timeout * (1.0 - p)
    returns = np.array([gain - cost, -(loss + cost), -(late * loss + cost)])
    chances = np.array([p, 1.0 - p - p_timeout, p_timeout])
    best = growth_optimal(p, p_timeout, gain, loss, cost, late * loss)

    def growth(f: float) -> float:
        return float(chances @ np.log1p(f * returns))

    assert best < 1.0 / (loss + cost)
    for step in (1e-3, -1e-3):
        near = best * (1.0 + step) + step * 1e-3
        if -1.0 / (gain - cost) < near < 1.0 / (loss + cost):
            assert growth(best) >= growth(near) - 1e-12
    assert (best > 0.0) == (float(chances @ returns) > 0.0) or abs(best) < 1e-9


@pytest.mark.parametrize(("cost", "late"), [(0.0015, 0.0044), (0.0, 0.0044), (0.0015, 0.0), (-0.0002, 0.0044)])
@pytest.mark.parametrize(("p", "p_timeout"), [(0.45, 0.45), (0.6, 0.3), (0.55, 0.4), (0.75, 0.0)])
def test_kelly_is_where_a_peer_finds_the_most_growth(p: float, p_timeout: float, cost: float, late: float) -> None:
    """Target 2 %, stop 4 %, and a timeout that loses."""
    returns = np.array([0.02 - cost, -0.04 - cost, -late - cost])
    chances = np.array([p, 1.0 - p - p_timeout, p_timeout])
    bracket = (-0.999 / returns[0], -0.999 / returns[1])
    found = minimize_scalar(
        lambda f: -float(chances @ np.log1p(f * returns)), bounds=bracket, method="bounded", options={"xatol": 1e-10}
    )
    assert growth_optimal(p, p_timeout, 0.02, 0.04, cost, late) == pytest.approx(found.x, abs=1e-4)


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
def test_break_even_is_the_chance_at_which_the_expected_value_is_nil(side: Side) -> None:
    asked = question(analysis=analysis(side))
    bet = value(asked, side, TacticianConfig())
    gain = math.expm1(0.03) if side is Side.BUY else -math.expm1(-0.03)
    loss = -math.expm1(-0.03) if side is Side.BUY else math.expm1(0.03)
    assert bet.gain == pytest.approx(gain)
    assert bet.loss == pytest.approx(loss)
    assert bet.expected == pytest.approx(0.6 * gain - 0.3 * loss - bet.cost)
    at_par = evolve(asked, analysis=analysis(side, confidence_low=bet.break_even))
    assert value(at_par, side, TacticianConfig()).expected == pytest.approx(0.0, abs=1e-12)
    two_outcomes = evolve(asked, analysis=analysis(side, p_timeout=0.0))
    assert value(two_outcomes, side, TacticianConfig()).break_even == pytest.approx((loss + bet.cost) / (gain + loss))


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
@pytest.mark.parametrize(("p", "p_timeout"), [(0.45, 0.45), (0.6, 0.1), (0.3, 0.0), (0.2, 0.8)])
@pytest.mark.parametrize(("target", "stop", "late"), [(0.02, 0.04, 0.22), (0.01, 0.03, 0.5), (0.03, 0.03, 0.0)])
def test_the_tactician_needs_the_chance_that_the_analyst_needs(
    side: Side, p: float, p_timeout: float, target: float, stop: float, late: float
) -> None:
    config = TacticianConfig(ladder=((1.0, 1.0),))
    asked = question(
        analysis=analysis(
            side,
            p_up=None,
            p_down=None,
            p_timeout=p_timeout,
            confidence=p,
            target_width=target,
            stop_width=stop,
            timeout_loss=late * target,
        )
    )
    bet = value(asked, side, config)
    widths = np.array([target]), np.array([stop])
    needed = needed_confidence(np.array([side.sign]), *widths, np.array([p_timeout]), bet.cost, np.array([late]))[0]
    assert bet.break_even == needed
    outcomes = p * bet.gain - (1.0 - p - p_timeout) * bet.loss - p_timeout * late * target - bet.cost
    assert bet.expected == pytest.approx(outcomes, abs=1e-15)
    assert bet.expected == pytest.approx((p - needed) * (bet.gain + bet.loss), abs=1e-15)
    assert (bet.kelly > 0.0) == (p > needed)


def test_costs_are_two_taker_orders_the_spread_and_funding_to_be_paid() -> None:
    config = TacticianConfig(slippage=0.0003)
    rate = FundingRate(symbol="ETHUSDT", ts_ns=T0, rate=Decimal("0.0004"), mark_price=3000.0)
    quotes = Ticker(
        symbol="ETHUSDT", ts_ns=T0, bid=2999.0, ask=3001.0, bid_quantity=1.0, ask_quantity=1.0, last=3000.0
    )
    asked = question(market=market(ticker=quotes, funding=rate))
    base = 2 * (0.0005 + 0.0003) + 2.0 / 3000.0
    assert round_trip_cost(asked, Side.BUY, config) == pytest.approx(base + 3 * 0.0004)
    assert round_trip_cost(asked, Side.SELL, config) == pytest.approx(base)  # what it would receive is not counted on
    assert round_trip_cost(question(), Side.SELL, config) == pytest.approx(0.0016 + 0.0001 + 3 * 0.0001)


def test_the_lower_bound_decides_when_there_is_one() -> None:
    tactician = Tactician()
    assert tactician.decide(question()).plan is not None
    doubtful = question(analysis=analysis(confidence_low=0.4))
    assert codes(tactician.decide(doubtful)) == ["payoff.below_break_even"]


def test_a_target_nearer_than_its_costs_is_refused() -> None:
    asked = question(analysis=analysis(confidence=0.9, p_timeout=0.0, target_width=0.001))
    assert codes(Tactician().decide(asked)) == ["payoff.eaten_by_costs"]


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"analysis": analysis(None)}, "analysis.abstained"),
        ({"analysis": analysis(valid_until_ns=T0)}, "analysis.expired"),
        ({"limits": Limits(may_enter=False)}, "limits.closed"),
        ({"instrument": evolve(ETH, trading=False)}, "instrument.not_trading"),
        ({"account": account("0")}, "account.empty"),
        ({"account": account("-5")}, "account.empty"),
        ({"analysis": analysis(stop_width=math.nan)}, "payoff.unknown"),
        ({"analysis": analysis(confidence=0.0)}, "payoff.unknown"),
        ({"market": evolve(market(), mark_price=3100.0)}, "market.disagrees"),
        ({"market": market(volume=0.0)}, "size.nothing_allowed"),
        ({"account": account("10000", margin="10000")}, "size.below_minimum"),
        ({"limits": Limits(drawdown=0.5)}, "size.below_minimum"),
        ({"account": account("20", "20")}, "size.below_minimum"),
        ({"analysis": analysis(side=Side.SELL, stop_width=0.6, target_width=2.0, confidence=0.85)}, "leverage.unsafe"),
    ],
)
def test_a_refusal_has_its_reason(changes: dict[str, object], code: str) -> None:
    result = Tactician().decide(question(**changes))
    assert result.plan is None
    assert code in codes(result)


def test_without_a_price_there_is_no_decision() -> None:
    with pytest.raises(InvalidInput, match="no price"):
        Tactician().decide(question(market=MarketView(symbol="ETHUSDT", now_ns=T0)))


# ---------------------------------------------------------------- size


def test_each_cap_is_what_its_rule_says() -> None:
    config = TacticianConfig()
    result = Tactician(config).decide(question(limits=Limits(max_notional=Decimal(7000))))
    assert result.plan is not None
    caps, bet = result.plan.caps, value(question(), Side.BUY, config)
    stop = float(1 - result.plan.stop / 3000)
    assert caps["kelly"] == pytest.approx(10_000 * bet.kelly * 0.25)
    assert caps["risk_per_trade"] == pytest.approx(10_000 * 0.005 / (stop + bet.cost))
    assert caps["volatility_target"] == pytest.approx(10_000 * 0.5 / (0.006 * math.sqrt(365 * 24)))
    assert caps["liquidity"] == pytest.approx(1e5 * 3000 * 0.01)
    assert caps["limits"] == 7000
    assert caps["leverage"] == 10_000 * result.plan.leverage
    assert caps["margin"] == pytest.approx(10_000 / (1 / result.plan.leverage + bet.cost))
    least = min(caps.values())
    assert least - 3000 * 0.001 < float(result.plan.quantity) * 3000 <= least


def test_a_drawdown_shrinks_the_size() -> None:
    full = Tactician().decide(question(limits=Limits(drawdown=0.05))).plan
    half = Tactician().decide(question(limits=Limits(drawdown=0.2))).plan
    assert full is not None
    assert half is not None
    assert "drawdown" not in full.caps
    assert half.caps["drawdown"] == pytest.approx(min(full.caps.values()) / 2)
    assert [drawdown_factor(x, 0.1, 0.3) for x in (0.0, 0.1, 0.2, 0.3, 0.9)] == pytest.approx([1, 1, 0.5, 0, 0])
    lost = Tactician().decide(question(account=account("8000", "10000"))).plan
    assert lost is not None
    assert "drawdown" in lost.caps


WIDTHS = st.floats(0.002, 0.12)


@st.composite
def questions(draw: st.DrawFn) -> TacticsInput:
    side = draw(st.sampled_from([Side.BUY, Side.SELL]))
    price = draw(st.floats(0.5, 90_000.0))
    p = draw(st.floats(0.3, 0.95))
    opinion = analysis(
        side,
        confidence=p,
        p_timeout=draw(st.floats(0.0, 1.0)) * (1.0 - p),
        stop_width=draw(WIDTHS),
        target_width=draw(WIDTHS),
        volatility=draw(st.one_of(st.none(), st.floats(0.0005, 0.03))),
    )
    allowed = draw(st.one_of(st.none(), st.decimals(0, 100_000, places=2)))
    return question(
        analysis=opinion,
        account=account(str(draw(st.decimals(1, 5_000_000, places=4))), margin="0"),
        market=market(price, volume=draw(st.floats(0.0, 1e6))),
        limits=Limits(max_notional=allowed, drawdown=draw(st.floats(0.0, 0.35))),
    )


@hypothesis_given(asked=questions(), ladder=st.sampled_from([((1.0, 1.0),), ((0.4, 0.5), (1.0, 0.5))]))
def test_every_plan_passes_the_filters_and_is_stopped_before_it_is_liquidated(
    asked: TacticsInput, ladder: tuple[tuple[float, float], ...]
) -> None:
    result = Tactician(TacticianConfig(ladder=ladder)).decide(asked)
    plan = result.plan
    if plan is None:
        assert result.reasons
        return
    entry = ETH.price(asked.market.price)
    assert not ETH.violations(
        quantity=plan.quantity, market=True, reduce_only=False, reference=entry, stop_price=plan.stop, side=plan.side
    )
    notional = plan.quantity * entry
    assert float(notional) <= min(plan.caps.values()) * (1 + 1e-12)
    if asked.limits.max_notional is not None:
        assert notional <= asked.limits.max_notional
    assert notional / plan.leverage + notional * 2 * ETH.taker_fee <= asked.account.available
    sign = plan.side.sign
    assert (entry - plan.stop) * sign > 0
    previous = entry
    for target in plan.targets:
        assert (target.price - previous) * sign > 0
        assert target.price % ETH.tick_size == 0
        previous = target.price
    assert sum(target.fraction for target in plan.targets) == pytest.approx(1.0)
    # the exact liquidation price of the isolated position, by the tier that holds it there
    quantity, price = float(plan.quantity), float(entry)
    margin = quantity * price / plan.leverage
    liquidation = None
    for tier in TIERS:
        at = (margin + float(tier.cum) - sign * quantity * price) / (quantity * float(tier.rate) - sign * quantity)
        if float(tier.floor) <= quantity * at < float(tier.cap):
            liquidation = at
    if liquidation is not None and liquidation > 0:
        away, stop = abs(liquidation / price - 1.0), abs(float(plan.stop) / price - 1.0)
        assert stop <= 0.7 * away + 1e-9


@hypothesis_given(asked=questions(), factor=st.decimals("0.1", "1", places=2))
def test_a_tighter_cap_never_gives_a_larger_size(asked: TacticsInput, factor: Decimal) -> None:
    plan = Tactician().decide(asked).plan
    if plan is None:
        return
    allowed = plan.quantity * ETH.price(asked.market.price) * factor
    tighter = evolve(asked, limits=evolve(asked.limits, max_notional=allowed))
    smaller = Tactician().decide(tighter).plan
    assert smaller is None or smaller.quantity <= plan.quantity
    poorer = evolve(asked, account=account(str(asked.account.wallet * factor), str(asked.account.start)))
    less = Tactician().decide(poorer).plan
    assert less is None or less.quantity <= plan.quantity


# ---------------------------------------------------------------- leverage


@pytest.mark.parametrize(("side", "price"), [(1, 54221.11), (-1, 65721.39)])
def test_liquidation_distance_of_one_bitcoin_at_ten_times(side: int, price: float) -> None:
    """Isolated, entry 60,000: the venue's own formula and tiers give these prices."""
    away = liquidation_distance(side, 10.0, 0.005, 50.0, 60_000.0)
    assert 60_000 * (1 - side * away) == pytest.approx(price, abs=0.01)


@hypothesis_given(
    side=st.sampled_from([1, -1]), stop=st.floats(0.002, 0.3), sigma=st.floats(0.0, 0.05), ceiling=st.integers(1, 125)
)
def test_leverage_is_the_highest_that_keeps_its_distance(side: int, stop: float, sigma: float, ceiling: int) -> None:
    rate, cum, notional = 0.005, 50.0, 80_000.0
    leverage, distance = lever(side, stop, 0.0002, sigma, 3.0, 0.3, 2.0, rate, cum, notional, ceiling)
    assert distance == pytest.approx(max(stop + 0.0002, 3 * sigma, stop / 0.7, 2 * stop))
    if leverage >= 1:
        assert liquidation_distance(side, float(leverage), rate, cum, notional) >= distance - 1e-12
    if leverage < ceiling:
        assert liquidation_distance(side, float(leverage + 1), rate, cum, notional) < distance


def test_limits_hold_leverage_down() -> None:
    calm = question(analysis=analysis(stop_width=0.01, target_width=0.02, volatility=0.001))
    free = Tactician().decide(calm).plan
    held = Tactician().decide(evolve(calm, limits=Limits(max_leverage=2))).plan
    assert free is not None
    assert held is not None
    assert (free.leverage, held.leverage) == (5, 2)


# ---------------------------------------------------------------- switches


def test_switches_do_what_they_say() -> None:
    asked = question()
    assert codes(Tactician(TacticianConfig(enable_position_sizing=False)).decide(asked)) == ["sizing.off"]
    fixed = Tactician(TacticianConfig(enable_position_sizing=False, fixed_notional=Decimal(900))).decide(asked).plan
    assert fixed is not None
    assert fixed.quantity == Decimal("0.3")
    assert "kelly" not in fixed.caps
    unlevered = Tactician(TacticianConfig(enable_leverage_optimization=False)).decide(asked).plan
    assert unlevered is not None
    assert unlevered.leverage == 1
    rash = Tactician(TacticianConfig(enable_risk_management=False)).decide(asked).plan
    assert rash is not None
    assert rash.caps.keys().isdisjoint({"risk_per_trade", "volatility_target", "drawdown"})


def test_a_fixed_leverage_that_is_unsafe_is_refused() -> None:
    config = TacticianConfig(enable_leverage_optimization=False, fixed_leverage=50)
    assert codes(Tactician(config).decide(question())) == ["leverage.unsafe"]


def test_the_plan_ends_with_its_opinion_and_its_horizon() -> None:
    plan = Tactician().decide(question()).plan
    assert plan is not None
    assert plan.valid_until_ns == T0 + 30_000_000_000
    assert plan.exit_by_ns == T0 + 24 * HOUR
    brief = Tactician().decide(question(analysis=analysis(valid_until_ns=T0 + 5))).plan
    assert brief is not None
    assert brief.valid_until_ns == T0 + 5


def test_the_verb_and_its_twin_agree_and_history_is_bounded() -> None:
    tactician = Tactician(TacticianConfig(max_history=3))
    expected = tactician.decide(question())
    assert asyncio.run(tactician.execute_tactics(question())) == expected
    for _ in range(5):
        tactician.decide(question(analysis=analysis(None)))
    status = tactician.get_status()
    assert status["decisions"] == 7
    assert status["plans"] == 2
    assert len(status["recent"]) == 3  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "settings",
    [
        {"ladder": ()},
        {"ladder": ((0.5, 0.5), (0.4, 0.5))},
        {"ladder": ((1.0, 0.5),)},
        {"ladder": ((1.5, 1.0),)},
        {"drawdown_start": 0.4},
        {"liquidation_gap": 0.1},
        {"fixed_notional": Decimal(0)},
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        TacticianConfig(**settings)  # type: ignore[arg-type]


def test_an_alarm_of_the_analyst_cuts_the_size_and_says_so() -> None:
    usual, alarmed = (Tactician().decide(question(analysis=analysis(size_factor=f))).plan for f in (1.0, 0.5))
    assert usual is not None
    assert alarmed is not None
    assert float(alarmed.quantity) == pytest.approx(0.5 * float(usual.quantity), abs=0.001)
    assert "alarm" in alarmed.caps
    assert "alarm" not in usual.caps
