"""Funding payments over a venue that answers as its pages are documented: each is told once, none is left out."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from ares.clock import VirtualClock
from ares.events import Funding
from ares.exchange import payments as module
from ares.exchange.limits import ServerClock
from ares.exchange.looking import look_unless
from ares.exchange.payments import Payments
from ares.exchange.wire.account import Income
from ares.exchange.wire.market import FundingRow

S, T0, HOUR, DAY = "ETHUSDT", 1_700_000_000_000, 3_600_000, 86_400_000


def paid(number: int, at: int, amount: str = "-0.25") -> Income:
    row = {"symbol": S, "incomeType": "FUNDING_FEE", "income": amount, "asset": "USDT", "time": at, "tranId": number}
    return msgspec.convert(row, Income)


class Rest:
    """Income of a window, the newest of it when there is more than one answer holds; rates as they were settled."""

    def __init__(self, *rows: Income) -> None:
        self.time, self.rows, self.asked = ServerClock(), list(rows), 0
        self.rates: dict[int, str] | None = None  # None: every time has one
        self.hangs = False

    async def read(self, request: Any, kind: Any) -> Any:
        if self.hangs:
            await asyncio.Event().wait()
        given = dict(request.params)
        start, end, limit = (int(given[name]) for name in ("startTime", "endTime", "limit"))
        if kind == list[Income]:
            self.asked += 1
            assert end - start <= 7 * DAY
            return [r for r in self.rows if start <= r.time <= end][-limit:]
        rates = {r.time: "0.0001" for r in self.rows} if self.rates is None else self.rates
        found = [
            {"symbol": S, "fundingRate": rate, "fundingTime": at, "markPrice": "2000"}
            for at, rate in rates.items()
            if start <= at <= end
        ]
        return msgspec.convert(found[:limit], list[FundingRow])


class Case:
    def __init__(self, rest: Rest, told: set[tuple[str, int]] | None = None, until_ms: int = 0) -> None:
        self.clock = VirtualClock(T0 * 1_000_000)
        self.payments = Payments(rest, self.clock, told or (), until_ms * 1_000_000)  # type: ignore[arg-type]
        self.told: list[Funding] = []

    def later(self, ms: int) -> None:
        self.clock.set_to(self.clock.now_ns() + ms * 1_000_000)

    async def audit(self, *, missed: bool = False) -> list[int]:
        """Ids are the cents that were paid."""
        before = len(self.told)
        await self.payments.audit(self.told.append, missed=missed)
        return [int(-100 * (f.amount or 0)) for f in self.told[before:]]


def numbered(number: int, at: int) -> Income:
    return paid(number, at, str(Decimal(-number) / 100))


async def test_a_payment_is_told_once_with_the_rate_of_its_hour() -> None:
    rest = Rest()
    case = Case(rest)
    case.later(HOUR)
    rest.rows = [paid(1, T0 + HOUR)]
    rest.rates = {T0 - 7 * HOUR: "0.9", T0 + HOUR: "0.0003"}
    await case.payments.announced(case.told.append)
    await case.payments.announced(case.told.append)
    (told,) = case.told
    assert (told.rate, told.amount, told.mark_price) == (Decimal("0.0003"), Decimal("-0.25"), 2000.0)
    assert told.ts_event == (T0 + HOUR) * 1_000_000


async def test_an_announcement_before_its_rows_is_read_at_the_next_audit() -> None:
    rest = Rest()
    case = Case(rest)
    await case.payments.announced(case.told.append)
    rest.rows = [numbered(1, T0)]
    assert await case.audit() == [1]
    asked = rest.asked
    assert await case.audit() == [] and rest.asked == asked  # nothing is owed any more


async def test_without_an_announcement_income_is_read_hourly() -> None:
    rest = Rest()
    case = Case(rest)
    assert await case.audit() == [] and rest.asked == 0
    case.later(HOUR + 1)
    rest.rows = [numbered(1, T0 + HOUR)]
    assert await case.audit() == [1]


async def test_what_was_paid_while_the_link_was_down_is_told() -> None:
    rest = Rest()
    case = Case(rest)
    case.later(20 * 60_000)
    rest.rows = [numbered(1, T0 + 60_000)]
    assert await case.audit() == []
    assert await case.audit(missed=True) == [1]


async def test_a_look_after_a_break_that_gives_way_to_a_report_is_made_again() -> None:
    rest = Rest(numbered(1, T0 + 60_000))
    case = Case(rest)
    case.later(20 * 60_000)
    rest.hangs = True
    assert not await look_unless(lambda: True, case.payments.audit(case.told.append, missed=True))
    rest.hangs = False
    assert await case.audit() == [1] and await case.audit() == []


@pytest.mark.parametrize("away", [HOUR, 9 * DAY, 60 * DAY])
async def test_a_restart_tells_what_was_paid_meanwhile_and_nothing_again(away: int) -> None:
    until = T0 - away
    old, fresh = [numbered(1, until - 100), numbered(2, until)], [numbered(3, until + 1), numbered(4, T0 - 1)]
    case = Case(Rest(*old, *fresh), {(S, row.time * 1_000_000) for row in old}, until)
    assert await case.audit() == [3, 4]
    assert await case.audit(missed=True) == []


async def test_a_first_session_leaves_earlier_payments_alone() -> None:
    case = Case(Rest(numbered(1, T0 - 1000), numbered(2, T0 + 1000)))
    case.later(2000)
    assert await case.audit(missed=True) == [2]


async def test_more_payments_than_one_answer_holds_are_all_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 10)
    rows = [numbered(n, T0 - DAY + n * 60_000) for n in range(1, 58)]
    case = Case(Rest(*rows), None, T0 - 2 * DAY)
    assert await case.audit() == list(range(1, 58))


async def test_a_payment_waits_for_its_rate_but_not_for_ever() -> None:
    rest = Rest()
    case = Case(rest)
    case.later(HOUR)
    rest.rows, rest.rates = [numbered(1, T0 + HOUR)], {}
    await case.payments.announced(case.told.append)
    assert case.told == [] and await case.audit() == []
    case.later(600_000)
    assert await case.audit() == [1]
    assert case.told[0].rate.is_nan()
