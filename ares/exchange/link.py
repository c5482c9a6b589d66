"""A stream connection that heals itself: watchdog on data, reconnects with jitter, a fresh one before a day is over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import numpy as np

from ares.clock import Clock
from ares.errors import AresError, DataError, Retryable
from ares.log import get_logger

__all__ = ["Connect", "Link", "Socket", "all_speak", "open_socket"]

_log = get_logger("ares.exchange")
_DAY_OF_A_LINK = 23 * 3600.0  # seconds; the venue cuts connections after 24 h
_OVERLAP = 10.0  # seconds that an old connection waits for its successor's first frame
_SLOWEST = 30.0
_SPEAK = 10.0  # seconds after the start in which everything must have spoken
_STEP = 0.02  # seconds between two looks at who has
_STOOD_STILL = 0.5  # seconds by which a timer is late when it was this program that heard nothing
_STORM = (10, 300_000_000_000)  # so many connects in so many ns, then only one every 30 s


class Socket(Protocol):
    """A WebSocket as this module needs it. Any exception of `recv` or `send` means that it is gone."""

    async def recv(self) -> str | bytes: ...
    async def send(self, data: str) -> None: ...
    async def close(self) -> None: ...


Connect = Callable[[str], Awaitable[Socket]]
"""Opens a WebSocket to a URL. Give one of your own to `BinanceExchange(connect=...)` to swap the wire."""


async def open_socket(url: str) -> Socket:
    """The default connector: the websockets library, TLS verified, no proxy, frames up to 8 MiB."""
    from websockets.asyncio.client import connect

    made: Socket = await connect(url, max_size=8 << 20, proxy=None, compression=None, open_timeout=10)
    return made


class Link:
    """Keeps one stream alive until `close`.

    name: for logs and status. url: makes the address anew for every connection. take: gets each frame's bytes.
    changed: told whenever the link goes down or comes back. stall: seconds without a frame after which the link
    counts as down; after twice as long it is made anew; None: silence is normal. up_when_open: it counts as up once it
    is open, not only with its first frame.
    """

    def __init__(
        self,
        name: str,
        url: Callable[[], Awaitable[str]],
        take: Callable[[bytes], None],
        *,
        connect: Connect,
        clock: Clock,
        changed: Callable[[bool], None],
        stall: float | None,
        up_when_open: bool = False,
    ) -> None:
        self.name = name
        self.up = False
        self.connects = 0
        self.last_frame_ns = 0
        self._url, self._take, self._changed, self._up_when_open = url, take, changed, up_when_open
        self._connect, self._clock, self._stall = connect, clock, stall
        self._jitter = np.random.default_rng(clock.now_ns() % 2**32)
        self._recent: list[int] = []
        self._task: asyncio.Task[None] | None = None
        self._renew = asyncio.Event()

    def start(self) -> None:
        """Begin, in a task of its own."""
        if self._task is None:
            self._task = asyncio.ensure_future(self._run())

    def renew(self) -> None:
        """Drop the connection and make a new one."""
        self._renew.set()

    async def close(self) -> None:
        """End for good."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def status(self) -> dict[str, object]:
        """For people."""
        return {"up": self.up, "connects": self.connects, "last_frame_ns": self.last_frame_ns}

    # ------------------------------------------------------------ inside

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                socket = await self._open()
            except Exception as error:  # a connector is anybody's code
                failures += 1
                self._say(False)
                self._not_opened(error)
                await self._pause(failures, error)
                continue
            failures = 0
            await self._live(socket)
            self._say(False)
            await self._pause(1, None)

    async def _live(self, socket: Socket) -> None:
        """Read one connection, and its successors that take over without a break, until one is lost."""
        reader = asyncio.ensure_future(self._read(socket))
        try:
            while True:
                self._renew.clear()
                renew = asyncio.ensure_future(self._renew.wait())
                await asyncio.wait({reader, renew}, timeout=_DAY_OF_A_LINK, return_when=asyncio.FIRST_COMPLETED)
                renew.cancel()
                if reader.done() and (failure := reader.exception()) is not None:
                    _log.error("link.failed", link=self.name, error=f"{type(failure).__name__}: {failure}")
                if reader.done() or self._renew.is_set():
                    return
                before = self.last_frame_ns
                try:
                    fresh = await self._open()
                except Exception as error:  # a connector is anybody's code; the old connection goes on
                    self._not_opened(error)
                    continue
                successor = asyncio.ensure_future(self._read(fresh))
                await asyncio.sleep(0 if self.last_frame_ns > before else _OVERLAP)
                await _end(reader, socket)
                reader, socket = successor, fresh
        finally:
            await _end(reader, socket)

    async def _open(self) -> Socket:
        now = self._clock.now_ns()
        self._recent = [t for t in self._recent if abs(now - t) < _STORM[1]]  # later ones: the clock was set back
        if len(self._recent) >= _STORM[0]:
            raise Retryable(f"{self.name}: {_STORM[0]} connects in five minutes", after=_SLOWEST)
        self._recent.append(now)
        socket = await self._connect(await self._url())
        self.connects += 1
        if self._up_when_open:
            self._say(True)
        return socket

    def _not_opened(self, error: Exception) -> None:
        """Say why; of what nobody foresaw, in its own words."""
        name = type(error).__name__
        if isinstance(error, (AresError, OSError, EOFError, TimeoutError, _closed_error())):
            _log.warning("link.not_opened", link=self.name, error=name)
        else:
            _log.error("link.failed", link=self.name, error=f"{name}: {error}")

    async def _read(self, socket: Socket) -> None:
        """Hand on frames until the connection breaks or stalls."""
        excused = False
        while True:
            try:
                async with asyncio.timeout(self._stall) as limit:
                    data = await socket.recv()
            except TimeoutError:
                excused = not excused and _stood_still(limit.when())
                if excused:
                    continue  # what came meanwhile lies there to be read
                if not self.up:
                    _log.warning("link.stalled", link=self.name)
                    return
                self._say(False)
                continue
            except (OSError, EOFError, _closed_error()):
                return
            excused = False
            self.last_frame_ns = self._clock.now_ns()
            self._say(True)
            self._take(data.encode() if isinstance(data, str) else data)

    def _say(self, up: bool) -> None:
        if up is not self.up:
            self.up = up
            self._changed(up)

    async def _pause(self, failures: int, error: BaseException | None) -> None:
        most = min(_SLOWEST, 0.5 * 2.0 ** min(failures, 6))
        if isinstance(error, Retryable) and error.after is not None:
            most = max(most, min(error.after, 600.0))
        await asyncio.sleep(most * float(self._jitter.uniform(0.5, 1.0)))


