"""O15: modes that somebody changes by hand while we run are seen, told, and end the trading."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("starlette")

from ares.clock import VirtualClock
from ares.errors import Retryable
from ares.events import Event, LinkChanged, OperatorOrder
from ares.exchange.mode_watch import ModeWatch
from ares.exchange.wire import requests
from ares.exchange.wire.account import LeverageAnswer
from tests.exchange.conftest import KEY, Make, in_process

S = "ETHUSDT"
SECOND, HOUR = 10**9, 3600 * 10**9


def said(events: list[Event]) -> list[tuple[str, bool] | str]:
    told = [e for e in events if isinstance(e, LinkChanged | OperatorOrder)]
    return [(e.link, e.up) if isinstance(e, LinkChanged) else e.action for e in told]


class Account:
    """Says what differs, or fails."""

    def __init__(self) -> None:
        self.found: tuple[str, ...] = ()
        self.fails = False
        self.looks = 0

    async def differences(self) -> tuple[str, ...]:
        self.looks += 1
        if self.fails:
            raise Retryable("no answer")
        return self.found


async def test_o15_a_difference_is_told_once_and_its_end_too() -> None:
    clock, account, events = VirtualClock(HOUR), Account(), list[Event]()
    watch = ModeWatch(account.differences, clock, events.append)

    async def after(ns: int) -> None:
        clock.set_to(clock.now_ns() + ns)
        await watch.look()

    await after(HOUR - SECOND)
    assert account.looks == 0, "the start has looked"
    await after(SECOND)
    assert (account.looks, events) == (1, [])
    account.found = ("hedge mode",)
    await after(HOUR - SECOND)
    assert account.looks == 1
    await after(SECOND)
    await after(HOUR)
    assert said(events) == [("modes", False), "halt"]
    account.found = ()
    await after(HOUR)
    assert said(events) == [("modes", False), "halt", ("modes", True)], "a person lets go of the halt"


async def test_o15_a_look_that_fails_is_made_again_soon_and_a_told_change_is_looked_at() -> None:
    clock, account, events = VirtualClock(HOUR), Account(), list[Event]()
    watch = ModeWatch(account.differences, clock, events.append)
    account.fails, account.found = True, ("hedge mode",)
    watch.look_soon()
    await watch.look()
    assert account.looks == 0, "our own change must have been confirmed first"
    clock.set_to(clock.now_ns() + 2 * SECOND)
    await watch.look()
    account.fails = False
    await watch.look()
    assert (account.looks, events) == (1, [])
    clock.set_to(clock.now_ns() + 60 * SECOND)
    await watch.look()
    assert said(events) == [("modes", False), "halt"]


def hedge(venue: Any) -> None:
    venue.traders[KEY].hedge = True


def several_assets(venue: Any) -> None:
    venue.traders[KEY].multi_assets = True


def cross(venue: Any) -> None:
    venue.traders[KEY].margin_type[S] = "CROSSED"


def leverage(venue: Any) -> None:
    venue.traders[KEY].venue.set_leverage(S, 9)


@pytest.mark.parametrize(
    ("change", "named"),
    [(hedge, "hedge mode"), (several_assets, "multi-assets"), (cross, "CROSSED"), (leverage, "leverage of 9")],
)
async def test_o15_every_mode_is_looked_at(make_venue: Make, change: Callable[[Any], None], named: str) -> None:
    venue = make_venue()
    async with in_process(venue) as exchange:
        await exchange.set_leverage(S, 5)
        await exchange.create_order(S, "BUY", "MARKET", "0.5")
        assert await exchange.mode_differences() == ()
        change(venue)
        (found,) = await exchange.mode_differences()
        assert named in found


async def test_o15_a_flat_symbol_in_another_margin_mode_is_made_ready_before_its_next_entry(make_venue: Make) -> None:
    venue = make_venue()
    async with in_process(venue) as exchange:
        for side, reduce in (("BUY", False), ("SELL", True)):
            await exchange.create_order(S, side, "MARKET", "0.5", reduce_only=reduce)
        cross(venue)
        assert await exchange.mode_differences() == ()
        await exchange.create_order(S, "BUY", "MARKET", "0.5")
        assert venue.traders[KEY].symbol_config(S).margin_type == "ISOLATED"


async def test_o15_a_change_by_hand_reaches_whoever_reads_the_account(
    make_venue: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The venue tells of a change of leverage; the next look at it finds that it was not ours."""
    monkeypatch.setattr("ares.exchange.mode_watch._SOON_NS", 0)
    monkeypatch.setattr("ares.exchange.account_stream._AUDIT_FLAT", 0.2)
    async with in_process(make_venue()) as exchange:
        await exchange.set_leverage(S, 5)
        stream = exchange.stream_account()
        first = await anext(stream)
        await exchange._rest.call(requests.set_leverage(S, 9), LeverageAnswer)
        seen: list[Event] = [first]
        async with asyncio.timeout(10):
            while not any(isinstance(e, OperatorOrder) for e in seen):
                seen.append(await anext(stream))
        assert said(seen) == [("modes", False), "halt"]
        await stream.aclose()
