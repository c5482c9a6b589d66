"""Ways in which a position could be left to itself, one by one: what is refused, lost, late, or too much."""

from __future__ import annotations

from decimal import Decimal

import attrs
import pytest

from ares.events import Alert, Command, OperatorOrder, Purpose, Submit, VenueSnapshot
from ares.instruments import Side
from ares.orders import OrderStatus
from ares.pipeline.backoff import Backoff
from ares.pipeline.guard import Mode
from ares.protocols import Action
from tests.pipeline.desk_bench import SECOND, SYMBOL, Bench, Scripted, cancels, submits, wakes

CLOSE = {"action": Action.CLOSE, "risk": 1.0}
NEW, REJECTED, CANCELED = OrderStatus.NEW, OrderStatus.REJECTED, OrderStatus.CANCELED
EXPIRED, FILLED = OrderStatus.EXPIRED, OrderStatus.FILLED


def alerts(commands: list[Command]) -> list[str]:
    return [c.code for c in commands if isinstance(c, Alert)]


def quantities(commands: list[Command], *purposes: Purpose) -> list[Decimal]:
    return [s.intent.request.quantity for s in submits(commands, *purposes)]


def person(bench: Bench, action: str) -> list[Command]:
    return bench.tell(OperatorOrder(ts_event=bench.now, ts_seen=bench.now, action=action))


def in_parts(first: str = "0.4", second: str = "0.6") -> tuple[Bench, Submit, Submit, Submit]:
    """A position of `first`, protected, with a limit leg of `second` still in the market: bench, leg, stop, entry."""
    bench = Bench(Scripted(quantities=(first, second), limit="1990"))
    market, limit = submits(bench.candle())
    bench.order(market, NEW)
    bench.order(limit, NEW)
    (stop,) = submits(bench.fill(market))
    bench.order(stop, NEW)
    return bench, limit, stop, market


def closing(bench: Bench) -> tuple[Submit, list[Command]]:
    """The monitor has everything sold: the exit, and all that was commanded with it."""
    bench.script.verdict = CLOSE
    bench.later(60)
    commands = bench.mark(2010.0)
    (exit_,) = submits(commands, Purpose.EXIT)
    return exit_, commands


# ---------------------------------------------------------------- fills that come late


def test_closing_takes_back_what_still_waits_to_enter() -> None:
    bench, limit, _, _ = in_parts()
    _, commands = closing(bench)
    assert cancels(commands) == [limit.intent.intent_id]


def test_a_fill_that_crosses_its_cancel_is_sold_after_the_exit() -> None:
    bench, limit, stop, _ = in_parts()
    exit_, _ = closing(bench)
    late = bench.fill(limit, quantity="0.6")
    assert quantities(late, Purpose.STOP) == [Decimal(1)]  # the exit sells 0.4 of it
    rest = bench.fill(exit_)
    assert quantities(rest, Purpose.EXIT) == [Decimal("0.6")]
    done = bench.fill(submits(rest, Purpose.EXIT)[0])
    assert stop.intent.intent_id in cancels(done) and bench.desk.account().positions == ()


def test_an_entry_that_fills_after_its_trade_was_stopped_is_sold() -> None:
    bench, limit, stop, _ = in_parts()
    assert cancels(bench.fill(stop)) == [limit.intent.intent_id]
    assert quantities(bench.fill(limit, quantity="0.6"), Purpose.EXIT) == [Decimal("0.6")]


def test_a_trade_waits_for_the_fills_that_its_orders_end_speaks_of() -> None:
    bench = Bench(Scripted(quantities=("1",), limit="1990"))
    (entry,) = submits(bench.candle())
    bench.order(entry, NEW)
    answer = bench.order(entry, CANCELED, filled="0.5")
    assert SYMBOL in bench.desk.custody.trades
    assert wakes(answer, "retry")[0].ts_ns == bench.now + 45 * SECOND
    assert quantities(bench.fill(entry, quantity="0.5"), Purpose.STOP) == [Decimal("0.5")]


def agree(bench: Bench) -> list[Command]:
    """The venue says that it holds what the desk believes."""
    account = bench.desk.account()
    return bench.tell(VenueSnapshot(ts_event=bench.now, ts_seen=bench.now, account=account, open_orders=()))


