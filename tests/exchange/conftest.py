"""A local venue for the client: in process, and over real loopback sockets."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from ares.exchange.binance import BinanceExchange
from ares.exchange.config import BinanceConfig
from ares.secret import Secret
from ares.simulation.faults import Fault, FaultPlan
from ares.simulation.server.in_process import VenueTransport, connector
from ares.simulation.server.local_venue import LocalVenue
from ares.simulation.server.market import Pace
from ares.simulation.server.serving import serve
from ares.simulation.tape import Tape
from tests.virtual_time import LoopClock, at_once

KEY, SECRET = "key-of-a-local-account", "canary-9b1f77e0c3"

Make = Callable[..., LocalVenue]


@pytest.fixture(scope="session")
def tape() -> Tape:
    return Tape.synthetic("ETHUSDT", "1m", bars=1500, seed=3)


@pytest.fixture
def make_venue(tape: Tape) -> Make:
    def make(*faults: str, speed: float = 30.0, **settings: Any) -> LocalVenue:
        plan = FaultPlan([Fault.parse(line) for line in faults])
        accounts = {KEY: (Secret(SECRET), Decimal(10_000))}
        return LocalVenue(
            tape, accounts=accounts, clock=LoopClock(), pace=Pace(speed=speed), history=1000, faults=plan, **settings
        )

    return make


@asynccontextmanager
async def pumped(venue: LocalVenue) -> AsyncIterator[None]:
    """The market plays by itself, as the server would have it."""

    async def pump() -> None:
        while True:
            venue.play()
            await asyncio.sleep(0.02)

    task = asyncio.ensure_future(pump())
    try:
        yield
    finally:
        task.cancel()


@asynccontextmanager
async def in_process(venue: LocalVenue, **settings: Any) -> AsyncIterator[BinanceExchange]:
    """The client on the venue without sockets, and without waiting."""
    config = BinanceConfig(
        api_key=Secret(KEY), api_secret=Secret(SECRET), rest_url="http://localhost", stream_url="ws://localhost",
        **{"timeout": 0.5, **settings},
    )  # fmt: skip
    with at_once():
        exchange = BinanceExchange(config, transport=VenueTransport(venue), connect=connector(venue), clock=venue.clock)
        async with pumped(venue), exchange:
            yield exchange


@asynccontextmanager
async def served(venue: LocalVenue) -> AsyncIterator[tuple[str, str]]:
    """The venue over loopback; addresses of REST and of the streams."""
    ready: asyncio.Future[tuple[str, str]] = asyncio.get_running_loop().create_future()
    until = asyncio.Event()
    task = asyncio.ensure_future(serve(venue, ready=lambda *where: ready.set_result(where), until=until))
    await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
    try:
        yield await ready
    finally:
        until.set()
        await task


@asynccontextmanager
async def over_sockets(venue: LocalVenue, **settings: Any) -> AsyncIterator[BinanceExchange]:
    """The client on the venue over loopback sockets. It waits long for orders: the machine may be busy."""
    async with served(venue) as (rest, streams):
        config = BinanceConfig(
            api_key=Secret(KEY), api_secret=Secret(SECRET), rest_url=rest, stream_url=streams,
            **{"order_timeout": 30.0, **settings},
        )  # fmt: skip
        async with BinanceExchange(config, clock=venue.clock) as exchange:
            yield exchange


ROADS = {"in process": in_process, "over sockets": over_sockets}


@pytest.fixture(params=list(ROADS))
def road(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Both roads to one answer."""
    return ROADS[request.param]


class Heard:
    """Collects a stream's events in a task of its own."""

    def __init__(self, stream: Any) -> None:
        self.events: list[Any] = []
        self._stream = stream
        self._task = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        async for event in self._stream:
            self.events.append(event)

    def of(self, kind: type) -> list[Any]:
        """All events of one kind so far."""
        return [e for e in self.events if isinstance(e, kind)]

    async def until(self, found: Callable[[], Any], seconds: float = 120.0) -> Any:
        """Wait until `found` gives something true."""
        try:
            async with asyncio.timeout(seconds):
                while not (answer := found()):
                    if self._task.done():
                        self._task.result()
                    await asyncio.sleep(0.01)
        except TimeoutError:
            kinds = dict(Counter(type(event).__name__ for event in self.events))
            raise AssertionError(f"not heard within {seconds:g} s, but {kinds}, at last {self.events[-3:]}") from None
        return answer