def _stood_still(due: float | None) -> bool:
    """Whether a timer that was `due` (of the loop's clock) and has gone off now is late: the program was held up."""
    return due is not None and asyncio.get_running_loop().time() - due > _STOOD_STILL


async def all_speak(
    links: Sequence[Link], where: str, closed: Callable[[], bool], others: Callable[[], list[str]] = list
) -> None:
    """Wait until every link, and whatever else `others` names as silent, has been heard once, or all is `closed`.

    Addresses that the venue has retired still connect and then say nothing, so a connection alone proves nothing.
    where: the address, for the error. Raises: DataError when something stays mute, Retryable when no link opens.
    """

    def silent() -> list[str]:
        return [f"the {link.name} connection" for link in links if link.last_frame_ns == 0] + others()

    waited = 0.0  # in steps, each of which lets frames in: a program that stood still for ten seconds has heard nothing
    while (mute := silent()) and not closed():
        if waited >= _SPEAK:
            raise _mute(mute, where, opened=any(link.connects for link in links))
        await asyncio.sleep(_STEP)
        waited += _STEP


def _mute(mute: list[str], where: str, *, opened: bool) -> AresError:
    if not opened:
        message = f"no stream at {where} opened in {_SPEAK:g} s: check the network and try again"
        return Retryable(message, after=_SPEAK, address=where)
    return DataError(
        f"mute for {_SPEAK:g} s after the start: {', '.join(mute)}. Nothing is traded on silence: check"
        f" `environment` and `stream_url` ({where} must take the paths /market and /public), and that the symbols"
        " trade",
        address=where,
        silent=mute,
    )


async def _end(reader: asyncio.Task[None], socket: Socket) -> None:
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)
    try:
        async with asyncio.timeout(1):
            await socket.close()
    except (OSError, EOFError, TimeoutError, _closed_error()):
        return
    except Exception as error:  # a socket is anybody's code
        _log.error("link.failed", error=f"{type(error).__name__}: {error}")


def _closed_error() -> type[Exception]:
    """What the websockets library raises for a lost connection."""
    from websockets.exceptions import WebSocketException

    return WebSocketException
