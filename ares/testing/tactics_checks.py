"""What the pipeline counts on in a tactics stage."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from attrs import evolve

from ares.account import Account
from ares.instrument_tables import default_instrument
from ares.instruments import Side
from ares.market import Candle, MarketView
from ares.protocols import AnalysisResult, Limits, OpenTrade, TacticsInput, TacticsResult, TradePlan
from ares.testing.trial import Trial, expect

__all__ = ["analysis_of", "check_tactics", "market_of"]

_HOUR = 3_600_000_000_000
NOW = 1_700_000_000_000_000_000
_LEAST_GAP = Decimal("0.3")  # of the way to liquidation, beyond the stop


async def check_tactics(trial: Trial, make: Callable[[], object]) -> None:
    """Types, refusals with reasons, plans that venue and account can bear, determinism, the twin."""
    inputs = _inputs()
    results: list[TacticsResult] = []
    with trial.check("the verb is async and answers with a TacticsResult"):
        stage: Any = make()
        expect(inspect.iscoroutinefunction(stage.execute_tactics), "execute_tactics is not async")
        for given in inputs:
            result = await stage.execute_tactics(given)
            expect(isinstance(result, TacticsResult), f"it gave a {type(result).__name__}")
            results.append(result)
    if len(results) < len(inputs):
        return
    with trial.check("a refusal has a reason"):
        for given, result in zip(inputs, results, strict=True):
            expect(result.plan is not None or bool(result.reasons), f"none for {_about(given)}")
    planned = [(given, result.plan) for given, result in zip(inputs, results, strict=True) if result.plan is not None]
    with trial.check("a clear edge gets a plan"):
        expect(bool(planned), "it refused every one of them")
    _check_plans(trial, planned)
    await _check_refusals(trial, make, inputs)
    with trial.check("the same input gives the same answer"):
        other: Any = make()
        for given, result in zip(inputs, results, strict=True):
            again = await other.execute_tactics(given)
            expect(repr(again) == repr(result), f"{result}, then {again}")
    if callable(getattr(make(), "decide", None)):
        with trial.check("the plain twin agrees with the verb"):
            twin: Any = make()
            for given, result in zip(inputs, results, strict=True):
                answer = twin.decide(given)
                expect(repr(answer) == repr(result), f"{result}, its twin {answer}")


def analysis_of(side: Side | None, chance: float = 0.75, width: float = 0.03) -> AnalysisResult:
    """An opinion with an edge, valid for an hour."""
    up, down = (chance, 0.95 - chance) if side is not Side.SELL else (0.95 - chance, chance)
    return AnalysisResult(
        symbol="ETHUSDT",
        now_ns=NOW,
        p_up=up,
        p_down=down,
        p_timeout=0.05,
        side=side,
        confidence=0.0 if side is None else chance,
        confidence_low=None if side is None else chance - 0.02,
        horizon=24,
        horizon_ns=24 * _HOUR,
        stop_width=width,
        target_width=width,
        volatility=width / 5,
        valid_until_ns=NOW + _HOUR,
        model_id="trial",
    )


def market_of(price: float) -> MarketView:
    """A market of one bar that trades at `price`."""
    bar = Candle(
        symbol="ETHUSDT",
        interval="1h",
        open_ns=NOW - _HOUR,
        close_ns=NOW,
        open=price,
        high=price,
        low=price,
        close=price,
        volume=1e6,
    )
    return MarketView(symbol="ETHUSDT", now_ns=NOW, candle=bar, mark_price=price)


def _inputs() -> list[TacticsInput]:
    instrument = default_instrument("ETHUSDT")
    limits = (Limits(), Limits(max_notional=Decimal(500), max_leverage=2), Limits(drawdown=0.15))
    cases = itertools.product((Side.BUY, Side.SELL), (50, 10_000, 3_000_000), (0.4, 0.75), (0.01, 0.05), limits)
    return [
        TacticsInput(
            analysis=analysis_of(side, chance, width),
            instrument=instrument,
            account=_account(equity),
            market=market_of(2500.37),
            limits=limit,
        )
        for side, equity, chance, width, limit in cases
    ]


def _account(equity: int) -> Account:
    money, zero = Decimal(equity), Decimal(0)
    return Account(
        asset="USDT", wallet=money, start=money, realised=zero, fees=zero, funding=zero, unrealised=zero, margin=zero
    )


def _check_plans(trial: Trial, planned: list[tuple[TacticsInput, TradePlan]]) -> None:
    with trial.check("a plan follows its analysis and ends with it"):
        for given, plan in planned:
            expect(plan.side is given.analysis.side, f"{plan.side} on an opinion for {given.analysis.side}")
            expect(plan.symbol == given.instrument.symbol, f"a plan for {plan.symbol}")
            expect(NOW < plan.valid_until_ns <= given.analysis.valid_until_ns, "its entries outlive the opinion")
    with trial.check("every order of a plan passes the venue's filters"):
        for given, plan in planned:
            mark = given.instrument.price(given.market.price)
            for leg in plan.legs:
                market = leg.price is None
                broken = given.instrument.violations(
                    quantity=leg.quantity,
                    market=market,
                    reduce_only=False,
                    reference=mark,
                    price=leg.price,
                    stop_price=plan.stop,
                    side=plan.side,
                )
                expect(not broken, f"{'; '.join(broken)} for {_about(given)}")
    with trial.check("the stop lies behind and the targets ahead, in order and on the grid"):
        for given, plan in planned:
            sign, entry = plan.side.sign, given.instrument.price(given.market.price)
            prices = [plan.stop, entry, *(target.price for target in plan.targets)]
            rising = all((b - a) * sign > 0 for a, b in itertools.pairwise(prices))
            expect(rising, f"stop, entry, targets: {', '.join(map(str, prices))}, {plan.side.value}")
            off = [p for p in prices if p % given.instrument.tick_size != 0]
            expect(not off, f"off the grid: {off}")
            expect(sum(t.fraction for t in plan.targets) <= 1.0 + 1e-9, "the targets take more than there is")
    with trial.check("the account can bear it"):
        for given, plan in planned:
            notional = plan.quantity * given.instrument.price(given.market.price)
            tier, allowed = given.instrument.tier(notional), given.limits.max_leverage
            expect(plan.leverage <= tier.max_leverage, f"leverage {plan.leverage} above the tier's")
            expect(allowed is None or plan.leverage <= allowed, f"leverage {plan.leverage} above the desk's {allowed}")
            cost = notional / plan.leverage + 2 * notional * given.instrument.taker_fee
            expect(cost <= given.account.available, f"margin and fees {cost} of {given.account.available}")
            limit = given.limits.max_notional
            expect(limit is None or notional <= limit, f"notional {notional} above the desk's {limit}")
    with trial.check("the stop lies well before liquidation"):
        for given, plan in planned:
            entry = given.instrument.price(given.market.price)
            tier = given.instrument.tier(plan.quantity * entry)
            away = 1 / Decimal(plan.leverage) - tier.rate  # at least: what the tier deducts would add to it
            stop = abs(plan.stop / entry - 1)
            expect(stop <= (1 - _LEAST_GAP) * away, f"stop {stop:.4f}, liquidation {away:.4f} away")


async def _check_refusals(trial: Trial, make: Callable[[], object], inputs: list[TacticsInput]) -> None:
    base = evolve(inputs[0], analysis=analysis_of(Side.BUY), account=_account(10_000), limits=Limits())
    trade = OpenTrade(
        trade_id="open",
        symbol="ETHUSDT",
        side=Side.SELL,
        quantity=Decimal(1),
        initial_quantity=Decimal(1),
        entry_price=Decimal(2500),
        opened_ns=NOW,
        stop=Decimal(2600),
        initial_stop=Decimal(2600),
    )
    refused = {
        "an abstention is not traded": evolve(base, analysis=analysis_of(None)),
        "an expired opinion is not traded": evolve(base, market=evolve(base.market, now_ns=NOW + 2 * _HOUR)),
        "nothing is entered when the desk forbids it": evolve(base, limits=Limits(may_enter=False)),
        "nothing is entered with nothing": evolve(base, account=_account(0)),
        "nothing is entered where nothing trades": evolve(base, instrument=evolve(base.instrument, trading=False)),
        "an open trade is not turned round": evolve(base, trade=trade),
    }
    for name, given in refused.items():
        with trial.check(name):
            stage: Any = make()
            result = await stage.execute_tactics(given)
            expect(result.plan is None, f"it planned {result.plan}")


def _about(given: TacticsInput) -> str:
    side = given.analysis.side
    return f"{side.value if side is not None else 'no side'} with {given.account.equity} {given.account.asset}"
