"""A link heals itself, whatever the connector that somebody has given it raises."""

from __future__ import annotations

import asyncio
import socket

import pytest

pytest.importorskip("starlette")

from ares.clock import SystemClock
from ares.exchange.link import Link, Socket
from tests.virtual_time import LoopClock, at_once, stand_still


class Sock:
    """Says one thing, and then nothing, or is gone. Somebody's: its end may fail too."""

    def __init__(self, *, lasts: bool) -> None:
        self.lasts, self.said = lasts, False

    async def recv(self) -> bytes:
        if self.said:
            await asyncio.sleep(3600 if self.lasts else 0.05)
            raise EOFError
        self.said = True
        return b"here"

    async def send(self, data: str) -> None:
        raise AssertionError("nothing is sent")

    async def close(self) -> None:
        raise RuntimeError("somebody's end")


@pytest.mark.parametrize("fails", [(0, 2), (1, 3)], ids=["at the start", "after a loss"])
async def test_a_connector_that_raises_anything_ends_no_link(fails: tuple[int, int]) -> None:
    opened: list[str] = []
    heard: list[bytes] = []
    changes: list[bool] = []

    async def connect(url: str) -> Socket:
        opened.append(url)
        if len(opened) - 1 in fails:
            raise RuntimeError("somebody's connector")
        return Sock(lasts=len(opened) > 4)

    async def url() -> str:
        return "ws://somewhere"

    link = Link("x", url, heard.append, connect=connect, clock=SystemClock(), changed=changes.append, stall=None)
    with at_once():
        link.start()
        async with asyncio.timeout(60):
            while len(opened) < 5 or not link.up:
                await asyncio.sleep(0.01)
        await link.close()
    assert len(opened) == 5 and heard == [b"here"] * 3
    assert changes == [True, False] * 2 + [True]


async def test_a_clock_that_is_set_back_keeps_no_link_from_being_made_anew() -> None:
    """Connects that lie in the future by it are none of the last five minutes."""

    class Clock(LoopClock):
        back = 0

        def now_ns(self) -> int:
            return super().now_ns() - self.back

    opened: list[float] = []
    loop, clock = asyncio.get_running_loop(), Clock()

    async def connect(url: str) -> Socket:
        opened.append(loop.time())
        return Sock(lasts=False)

    async def url() -> str:
        return "ws://somewhere"

    link = Link("x", url, lambda data: None, connect=connect, clock=clock, changed=lambda up: None, stall=None)
    with at_once():
        link.start()
        while len(opened) < 10:
            await asyncio.sleep(0.01)
        clock.back = 3600 * 10**9
        await asyncio.sleep(120.0)
        await link.close()
    assert len(opened) > 10


async def test_a_fresh_connection_that_cannot_be_made_leaves_the_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ares.exchange.link._DAY_OF_A_LINK", 0.1)
    opened: list[str] = []
    changes: list[bool] = []

    async def connect(url: str) -> Socket:
        opened.append(url)
        if len(opened) > 1:
            raise RuntimeError("somebody's connector")
        return Sock(lasts=True)

    async def url() -> str:
        return "ws://somewhere"

    link = Link("x", url, lambda data: None, connect=connect, clock=SystemClock(), changed=changes.append, stall=None)
    with at_once():
        link.start()
        async with asyncio.timeout(60):
            while len(opened) < 4:
                await asyncio.sleep(0.01)
        assert link.up
        await link.close()
    assert changes == [True]


class Wire:
    """One end of a pair of real sockets; a frame is a byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def recv(self) -> bytes:
        return await self._reader.readexactly(1)

    async def send(self, data: str) -> None:
        raise AssertionError("nothing is sent")

    async def close(self) -> None:
        self._writer.close()


@pytest.mark.parametrize("silent", [False, True])
async def test_a_program_that_was_held_up_takes_no_link_for_dead(silent: bool) -> None:
    """It stood still for longer than a link may be silent; what came meanwhile waits in the socket. silent: nothing."""
    ours, theirs = socket.socketpair()
    heard: list[bytes] = []
    changes: list[bool] = []

    async def connect(url: str) -> Socket:
        return Wire(*await asyncio.open_connection(sock=ours))

    async def url() -> str:
        return "ws://somewhere"

    link = Link("x", url, heard.append, connect=connect, clock=SystemClock(), changed=changes.append, stall=5.0)
    with theirs, at_once():
        link.start()
        theirs.send(b"a")
        await asyncio.sleep(4.0)
        if not silent:
            theirs.send(b"b")
        stand_still(7.0)
        await asyncio.sleep(4.0)
        assert (heard, changes) == ([b"a"] if silent else [b"a", b"b"], [True])
        await asyncio.sleep(3.0)  # a real silence is noticed all the same
        assert changes == [True, False]
        await link.close()
