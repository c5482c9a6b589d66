"""Requests of the local venue: limits, keys, signatures over the raw bytes, faults, and who answers."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec
from attrs import define, field

from ares.errors import InvalidInput, Rejected, Retryable
from ares.exchange.wire.numbers import MS
from ares.simulation.faults import Fault, FaultKind
from ares.simulation.server.calls import Call
from ares.simulation.server.endpoints import ROUTES
from ares.simulation.server.limits import ORDER_PATHS, weight_of
from ares.simulation.server.local_venue import LocalVenue
from ares.simulation.server.trader import Trader
from ares.simulation.server.words import worded

__all__ = ["Front", "Response"]

@define
class Response:
    """Status, body and headers; `fault` tells the wire how to spoil it."""

    status: int
    body: bytes
    headers: dict[str, str] = field(factory=dict)
    fault: Fault | None = None


class Front:
    """Answers requests to one local venue."""

    def __init__(self, venue: LocalVenue) -> None:
        self.venue = venue

    def handle(
        self, method: str, path: str, query: bytes, body: bytes, headers: Mapping[str, str], address: str = "local"
    ) -> Response:
        """Answer one request from its raw bytes."""
        self.venue.play()
        now = self.venue.now_ns()
        params, repeated = _params(query, body)
        own_id = params.get("newClientOrderId") or params.get("clientAlgoId") or ""
        fault = self.venue.faults.for_request(f"{method} {path}", own_id)
        if fault is not None and fault.kind is FaultKind.CLOCK_DRIFT:
            self.venue.drift_ns, fault = round(fault.seconds * 1e9), None
        if fault is not None and fault.kind is FaultKind.MAINTENANCE:
            self.venue.closed_until_ns = self.venue.clock.now_ns() + round(fault.seconds * 1e9)
        if self.venue.clock.now_ns() < self.venue.closed_until_ns:
            return _refused(503, 0, "Service Unavailable.")
        if fault is not None and (early := _not_executed(fault)) is not None:
            return early
        told: dict[str, str] = {}
        try:
            used = self.venue.limits.charge(address, weight_of(method, path, params), now)
            told["x-mbx-used-weight-1m"] = str(used)
            if repeated:
                raise Rejected("Duplicate values for a parameter detected.", code=-1101)
            answer = self._answer(method, path, query, body, params, headers, now, told)
        except Retryable as error:
            return _limited(error, told)
        except Rejected as error:
            return _refused(_status_of(error), *worded(error), told)
        except InvalidInput as error:
            return _refused(400, -1130, str(error), told)
        if fault is not None and fault.kind in (FaultKind.UNKNOWN_503, FaultKind.BACKEND_TIMEOUT):
            return _unknown(fault)
        return Response(200, msgspec.json.encode(answer), told, fault)

    def _answer(
        self,
        method: str,
        path: str,
        query: bytes,
        body: bytes,
        params: dict[str, str],
        headers: Mapping[str, str],
        now: int,
        told: dict[str, str],
    ) -> Any:
        route = ROUTES.get((method, path))
        if route is None:
            raise Rejected(f"Path {path}, Method {method} is invalid", code=-5000, status=404)
        needs, handler = route
        trader = None
        if needs != "none":
            key = headers.get("x-mbx-apikey", "")
            if not key:
                raise Rejected("API-key format invalid.", code=-2014, status=401)
            trader = self.venue.traders.get(key)
            if trader is None:
                raise Rejected("Invalid API-key, IP, or permissions for action.", code=-2015, status=401)
        if needs == "signed" and trader is not None:
            self._check_signature(trader, query, body, params, now)
        if path in ORDER_PATHS and method in ("POST", "PUT") and trader is not None:
            counts = self.venue.limits.order(trader.key, ORDER_PATHS[path], now)
            told.update({name: str(count) for name, count in counts.items()})
            self.venue.orders_taken += 1
        if trader is not None:
            trader.venue.now_ns = now
        call = Call(method, path, params, now, trader)
        return handler(self.venue, call)

    def _check_signature(self, trader: Trader, query: bytes, body: bytes, params: dict[str, str], now: int) -> None:
        """The signature is checked over the bytes as they came, query then body, without itself."""
        signature = params.get("signature", "")
        if not signature:
            raise Rejected("Mandatory parameter 'signature' was not sent, was empty/null, or malformed.", code=-1102)
        payload = _without_signature(query) + _without_signature(body)
        given, right = _plain(signature.encode()), _plain(trader.signer.sign(payload).encode())
        if not hmac.compare_digest(given, right):
            raise Rejected("Signature for this request is not valid.", code=-1022)
        stamp = params.get("timestamp", "")
        if not stamp.isdigit() or len(stamp) > 16:
            raise Rejected("Mandatory parameter 'timestamp' was not sent, was empty/null, or malformed.", code=-1102)
        window = params.get("recvWindow", "5000")
        if not window.isdigit() or not 0 < int(window) <= 60_000:
            raise Rejected("'recvWindow' must be less than 60000.", code=-1131)
        ms = now // MS
        if not (int(stamp) < ms + 1000 and ms - int(stamp) <= int(window)):
            raise Rejected("Timestamp for this request is outside of the recvWindow.", code=-1021)


def _params(query: bytes, body: bytes) -> tuple[dict[str, str], bool]:
    """Parameters of query and body, of which the query wins; and whether one of them names a parameter twice."""
    in_body = parse_qsl(body.decode("utf-8", "replace") if b"=" in body else "", keep_blank_values=True)
    in_query = parse_qsl(query.decode("utf-8", "replace"), keep_blank_values=True)
    found = {**dict(in_body), **dict(in_query)}
    return found, any(len(dict(part)) < len(part) for part in (in_body, in_query))


def _without_signature(raw: bytes) -> bytes:
    parts = [p for p in raw.split(b"&") if not p.startswith(b"signature=")]
    return b"&".join(parts)


def _plain(signature: bytes) -> bytes:
    """A signature without percent signs, hex in one case."""
    text = unquote_to_bytes(signature)
    return text.lower() if len(text) == 64 else text


def _status_of(error: Rejected) -> int:
    status = error.facts.get("status")
    return status if isinstance(status, int) else 400


def _refused(status: int, code: int, text: str, headers: dict[str, str] | None = None) -> Response:
    return Response(status, msgspec.json.encode({"code": code, "msg": text}), headers or {})


def _limited(error: Retryable, headers: dict[str, str]) -> Response:
    status, code = error.facts.get("status"), error.facts.get("code", -1003)
    until = error.facts.get("until_ms")
    text = f"Way too many requests; IP banned until {until}." if until else error.message
    wait = {**headers, "retry-after": str(max(1, round(error.after or 1.0)))}
    return _refused(status if isinstance(status, int) else 429, code if isinstance(code, int) else -1003, text, wait)


def _not_executed(fault: Fault) -> Response | None:
    """The answer of a fault before anything was done; None for faults that come after."""
    wait = {"retry-after": str(max(1, round(fault.seconds)))}
    return {
        FaultKind.UNAVAILABLE_503: lambda: _refused(503, 0, "Service Unavailable."),
        FaultKind.THROTTLED: lambda: _refused(503, -1008, "Request throttled by system-level protection."),
        FaultKind.TOO_MANY: lambda: _refused(429, -1003, "Too many requests.", wait),
        FaultKind.BANNED: lambda: _refused(418, -1003, "Way too many requests; IP banned.", wait),
    }.get(fault.kind, lambda: None)()


def _unknown(fault: Fault) -> Response:
    if fault.kind is FaultKind.BACKEND_TIMEOUT:
        return _refused(408, -1007, "Timeout waiting for response from backend server. Send status unknown.")
    return _refused(503, -1000, "Unknown error, please check your request or try again later.")

