"""What the pipeline counts on in a monitoring stage."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from attrs import evolve

from ares.account import Position
from ares.instrument_tables import default_instrument
from ares.instruments import Side
from ares.protocols import Action, Assessment, AssessmentInput, OpenTrade, Target
from ares.testing.tactics_checks import NOW, analysis_of, market_of
from ares.testing.trial import Trial, expect

__all__ = ["check_monitoring"]

_HOUR = 3_600_000_000_000
_ENTRY = 2500.0
_TAKING = (Action.CLOSE, Action.TAKE_PROFIT, Action.SCALE_DOWN)


def check_monitoring(trial: Trial, make: Callable[[], object]) -> None:
    """Types, quantities and stops that make sense, purity, and the two exits nobody may miss."""
    inputs = _inputs()
    verdicts: list[Assessment] = []
    with trial.check("the verb is plain and answers with an Assessment"):
        stage: Any = make()
        for given in inputs:
            verdict = stage.assess_position(given)
            expect(isinstance(verdict, Assessment), f"it gave a {type(verdict).__name__}")
            verdicts.append(verdict)
    if len(verdicts) < len(inputs):
        return
    pairs = list(zip(inputs, verdicts, strict=True))
    with trial.check("a verdict is about the trade and the moment it was asked about, with a reason"):
        for given, verdict in pairs:
            expect(verdict.trade_id == given.trade.trade_id, f"a verdict on trade {verdict.trade_id}")
            expect(verdict.now_ns == given.now_ns, f"asked at {given.now_ns}, it answered as of {verdict.now_ns}")
            expect(bool(verdict.reasons), f"{verdict.action.value} without a reason")
    with trial.check("what is taken off is on the lot grid and no more than is held"):
        for given, verdict in pairs:
            if verdict.action in _TAKING:
                quantity, held = verdict.quantity, abs(given.position.quantity)
                fits = quantity is not None and 0 < quantity <= held and quantity % given.instrument.lot_step == 0
                expect(fits, f"{verdict.action.value} {quantity} of {held}")
                expect(verdict.action is not Action.CLOSE or quantity == held, f"it closes {quantity} of {held}")
    with trial.check("a stop only tightens, on the tick grid and on its side of the price"):
        for given, verdict in pairs:
            if verdict.action is Action.MOVE_STOP:
                stop, sign, tick = verdict.new_stop, given.trade.side.sign, given.instrument.tick_size
                expect(stop is not None and stop % tick == 0, f"new stop {stop}")
                if stop is not None:
                    old = given.trade.stop
                    tighter = old is None or (stop - old) * sign >= tick
                    expect(tighter, f"from {old} to {stop}, {given.trade.side.value}")
                    expect((given.market.price - float(stop)) * sign > 0, f"{stop} at a price of {given.market.price}")
    with trial.check("the same input gives the same verdict, whatever was asked before"):
        other: Any = make()
        for given, verdict in reversed(pairs):
            again = other.assess_position(given)
            expect(repr(again) == repr(verdict), f"{verdict}, then {again}")
            twice = other.assess_position(given)
            expect(repr(twice) == repr(verdict), f"{verdict}, asked once more {twice}")
    _check_exits(trial, make)


def _check_exits(trial: Trial, make: Callable[[], object]) -> None:
    for side in (Side.BUY, Side.SELL):
        calm = _input(side, _ENTRY, None, stopped=True)
        with trial.check(f"the time barrier closes a {side.name.lower()} position"):
            stage: Any = make()
            late = evolve(calm, now_ns=calm.now_ns + 48 * _HOUR)
            expect(stage.assess_position(late).action is Action.CLOSE, "it stays open past its time")
        with trial.check(f"an unprotected {side.name.lower()} position beyond its stop is closed"):
            stage = make()
            lost = _input(side, _ENTRY * (1 - side.sign * 0.05), None, stopped=False)
            expect(stage.assess_position(lost).action is Action.CLOSE, "no stop rests and it stays open")


def _inputs() -> list[AssessmentInput]:
    moves = (-0.06, -0.028, -0.01, 0.0, 0.015, 0.032, 0.08)
    opinions = (None, Side.BUY, Side.SELL)
    cases = itertools.product((Side.BUY, Side.SELL), moves, opinions, (True, False))
    return [_input(side, _ENTRY * (1 + side.sign * move), view, stopped=rest) for side, move, view, rest in cases]


def _input(side: Side, mark: float, opinion: Side | None, *, stopped: bool) -> AssessmentInput:
    """A position entered at 2500 with its stop 3 % behind, and half of it to be taken 3 % ahead."""
    instrument = default_instrument("ETHUSDT")
    sign = side.sign
    stop = instrument.stop_price(_ENTRY * (1 - sign * 0.03), side.opposite)
    quantity = Decimal("1.237")
    trade = OpenTrade(
        trade_id="trial",
        symbol="ETHUSDT",
        side=side,
        quantity=quantity,
        initial_quantity=quantity,
        entry_price=Decimal(_ENTRY),
        opened_ns=NOW - _HOUR,
        stop=stop if stopped else None,
        initial_stop=stop,
        targets=(
            Target(price=instrument.price(_ENTRY * (1 + sign * 0.03)), fraction=0.5),
            Target(price=instrument.price(_ENTRY * (1 + sign * 0.06)), fraction=0.5),
        ),
        exit_by_ns=NOW + 23 * _HOUR,
        best_price=max(mark, _ENTRY) if sign > 0 else min(mark, _ENTRY),
    )
    position = Position(
        symbol="ETHUSDT",
        quantity=quantity * sign,
        entry_price=trade.entry_price,
        mark_price=instrument.price(mark),
        leverage=5,
        margin=quantity * 500,
        maintenance_margin=quantity * 10,
        unrealised=Decimal(0),
        realised=Decimal(0),
        liquidation_price=instrument.price(_ENTRY * (1 - sign * 0.195)),
    )
    return AssessmentInput(
        now_ns=NOW,
        trade=trade,
        position=position,
        instrument=instrument,
        market=market_of(mark),
        analysis=analysis_of(opinion) if opinion is not None else None,
    )
