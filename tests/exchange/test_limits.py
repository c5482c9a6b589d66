"""Budgets, pauses, bans and the venue's clock, against the venue's own counting rules."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares.errors import Retryable
from ares.exchange.limits import Limits, ServerClock
from ares.exchange.wire.market import RateLimit
from ares.exchange.wire.requests import cancel_order, new_order, read
from ares.orders import OrderRequest

S = 1_000_000_000
ENTRY = new_order(OrderRequest(symbol="X", side="BUY", order_type="MARKET", quantity=Decimal(1)), "a")
EXIT = new_order(
    OrderRequest(symbol="X", side="SELL", order_type="MARKET", quantity=Decimal(1), reduce_only=True), "b"
)
READ = read("/fapi/v1/aggTrades", symbol="X")  # weighs 20


def test_a_fifth_of_every_budget_is_kept_for_protection() -> None:
    limits = Limits()
    for _ in range(240):  # four fifths of 300 in 10 s
        limits.take(ENTRY, 0)
    with pytest.raises(Retryable) as caught:
        limits.take(ENTRY, 0)
    assert caught.value.after == 10.0
    for _ in range(60):
        limits.take(EXIT, 0)
    with pytest.raises(Retryable):
        limits.take(EXIT, 0)
    limits.take(ENTRY, 10 * S)  # the next window


def test_weight_is_kept_too_and_what_the_venue_counted_wins() -> None:
    limits = Limits()
    limits.heard({"x-mbx-used-weight-1m": "1915"}, 0)
    with pytest.raises(Retryable):
        limits.take(READ, 0)
    limits.take(cancel_order("X", 1, None), 0)
    limits.heard({"x-mbx-used-weight-1m": "3"}, 0)
    assert limits.weight.used == 1916
    limits.adopt([RateLimit(rate_limit_type="REQUEST_WEIGHT", interval="MINUTE", interval_num=1, limit=6000)])
    limits.take(READ, 0)


def test_a_pause_holds_reads_and_entries_but_not_protection() -> None:
    limits = Limits()
    limits.told_to_wait(5, 0, banned=False)
    for request in (READ, ENTRY):
        with pytest.raises(Retryable) as caught:
            limits.take(request, 2 * S)
        assert caught.value.after == 3.0
    limits.take(EXIT, 2 * S)
    limits.take(READ, 5 * S)


def test_a_ban_holds_everything() -> None:
    limits = Limits()
    limits.told_to_wait(120, 0, banned=True)
    with pytest.raises(Retryable) as caught:
        limits.take(EXIT, 60 * S)
    assert caught.value.after == 60.0 and caught.value.facts["banned"] is True
    assert limits.status(60 * S)["banned_seconds"] == 60.0


@given(
    st.integers(-(10**12), 10**12),
    st.lists(st.tuples(st.integers(0, 50_000_000), st.integers(0, 2_000_000_000)), min_size=5, max_size=9),
)
def test_the_offset_is_found_within_half_of_a_quick_round_trip(offset: int, probes: list[tuple[int, int]]) -> None:
    """Whatever share of the round trip is the way there: the truth lies within half the trip of each probe."""
    clock = ServerClock()
    for i, (there, back) in enumerate(probes):
        sent = (i + 1) * 10 * S
        clock.heard(sent, sent + there + back, sent + there + offset)
    worst_of_quickest = sorted(there + back for there, back in probes)[2]
    assert abs(clock.offset_ns - offset) <= worst_of_quickest / 2 + 1
