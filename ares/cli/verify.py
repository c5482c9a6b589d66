"""`ares verify`: a read-only look at a live venue before money depends on it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from attrs import evolve, frozen
from rich.console import Console

from ares.cli.exits import ends_with_exit_code
from ares.cli.options import ConfigFile, JsonOut
from ares.cli.screen import print_json
from ares.errors import AresError, InvalidInput, NotAuthorized, Rejected
from ares.secret import hide_secrets

if TYPE_CHECKING:
    from ares.config import AresConfig
    from ares.exchange.binance import BinanceExchange

__all__ = ["Check", "verify", "verify_exchange"]

_MOST_DRIFT_MS = 500.0
_STREAM_SECONDS = 10.0


@frozen(kw_only=True)
class Check:
    """One line of the checklist. state: "ok", "failed", or "skipped" when there are no keys."""

    name: str
    state: str
    found: str


@ends_with_exit_code
def verify(
    symbol: Annotated[str, typer.Option(help="Whose filters, modes and streams to look at.")] = "ETHUSDT",
    config: ConfigFile = None,
    rest_url: Annotated[str | None, typer.Option(help="Another address of REST.")] = None,
    stream_url: Annotated[str | None, typer.Option(help="Another address of the streams.")] = None,
    json: JsonOut = False,
) -> None:
    """Check settings, clock, key rights, modes, filters, balance and streams. Nothing is ordered or changed.

    The exit code is 0 when everything that was checked is well, 5 otherwise.
    """
    from ares.cli.reach import remembering
    from ares.config import load_config

    chosen = load_config(config)
    venue = chosen.exchange
    venue = evolve(venue, rest_url=rest_url or venue.rest_url, stream_url=stream_url or venue.stream_url)
    checks = asyncio.run(verify_exchange(evolve(chosen, exchange=remembering(venue)), symbol))
    bad = [c.name for c in checks if c.state == "failed"]
    if json:
        print_json({"ok": not bad, "checks": [{"name": c.name, "state": c.state, "found": c.found} for c in checks]})
    else:
        screen = Console(highlight=False)
        colours = {"ok": "green", "failed": "bold red", "skipped": "dim"}
        for check in checks:
            screen.print(f"[{colours[check.state]}]{check.state:>7}[/]  {check.name}: ", end="")
            screen.print(check.found, markup=False, soft_wrap=True)
    if bad:
        raise NotAuthorized(f"not fit to trade: {', '.join(bad)}", failed=bad)


async def verify_exchange(config: AresConfig, symbol: str) -> list[Check]:
    """The checklist of one venue, in order. Raises nothing of the venue's: what fails is a line."""
    from ares.exchange.binance import BinanceExchange

    public = BinanceExchange(evolve(config.exchange, api_key=None, api_secret=None))  # what a wrong key cannot spoil
    exchange = BinanceExchange(config.exchange)
    checks: list[Check] = []

    async def look(name: str, work: Callable[[], Awaitable[str]], *, private: bool = False) -> None:
        if private and config.exchange.api_key is None:
            checks.append(Check(name=name, state="skipped", found="no API key given"))
            return
        try:
            checks.append(Check(name=name, state="ok", found=await work()))
        except AresError as error:
            checks.append(Check(name=name, state="failed", found=hide_secrets(str(error))))

    try:
        await look("config sanity", lambda: _sanity(config))
        await look("connection", lambda: _connect(public))
        await look("clock", lambda: _clock(public))
        await look("filters", lambda: _filters(public, symbol))
        await look("key rights", lambda: _rights(exchange), private=True)
        await look("modes and leverage", lambda: _modes(exchange, config, symbol), private=True)
        await look("balance", lambda: _balance(exchange), private=True)
        await look("market stream", lambda: _market(public, symbol))
        await look("account stream", lambda: _account(exchange), private=True)
    finally:
        await exchange.close()
        await public.close()
    return checks


