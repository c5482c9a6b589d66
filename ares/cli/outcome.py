"""What a command answers: the figures of a result, for machines as one object, for people as a summary."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from ares.cli.screen import print_json, print_summary

if TYPE_CHECKING:
    from ares.backtesting.result import BacktestResult

__all__ = ["describe", "show"]


def describe(result: BacktestResult, **more: object) -> dict[str, Any]:
    """The result as plain values.

    `funding` is what was booked: 0.0 also when the data hold no funding, and then `funding_in_data` is false.
    """
    from ares.backtesting.result import refused_by

    values = result.summary()
    funding = values.pop("funding")
    refusals = Counter(code for decision in result.records.decisions if (code := refused_by(decision)) is not None)
    return {
        **values,
        "funding": funding or 0.0,
        "funding_in_data": funding is not None,
        "exits": dict(Counter(trade.exit_reason for trade in result.records.trades).most_common()),
        "refusals": dict(refusals.most_common()),
        **more,
    }


def show(values: dict[str, Any], *, as_json: bool) -> None:
    """The values on standard output."""
    if as_json:
        print_json(values)
    else:
        print_summary(values)
