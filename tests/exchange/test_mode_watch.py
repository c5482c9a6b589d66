"""O15: modes that somebody changes by hand while we run are seen, told, and end new risk or all trading."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

pytest.importorskip("starlette")

from ares.clock import VirtualClock
from ares.errors import OutcomeUnknown, Retryable
from ares.events import Event, LinkChanged, OperatorOrder, VenueSnapshot
from ares.exchange.mode_watch import ModeWatch
from ares.exchange.modes import ModeDifference
from ares.exchange.wire import requests
from ares.exchange.wire.account import LeverageAnswer
from tests.exchange.conftest import KEY, Heard, Make, in_process

S = "ETHUSDT"
SECOND, HOUR = 10**9, 3600 * 10**9
HEDGE = ModeDifference(text="hedge mode")
LEVERAGE = ModeDifference(text="leverage of 9", halts=False)


def said(events: list[Event]) -> list[tuple[str, bool] | str]:
    told = [e for e in events if isinstance(e, LinkChanged | OperatorOrder)]
    return [(e.link, e.up) if isinstance(e, LinkChanged) else e.action for e in told]


class Account:
    """Says what differs, or fails."""

    def __init__(self) -> None:
        self.found: tuple[ModeDifference, ...] = ()
        self.fails = False
        self.looks = 0

    async def differences(self) -> tuple[ModeDifference, ...]:
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
    account.found = (HEDGE,)
    await after(HOUR - SECOND)
    assert account.looks == 1
    await after(SECOND)
    await after(HOUR)
    assert said(events) == [("modes", False), "halt"]
    account.found = ()
    await after(60 * SECOND)
    assert said(events) == [("modes", False), "halt", ("modes", True)], "a person lets go of the halt"


async def test_o15_another_leverage_ends_new_risk_and_nothing_else_until_a_mode_differs_too() -> None:
    clock, account, events = VirtualClock(HOUR), Account(), list[Event]()
    watch = ModeWatch(account.differences, clock, events.append)
    for found in ((LEVERAGE,), (LEVERAGE,), (), (LEVERAGE,), (LEVERAGE, HEDGE), (HEDGE,), (LEVERAGE,), ()):
        account.found = found
        clock.set_to(clock.now_ns() + HOUR)
        await watch.look()
    down, up = ("modes", False), ("modes", True)
    assert said(events) == [down, up, down, "halt", up]


async def test_o15_a_look_that_fails_is_made_again_soon_and_a_told_change_is_looked_at() -> None:
    clock, account, events = VirtualClock(HOUR), Account(), list[Event]()
    watch = ModeWatch(account.differences, clock, events.append)
    account.fails, account.found = True, (HEDGE,)
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
    ("change", "named", "halts"),
    [
        (hedge, "hedge mode", True),
        (several_assets, "multi-assets", True),
        (cross, "CROSSED", True),
        (leverage, "leverage of 9", False),
    ],
)
async def test_o15_every_mode_is_looked_at(
    make_venue: Make, change: Callable[[Any], None], named: str, halts: bool
) -> None:
    venue = make_venue()
    async with in_process(venue) as exchange:
        await exchange.set_leverage(S, 5)
        await exchange.create_order(S, "BUY", "MARKET", "0.5")
        assert await exchange.mode_differences() == ()
        change(venue)
        (found,) = await exchange.mode_differences()
        assert named in found.text and found.halts is halts


async def test_o15_a_leverage_whose_answer_was_lost_is_no_change_by_hand(make_venue: Make) -> None:
    async with in_process(make_venue()) as exchange:
        await exchange.set_leverage(S, 5)
        call = exchange._rest.call

        async def lossy(*given: Any, **named: Any) -> Any:
            await call(*given, **named)
            raise OutcomeUnknown("the answer was lost")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(exchange._rest, "call", lossy)
            with pytest.raises(OutcomeUnknown):
                await exchange.set_leverage(S, 10)
        assert await exchange.mode_differences() == ()
        await exchange.set_leverage(S, 7)
        await exchange._rest.call(requests.set_leverage(S, 9), LeverageAnswer)
        assert len(await exchange.mode_differences()) == 1, "a leverage that was confirmed is watched again"


@pytest.mark.parametrize("stale", [True, False])
async def test_o15_a_leverage_that_we_set_while_a_look_travels_is_no_change_by_hand(
    make_venue: Make, stale: bool
) -> None:
    """stale: the look's answer was made before the change."""
    async with in_process(make_venue()) as exchange:
        await exchange.set_leverage(S, 5)
        read = exchange._account.symbol

        async def slow(symbol: str) -> Any:
            before = await read(symbol)
            await exchange.set_leverage(S, 10)
            return before if stale else msgspec.structs.replace(before, leverage=10)

        exchange._account.symbol = slow  # type: ignore[method-assign]
        assert await exchange.mode_differences() == ()


async def test_o15_a_flat_symbol_in_another_margin_mode_is_made_ready_before_its_next_entry(make_venue: Make) -> None:
    venue = make_venue()
    async with in_process(venue) as exchange:
        for side, reduce in (("BUY", False), ("SELL", True)):
            await exchange.create_order(S, side, "MARKET", "0.5", reduce_only=reduce)
        cross(venue)
        assert await exchange.mode_differences() == ()
        await exchange.create_order(S, "BUY", "MARKET", "0.5")
        assert venue.traders[KEY].symbol_config(S).margin_type == "ISOLATED"


@pytest.mark.parametrize(
    ("hedged", "told"), [(False, [("modes", False)]), (True, [("modes", False), "halt"])], ids=["leverage", "hedge"]
)
async def test_o15_a_change_by_hand_reaches_whoever_reads_the_account(
    make_venue: Make, monkeypatch: pytest.MonkeyPatch, hedged: bool, told: list[Any]
) -> None:
    """The venue tells of a change; the next look at it finds that it was not ours."""
    monkeypatch.setattr("ares.exchange.mode_watch._SOON_NS", 0)
    monkeypatch.setattr("ares.exchange.account_stream._AUDIT_FLAT", 0.2)
    venue = make_venue()
    async with in_process(venue) as exchange:
        await exchange.set_leverage(S, 5)
        heard = Heard(exchange.stream_account())
        await heard.until(lambda: heard.of(VenueSnapshot))
        venue.traders[KEY].hedge = hedged
        await exchange._rest.call(requests.set_leverage(S, 9), LeverageAnswer)
        await heard.until(lambda: len(said(heard.events)) >= len(told))
        looked = len(heard.of(VenueSnapshot))
        await heard.until(lambda: len(heard.of(VenueSnapshot)) > looked + 1)
        assert said(heard.events) == told
