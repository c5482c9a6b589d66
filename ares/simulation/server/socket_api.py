"""Requests over a WebSocket: the same questions as by REST, signed over their sorted parameters."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from ares.errors import Rejected
from ares.exchange.wire.numbers import MS
from ares.simulation.faults import FaultKind
from ares.simulation.server.front import Asked, Front, Response, check_signature
from ares.simulation.server.local_venue import LocalVenue
from ares.simulation.server.words import worded

__all__ = ["SocketApi"]

_METHODS = {
    "depth": ("GET", "/fapi/v1/depth"),
    "ticker.price": ("GET", "/fapi/v2/ticker/price"),
    "ticker.book": ("GET", "/fapi/v1/ticker/bookTicker"),
    "order.place": ("POST", "/fapi/v1/order"),
    "order.modify": ("PUT", "/fapi/v1/order"),
    "order.cancel": ("DELETE", "/fapi/v1/order"),
    "order.status": ("GET", "/fapi/v1/order"),
    "algoOrder.place": ("POST", "/fapi/v1/algoOrder"),
    "algoOrder.cancel": ("DELETE", "/fapi/v1/algoOrder"),
    "account.balance": ("GET", "/fapi/v2/balance"),
    "v2/account.balance": ("GET", "/fapi/v3/balance"),
    "account.status": ("GET", "/fapi/v2/account"),
    "v2/account.status": ("GET", "/fapi/v3/account"),
    "account.position": ("GET", "/fapi/v2/positionRisk"),
    "v2/account.position": ("GET", "/fapi/v3/positionRisk"),
    "userDataStream.start": ("POST", "/fapi/v1/listenKey"),
    "userDataStream.ping": ("PUT", "/fapi/v1/listenKey"),
    "userDataStream.stop": ("DELETE", "/fapi/v1/listenKey"),
}
_HANDSHAKE = 5  # request weight of a connection
_COUNTERS = {  # header of REST -> type, unit, number
    "x-mbx-used-weight-1m": ("REQUEST_WEIGHT", "MINUTE", 1),
    "x-mbx-order-count-10s": ("ORDERS", "SECOND", 10),
    "x-mbx-order-count-1m": ("ORDERS", "MINUTE", 1),
}


class SocketApi:
    """One connection."""

    def __init__(self, venue: LocalVenue, address: str, *, tells_limits: bool = True) -> None:
        """tells_limits: what was used stands in every answer, unless a request says otherwise.

        Raises: Retryable when the address has no weight left for a connection.
        """
        venue.limits.charge(address, _HANDSHAKE, venue.now_ns())
        self._venue, self._front, self._address = venue, Front(venue), address
        self._tells = tells_limits
        self._key, self._since_ms, self._begun_ms = "", 0, venue.now_ns() // MS

    def asked(self, text: str) -> bytes | None:
        """The answer to one message; empty: none comes; None: the connection breaks."""
        try:
            message = json.loads(text, parse_int=str, parse_float=str)  # numbers are signed as they were written
            method, params = message["method"], message.get("params") or {}
            flat = {name: _text(value) for name, value in params.items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return _error(None, 400, -1102, "The message is no request.")
        number = _id_of(text)
        if not isinstance(method, str):
            return _error(number, 400, -1102, "The message is no request.")
        tells = flat.pop("returnRateLimits", "").lower() != "false" and self._tells
        signed = {k: _text(v) for k, v in params.items() if k != "signature"}
        payload = "&".join(f"{k}={signed[k]}" for k in sorted(signed)).encode()
        key = flat.pop("apiKey", "") or self._key
        trusted = bool(self._key) and key == self._key and "signature" not in flat
        verb, path = _METHODS.get(method, ("", ""))
        asked = Asked(verb, path, flat, key, payload, trusted=trusted)
        if method.startswith("session."):
            return self._session(method.removeprefix("session."), asked, number)
        if not verb:
            return _error(number, 400, -1020, f"This operation is not supported: {method[:60]}")
        return self._wrapped(self._front.answer(asked, self._address), number, tells=tells)

    def _session(self, verb: str, asked: Asked, number: Any) -> bytes:
        """Bind a key to the connection, say which one is bound, or let it go."""
        now = self._venue.now_ns()
        if verb == "logon":
            try:
                check_signature(asked, self._front.trader_of(asked), now)
            except Rejected as error:
                status = error.facts.get("status", 400)
                return _error(number, status if isinstance(status, int) else 400, *worded(error))
            self._key, self._since_ms = asked.key, now // MS
        elif verb == "logout":
            self._key, self._since_ms = "", 0
        elif verb != "status":
            return _error(number, 400, -1020, f"This operation is not supported: session.{verb[:60]}")
        session = {"apiKey": self._key or None, "authorizedSince": self._since_ms or None,
                   "connectedSince": self._begun_ms, "returnRateLimits": self._tells,
                   "serverTime": now // MS}  # fmt: skip
        return msgspec.json.encode({"id": number, "status": 200, "result": session})

    def _wrapped(self, answer: Response, number: Any, *, tells: bool) -> bytes | None:
        """An answer of REST as a message, spoiled by its fault."""
        fault = answer.fault.kind if answer.fault is not None else None
        if fault is FaultKind.DROPPED:
            return None
        if fault is FaultKind.TIMEOUT_AFTER_ACCEPTANCE:
            return b""
        part = "result" if answer.status == 200 else "error"
        message: dict[str, Any] = {"id": number, "status": answer.status, part: msgspec.Raw(answer.body)}
        if tells:
            message["rateLimits"] = self._limits(answer.headers)
        data = msgspec.json.encode(message)
        return data[: len(data) // 2] if fault is FaultKind.TRUNCATED else data

    def _limits(self, headers: dict[str, str]) -> list[dict[str, Any]]:
        limits = self._venue.limits
        most = (limits.weight_per_minute, limits.orders_per_10s, limits.orders_per_minute)
        return [
            {"rateLimitType": kind, "interval": unit, "intervalNum": count, "limit": limit, "count": int(headers[name])}
            for (name, (kind, unit, count)), limit in zip(_COUNTERS.items(), most, strict=True)
            if name in headers
        ]


def _text(value: Any) -> str:
    """A parameter as it is signed."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _id_of(text: str) -> Any:
    """The request's id as it was given: a number or text."""
    return json.loads(text).get("id")


def _error(number: Any, status: int, code: int, text: str) -> bytes:
    return msgspec.json.encode({"id": number, "status": status, "error": {"code": code, "msg": text}})
