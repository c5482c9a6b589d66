"""The local venue on the wire: a Starlette application with the real one's paths, for uvicorn or httpx in process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from ares.clock import SystemClock
from ares.errors import Retryable
from ares.simulation.faults import FaultKind
from ares.simulation.server.front import Front, Response
from ares.simulation.server.local_venue import LocalVenue
from ares.simulation.server.socket_api import SocketApi
from ares.simulation.server.subscription import Subscription

__all__ = ["Dropped", "application"]

_MOST_BODY = 1 << 20
_PUMP = 0.25  # seconds at most between two looks at what is due
_CATEGORIES = ("public", "market", "private")
_RETIRED = ("/ws", "/stream")  # addresses of before 2026: they connect, and nothing ever comes

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Application = Callable[[Any, Receive, Send], Awaitable[None]]


class Dropped(ConnectionAbortedError):
    """Ends a request so that the server closes its connection: a fault of the plan, and no error of ours."""


def application(venue: LocalVenue) -> Application:
    """The ASGI application of one local venue. On the machine's clock it plays the market by itself while it runs.

    Requests go straight to the venue; Starlette keeps the sockets and the life of the application.
    """
    front = Front(venue)

    async def rest(scope: Any, receive: Receive, send: Send) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body") or len(body) > _MOST_BODY:
                break
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        client = scope.get("client")
        answer = front.handle(
            scope["method"], scope["path"], scope["query_string"], body, headers, client[0] if client else "local"
        )
        await _answer(answer, send)

    async def socket(websocket: WebSocket) -> None:
        await _serve_socket(venue, websocket)

    @asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        pump = asyncio.ensure_future(_pump(venue))
        yield
        pump.cancel()

    async def requests(websocket: WebSocket) -> None:
        await _serve_requests(venue, websocket)

    routes: list[Any] = [WebSocketRoute("/ws-fapi/v1", requests)]
    for retired in _RETIRED:
        routes += [WebSocketRoute(retired, socket), WebSocketRoute(f"{retired}/{{names:path}}", socket)]
    for category in _CATEGORIES:
        routes += [
            WebSocketRoute(f"/{category}/ws", socket),
            WebSocketRoute(f"/{category}/stream", socket),
            WebSocketRoute(f"/{category}/ws/{{names:path}}", socket),
        ]
    app = Starlette(routes=routes, lifespan=life)

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await (rest if scope["type"] == "http" else app)(scope, receive, send)

    return application


async def _pump(venue: LocalVenue) -> None:
    """Play the market as time passes; a virtual clock is played by whoever moves it."""
    if not isinstance(venue.clock, SystemClock):
        return
    while True:
        venue.play()
        due = venue.market.next_clock_ns()
        wait = _PUMP if due is None else (due - venue.clock.now_ns()) / 1e9
        await asyncio.sleep(min(_PUMP, max(0.001, wait)))


async def _answer(answer: Response, send: Send) -> None:
    fault = answer.fault.kind if answer.fault is not None else None
    body = answer.body
    if fault is FaultKind.TIMEOUT_AFTER_ACCEPTANCE and answer.fault is not None:
        await asyncio.sleep(answer.fault.seconds)
    length = len(body)
    if fault is FaultKind.TRUNCATED:
        body = body[: length // 2]
        length = len(body)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % length)]
    headers += [(k.encode(), v.encode()) for k, v in answer.headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if fault is FaultKind.DROPPED:
        await send({"type": "http.response.body", "body": body[: length // 2], "more_body": True})
        raise Dropped("a fault dropped this connection")
    await send({"type": "http.response.body", "body": body})


async def _serve_socket(venue: LocalVenue, websocket: WebSocket) -> None:
    """One WebSocket: streams by path, by query or by SUBSCRIBE, as frames come."""
    category = websocket.url.path.split("/")[1]
    wrapped = websocket.url.path.endswith("/stream")
    named = websocket.query_params.get("streams", "") or websocket.path_params.get("names", "")
    events = frozenset(websocket.query_params.get("events", "").split("/")) - {""}
    subscription = Subscription(venue, category, wrapped=wrapped, events=events)
    key = websocket.query_params.get("listenKey")
    names = [n for n in named.split("/") if n] + ([key] if key else [])
    subscription.add(n for n in names if not n.isdigit())  # a number is some client's label for its connection
    if key is not None and venue.owner_of(key) is None:
        await websocket.close(1008)
        return
    await websocket.accept()
    venue.subscribe(subscription)
    reader = asyncio.ensure_future(_read(websocket, subscription))
    try:
        while not reader.done():
            frame = asyncio.ensure_future(subscription.next())
            await asyncio.wait({reader, frame}, return_when=asyncio.FIRST_COMPLETED)
            if not frame.done():
                frame.cancel()
                break
            data = frame.result()
            if data is None:
                await websocket.close(1001)
                break
            await websocket.send_text(data.decode("utf-8", "replace"))
    except (WebSocketDisconnect, RuntimeError, OSError):
        return  # the client went away
    finally:
        venue.unsubscribe(subscription)
        reader.cancel()


async def _serve_requests(venue: LocalVenue, websocket: WebSocket) -> None:
    """One WebSocket of requests and answers."""
    try:
        told = websocket.query_params.get("returnRateLimits", "true").lower() != "false"
        api = SocketApi(venue, websocket.client.host if websocket.client else "local", tells_limits=told)
    except Retryable:
        await websocket.close(1008)
        return
    await websocket.accept()
    try:
        while True:
            answer = api.asked(await websocket.receive_text())
            if answer is None:
                await websocket.close(1001)
                return
            if answer:
                await websocket.send_text(answer.decode("utf-8", "replace"))
    except (WebSocketDisconnect, RuntimeError, OSError, KeyError):
        return  # the client went away


async def _read(websocket: WebSocket, subscription: Subscription) -> None:
    try:
        while True:
            subscription.asked(await websocket.receive_text())
    except (WebSocketDisconnect, RuntimeError, KeyError):
        return
