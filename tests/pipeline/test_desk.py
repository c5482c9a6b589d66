"""The desk on the bench: protection first, one stop, reduce-only exits, and no order it may not send."""

from decimal import Decimal

import msgspec
import pytest

from ares.errors import InvalidInput
from ares.events import Alert, Command, LinkChanged, ModelActivated, OperatorOrder, Purpose, SetLeverage, Wake
from ares.instruments import Side
from ares.orders import OrderStatus, OrderType
from ares.pipeline.config import DeskConfig, GuardConfig
from ares.pipeline.guard import Mode
from ares.protocols import Action, Reason
from tests.pipeline.desk_bench import HOUR, SYMBOL, Bench, Scripted, cancels, submits, wakes


def alerts(commands: list) -> list[str]:  # type: ignore[type-arg]
    return [c.code for c in commands if isinstance(c, Alert)]


def test_a_plan_becomes_leverage_then_one_market_entry() -> None:
    commands = Bench().candle()
    kinds = [type(c).__name__ for c in commands]
    assert kinds.index("SetLeverage") < kinds.index("Submit")
    assert next(c.leverage for c in commands if isinstance(c, SetLeverage)) == 3
    (entry,) = submits(commands)
    assert entry.intent.purpose is Purpose.ENTRY
    assert not entry.intent.request.reduce_only
    assert entry.intent.trade_id == entry.intent.intent_id


def test_the_stop_is_ordered_with_the_fill_and_is_reduce_only() -> None:
    bench = Bench()
    (entry,) = submits(bench.candle())
    (stop,) = submits(bench.fill(entry))
    request = stop.intent.request
    assert (request.order_type, request.side, request.quantity) == (OrderType.STOP_MARKET, Side.SELL, Decimal(1))
    assert request.stop_price == Decimal(1900)
    assert request.reduce_only


def test_o2_a_partial_fill_is_protected_and_the_stop_grows_with_it() -> None:
    bench = Bench()
    (entry,) = submits(bench.candle())
    (first,) = submits(bench.fill(entry, quantity="0.4"))
    assert first.intent.request.quantity == Decimal("0.4")
    bench.order(first, OrderStatus.NEW)
    second_answer = bench.fill(entry, quantity="0.6")
    (second,) = submits(second_answer)
    assert second.intent.request.quantity == Decimal(1)
    assert cancels(second_answer) == []  # the old stop rests until the new one does
    assert cancels(bench.order(second, OrderStatus.NEW)) == [first.intent.intent_id]


def test_o8_a_position_without_an_acknowledged_stop_is_closed_after_three_seconds() -> None:
    bench = Bench()
    (entry,) = submits(bench.candle())
    answer = bench.fill(entry)
    (deadline,) = wakes(answer, "protect")
    assert deadline.ts_ns == bench.now + 3_000_000_000
    closing = bench.wake(deadline)
    (exit_,) = submits(closing)
    assert exit_.intent.purpose is Purpose.EXIT and exit_.intent.request.reduce_only
    assert "position.unprotected" in alerts(closing)


def test_a_protected_position_is_left_alone_at_that_deadline() -> None:
    bench = Bench()
    (entry,) = submits(bench.candle())
    answer = bench.fill(entry)
    bench.order(submits(answer)[0], OrderStatus.NEW)
    assert bench.wake(wakes(answer, "protect")[0]) == []


def test_o6_a_refused_stop_closes_the_position() -> None:
    bench = Bench()
    (entry,) = submits(bench.candle())
    (stop,) = submits(bench.fill(entry))
    closing = bench.order(stop, OrderStatus.REJECTED, "would trigger immediately")
    assert [s.intent.purpose for s in submits(closing)] == [Purpose.EXIT]


def test_o7_a_stop_taken_away_by_the_venue_is_placed_again() -> None:
    bench = Bench()
    _, stop = bench.opened()
    again = bench.order(stop, OrderStatus.EXPIRED, "the venue's reasons")
    assert [s.intent.purpose for s in submits(again)] == [Purpose.STOP]


def test_a_moved_stop_rests_before_the_old_one_is_cancelled() -> None:
    bench = Bench()
    _, old = bench.opened()
    bench.script.verdict = {"action": Action.MOVE_STOP, "new_stop": Decimal(1950), "risk": 0.1}
    bench.later(60)
    moving = bench.mark(2050.0)
    (new,) = submits(moving)
    assert new.intent.request.stop_price == Decimal(1950) and cancels(moving) == []
    assert cancels(bench.order(new, OrderStatus.NEW)) == [old.intent.intent_id]


