"""The REST client: counts, signs, sends, reads. Reads are tried again; whatever places something is sent once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
import numpy as np
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt

from ares.clock import Clock
from ares.errors import AresError, DataError, NotAuthorized, OutcomeUnknown, Retryable
from ares.exchange.ban import BanFile
from ares.exchange.config import BinanceConfig
from ares.exchange.gate import Gate
from ares.exchange.http import Answer, Wire
from ares.exchange.limits import Limits, ServerClock
from ares.exchange.signing import Signer, signer_for
from ares.exchange.wire.decode import UnknownFields, decode
from ares.exchange.wire.market import ServerTime
from ares.exchange.wire.refusals import BAD_TIME, ApiError, refusal
from ares.exchange.wire.requests import Request, Security, encode_params, read
from ares.log import get_logger

__all__ = ["RestClient"]

T = TypeVar("T")

_log = get_logger("ares.exchange")
_PROBES = 5
_LOOK_EVERY = 50  # one in so many answers of a path is searched for fields that are new
_RESYNC_NS = 600_000_000_000  # the clock's offset is measured anew every ten minutes
_AFTER_BAN = 5.0  # seconds at most that a ban is kept longer than told, so that not all return at once
_LONGEST_REFUSAL = 16 << 10
_LONGEST_WAIT = 20.0  # seconds a read waits for the venue before the caller is told instead


class RestClient:
    """One account at one venue over one wire."""

    def __init__(self, config: BinanceConfig, wire: Wire, clock: Clock, *, address: str | None = None) -> None:
        """address: where the wire goes, for bans are of an address; None: the one of `config`."""
        self.config = config
        self.clock = clock
        self._bans = BanFile(config.ban_file, address or config.rest)
        self.limits = Limits(reserve=config.reserve, banned_until_ns=self._bans.until_ns())
        self._jitter = np.random.default_rng(clock.now_ns() % 2**32)
        self.time = ServerClock()
        self.unknown = UnknownFields()
        self.errors: Counter[str] = Counter()  # by class
        self.last_ok_ns = 0  # the last answer that was a success
        self.gate = Gate(clock)
        self.throttled = 0  # -1008 so far
        self._calls: Counter[str] = Counter()  # answers read, by path
        self._wire = wire
        self._signer: Signer | None = signer_for(config.api_secret) if config.api_secret is not None else None
        self._plain_headers = {"Accept": "application/json", "User-Agent": "ares"}
        key = {} if config.api_key is None else {"X-MBX-APIKEY": config.api_key.reveal()}
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        self._key_headers = {**self._plain_headers, **key}
        self._form_headers = {**self._key_headers, **form}
        self._syncing: asyncio.Task[None] | None = None

    @property
    def has_keys(self) -> bool:
        """True when signed requests can be made."""
        return self._signer is not None and self.config.api_key is not None

    async def call(self, request: Request, kind: type[T]) -> T:
        """Send once and read the answer as `kind`.

        Raises: Retryable, Rejected, NotAuthorized, and OutcomeUnknown or DataError for an answer that cannot be read:
        the former when the request placed something.
        """
        body = await self.send(request)
        try:
            value = self._decoded(body, kind, request)
        except DataError as error:
            if request.places:
                raise OutcomeUnknown(f"the answer cannot be read: {error}") from None
            raise
        self._calls[request.path] += 1
        if self._calls[request.path] % _LOOK_EVERY == 1:
            self.unknown.look(body, kind, request.path)
        return value

    async def read(self, request: Request, kind: type[T]) -> T:
        """The same for an idempotent read: tried again, up to `max_retries` times, after `Retryable` and after an
        answer that cannot be read, for that may be cut."""
        value: T = await self._retrying(lambda: self.call(request, kind))
        return value

    async def read_as(self, request: Request, made: Callable[[bytes], T]) -> T:
        """What `made` makes of the body of an idempotent read; its DataError is tried again like `read`'s."""

        async def once() -> T:
            return made(await self.send(request))

        value: T = await self._retrying(once)
        return value

    async def send(self, request: Request) -> bytes:
        """Send once; the body of a success. A refusal for the clock alone is signed anew and sent a second time."""
        try:
            return await self._send(request)
        except Retryable as error:
            if error.facts.get("code") not in BAD_TIME:
                raise
            self.time.forget()
            await self.sync_time(urgent=request.protective)
            return await self._send(request)

    async def sync_time(self, probes: int = _PROBES, *, urgent: bool = False) -> None:
        """Measure how far the venue's clock is ahead of ours.

        urgent: protection waits for it: it goes on through a pause, from the reserve, and a probe is not repeated; one
        that came back is enough.
        """
        for number in range(probes):
            try:
                await (self._probe(urgent) if urgent else self._retrying(lambda: self._probe(urgent)))
            except Retryable:
                if not urgent or number == 0:
                    raise
                return

    async def close(self) -> None:
        """Close the wire."""
        if self._syncing is not None:
            self._syncing.cancel()
        await self._wire.close()

    # ------------------------------------------------------------ inside

    async def _send(self, request: Request) -> bytes:
        """Wait for a place, then ask; both within the patience for such a request."""
        loop = asyncio.get_running_loop()
        patience = self.config.order_patience if request.places else self.config.timeout
        deadline = loop.time() + patience
        try:
            await self.gate.enter(request, patience)
        except Retryable as error:
            self._count(error)
            raise
        try:
            body, _, _ = await self._ask(request, deadline - loop.time())
            return body
        finally:
            self.gate.leave(request)

    async def _ask(self, request: Request, patience: float) -> tuple[bytes, int, int]:
        """The body of a success, when the request left and when the answer came (ns)."""
        self._hear_of_bans()
        left = self.clock.now_ns()
        try:
            self.limits.take(request, left)
            answer = await self._exchange(request, left, patience)
        except AresError as error:
            self._count(error)
            if isinstance(error, OutcomeUnknown) and not request.places:
                raise Retryable(error.message, path=request.path) from None
            raise
        now = self.clock.now_ns()
        self.limits.heard(answer.headers, now)
        if 200 <= answer.status < 300 and not _refuses(answer.body):
            self.last_ok_ns = now
            return answer.body, left, now
        raise self._refused(request, answer, left, now)

    async def _probe(self, urgent: bool) -> None:
        """One look at the venue's time, past the gate: waiting for a place would count as travel."""
        request = read("/fapi/v1/time", protective=urgent)
        body, left, now = await self._ask(request, self.config.order_patience)
        self.time.heard(left, now, self._decoded(body, ServerTime, request).server_time * 1_000_000)

    def _decoded(self, body: bytes, kind: type[T], request: Request) -> T:
        """What `kind` makes of it. What an account's own answers said is not repeated in errors."""
        try:
            return decode(body, kind, request.what, private=request.security is not Security.NONE)
        except DataError as error:
            self._count(error)
            raise

    async def _exchange(self, request: Request, now: int, patience: float) -> Answer:
        query = encode_params(request.params)
        if request.security is Security.NONE:
            headers = self._plain_headers
        else:
            if self.config.api_key is None or (request.security is Security.SIGNED and self._signer is None):
                raise NotAuthorized(f"{request.what} needs an API key and its secret", path=request.path)
            headers = self._form_headers if request.method == "POST" else self._key_headers
        if request.security is Security.SIGNED:
            assert self._signer is not None
            self._keep_time(now)
            stamp = f"recvWindow={self.config.recv_window}&timestamp={self.time.venue_ms(now)}"
            query = f"{query}&{stamp}" if query else stamp
            query = f"{query}&signature={self._signer.sign(query.encode())}"
        if request.method == "POST" and request.security is not Security.NONE:
            return await self._wire.send("POST", request.path, headers, query.encode(), patience)
        target = f"{request.path}?{query}" if query else request.path
        return await self._wire.send(request.method, target, headers, b"", patience)

    def _refused(self, request: Request, answer: Answer, left: int, now: int) -> AresError:
        if 300 <= answer.status < 400:
            error: AresError = NotAuthorized(f"{request.what}: the venue redirects elsewhere; never followed")
            self._count(error)
            return error
        error = refusal(
            request,
            answer.status,
            answer.body,
            retry_after=_seconds(answer.headers.get("retry-after")),
            now_ms=self.time.venue_ms(now),
        )
        if answer.status in (418, 429) and isinstance(error, Retryable):
            banned = answer.status == 418
            late = float(self._jitter.uniform(0.0, _AFTER_BAN)) if banned else 0.0
            self.limits.told_to_wait((error.after or 1.0) + late, now, banned=banned)
            if banned:
                self._keep_ban(now)
        if error.facts.get("code") == -1008:
            self.throttled += 1
            self.gate.concurrency.overloaded(left, now)
        self._count(error)
        return error

    def _hear_of_bans(self) -> None:
        """A ban that another process has written down meanwhile holds here too."""
        try:
            until = self._bans.news_ns()
        except DataError as error:
            self._count(error)
        else:
            self.limits.banned_until_ns = max(self.limits.banned_until_ns, until)

    def _keep_ban(self, now: int) -> None:
        """Write the ban down; without that it still holds in this process, and its loss is told."""
        try:
            self._bans.keep(self.limits.banned_until_ns, now)
        except DataError as error:
            self._count(error)

    def _count(self, error: AresError) -> None:
        self.errors[type(error).__name__] += 1
        _log.warning("request.refused", error=type(error).__name__, text=error.message)

    def _keep_time(self, now: int) -> None:
        """Measure the offset again, beside the work, when the last look is old."""
        if now - self.time.measured_ns > _RESYNC_NS > 0 and self.time.measured_ns and self._syncing is None:
            self._syncing = asyncio.ensure_future(self._resync())

    async def _resync(self) -> None:
        try:
            await self.sync_time()
        except AresError as error:
            _log.warning("clock.not_measured", text=error.message)
        finally:
            self._syncing = None

    async def _retrying(self, work: Callable[[], Awaitable[Any]]) -> Any:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception(_worth_waiting),
            stop=stop_after_attempt(self.config.max_retries + 1),
            wait=_wait,
            sleep=self.clock.sleep,
            reraise=True,
        ):
            with attempt:
                return await work()
        raise AssertionError("unreachable")


def _worth_waiting(error: BaseException) -> bool:
    if isinstance(error, DataError):
        return True
    return isinstance(error, Retryable) and (error.after or 0.0) <= _LONGEST_WAIT and not error.facts.get("banned")


def _wait(state: RetryCallState) -> float:
    """What the venue asked for, else 0.2 s doubling."""
    error = state.outcome.exception() if state.outcome is not None else None
    if isinstance(error, Retryable) and error.after is not None:
        return error.after
    return 0.2 * 2.0 ** (state.attempt_number - 1)


def _refuses(body: bytes) -> bool:
    """Whether a body that came as a success says that it is none: an object with a code below 0."""
    if len(body) > _LONGEST_REFUSAL or b'"code"' not in body or body.lstrip()[:1] != b"{":
        return False
    try:
        return msgspec.json.decode(body, type=ApiError).code < 0
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 8 else None
