"""Order lifecycle: forward only, each fill once, ids that never repeat."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares.errors import InvalidInput
from ares.events import Intent, Purpose
from ares.instruments import Side
from ares.orders import NEXT_STATUS, Fill, Order, OrderRequest, OrderStatus, OrderType
from ares.pipeline.execution import IntentBook, client_order_id, intent_of


def intent(number: int = 0, quantity: str = "2") -> Intent:
    request = OrderRequest(
        symbol="ETHUSDT", side=Side.BUY, order_type=OrderType.MARKET, quantity=Decimal(quantity)
    )
    return Intent(intent_id=f"ETHUSDT-7-{number}", trade_id="ETHUSDT-7-0", purpose=Purpose.ENTRY, request=request)


def order(status: OrderStatus, updated_ns: int, filled: str = "0", number: int = 0) -> Order:
    return Order(
        order_id=str(number),
        client_order_id=client_order_id(f"ETHUSDT-7-{number}", 1),
        symbol="ETHUSDT",
        side=Side.BUY,
        order_type=OrderType.MARKET,
        quantity=Decimal(2),
        status=status,
        filled=Decimal(filled),
        updated_ns=updated_ns,
    )


def fill(trade_id: str, quantity: str) -> Fill:
    return Fill(
        symbol="ETHUSDT",
        trade_id=trade_id,
        order_id="0",
        client_order_id=client_order_id("ETHUSDT-7-0", 1),
        side=Side.BUY,
        price=Decimal(100),
        quantity=Decimal(quantity),
        fee=Decimal(0),
        maker=False,
        ts_ns=1,
    )


@given(st.integers(1, 999), st.integers(0, 10**9), st.integers(0, 20))
def test_a_client_order_id_leads_back_to_its_intent(incarnation: int, seq: int, ordinal: int) -> None:
    made = f"ETHUSDT-{seq}-{ordinal}"
    assert intent_of(client_order_id(made, incarnation)) == made


def test_a_client_order_id_fits_the_venue() -> None:
    with pytest.raises(InvalidInput, match="36"):
        client_order_id("X" * 40, 1)


def test_a_foreign_order_is_nobodys() -> None:
    assert intent_of("web_1234") is None
    assert IntentBook().reported(order(OrderStatus.NEW, 1)) is None


@given(st.lists(st.tuples(st.sampled_from(list(OrderStatus)), st.integers(0, 5)), max_size=30))
def test_reports_in_any_order_move_an_intent_forward_only(reports: list[tuple[OrderStatus, int]]) -> None:
    book = IntentBook()
    state = book.register(intent(), 0)
    seen = [state.status]
    for status, when in reports:
        book.reported(order(status, when))
        seen.append(state.status)
    for before, after in zip(seen, seen[1:], strict=False):
        assert after is before or after in NEXT_STATUS[before]


def test_an_older_report_changes_nothing() -> None:
    book = IntentBook()
    state = book.register(intent(), 0)
    book.reported(order(OrderStatus.NEW, 5))
    assert book.reported(order(OrderStatus.CANCELED, 4)) is None
    assert state.status is OrderStatus.NEW


@given(st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=20))
def test_a_fill_counts_once_however_often_it_is_told(trades: list[str]) -> None:
    book = IntentBook()
    state = book.register(intent(quantity="4"), 0)
    for trade in trades:
        book.filled(fill(trade, "1"))
    assert state.filled == len(set(trades))
    assert (state.status is OrderStatus.FILLED) == (len(set(trades)) == 4)


def test_an_intent_id_is_used_once() -> None:
    book = IntentBook()
    book.register(intent(), 0)
    with pytest.raises(InvalidInput, match="exists"):
        book.register(intent(), 1)


def test_an_unknown_outcome_stays_open_until_resolved() -> None:
    book = IntentBook()
    state = book.register(intent(), 0)
    book.reported(order(OrderStatus.UNKNOWN, 1))
    assert state.open and book.unresolved() == [state]
    book.reported(order(OrderStatus.FILLED, 2, filled="2"))
    assert not state.open and book.unresolved() == []


@pytest.mark.parametrize("status", [OrderStatus.NEW, OrderStatus.FILLED, OrderStatus.CANCELED])
def test_the_venues_word_counts_though_ours_is_younger(status: OrderStatus) -> None:
    """A lost answer is noticed after the venue has executed the order: its report bears the earlier time."""
    book = IntentBook()
    book.register(intent(), 0)
    book.reported(order(OrderStatus.UNKNOWN, updated_ns=30))
    state = book.reported(order(status, updated_ns=1))
    assert state is not None and state.status is status