def test_a_refused_move_keeps_the_old_stop() -> None:
    bench = Bench()
    bench.opened()
    bench.script.verdict = {"action": Action.MOVE_STOP, "new_stop": Decimal(1950), "risk": 0.1}
    bench.later(60)
    (new,) = submits(bench.mark(2050.0))
    answer = bench.order(new, OrderStatus.REJECTED, "no")
    assert submits(answer) == [] and cancels(answer) == []
    assert bench.desk.custody.trades[SYMBOL].stop_price == Decimal(1900)


def test_taking_profit_shrinks_the_stop_and_counts_the_target() -> None:
    bench = Bench()
    bench.opened()
    bench.script.verdict = {
        "action": Action.TAKE_PROFIT,
        "quantity": Decimal("0.5"),
        "targets_hit": 1,
        "risk": 0.0,
    }
    bench.later(60)
    (part,) = submits(bench.mark(2200.0))
    assert part.intent.purpose is Purpose.TARGET and part.intent.request.quantity == Decimal("0.5")
    bench.script.verdict = {"action": Action.HOLD, "risk": 0.0}
    (smaller,) = submits(bench.fill(part, "2200"), Purpose.STOP)
    assert smaller.intent.request.quantity == Decimal("0.5")
    trade = bench.desk.custody.trades[SYMBOL]
    assert trade.targets_taken == 1 and [t.price for t in trade.targets] == [Decimal(2300)]


def test_a_stop_fill_ends_the_trade_with_its_costs() -> None:
    bench = Bench()
    _, stop = bench.opened()
    bench.order(stop, OrderStatus.FILLED, filled="1")
    bench.fill(stop, "1899")
    (trade,) = bench.desk.records.trades
    assert trade.exit_reason == "stop"
    assert (trade.gross, trade.fees, trade.net) == (Decimal(-101), Decimal(2), Decimal(-103))
    assert bench.desk.custody.trades == {} and bench.desk.intents.describe() == []
    assert bench.desk.account().wallet == Decimal(10_000 - 103)


def test_flat_cancels_the_stop_and_waits_for_its_end_before_the_next_trade() -> None:
    bench = Bench()
    _, stop = bench.opened()
    bench.script.verdict = {"action": Action.CLOSE, "risk": 1.0}
    bench.later(60)
    (exit_,) = submits(bench.mark(2010.0))
    answer = bench.fill(exit_, "2010")
    assert cancels(answer) == [stop.intent.intent_id]
    assert submits(bench.candle(), Purpose.ENTRY) == []  # the stop is still at the venue
    bench.order(stop, OrderStatus.CANCELED)
    assert submits(bench.candle(), Purpose.ENTRY) != []


def test_an_exit_is_not_sent_twice() -> None:
    bench = Bench()
    bench.opened()
    bench.script.verdict = {"action": Action.CLOSE, "risk": 1.0}
    bench.later(60)
    assert len(submits(bench.mark(2010.0))) == 1
    bench.later(60)
    assert submits(bench.mark(2011.0)) == []
    assert submits(bench.candle(2012.0)) == []


def test_o4_a_refused_exit_is_decided_anew_at_the_next_look() -> None:
    bench = Bench()
    bench.opened()
    bench.script.verdict = {"action": Action.CLOSE, "risk": 1.0}
    bench.later(60)
    (exit_,) = submits(bench.mark(2010.0))
    assert "exit.failed" in alerts(bench.order(exit_, OrderStatus.REJECTED, "reduce-only refused"))
    bench.later(60)
    assert len(submits(bench.mark(2011.0), Purpose.EXIT)) == 1


def test_the_monitor_looks_at_most_every_ten_seconds_and_only_at_news() -> None:
    bench = Bench()
    bench.opened()
    looks = len(bench.script.looks)
    bench.later(60)
    bench.mark(2001.0)
    bench.later(1)
    (due,) = wakes(bench.mark(2002.0), "look")
    bench.later(1)
    bench.mark(2002.0)  # no news
    assert len(bench.script.looks) == looks + 1
    bench.wake(due)
    assert len(bench.script.looks) == looks + 2
    assert bench.script.looks[-1].market.mark_price == 2002.0
    bench.later(60)
    bench.tell(Wake(ts_event=bench.now, ts_seen=bench.now, key=f"look:{SYMBOL}"))
    assert len(bench.script.looks) == looks + 2


def test_the_time_barrier_is_a_look_even_without_news() -> None:
    bench = Bench()
    commands = bench.candle()
    (entry,) = submits(commands)
    bench.order(submits(bench.fill(entry))[0], OrderStatus.NEW)
    looks = len(bench.script.looks)
    bench.wake(wakes(commands, "exit")[0])
    assert len(bench.script.looks) == looks + 1


