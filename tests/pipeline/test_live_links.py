"""A link that is down holds entries back for as long as it is, and no longer: not beyond the life that lost it."""

from __future__ import annotations

import asyncio

import pytest

from ares.events import LinkChanged, Purpose
from ares.pipeline.live import LiveTradingPipeline
from tests.pipeline.crash_bench import SECOND, Book, Life, Market, World
from tests.pipeline.test_live_restart import first, killed, later, revived, sends


@pytest.mark.parametrize("link", ["account", "clock", "market", "modes"])
async def test_a_link_that_was_down_when_the_bot_died_holds_back_no_later_one(link: str) -> None:
    world, journal = World(Market(6)), Book()

    def lose(pipeline: LiveTradingPipeline) -> None:
        if len(journal) > 5 and journal.kill_at is None and world.link is not None:
            now = world.clock.now
            world.link.account.put_nowait(LinkChanged(ts_event=now, ts_seen=now, link=link, up=False))
            journal.kill_at = len(journal)

    life = Life(world, journal, lose)
    await life.run()
    assert life.killed and isinstance([event for event, _ in journal.records()][-1], LinkChanged)
    later(world, 5)
    life, told = await revived(world, journal, 120)
    assert [(e.link, e.up) for e in told if isinstance(e, LinkChanged)] == [(link, True)]
    assert life.pipeline.desk.guard.latches == {}


async def test_a_link_that_is_down_after_the_restart_too_holds_entries_back() -> None:
    world, journal = await killed(await asyncio.to_thread(first, sends(Purpose.STOP)))
    later(world, 5)

    def lost_again(pipeline: LiveTradingPipeline) -> None:
        if not said and world.link is not None:
            now = world.clock.now
            said.append(LinkChanged(ts_event=now, ts_seen=now, link="account", up=False))
            world.link.account.put_nowait(said[0])

    said: list[LinkChanged] = []
    life = Life(world, journal, lost_again)
    await life.run(until_ns=world.clock.now + 30 * SECOND)
    assert "link:account" in life.pipeline.desk.guard.latches
