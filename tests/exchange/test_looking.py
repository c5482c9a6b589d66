"""A look at the venue gives way to what is heard, and comes to its end all the same where everything is slow."""

from __future__ import annotations

import asyncio

import pytest

from ares.exchange.looking import look_unless
from tests.virtual_time import at_once


async def lasting(seconds: float, done: list[float]) -> None:
    await asyncio.sleep(seconds)
    done.append(seconds)


@pytest.mark.parametrize(("seconds", "tries"), [(0.5, 1), (1.5, 2), (3.0, 3), (3.9, 3), (60.0, None)])
async def test_it_is_granted_longer_each_time_but_never_long(seconds: float, tries: int | None) -> None:
    loop, done = asyncio.get_running_loop(), list[float]()
    with at_once():
        for number in range(10):
            began = loop.time()
            finished = await look_unless(lambda: True, lasting(seconds, done), number)
            assert loop.time() - began <= 4.1 and finished == bool(done)
            if finished:
                break
        assert (number + 1 if done else None) == tries


async def test_while_nothing_is_heard_it_takes_its_time_and_its_failure_is_told() -> None:
    done: list[float] = []

    async def fails() -> None:
        await lasting(30.0, done)
        raise ConnectionError("reset")

    with at_once():
        assert await look_unless(lambda: False, lasting(60.0, done)) and done == [60.0]
        with pytest.raises(ConnectionError):
            await look_unless(lambda: False, fails())


async def test_who_waits_no_longer_ends_the_look_too() -> None:
    done: list[float] = []
    with at_once():
        waiting = asyncio.ensure_future(look_unless(lambda: False, lasting(60.0, done)))
        await asyncio.sleep(1.0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await asyncio.sleep(100.0)
    assert waiting.cancelled() and not done
