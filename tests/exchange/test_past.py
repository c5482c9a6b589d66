"""What a journal says of an earlier session: until when it heard, whatever clock the machine had."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ares.clock import VirtualClock
from ares.events import CandleClosed, Event, Funding, LinkChanged, MarkPrice, OperatorOrder, Wake
from ares.exchange.conditionals import Conditionals
from ares.exchange.limits import ServerClock
from ares.exchange.past import Past
from ares.exchange.payments import Payments
from ares.market import Candle

HOUR = 3_600_000_000_000
T0 = 480_000 * HOUR


def mark(ts: int) -> Event:
    return MarkPrice(ts_event=ts, ts_seen=ts, symbol="ETHUSDT", price=2000.0)


def wake(ts: int) -> Event:
    return Wake(ts_event=ts, ts_seen=ts, key="look:ETHUSDT")


def bar(close: int, *, history: bool) -> Event:
    candle = Candle(symbol="ETHUSDT", interval="1h", open_ns=close - HOUR, close_ns=close, open=1.0, high=1.0, low=1.0,
                    close=1.0, volume=1.0)  # fmt: skip
    return CandleClosed(ts_event=close, ts_seen=close, candle=candle, history=history)


def paid(ts: int) -> Event:
    return Funding(ts_event=ts, ts_seen=ts, symbol="ETHUSDT", rate=Decimal("0.0001"), mark_price=2000.0,
                   amount=Decimal("-0.1"))  # fmt: skip


def read(*events: Event) -> Past:
    past = Past()
    for event in events:
        past.read(event, Conditionals())
    return past


@pytest.mark.parametrize("wrong", [-5 * HOUR, 0, 5 * HOUR])
def test_a_machine_whose_clock_was_wrong_hides_no_time_in_which_nobody_listened(wrong: int) -> None:
    began = OperatorOrder(ts_event=T0 + wrong, ts_seen=T0 + wrong, action="start")
    lost = LinkChanged(ts_event=T0 + wrong, ts_seen=T0 + wrong, link="account", up=False)
    assert read(began, mark(T0), wake(T0 + wrong + 10), lost).until_ns == T0
    assert read(began, mark(T0), mark(T0 - 1), mark(T0 + 7), wake(T0 + wrong)).until_ns == T0 + 7
    assert read(began, wake(T0 + wrong + 1)).until_ns == T0 + wrong + 1  # better than nothing


@pytest.mark.parametrize("behind", [0, 3 * HOUR])
async def test_funding_is_read_from_then_on_though_our_clock_is_behind_now(behind: int) -> None:
    asked: list[dict[str, str]] = []

    class Rest:
        time = ServerClock(offset_ns=behind)

        async def read(self, request: object, kind: object) -> list[object]:
            asked.append(dict(request.params))  # type: ignore[attr-defined]
            return []

    now = VirtualClock(T0 + 2 * HOUR - behind)
    payments = Payments(Rest(), now, (), read(mark(T0)).paid_ns)  # type: ignore[arg-type]
    await payments.audit(lambda event: None, missed=False)
    assert int(asked[0]["startTime"]) <= T0 // 1_000_000 < (T0 + 2 * HOUR) // 1_000_000 <= int(asked[0]["endTime"])


def test_a_session_that_heard_the_market_and_died_before_its_account_hides_nothing_from_the_next_one() -> None:
    first = [bar(T0 - HOUR, history=True), mark(T0), bar(T0 + HOUR, history=False)]
    second = [bar(T0 + hour * HOUR, history=True) for hour in range(2, 9)] + [mark(T0 + 9 * HOUR)]
    assert read(*first, *second).since_ns == T0, "a fill of an order of ours that is not told yet may be as old"
    assert read(*first, *second).paid_ns == T0
    assert read(*first, paid(T0 + 5 * HOUR), *second).paid_ns == T0 + 4 * HOUR, "others of its hour may be missing"
    assert read(*first, paid(T0 + HOUR // 2), *second).paid_ns == T0, "what was paid before is in the first balance"
    assert read(wake(T0 + 5)).since_ns == T0 + 5 and read().since_ns == read().paid_ns == 0
