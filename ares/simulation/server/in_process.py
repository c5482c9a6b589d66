"""The local venue without sockets: a transport for httpx and a connector for streams, on any clock.

    exchange = BinanceExchange(config, transport=VenueTransport(venue), connect=connector(venue), clock=venue.clock)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs, urlsplit

import httpx

from ares.simulation.faults import FaultKind
from ares.simulation.server.front import Front
from ares.simulation.server.local_venue import LocalVenue
from ares.simulation.server.subscription import Subscription

__all__ = ["VenueSocket", "VenueTransport", "connector"]


class VenueTransport(httpx.AsyncBaseTransport):
    """Answers requests from the venue directly. Faults become what a network would have made of them."""

    def __init__(self, venue: LocalVenue) -> None:
        self._front = Front(venue)
        self.requests: list[httpx.Request] = []  # all that were asked, for tests that look at the wire

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One request and its answer."""
        await asyncio.sleep(0)
        self.requests.append(request)
        headers = {k.lower(): v for k, v in request.headers.items()}
        answer = self._front.handle(request.method, request.url.path, request.url.query, request.content, headers)
        fault = answer.fault
        if fault is not None and fault.kind is FaultKind.TIMEOUT_AFTER_ACCEPTANCE:
            await asyncio.sleep(fault.seconds)
            raise httpx.ReadTimeout("no answer", request=request)
        if fault is not None and fault.kind is FaultKind.DROPPED:
            raise httpx.RemoteProtocolError("the connection broke", request=request)
        body = answer.body
        if fault is not None and fault.kind is FaultKind.TRUNCATED:
            body = body[: len(body) // 2]
        return httpx.Response(answer.status, headers=answer.headers, content=body, request=request)


class VenueSocket:
    """A stream connection inside the process."""

    def __init__(self, venue: LocalVenue, subscription: Subscription) -> None:
        self._venue, self._subscription = venue, subscription
        self._open = True
        venue.subscribe(subscription)

    async def recv(self) -> bytes:
        """The next frame. Raises ConnectionError once the venue has closed the connection."""
        frame = await self._subscription.next()
        if frame is None or not self._open:
            await self.close()
            raise ConnectionError("the venue closed the connection")
        return frame

    async def send(self, data: str) -> None:
        """A message to the venue, such as SUBSCRIBE."""
        self._subscription.asked(data)

    async def close(self) -> None:
        """End the connection."""
        self._open = False
        self._venue.unsubscribe(self._subscription)


def connector(venue: LocalVenue) -> Callable[[str], Awaitable[VenueSocket]]:
    """A WebSocket connector for `BinanceExchange(connect=...)`. It raises ConnectionError for an unknown listen key."""

    async def connect(url: str) -> VenueSocket:
        parts = urlsplit(url)
        category, _, kind = parts.path.strip("/").partition("/")
        query = parse_qs(parts.query)
        events = frozenset(name for given in query.get("events", []) for name in given.split("/"))
        subscription = Subscription(venue, category, wrapped=kind == "stream", events=events)
        for names in (kind.removeprefix("ws").strip("/"), *query.get("streams", [])):
            subscription.add(name for name in names.split("/") if name and not name.isdigit())
        for key in query.get("listenKey", []):
            if venue.owner_of(key) is None:
                raise ConnectionError("the listen key is unknown or has expired")
            subscription.add([key])
        return VenueSocket(venue, subscription)

    return connect