def test_an_unfilled_entry_is_taken_back_when_its_plan_expires() -> None:
    bench = Bench()
    commands = bench.candle()
    (entry,) = submits(commands)
    bench.order(entry, OrderStatus.NEW)
    assert cancels(bench.wake(wakes(commands, "entry")[0])) == [entry.intent.intent_id]
    bench.order(entry, OrderStatus.CANCELED)
    assert bench.desk.custody.trades == {} and bench.desk.records.closed_trades == 0


def test_a_rejected_entry_leaves_nothing_behind() -> None:
    bench = Bench()
    (entry,) = submits(bench.candle())
    assert "entry.rejected" in alerts(bench.order(entry, OrderStatus.REJECTED, "margin"))
    assert bench.desk.custody.trades == {}
    assert submits(bench.candle(), Purpose.ENTRY)


def test_w9_a_fill_before_its_acknowledgement_is_booked_once() -> None:
    bench = Bench()
    (entry,) = submits(bench.candle())
    bench.fill(entry)
    bench.order(entry, OrderStatus.FILLED, filled="1")
    bench.order(entry, OrderStatus.NEW)  # late
    assert bench.desk.account().positions[0].quantity == Decimal(1)


def test_o12_a_foreign_fill_is_booked_and_stops_entries() -> None:
    bench = Bench(Scripted(side=None))
    entry = submits(Bench().candle())[0]
    answer = bench.fill(entry, client_order_id="by-hand")
    assert "position.foreign_fill" in alerts(answer)
    assert bench.desk.guard.mode is Mode.REDUCE
    assert bench.desk.account().positions[0].quantity == Decimal(1)


def test_o13_a_liquidation_ends_the_trade_and_stops_entries() -> None:
    bench = Bench()
    entry, stop = bench.opened()
    answer = bench.fill(entry, "1500", client_order_id="autoclose-1", side=Side.SELL, liquidation=True)
    assert "position.liquidated" in alerts(answer) and cancels(answer) == [stop.intent.intent_id]
    bench.order(stop, OrderStatus.EXPIRED)
    assert bench.desk.records.trades[0].exit_reason == "liquidation"
    assert submits(bench.candle(), Purpose.ENTRY) == []


@pytest.mark.parametrize("action", ["pause", "stop"])
def test_i13_in_reduce_no_risk_order_is_sent_but_stops_and_exits_are(action: str) -> None:
    bench = Bench()
    (entry,) = submits(bench.candle())
    bench.tell(OperatorOrder(ts_event=bench.now, ts_seen=bench.now, action=action))
    assert submits(bench.fill(entry), Purpose.STOP)
    bench.script.verdict = {"action": Action.CLOSE, "risk": 1.0}
    bench.later(60)
    assert submits(bench.mark(1990.0), Purpose.EXIT)
    other = Bench()
    other.tell(OperatorOrder(ts_event=0, ts_seen=0, action=action))
    assert submits(other.candle()) == []
    other.tell(OperatorOrder(ts_event=other.now, ts_seen=other.now, action="resume" if action == "pause" else "start"))
    assert submits(other.candle(), Purpose.ENTRY)


def test_o15_after_a_restart_the_leverage_is_set_again_for_somebody_may_have_changed_it() -> None:
    bench = Bench()

    def trade() -> list[int]:
        asked: list[Command] = bench.candle()
        bench.order(submits(asked, Purpose.ENTRY)[0], OrderStatus.EXPIRED)
        return [c.leverage for c in asked if isinstance(c, SetLeverage)]

    assert [trade(), trade()] == [[3], []]
    for action in ("stop", "start"):
        bench.tell(OperatorOrder(ts_event=bench.now, ts_seen=bench.now, action=action))
    assert [trade(), trade()] == [[3], []]


def test_i13_in_halt_nothing_is_sent() -> None:
    bench = Bench()
    bench.opened()
    bench.tell(OperatorOrder(ts_event=bench.now, ts_seen=bench.now, action="halt"))
    bench.script.verdict = {"action": Action.CLOSE, "risk": 1.0}
    bench.later(60)
    answer = bench.mark(1990.0)
    assert submits(answer) == [] and cancels(answer) == [] and "order.withheld" in alerts(answer)


def test_flatten_closes_what_is_held() -> None:
    bench = Bench()
    bench.opened()
    answer = bench.tell(OperatorOrder(ts_event=bench.now, ts_seen=bench.now, action="flatten"))
    assert [s.intent.purpose for s in submits(answer)] == [Purpose.EXIT]


def test_a_lost_link_stops_entries_until_it_is_back() -> None:
    bench = Bench()
    bench.tell(LinkChanged(ts_event=0, ts_seen=0, link="account", up=False))
    assert submits(bench.candle()) == []
    bench.tell(LinkChanged(ts_event=bench.now, ts_seen=bench.now, link="account", up=True))
    assert submits(bench.candle())