def test_fills_that_never_come_are_said_and_hold_new_risk_until_the_venue_agrees() -> None:
    bench = Bench()
    (entry,) = submits(bench.candle())
    (wake,) = wakes(bench.order(entry, CANCELED, filled="0.5"), "retry")
    assert alerts(bench.wake(wake)) == ["fills.missing"]
    assert bench.desk.custody.trades[SYMBOL].recalled
    assert bench.desk.status()["latches"] == {f"difference:{SYMBOL}": "REDUCE"}
    agree(bench)
    assert bench.desk.custody.trades == {} and bench.desk.guard.mode is Mode.RUN


@pytest.mark.parametrize(("status", "quantity"), [(FILLED, "1"), (CANCELED, "0.5")])
def test_an_entry_whose_fills_come_late_gets_its_stop(status: OrderStatus, quantity: str) -> None:
    bench = Bench()
    entry = submits(bench.candle())[0]
    bench.wake(wakes(bench.order(entry, status, filled=quantity), "retry")[0])
    bench.later(600)
    late = bench.fill(entry, quantity=quantity)
    assert quantities(late, Purpose.STOP) == [Decimal(quantity)] and not submits(late, Purpose.EXIT)
    assert bench.desk.guard.mode is Mode.RUN


def test_a_person_who_flattens_does_not_wait_for_fills_that_are_missing() -> None:
    bench = Bench()
    entry = submits(bench.candle())[0]
    bench.wake(wakes(bench.order(entry, FILLED, filled="1"), "retry")[0])
    person(bench, "flatten")
    assert bench.desk.custody.trades == {}
    assert quantities(bench.fill(entry), Purpose.EXIT) == [Decimal(1)]  # and what comes after all is sold


def test_the_difference_is_gone_when_the_missing_fills_have_come_and_not_before() -> None:
    bench = Bench(Scripted(quantities=("2",)))
    _, stop = bench.opened()
    bench.script.verdict = {"action": Action.SCALE_DOWN, "quantity": Decimal(1), "risk": 0.5}
    part = submits(bench.mark(2010.0), Purpose.EXIT)[0]
    bench.script.verdict = {"action": Action.HOLD, "risk": 0.0}
    bench.wake(wakes(bench.order(part, FILLED, filled="1"), "retry")[0])
    assert f"difference:{SYMBOL}" in bench.desk.guard.latches
    bench.later(1)
    bench.fill(stop, quantity="1")  # of the 2 in our ledger the venue had 1: now it is flat, and we hold 1
    assert f"difference:{SYMBOL}" in bench.desk.guard.latches
    bench.fill(part)
    assert bench.desk.account().positions == () and f"difference:{SYMBOL}" not in bench.desk.guard.latches


def test_fills_from_before_a_snapshot_explain_its_difference_and_later_ones_do_not() -> None:
    bench = Bench()
    _, stop = bench.opened()
    flat = attrs.evolve(bench.desk.account(), positions=())
    fired = bench.now
    bench.later(5)
    said = bench.tell(VenueSnapshot(ts_event=bench.now, ts_seen=bench.now, account=flat, open_orders=()))
    assert alerts(said) == ["position.differs"]
    bench.later(7)
    bench.fill(stop, quantity="0.4", ts_ns=fired)
    bench.fill(stop, quantity="0.1")
    assert bench.desk.guard.mode is Mode.REDUCE
    bench.fill(stop, quantity="0.6", ts_ns=fired)
    assert f"difference:{SYMBOL}" not in bench.desk.guard.latches


def test_a_fill_of_a_trade_that_is_over_is_ours_and_is_sold() -> None:
    bench = Bench()
    (entry,) = submits(bench.candle())
    bench.wake(wakes(bench.order(entry, CANCELED, filled="0.5"), "retry")[0])
    agree(bench)
    late = bench.fill(entry, quantity="0.5")
    assert alerts(late) == ["fill.late"] and quantities(late) == [Decimal("0.5")]
    (exit_,) = submits(late, Purpose.EXIT)
    bench.fill(exit_)
    assert bench.desk.custody.trades == {} and bench.desk.records.trades[-1].exit_reason == "fill.late"


def test_of_a_late_fill_only_what_is_held_by_it_is_sold() -> None:
    bench = Bench()
    (entry,) = submits(bench.candle())
    told = wakes(bench.order(entry, CANCELED, filled="0.5"), "retry")[0]
    bench.fill(entry, quantity="0.2", client_order_id="autoclose-1", side=Side.SELL, liquidation=True)
    assert alerts(bench.wake(told)) == ["fills.missing"]
    assert alerts(agree(bench)) == ["position.unowned"]
    assert quantities(bench.fill(entry, quantity="0.5"), Purpose.EXIT) == [Decimal("0.3")]


