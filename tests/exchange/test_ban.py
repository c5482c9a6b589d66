"""N6 over restarts: a ban holds for the next process too, and the status says until when."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from attrs import evolve
from tenacity import stop_after_attempt

from ares.errors import DataError, Retryable
from ares.exchange import ban, rest
from ares.exchange.ban import BanFile
from ares.exchange.binance import BinanceExchange
from ares.exchange.config import BinanceConfig
from ares.simulation.server.in_process import VenueTransport

from .conftest import Make, in_process

S = 1_000_000_000


async def test_n6_a_ban_holds_for_the_next_instance_and_the_status_shows_it(make_venue: Make, tmp_path: Path) -> None:
    kept = tmp_path / "state" / "bans.json"
    venue = make_venue("banned at GET /fapi/v1/depth for 60", speed=1.0)
    async with in_process(venue, ban_file=kept) as exchange:
        assert not kept.exists()  # nothing is written without a ban
        began = venue.clock.now_ns()
        with pytest.raises(Retryable):
            await exchange.get_order_book("ETHUSDT")
        until = exchange.get_exchange_status()["limits"]["banned_until_ns"]  # type: ignore[index]
    assert 60 * S <= until - began <= 65 * S
    transport = VenueTransport(venue)
    second = BinanceExchange(exchange.config, transport=transport, clock=venue.clock)
    assert second.get_exchange_status()["limits"]["banned_until_ns"] == until  # type: ignore[index]
    with pytest.raises(Retryable, match="banned") as caught:
        await second.__aenter__()
    assert caught.value.facts["banned"] is True and transport.requests == []
    other = BinanceConfig(rest_url="http://127.0.0.1:1", ban_file=kept)  # another venue is not meant
    assert BinanceExchange(other, clock=venue.clock).get_exchange_status()["limits"]["banned_until_ns"] == 0  # type: ignore[index]


async def test_n6_a_ban_that_has_passed_is_over_and_forgotten(
    make_venue: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest, "_AFTER_BAN", 0.0)
    kept = tmp_path / "bans.json"
    venue = make_venue("banned at GET /fapi/v1/depth for 60", speed=1.0)
    BanFile(kept, "http://localhost").keep(venue.clock.now_ns() - S, 0)
    async with in_process(venue, ban_file=kept) as exchange:
        BanFile(kept, "https://elsewhere").keep(5 * S, 2 * S)
        with pytest.raises(Retryable):
            await exchange.get_order_book("ETHUSDT")
    assert set(json.loads(kept.read_text())) == {"http://localhost"}


@pytest.mark.parametrize("content", [b"", b"{", b'{"x": 5}', b'{"x": {"until_ns": "soon", "until": ""}}', b"\xff"])
def test_a_file_that_cannot_be_read_stops_the_start(tmp_path: Path, content: bytes) -> None:
    kept = tmp_path / "bans.json"
    kept.write_bytes(content)
    with pytest.raises(DataError, match="delete it if no ban is running"):
        BinanceExchange(BinanceConfig(ban_file=kept))


def test_the_longer_ban_stays_whoever_writes_last(tmp_path: Path) -> None:
    kept = tmp_path / "bans.json"
    BanFile(kept, "x").keep(90 * S, 1)
    BanFile(kept, "x").keep(60 * S, 1)
    assert BanFile(kept, "x").until_ns() == 90 * S


def test_processes_that_write_at_once_lose_no_ban(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "bans.json"
    monkeypatch.setattr(ban, "_patiently", ban._patiently.copy(stop=stop_after_attempt(20_000)))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: BanFile(kept, f"https://{n}").keep((100 + n) * S, 1), range(24)))
    assert len(json.loads(kept.read_text())) == 24


async def test_a_ban_that_another_process_earned_is_heard_of_while_running(make_venue: Make, tmp_path: Path) -> None:
    kept = tmp_path / "bans.json"
    venue = make_venue(speed=1.0)
    async with in_process(venue, ban_file=kept) as exchange:
        await exchange.get_order_book("ETHUSDT")
        BanFile(kept, "http://localhost").keep(venue.clock.now_ns() + 60 * S, venue.clock.now_ns())
        with pytest.raises(Retryable, match="banned"):
            await exchange.get_order_book("ETHUSDT")


async def test_a_ban_by_the_spot_interface_is_of_that_address_alone(tmp_path: Path) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        return httpx.Response(418, headers={"retry-after": "600"}, json={"code": -1003, "msg": "banned"})

    asked: list[str] = []
    kept = tmp_path / "bans.json"
    config = BinanceConfig(api_key="k", api_secret="s", use_testnet=False, max_retries=0, ban_file=kept)
    for settings in (config, evolve(config, ban_file=None)):
        asked.clear()
        kept.unlink(missing_ok=True)
        exchange = BinanceExchange(settings, transport=httpx.MockTransport(answer))
        for _ in range(3):
            with pytest.raises(Retryable):
                await exchange.key_rights()
        assert asked == ["api.binance.com"]  # once
        assert exchange.get_exchange_status()["limits"]["banned_until_ns"] == 0  # type: ignore[index]
        assert not kept.exists() or set(json.loads(kept.read_text())) == {"https://api.binance.com"}


async def test_a_ban_that_cannot_be_written_down_holds_in_this_process(make_venue: Make, tmp_path: Path) -> None:
    venue = make_venue("banned at GET /fapi/v1/depth for 60", speed=1.0)
    async with in_process(venue) as exchange:
        exchange._rest._bans = BanFile(tmp_path / "folder", "http://localhost")
        (tmp_path / "folder").mkdir()
        for _ in range(2):
            with pytest.raises(Retryable) as caught:
                await exchange.get_order_book("ETHUSDT")
            assert caught.value.facts["banned"] is True
        assert exchange.get_exchange_status()["errors"]["DataError"] == 2  # not read, not written; type: ignore[index]


def test_n6_the_command_line_remembers_in_its_data_folder(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"  # nobody listens there: a request would say so
        BanFile(tmp_path / "data" / "bans.json", address).keep(time.time_ns() + 3600 * S, time.time_ns())
        command = [sys.executable, "-m", "ares", "verify", "--json", "--rest-url", address]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=dict(os.environ), timeout=300)
    found = [c["found"] for c in json.loads(done.stdout)["checks"] if c["state"] == "failed"]
    assert done.returncode == 5 and any("banned this address" in text for text in found)
    assert not any("cannot connect" in text for text in found)  # nothing was tried
