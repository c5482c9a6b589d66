"""HTTP/1.1 for one host over kept connections: prebuilt headers, one write and one read per request.

Orders should not wait for a general HTTP client. What this one does not do is deliberate: no redirects, no cookies, no
proxies, no compression, no second try. A request that certainly did not leave raises `Retryable`; one whose answer is
lost raises `OutcomeUnknown`.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from attrs import frozen

from ares.errors import InvalidInput, NotAuthorized, OutcomeUnknown, Retryable

if TYPE_CHECKING:
    import httpx

__all__ = ["Answer", "HttpxWire", "LeanWire", "Wire"]

_MOST_HEAD = 64 << 10
_MOST_BODY = 8 << 20
_chunk_size = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?", re.DOTALL).fullmatch
_IDLE = 20.0  # seconds after which a kept connection is not trusted any more
_REST = 1.0  # seconds of idleness after which the loop is asked first whether the connection has ended meanwhile


@frozen
class Answer:
    """Status, headers by lower-case name, and the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Wire(Protocol):
    """One request, one answer; anything that keeps the promise about errors."""

    async def send(self, method: str, target: str, headers: Mapping[str, str], body: bytes, timeout: float) -> Answer:
        """Raises: Retryable when nothing left; OutcomeUnknown when the answer is lost; NotAuthorized for bad TLS."""
        ...

    async def close(self) -> None: ...


