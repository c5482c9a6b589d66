"""A bot that is killed at any record, or at any call to the venue, goes on: nothing twice, nothing lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ares.events import Purpose, Submit
from tests.pipeline.crash_bench import (
    MINUTE,
    SECOND,
    START,
    Book,
    Life,
    Market,
    Nakedness,
    PaperWorld,
    World,
    check,
)

BARS = 8
DEADLY = 5  # bars in which it may die
PROTECTED_WITHIN = 3 * SECOND
DOWN = (0, 1, 4, 25, 90)  # seconds until the next start


async def survive(kind: type[World] | type[PaperWorld], down: float, **kill: int) -> bool:
    """Kill a bot, start it again, and check all that must hold. False: the session ended before the kill."""
    world, journal = kind(Market(BARS)), Book()
    journal.kill_at, world.kill_after = kill.get("record"), kill.get("call")
    first = Life(world, journal)
    await first.run()
    if not first.killed:
        return False
    again = world.clock.now + round(down * SECOND)
    while world.market.script and (upcoming := world.market.next_ns()) is not None and upcoming <= again:
        world.step()
    world.clock.set_to(again)
    naked = Nakedness(world)
    second = Life(world, journal, naked)
    await second.run()
    check(world, journal, second)
    assert naked.longest <= PROTECTED_WITHIN, f"naked for {naked.longest / SECOND} s"
    lived = [c for event, said in journal.records() if event.seq >= journal.incarnations()[1][1] for c in said]
    assert any(isinstance(c, Submit) and c.intent.purpose is Purpose.ENTRY for c in lived)
    assert second.pipeline.desk.guard.latches == {}
    return True


def length(kind: type[World] | type[PaperWorld]) -> tuple[int, int]:
    """Records and calls of an undisturbed session."""

    async def run() -> tuple[int, int]:
        world, journal = kind(Market(BARS)), Book()
        await Life(world, journal).run(until_ns=START + DEADLY * MINUTE)
        return len(journal), len(world.sent)

    return asyncio.run(run())


def points(kind: type[World] | type[PaperWorld], every: int) -> list[tuple[float, dict[str, int]]]:
    """Deaths spread over the session: downtimes and places, each `every`th record and call."""
    records, calls = length(kind)
    places: list[dict[str, int]] = [{"record": n} for n in range(records)] + [{"call": n + 1} for n in range(calls)]
    return [(DOWN[n % len(DOWN)], place) for n, place in enumerate(places)][::every]


@pytest.mark.parametrize("kind", [World, PaperWorld])
def test_a_bot_killed_anywhere_goes_on(kind: Any) -> None:
    for down, place in points(kind, every=31):
        assert asyncio.run(survive(kind, down, **place)), place
