"""Order requests: what they take, what they make of it, what they refuse."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from ares.errors import InvalidInput
from ares.events import Intent, Purpose, Submit, decode_command, encode
from ares.orders import OrderRequest, OrderType, TimeInForce


def limit(**changes: Any) -> OrderRequest:
    given = {"symbol": "ETHUSDT", "side": "buy", "order_type": "limit", "quantity": Decimal(1), "price": Decimal(2)}
    return OrderRequest(**{**given, **changes})


@pytest.mark.parametrize("value", list(TimeInForce))
def test_names_become_the_values_they_name(value: TimeInForce) -> None:
    for written in (value, value.value, value.value.lower()):
        made = limit(time_in_force=written)
        assert made.time_in_force is value
        assert made.order_type is OrderType.LIMIT
        assert made == limit(time_in_force=value)
    assert limit().time_in_force is None


@pytest.mark.parametrize(
    ("field", "wrong", "told"),
    [
        ("time_in_force", "GTX2", "unknown time in force 'GTX2'; did you mean 'GTX'"),
        ("time_in_force", "good till cancelled", "Valid: FOK, GTC, GTX, IOC"),
        ("time_in_force", 5, "unknown time in force '5'"),
        ("order_type", "LIMITT", "unknown order type 'LIMITT'; did you mean 'LIMIT'"),
        ("order_type", 5, "unknown order type '5'"),
    ],
)
def test_what_names_nothing_is_refused_with_the_nearest_name(field: str, wrong: Any, told: str) -> None:
    with pytest.raises(InvalidInput, match=told.replace("?", "[?]")):
        limit(**{field: wrong})


@pytest.mark.parametrize("force", [None, "ioc"])
def test_a_request_survives_the_journal(force: str | None) -> None:
    sent = Submit(intent=Intent(intent_id="a", trade_id="a", purpose=Purpose.ENTRY, request=limit(time_in_force=force)))
    assert decode_command(encode(sent)) == sent