async def _sanity(config: AresConfig) -> str:
    """The settings alone: whether they agree with each other and are what trading live needs."""
    from ares.assembly import live_gaps

    venue = config.exchange
    if venue.real_money and venue.environment is None and venue.use_testnet:
        raise InvalidInput(f"use_testnet is on, but orders would go to {venue.rest}, which is taken for real money")
    if off := live_gaps(config):
        raise InvalidInput(f"trading live needs {', '.join(off)} switched on", off=off)
    money = "REAL money" if venue.real_money else "no real money"
    most = config.tactician.max_leverage
    return f"{money}, {venue.margin_mode} margin, leverage up to {most}, all on that live needs"


async def _modes(exchange: BinanceExchange, config: AresConfig, symbol: str) -> str:
    """The account against the settings: position mode, multi-assets mode, margin mode, leverage of what is held."""
    await exchange.modes.refuse_others()
    most = config.tactician.max_leverage
    for position in await exchange.get_positions():
        if position.leverage > most:
            raise InvalidInput(f"{position.symbol} is held at leverage {position.leverage}, the settings allow {most}")
    now, tiers = await exchange.modes.of(symbol), len((await exchange.get_instrument(symbol)).tiers)
    margin = f"{now.margin_type.upper()}, leverage {now.leverage}, {tiers} tiers"
    return f"one-way, single-asset; {symbol}: {margin}"


async def _connect(exchange: BinanceExchange) -> str:
    await exchange.__aenter__()
    return f"{exchange.config.where.name} at {exchange.config.rest}"


async def _clock(exchange: BinanceExchange) -> str:
    offset = exchange.get_exchange_status()["clock_offset_ms"]
    if not isinstance(offset, float):
        raise NotAuthorized("not compared: the venue did not tell its time")
    if abs(offset) > _MOST_DRIFT_MS:
        raise NotAuthorized(f"this machine's clock is {offset:+.0f} ms off: synchronise it", offset_ms=offset)
    return f"{offset:+.1f} ms"


async def _filters(exchange: BinanceExchange, symbol: str) -> str:
    i = await exchange.get_instrument(symbol)
    if not i.trading:
        raise NotAuthorized(f"{symbol} is not trading")
    return f"{symbol}: tick {i.tick_size}, lot {i.lot_step}, least notional {i.min_notional}"


async def _rights(exchange: BinanceExchange) -> str:
    await exchange.__aenter__()
    account = await exchange.account_config()
    if not account.can_trade:
        raise NotAuthorized("the account may not trade")
    try:
        key = await exchange.key_rights()
    except Rejected:
        return "may trade; this network does not tell whether the key may withdraw"
    if key.enable_withdrawals or key.enable_internal_transfer or key.permits_universal_transfer:
        raise NotAuthorized("the key may withdraw or transfer: make one that can only trade", can_withdraw=True)
    limit = "limited to addresses" if key.ip_restrict else "NOT limited to addresses"
    return f"may trade, may not withdraw, {limit}"


async def _balance(exchange: BinanceExchange) -> str:
    account = await exchange.get_account()
    held = ", ".join(f"{p.symbol} {p.quantity}" for p in account.positions) or "flat"
    return f"{account.wallet} {account.asset}, {held}"


async def _first(stream: Any, what: str) -> Any:
    try:
        async with asyncio.timeout(_STREAM_SECONDS):
            return await anext(stream)
    except TimeoutError:
        raise NotAuthorized(f"the {what} stream was silent for {_STREAM_SECONDS:g} s") from None
    finally:
        await stream.aclose()


async def _market(exchange: BinanceExchange, symbol: str) -> str:
    event = await _first(exchange.stream_market([symbol], "1m"), "market")
    return f"first event {type(event).__name__}"


async def _account(exchange: BinanceExchange) -> str:
    event = await _first(exchange.stream_account(), "account")
    return f"first event {type(event).__name__}"