class _Connection(asyncio.Protocol):
    """One kept connection; one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Answer] | None = None
        self._data = bytearray()
        self._status = 0
        self._headers: dict[str, str] = {}
        self._body_at = -1  # where the body begins; -1: the head is not complete
        self._length = -1  # of the body; -1: chunked or until the end
        self.idle_since = 0.0
        self.usable = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def request(self, data: bytes) -> asyncio.Future[Answer]:
        """Write a whole request; the future is its answer."""
        assert self._transport is not None
        self._data.clear()
        self._body_at, self._length = -1, -1
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(data)
        return self._waiter

    def data_received(self, data: bytes) -> None:
        if self._waiter is None or self._waiter.done():
            self.close()  # nobody asked: the stream is out of step
            return
        self._data += data
        try:
            self._look()
        except ValueError as error:
            self.usable = False
            self._waiter.set_exception(OutcomeUnknown(f"the answer is no HTTP: {error}"))
            self.close()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.usable = False
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        if self._body_at >= 0 and self._length == -1 and "chunked" not in self._headers.get("transfer-encoding", ""):
            waiter.set_result(Answer(self._status, self._headers, bytes(self._data[self._body_at :])))
            return
        waiter.set_exception(OutcomeUnknown("the connection broke before the answer was complete"))

    def close(self) -> None:
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    def _look(self) -> None:
        if self._body_at < 0:
            end = self._data.find(b"\r\n\r\n")
            if end < 0:
                if len(self._data) > _MOST_HEAD:
                    raise ValueError("an endless head")
                return
            self._read_head(bytes(self._data[:end]))
            if 100 <= self._status < 200:
                del self._data[: end + 4]
                self._look()
                return
            self._body_at = end + 4
            if self._headers.get("connection", "").lower() == "close":
                self.usable = False
        have = len(self._data) - self._body_at
        if have > _MOST_BODY:
            raise ValueError("a body beyond 8 MiB")
        if self._length >= 0:
            if have >= self._length:
                self._done(bytes(self._data[self._body_at : self._body_at + self._length]))
        elif "chunked" in self._headers.get("transfer-encoding", ""):
            body = _unchunked(self._data, self._body_at)
            if body is not None:
                self._done(body)

    def _read_head(self, head: bytes) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        version, _, rest = first.partition(" ")
        code = rest[:3]
        if not version.startswith("HTTP/1.") or not (code.isascii() and code.isdigit()):
            raise ValueError("a foreign first line")
        self._status = int(code)
        self._headers = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon:
                raise ValueError("a header without a colon")
            self._headers[name.strip().lower()] = value.strip()
        length = self._headers.get("content-length")
        if length is not None:
            if not (length.isascii() and length.isdigit()):
                raise ValueError("a foreign content length")
            self._length = int(length)
        elif self._status in (204, 304):
            self._length = 0

    def _done(self, body: bytes) -> None:
        assert self._waiter is not None
        self._waiter.set_result(Answer(self._status, self._headers, body))


def _unchunked(data: bytearray, at: int) -> bytes | None:
    """The body of a chunked answer; None while it is incomplete."""
    parts: list[bytes] = []
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            return None
        length = _chunk_size(data, at, end)
        if length is None:
            raise ValueError(f"a foreign chunk size {bytes(data[at : min(end, at + 20)])!r}")
        size = int(length[1], 16)
        if size == 0:
            return b"".join(parts) if data.find(b"\r\n", end + 2) >= 0 else None
        begin = end + 2
        if len(data) < begin + size + 2:
            return None
        parts.append(bytes(data[begin : begin + size]))
        at = begin + size + 2


class LeanWire:
    """Kept connections to one host. base: such as "https://host"; TLS is verified always.

    Nothing waits here: a request without a kept connection opens one. How many are under way is the gate's to say.
    Reads and orders keep connections of their own.
    """

    def __init__(self, base: str, *, tls: ssl.SSLContext | None = None) -> None:
        """tls: whom to trust; None: whom the machine trusts. One that verifies less than everything is refused.
        """
        parts = urlsplit(base)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidInput(f"no HTTP address: {base}")
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        if tls is not None and (tls.verify_mode is not ssl.CERT_REQUIRED or not tls.check_hostname):
            raise InvalidInput("this TLS context must verify certificate and host name before orders go over it")
        self._tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self._prefix = parts.path.rstrip("/")
        self._fixed: dict[tuple[str, int], bytes] = {}
        self._name = parts.netloc
        self._reads: deque[_Connection] = deque()  # idle ones
        self._orders: deque[_Connection] = deque()
        self.opened = 0  # connections made so far

    async def send(self, method: str, target: str, headers: Mapping[str, str], body: bytes, timeout: float) -> Answer:
        """One request and its answer."""
        data = self._bytes(method, target, headers, body)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        idle = self._reads if method == "GET" else self._orders
        connection = await self._connection(idle, deadline)
        if loop.time() >= deadline:
            idle.append(connection)
            raise Retryable(f"{method}: its time was over before it left; nothing was sent", sent=False)
        waiter = connection.request(data)
        try:
            async with asyncio.timeout_at(deadline):
                answer = await waiter
        except TimeoutError:
            connection.close()
            raise OutcomeUnknown(f"{method}: no answer within {timeout:.3g} s", seconds=timeout) from None
        except BaseException:
            connection.close()
            raise
        if connection.usable:
            connection.idle_since = loop.time()
            idle.append(connection)
        else:
            connection.close()
        return answer

    async def close(self) -> None:
        """Close all kept connections."""
        for idle in (self._reads, self._orders):
            while idle:
                idle.pop().close()
        await asyncio.sleep(0)

    async def _connection(self, idle: deque[_Connection], deadline: float) -> _Connection:
        """A kept connection, or a new one."""
        loop = asyncio.get_running_loop()
        while idle:
            kept = idle.pop()
            rested = loop.time() - kept.idle_since
            if rested > _REST:
                await asyncio.sleep(0)  # an end of the connection that waits to be noticed is noticed now
                await asyncio.sleep(0)
            if kept.usable and rested < _IDLE:
                return kept
            kept.close()
        try:
            async with asyncio.timeout_at(deadline):
                name = self._host if self._tls is not None else None
                _, made = await loop.create_connection(
                    _Connection, self._host, self._port, ssl=self._tls, server_hostname=name
                )
        except ssl.SSLCertVerificationError as error:
            raise NotAuthorized(f"{self._host}: its certificate is not trusted ({error.verify_message})") from None
        except TimeoutError:
            raise Retryable(f"{self._host}: no connection in time; nothing was sent", sent=False) from None
        except OSError as error:
            raise Retryable(f"{self._host}: cannot connect ({error}); nothing was sent", sent=False) from None
        self.opened += 1
        return made

    def _bytes(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> bytes:
        """The request; its unchanging lines are built once."""
        key = (method, id(headers))
        fixed = self._fixed.get(key)
        if fixed is None:
            lines = [f"Host: {self._name}", *(f"{name}: {value}" for name, value in headers.items())]
            fixed = ("\r\n".join(lines) + "\r\n").encode("latin-1")
            self._fixed[key] = fixed
        head = f"{method} {self._prefix}{target} HTTP/1.1\r\n".encode("ascii")
        if method == "GET":
            return head + fixed + b"\r\n"
        return head + fixed + b"Content-Length: %d\r\n\r\n" % len(body) + body


class HttpxWire:
    """Any httpx transport as a wire: a recording, a local application, a proxy of your own."""

    def __init__(self, base: str, transport: httpx.AsyncBaseTransport) -> None:
        self._base = base
        self._transport = transport

    async def send(self, method: str, target: str, headers: Mapping[str, str], body: bytes, timeout: float) -> Answer:
        """One request and its answer; the deadline is ours, transports of one's own have none."""
        import httpx

        request = httpx.Request(method, self._base + target, headers=dict(headers), content=body)
        try:
            async with asyncio.timeout(timeout):
                response = await self._transport.handle_async_request(request)
                content = await response.aread()
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise Retryable(f"cannot connect ({type(error).__name__}); nothing was sent", sent=False) from None
        except (httpx.HTTPError, TimeoutError) as error:
            raise OutcomeUnknown(f"{method}: the answer is lost ({type(error).__name__})") from None
        if len(content) > _MOST_BODY:
            raise OutcomeUnknown(f"{method}: a body beyond 8 MiB")
        return Answer(response.status_code, {k.lower(): v for k, v in response.headers.items()}, content)

    async def close(self) -> None:
        """Close the transport."""
        await self._transport.aclose()
