"""How much a client may ask: request weight by address and orders by account, counted as the real venue counts."""

from __future__ import annotations

from collections import defaultdict

from attrs import define, field

from ares.errors import Retryable

__all__ = ["MOST_CONDITIONAL", "MOST_ORDERS", "ORDER_PATHS", "RequestLimits", "weight_of"]

MOST_ORDERS = 200
"""Open orders of the engine, for each account and symbol."""
MOST_CONDITIONAL = 10
"""Open conditional orders, for each account and symbol."""

_MINUTE_NS = 60_000_000_000
_WEIGHTS = {
    "/fapi/v1/aggTrades": 20,
    "/fapi/v1/trades": 5,
    "/fapi/v1/historicalTrades": 200,
    "/fapi/v1/constituents": 2,
    "/fapi/v1/forceOrders": 20,
    "/fapi/v1/fundingRate": 0,
    "/fapi/v1/fundingInfo": 0,
    "/fapi/v1/ticker/bookTicker": 2,
    "/fapi/v1/countdownCancelAll": 10,
    "/fapi/v1/income": 30,
    "/fapi/v1/commissionRate": 20,
    "/fapi/v1/positionSide/dual": 30,
    "/fapi/v1/multiAssetsMargin": 30,
}
_FIVE = {
    "/fapi/v1/allOrders",
    "/fapi/v1/allAlgoOrders",
    "/fapi/v1/userTrades",
    "/fapi/v1/accountConfig",
    "/fapi/v1/adlQuantile",
    "/fapi/v1/symbolConfig",
    "/fapi/v2/account",
    "/fapi/v3/account",
    "/fapi/v2/balance",
    "/fapi/v3/balance",
    "/fapi/v2/positionRisk",
    "/fapi/v3/positionRisk",
}
_WITHOUT_SYMBOL = {
    "/fapi/v1/openOrders": 40,
    "/fapi/v1/openAlgoOrders": 40,
    "/fapi/v1/premiumIndex": 10,
    "/fapi/v1/ticker/24hr": 40,
    "/fapi/v1/ticker/price": 2,
    "/fapi/v2/ticker/price": 2,
    "/fapi/v1/ticker/bookTicker": 5,
    "/fapi/v1/forceOrders": 50,
    "/fapi/v1/apiTradingStatus": 10,
    "/fapi/v1/assetIndex": 10,
}
ORDER_PATHS = {"/fapi/v1/order": 1, "/fapi/v1/algoOrder": 1, "/fapi/v1/batchOrders": 5}
"""Paths that count orders when they are POSTed or PUT, and how many on the ten-second counter."""


def weight_of(method: str, path: str, params: dict[str, str]) -> int:
    """What a request costs its address."""
    if path in ORDER_PATHS and method in ("POST", "PUT"):
        return 5 if path.endswith("batchOrders") else 0
    if path.startswith("/futures/data/"):
        return 0
    if path in ("/fapi/v1/depth", "/fapi/v1/rpiDepth"):
        size = _rows(params)
        return 2 if size <= 50 else 5 if size <= 100 else 10 if size <= 500 else 20
    if path.endswith("lines"):
        size = _rows(params)
        return 1 if size < 100 else 2 if size < 500 else 5 if size <= 1000 else 10
    if path in _WITHOUT_SYMBOL and "symbol" not in params:
        return _WITHOUT_SYMBOL[path]
    return 5 if path in _FIVE else _WEIGHTS.get(path, 1)


def _rows(params: dict[str, str]) -> int:
    """How many rows are asked for, as far as that can be read."""
    text = params.get("limit", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 500


@define
class RequestLimits:
    """Counters of one venue. Raise the limits for load tests; the venue announces what is set here."""

    weight_per_minute: int = 2400
    orders_per_10s: int = 300
    orders_per_minute: int = 1200
    _weight: dict[str, tuple[int, int]] = field(factory=dict)  # address -> window, used
    _strikes: dict[str, int] = field(factory=lambda: defaultdict(int))
    _banned: dict[str, int] = field(factory=dict)  # address -> until, ns
    _orders: dict[tuple[str, int], tuple[int, int]] = field(factory=dict)  # account and seconds -> window, used

    def charge(self, address: str, weight: int, now_ns: int) -> int:
        """Count a request; the address's weight in this minute.

        Raises: Retryable with `status` 429 beyond the limit, 418 for an address that goes on all the same.
        """
        until = self._banned.get(address, 0)
        if now_ns < until:
            raise Retryable("banned", after=(until - now_ns) / 1e9, status=418, until_ms=until // 1_000_000)
        window = now_ns // _MINUTE_NS
        seen, used = self._weight.get(address, (window, 0))
        used = weight if seen != window else used + weight
        self._weight[address] = (window, used)
        if used > self.weight_per_minute:
            self._strikes[address] += 1
            left = (_MINUTE_NS - now_ns % _MINUTE_NS) / 1e9
            if self._strikes[address] > 10:
                self._banned[address] = now_ns + 2 * _MINUTE_NS
            raise Retryable("too many requests", after=left, status=429, used=used)
        return used

    def order(self, account: str, tens: int, now_ns: int) -> dict[str, int]:
        """Count orders of an account; the counters. Raises Retryable with `code` -1015 beyond a limit."""
        counts = {}
        for seconds, limit, units in ((10, self.orders_per_10s, tens), (60, self.orders_per_minute, 1)):
            window = now_ns // (seconds * 1_000_000_000)
            seen, used = self._orders.get((account, seconds), (window, 0))
            used = units if seen != window else used + units
            if used > limit:
                left = (seconds * 1_000_000_000 - now_ns % (seconds * 1_000_000_000)) / 1e9
                raise Retryable("Too many new orders", after=left, status=429, code=-1015)
            self._orders[(account, seconds)] = (window, used)
            counts[f"x-mbx-order-count-{'10s' if seconds == 10 else '1m'}"] = used
        return counts