def test_a_stop_placed_after_a_fill_that_never_came_has_a_deadline_of_its_own() -> None:
    bench = Bench()
    (entry,) = submits(bench.candle())
    answer = bench.fill(entry)
    missing = bench.order(submits(answer)[0], FILLED, filled="1")
    assert bench.wake(wakes(answer, "protect")[0]) == []  # all is sold, says the venue
    again = bench.wake(wakes(missing, "retry")[0])
    assert quantities(again, Purpose.STOP) == [Decimal(1)]
    assert quantities(bench.wake(wakes(again, "protect")[0]), Purpose.EXIT) == [Decimal(1)]


def test_a_late_fill_of_an_older_trade_is_sold_beside_the_new_one() -> None:
    bench = Bench()
    old = submits(bench.candle())[0]
    bench.order(old, REJECTED, "nobody knows it")
    bench.opened()
    late = bench.fill(old, quantity="0.5")
    assert alerts(late) == ["fill.late"]
    assert quantities(late, Purpose.EXIT) == [Decimal("0.5")]
    assert quantities(late, Purpose.STOP) == [Decimal("1.5")]
    kept = bench.fill(submits(late, Purpose.EXIT)[0])
    assert quantities(kept, Purpose.EXIT) == [] and bench.desk.account().positions[0].quantity == 1


def test_an_entry_that_traded_twice_is_sold_down_to_its_plan() -> None:
    bench = Bench()
    entry, _ = bench.opened()
    twice = bench.fill(entry)
    assert alerts(twice) == ["entry.overfilled"]
    assert quantities(twice, Purpose.EXIT) == [Decimal(1)] and quantities(twice, Purpose.STOP) == [Decimal(2)]


def test_what_the_venue_says_is_sold_is_not_sold_or_stopped_again() -> None:
    bench = Bench()
    _, stop = bench.opened()
    assert submits(bench.order(stop, FILLED, filled="1")) == []
    bench.fill(stop)
    _, stop = bench.opened()
    exit_, _ = closing(bench)
    assert submits(bench.order(exit_, FILLED, filled="1")) == []


# ---------------------------------------------------------------- what the venue refuses


def test_a_refused_stop_and_a_refused_exit_are_asked_again_by_a_wake() -> None:
    bench = Bench()
    (entry,) = submits(bench.candle())
    (stop,) = submits(bench.fill(entry))
    (exit_,) = submits(bench.order(stop, REJECTED, "would trigger"))
    refused = bench.order(exit_, REJECTED, "not now")
    assert alerts(refused) == ["exit.failed"] and submits(refused) == []
    (wake,) = wakes(refused, "retry")
    assert wake.ts_ns == bench.now + SECOND
    (exit_,) = submits(bench.wake(wake))
    assert exit_.intent.purpose is Purpose.EXIT
    assert quantities(bench.order(exit_, REJECTED, "not now"), Purpose.STOP) == [Decimal(1)]


