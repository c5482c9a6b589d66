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

__all__ = ["Asked", "Front", "Response", "check_signature"]

@define
class Response:
    """Status, body and headers; `fault` tells the wire how to spoil it."""

    status: int
    body: bytes
    headers: dict[str, str] = field(factory=dict)
    fault: Fault | None = None


@define
class Asked:
    """One request, taken apart but not checked."""

    method: str
    path: str
    params: dict[str, str]
    key: str
    signed: bytes  # what its signature must be of
    repeated: bool = False  # it names a parameter twice
    trusted: bool = False  # its key has proved itself already


class Front:
    """Answers requests to one local venue."""

    def __init__(self, venue: LocalVenue) -> None:
        self.venue = venue

    def handle(
        self, method: str, path: str, query: bytes, body: bytes, headers: Mapping[str, str], address: str = "local"
    ) -> Response:
        """Answer one request from its raw bytes: signed are query, then body, without the signature itself."""
        params, repeated = _params(query, body)
        signed = _without_signature(query) + _without_signature(body)
        asked = Asked(method, path, params, headers.get("x-mbx-apikey", ""), signed, repeated=repeated)
        return self.answer(asked, address)

    def answer(self, asked: Asked, address: str) -> Response:
        """Answer one request, over whatever it came."""
        self.venue.play()
        now = self.venue.now_ns()
        what = f"{asked.method} {asked.path}"
        own_id = asked.params.get("newClientOrderId") or asked.params.get("clientAlgoId") or ""
        fault = self.venue.faults.for_request(what, own_id)
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
            used = self.venue.limits.charge(address, weight_of(asked.method, asked.path, asked.params), now)
            told["x-mbx-used-weight-1m"] = str(used)
            result = self._result(asked, now, told)
        except Retryable as error:
            return _limited(error, told)
        except Rejected as error:
            return _refused(_status_of(error), *worded(error), told)
        except InvalidInput as error:
            return _refused(400, -1130, str(error), told)
        if fault is not None and fault.kind in (FaultKind.UNKNOWN_503, FaultKind.BACKEND_TIMEOUT):
            return _unknown(fault)
        return Response(200, msgspec.json.encode(result), told, fault)

    def trader_of(self, asked: Asked) -> Trader:
        """Whose key it is. Raises Rejected -2014, -2015."""
        if not asked.key:
            raise Rejected("API-key format invalid.", code=-2014, status=401)
        trader = self.venue.traders.get(asked.key)
        if trader is None:
            raise Rejected("Invalid API-key, IP, or permissions for action.", code=-2015, status=401)
        return trader

    def _result(self, asked: Asked, now: int, told: dict[str, str]) -> Any:
        method, path = asked.method, asked.path
        if asked.repeated:
            raise Rejected("Duplicate values for a parameter detected.", code=-1101)
        route = ROUTES.get((method, path))
        if route is None:
            raise Rejected(f"Path {path}, Method {method} is invalid", code=-5000, status=404)
        needs, handler = route
        trader = None if needs == "none" else self.trader_of(asked)
        if needs == "signed" and trader is not None:
            check_signature(asked, trader, now)
        if path in ORDER_PATHS and method in ("POST", "PUT") and trader is not None:
            counts = self.venue.limits.order(trader.key, ORDER_PATHS[path], now)
            told.update({name: str(count) for name, count in counts.items()})
            self.venue.orders_taken += 1
        if trader is not None:
            trader.venue.now_ns = now
        return handler(self.venue, Call(method, path, asked.params, now, trader))


def check_signature(asked: Asked, trader: Trader, now_ns: int) -> None:
    """Raise Rejected unless the signature is right and the stamp within its window."""
    signature = asked.params.get("signature", "")
    if not asked.trusted:
        if not signature:
            raise Rejected("Mandatory parameter 'signature' was not sent, was empty/null, or malformed.", code=-1102)
        given, right = _plain(signature.encode()), _plain(trader.signer.sign(asked.signed).encode())
        if not hmac.compare_digest(given, right):
            raise Rejected("Signature for this request is not valid.", code=-1022)
    stamp = asked.params.get("timestamp", "")
    if not (stamp.isascii() and stamp.isdigit()) or len(stamp) > 16:
        raise Rejected("Mandatory parameter 'timestamp' was not sent, was empty/null, or malformed.", code=-1102)
    window = asked.params.get("recvWindow", "5000")
    if not (window.isascii() and window.isdigit()) or len(window) > 16 or not 0 < int(window) <= 60_000:
        raise Rejected("'recvWindow' must be less than 60000.", code=-1131)
    ms = now_ns // MS
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
    if "used" in error.facts:
        wait["x-mbx-used-weight-1m"] = str(error.facts["used"])
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

