"""What became of an order whose answer was lost: only the venue's own word counts."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from ares.clock import VirtualClock
from ares.errors import AresError, DataError, NotAuthorized, OutcomeUnknown, Rejected, Retryable
from ares.pipeline.recovery import resolved
from ares.protocols import Trading

SECOND = 1_000_000_000
DENIED = Rejected("Order does not exist.", code=-2013)


class Venue:
    """Answers each read by the next of a list, the last one for ever; remembers when it was asked."""

    def __init__(self, clock: VirtualClock, *answers: object) -> None:
        self.clock, self.answers, self.asked = clock, list(answers), []

    async def get_order(self, symbol: str, *, client_order_id: str) -> Any:
        self.asked.append(self.clock.now_ns() / SECOND)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def ask(*answers: object, sent_ns: int | None = None) -> tuple[Any, list[float]]:
    clock = VirtualClock(0)
    venue = Venue(clock, *answers)

    async def run() -> Any:
        async def time() -> None:
            while True:
                await asyncio.sleep(0)
                await clock.advance_to(clock.now_ns() + SECOND // 2)

        passing = asyncio.ensure_future(time())
        try:
            return await resolved(cast(Trading, venue), "ETHUSDT", "c1", clock, sent_ns)
        finally:
            passing.cancel()

    return asyncio.run(asyncio.wait_for(run(), 120)), venue.asked


@pytest.mark.parametrize("code", [-2013, -2011, None, 51603, 10001, -2012])
def test_denied_twice_and_late_enough_is_absent_whatever_the_venues_code_for_it(code: int | None) -> None:
    order, asked = ask(Rejected("unknown order", code=code))
    assert order is None and len(asked) == 2 and asked[0] < 1.0 and asked[1] >= 20.0


@pytest.mark.parametrize(
    "error",
    [Retryable("banned"), OutcomeUnknown("timed out"), DataError("html"), NotAuthorized("key"),
     Rejected("x", code=-1), Rejected("x", code=-1000), Rejected("x", code=-1121)],
)  # fmt: skip
def test_a_read_that_fails_is_no_answer(error: AresError) -> None:
    order, asked = ask(error, error, error, error, error, error, DENIED, DENIED)
    assert order is None
    assert len(asked) == 8 and asked[6] > 30.0  # six failures, then the venue's word, twice
    gaps = [b - a for a, b in zip(asked, asked[1:], strict=False)]
    assert gaps[:4] == sorted(gaps[:4]) and gaps[0] >= 1.0


def test_a_denial_before_the_proof_and_a_failure_after_it_prove_nothing() -> None:
    _, asked = ask(DENIED, Retryable("cannot connect"), Retryable("cannot connect"), DENIED)
    assert len(asked) == 4


@pytest.mark.parametrize("hours", [-1, 1])
def test_an_order_dated_by_a_clock_that_was_wrong_is_given_up_as_soon_as_ever(hours: int) -> None:
    """Nothing was sent later than now, whatever the journal of a machine says whose clock was ahead."""
    order, asked = ask(DENIED, sent_ns=hours * 3600 * SECOND)
    assert order is None and len(asked) == 2 and asked[1] <= 21.0
