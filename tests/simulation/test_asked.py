"""The local venue takes numbers as the real one does: ASCII digits, and not too many."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ares.errors import Rejected
from ares.simulation.server.asked import decimal_of
from ares.simulation.server.calls import Call


def asked(text: str) -> Decimal | None:
    return decimal_of(Call(method="POST", path="/", params={"quantity": text}, now_ns=0, trader=None), "quantity")


@pytest.mark.parametrize("text", ["\uff11", "1_0", " 2 ", "1e3", "NaN", "Infinity", "-1", "+1", ".", "1\n", "0x10"])
def test_what_is_no_plain_number_is_refused(text: str) -> None:
    with pytest.raises(Rejected) as caught:
        asked(text)
    assert caught.value.code == -1100


@pytest.mark.parametrize("text", ["9" * 20, "0." + "1" * 40, "9" * 400])
def test_too_many_digits_are_refused(text: str) -> None:
    with pytest.raises(Rejected) as caught:
        asked(text)
    assert caught.value.code == -1111


@pytest.mark.parametrize("text", ["0", "2", "0.001", ".5", "5.", "65000.10"])
def test_plain_numbers_are_exact(text: str) -> None:
    assert asked(text) == Decimal(text)