def test_refused_exits_are_asked_again_ever_more_slowly() -> None:
    bench = Bench()
    bench.opened()
    (exit_,) = submits(person(bench, "flatten"))
    waits = []
    for _ in range(8):
        (wake,) = wakes(bench.order(exit_, REJECTED, "no"), "retry")
        waits.append((wake.ts_ns - bench.now) // SECOND)
        (exit_,) = submits(bench.wake(wake), Purpose.EXIT)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    bench.fill(exit_)
    assert bench.desk.account().positions == ()


def test_a_stop_that_the_venue_takes_away_again_waits_before_the_third() -> None:
    bench = Bench()
    _, stop = bench.opened()
    (second,) = submits(bench.order(stop, EXPIRED))
    bench.order(second, NEW)
    again = bench.order(second, EXPIRED)
    assert submits(again) == [] and alerts(again) == ["stop.lost"]
    (wake,) = wakes(again, "retry")
    assert submits(bench.wake(wake), Purpose.STOP)


def test_a_stop_lost_while_an_exit_works_is_placed_again_when_the_exit_fails() -> None:
    bench = Bench()
    _, stop = bench.opened()
    exit_, _ = closing(bench)
    assert submits(bench.order(stop, EXPIRED)) == []
    assert quantities(bench.order(exit_, REJECTED, "no"), Purpose.STOP) == [Decimal(1)]


def test_a_position_that_grew_and_whose_stop_was_refused_is_closed_whole() -> None:
    bench, limit, _, _ = in_parts()
    (larger,) = submits(bench.fill(limit, quantity="0.6"))
    assert quantities(bench.order(larger, REJECTED, "no"), Purpose.EXIT) == [Decimal(1)]


def test_the_part_that_came_later_has_a_deadline_of_its_own() -> None:
    bench, limit, _, _ = in_parts()
    bench.later(60)
    (deadline,) = wakes(bench.fill(limit, quantity="0.6"), "protect")
    closed = bench.wake(deadline)
    assert alerts(closed) == ["position.unprotected"] and quantities(closed, Purpose.EXIT) == [Decimal(1)]


def test_a_refused_move_is_given_up_and_not_tried_again() -> None:
    bench = Bench()
    bench.opened()
    bench.script.verdict = {"action": Action.MOVE_STOP, "new_stop": Decimal(1950), "risk": 0.1}
    bench.later(60)
    (new,) = submits(bench.mark(2050.0))
    assert wakes(bench.order(new, REJECTED, "no"), "retry") == []
    assert bench.desk.custody.trades[SYMBOL].wanted_stop == Decimal(1900)


def test_a_flatten_that_is_refused_goes_on_though_a_stop_rests_and_the_monitor_would_hold() -> None:
    bench = Bench()
    bench.opened()
    (exit_,) = submits(person(bench, "flatten"))
    (wake,) = wakes(bench.order(exit_, REJECTED, "no"), "retry")
    looks = len(bench.script.looks)
    bench.later(0.5)
    assert submits(bench.mark(2040.0)) == [] and len(bench.script.looks) == looks
    assert quantities(bench.wake(wake), Purpose.EXIT) == [Decimal(1)]


def test_a_flatten_waits_for_the_order_that_takes_profit_and_sells_the_rest() -> None:
    bench = Bench()
    bench.opened()
    bench.script.verdict = {"action": Action.TAKE_PROFIT, "quantity": Decimal("0.5"), "targets_hit": 1, "risk": 0.0}
    bench.later(60)
    (part,) = submits(bench.mark(2200.0))
    assert submits(person(bench, "flatten")) == []
    assert quantities(bench.fill(part), Purpose.EXIT) == [Decimal("0.5")]


def test_a_flatten_holds_for_an_entry_that_fills_before_its_cancel() -> None:
    bench = Bench()
    (entry,) = submits(bench.candle())
    assert cancels(person(bench, "flatten")) == [entry.intent.intent_id]
    assert quantities(bench.fill(entry), Purpose.EXIT) == [Decimal(1)]


# ---------------------------------------------------------------- cancels that are lost


def test_an_entry_past_its_time_is_cancelled_until_it_is_gone() -> None:
    bench = Bench(Scripted(limit="1990"))
    commands = bench.candle()
    (entry,) = submits(commands)
    bench.order(entry, NEW)
    first = bench.wake(wakes(commands, "entry")[0])
    bench.order(entry, NEW)  # somebody has looked: it still stands
    again = bench.wake(wakes(first, "retry")[0])
    assert cancels(first) == cancels(again) == [entry.intent.intent_id]
    assert alerts(again) == ["cancel.repeated"]
    bench.order(entry, CANCELED)
    assert bench.desk.custody.trades == {}


def test_a_leftover_stop_does_not_block_the_symbol_for_ever() -> None:
    bench = Bench()
    _, stop = bench.opened()
    exit_, _ = closing(bench)
    flat = bench.fill(exit_)
    waits = []
    for _ in range(5):
        (wake,) = wakes(flat, "retry")
        waits.append((wake.ts_ns - bench.now) // SECOND)
        flat = bench.wake(wake)
        assert cancels(flat) == [stop.intent.intent_id]
    assert waits == [5, 10, 20, 40, 60]


def test_a_cancel_sent_while_nobody_knew_the_order_is_sent_again_when_it_turns_up() -> None:
    bench = Bench()
    (entry,) = submits(bench.candle())
    bench.order(entry, OrderStatus.UNKNOWN)
    assert cancels(person(bench, "flatten")) == [entry.intent.intent_id]
    assert cancels(bench.order(entry, NEW)) == [entry.intent.intent_id]


def test_the_end_of_a_stop_that_was_called_back_is_no_loss() -> None:
    bench, limit, old, _ = in_parts()
    (larger,) = submits(bench.fill(limit, quantity="0.6"))
    assert cancels(bench.order(larger, NEW)) == [old.intent.intent_id]
    assert bench.order(old, CANCELED) == []


def test_a_stop_that_fills_in_parts_is_still_the_stop() -> None:
    bench = Bench()
    _, stop = bench.opened()
    assert submits(bench.fill(stop, quantity="0.3")) == []


# ---------------------------------------------------------------- halts


def test_a_halt_takes_back_the_entries_that_work_once() -> None:
    bench = Bench()
    (entry,) = submits(bench.candle())
    bench.order(entry, NEW)
    answer = person(bench, "halt")
    assert cancels(answer) == [entry.intent.intent_id] and not submits(answer)
    assert cancels(person(bench, "halt")) == []
    bench.order(entry, CANCELED)
    assert bench.desk.custody.trades == {}


def test_a_halt_leaves_the_stop_of_what_is_held() -> None:
    bench = Bench()
    bench.opened()
    answer = person(bench, "halt")
    assert not cancels(answer) and not submits(answer)


def test_a_position_that_a_halt_left_bare_is_protected_when_it_ends() -> None:
    bench = Bench()
    (entry,) = submits(bench.candle())
    person(bench, "halt")
    held_back = bench.fill(entry)
    assert submits(held_back) == [] and alerts(held_back) == ["order.withheld"]
    assert quantities(person(bench, "resume"), Purpose.STOP) == [Decimal(1)]


def test_a_deadline_that_passes_in_a_halt_is_judged_when_it_ends() -> None:
    bench = Bench()
    (entry,) = submits(bench.candle())
    answer = bench.fill(entry)
    person(bench, "halt")
    assert bench.wake(wakes(answer, "protect")[0]) == []
    assert quantities(person(bench, "resume"), Purpose.EXIT) == [Decimal(1)]


# ---------------------------------------------------------------- others in the account


def test_a_liquidation_while_an_exit_works_stays_the_reason() -> None:
    bench = Bench()
    entry, stop = bench.opened()
    exit_, _ = closing(bench)
    bench.fill(entry, "1500", client_order_id="autoclose-1", side=Side.SELL, liquidation=True)
    assert alerts(bench.order(exit_, REJECTED, "nothing to reduce")) == []
    bench.order(stop, EXPIRED)
    assert [t.exit_reason for t in bench.desk.records.trades] == ["liquidation"]


def test_a_person_who_sells_more_than_is_held_owns_the_rest() -> None:
    bench = Bench()
    entry, stop = bench.opened()
    bench.fill(entry, "2100", client_order_id="by-hand", side=Side.SELL, quantity="3")
    over = bench.order(stop, EXPIRED)
    assert alerts(over) == ["position.unowned"]
    (trade,) = bench.desk.records.trades
    assert (trade.quantity, trade.gross, trade.exit_reason) == (Decimal(1), Decimal(100), "foreign")
    assert bench.desk.account().positions[0].quantity == Decimal(-2)


def test_no_entry_on_top_of_a_position_that_nobody_here_owns() -> None:
    bench = Bench(Scripted())
    entry = submits(Bench().candle())[0]
    bench.fill(entry, client_order_id="by-hand")
    person(bench, "resume")
    assert submits(bench.candle()) == []
    assert [r.code for r in bench.desk.records.decisions[-1].reasons] == ["position.unowned"]
    bench.fill(entry, client_order_id="by-hand", side=Side.SELL)
    person(bench, "resume")
    assert submits(bench.candle(), Purpose.ENTRY)


def test_an_exit_is_not_larger_than_what_a_person_has_left() -> None:
    bench = Bench()
    entry, _ = bench.opened()
    smaller = bench.fill(entry, client_order_id="by-hand", side=Side.SELL, quantity="0.6")
    assert quantities(smaller, Purpose.STOP) == [Decimal("0.4")]
    exit_, _ = closing(bench)
    assert exit_.intent.request.quantity == Decimal("0.4")


# ---------------------------------------------------------------- waiting


def test_a_minute_without_a_failure_makes_waiting_begin_anew() -> None:
    backoff = Backoff(SECOND)
    for _ in range(4):
        backoff.tried(0)
    assert backoff.again_ns == 8 * SECOND and not backoff.due(8 * SECOND - 1)
    backoff.tried(8 * SECOND + 61 * SECOND)
    assert backoff.again_ns == 70 * SECOND