def test_i8_entries_in_flight_count_against_the_gross_limit() -> None:
    config = DeskConfig(guard=GuardConfig(max_positions=1))
    bench = Bench(config=config)
    assert submits(bench.candle())
    assert submits(bench.candle()) == []


def test_every_leg_is_an_order_of_its_own() -> None:
    bench = Bench(Scripted(quantities=("0.3", "0.7")))
    legs = submits(bench.candle())
    assert [leg.intent.request.quantity for leg in legs] == [Decimal("0.3"), Decimal("0.7")]
    assert len({leg.intent.intent_id for leg in legs}) == 2
    assert len({leg.intent.trade_id for leg in legs}) == 1


def test_events_come_in_order_or_not_at_all() -> None:
    bench = Bench()
    event = LinkChanged(ts_event=0, ts_seen=0, link="market", up=True)
    with pytest.raises(InvalidInput, match="does not follow"):
        bench.desk.handle(msgspec.structs.replace(event, seq=bench.desk.seq + 2))
    bench.candle()
    with pytest.raises(InvalidInput, match="older"):
        bench.desk.handle(msgspec.structs.replace(event, seq=bench.desk.seq + 1, ts_seen=HOUR - 1))


def test_history_warms_and_never_trades() -> None:
    bench = Bench()
    assert bench.candle(history=True) == []
    assert bench.desk.last_open_ns(SYMBOL) == 0


BROKEN = Reason(code="calibration.broken", numbers={"score": -4.5, "limit": -4.0})


def test_m4_a_broken_calibration_holds_new_risk_and_says_why() -> None:
    bench = Bench()
    bench.script.alarm = BROKEN
    commands = bench.candle()
    assert submits(commands) == []
    (alert,) = [c for c in commands if isinstance(c, Alert)]
    assert (alert.code, alert.symbol) == ("model.doubted", SYMBOL)
    assert alert.facts == {"alarm": "calibration.broken", "model": "script", "score": -4.5, "limit": -4.0}
    assert bench.desk.guard.mode is Mode.REDUCE
    assert bench.desk.status()["latches"] == {f"model:{SYMBOL}": "REDUCE"}
    assert BROKEN in bench.desk.records.decisions[-1].reasons
    assert alerts(bench.candle()) == []  # said once


def test_m4_a_held_position_keeps_its_stop_and_may_be_closed() -> None:
    bench = Bench()
    _, stop = bench.opened()
    bench.script.alarm = BROKEN
    bench.script.verdict = {"action": Action.CLOSE, "risk": 1.0}
    (exit_,) = submits(bench.candle())
    assert exit_.intent.purpose is Purpose.EXIT and exit_.intent.request.reduce_only
    assert bench.desk.guard.mode is Mode.REDUCE
    assert stop.intent.intent_id in cancels(bench.fill(exit_))


def test_m4_a_working_entry_is_taken_back() -> None:
    bench = Bench()
    (entry,) = submits(bench.candle())
    bench.order(entry, OrderStatus.NEW)
    bench.script.alarm = BROKEN
    assert cancels(bench.candle()) == [entry.intent.intent_id]


def test_m4_the_latch_outlives_its_alarm_until_the_operator_resumes() -> None:
    bench = Bench()
    bench.script.alarm = BROKEN
    bench.candle()
    bench.script.alarm = None
    assert submits(bench.candle()) == [] and bench.desk.guard.mode is Mode.REDUCE
    bench.tell(OperatorOrder(ts_event=bench.now, ts_seen=bench.now, action="resume"))
    assert len(submits(bench.candle(), Purpose.ENTRY)) == 1


def test_m4_a_new_model_begins_without_the_old_ones_latch() -> None:
    bench = Bench()
    bench.script.alarm = BROKEN
    bench.candle()
    bench.script.alarm = None
    told = bench.tell(ModelActivated(ts_event=bench.now, ts_seen=bench.now, sha256="b" * 64))
    assert alerts(told) == ["model.replaced"] and bench.desk.guard.mode is Mode.RUN
    assert len(submits(bench.candle(), Purpose.ENTRY)) == 1
    again = bench.tell(ModelActivated(ts_event=bench.now, ts_seen=bench.now, sha256="c" * 64))
    assert alerts(again) == []  # nothing to let go


def test_m4_an_alarm_over_old_bars_holds_nothing() -> None:
    bench = Bench()
    bench.script.alarm = BROKEN
    bench.candle(history=True)
    assert bench.desk.guard.mode is Mode.RUN
