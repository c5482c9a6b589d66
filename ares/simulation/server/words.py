"""How the real venue words its refusals."""

from __future__ import annotations

from ares.errors import Rejected

__all__ = ["worded"]

_WORDS = {
    -1111: "Precision is over the maximum defined for this asset.",
    -1121: "Invalid symbol.",
    -2011: "Unknown order sent.",
    -2013: "Order does not exist.",
    -2019: "Margin is insufficient.",
    -2021: "Order would immediately trigger.",
    -2022: "ReduceOnly Order is rejected.",
    -2027: "Exceeded the maximum allowable position at current leverage.",
    -4014: "Price not increased by tick size.",
    -4116: "ClientOrderId is duplicated.",
    -4161: "Leverage reduction is not supported in Isolated Margin Mode with open positions.",
    -4164: "Order's notional must be no smaller than the minimum (unless you choose reduce only).",
    -5022: "Due to the order could not be executed as maker, the Post Only order will be rejected.",
    -5027: "No need to modify the order.",
}
"""Other people's clients tell refusals apart by the venue's exact words."""


def worded(error: Rejected) -> tuple[int, str]:
    """Code and text of a refusal."""
    code = error.code or -1000
    return code, _WORDS.get(code, error.message)
