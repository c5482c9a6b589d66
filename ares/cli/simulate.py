"""`ares simulate`: a Binance of our own on this machine."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ares.cli.exits import ends_with_exit_code
from ares.cli.market import open_tape, symbol_of
from ares.cli.options import Bars, LogLevel, Seed, TapeFile
from ares.cli.recorded import Recorded
from ares.cli.screen import note
from ares.errors import InvalidInput
from ares.secret import Secret

if TYPE_CHECKING:
    from ares.simulation.server.local_venue import LocalVenue

__all__ = ["simulate"]

_SYNTHETIC_INTERVAL = "1m"


@ends_with_exit_code
def simulate(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8089,
    tape: TapeFile = None,
    symbol: Annotated[str | None, typer.Option(help="The tape's symbol. None: from its file name, or ETHUSDT.")] = None,
    interval: Annotated[
        str | None, typer.Option(help="Length of a bar, such as 15m, 1h, 4h. None: the tape's own, or 1m.")
    ] = None,
    api_key: Annotated[str | None, typer.Option(help="API key of the account. None: public data only.")] = None,
    api_secret: Annotated[str | None, typer.Option(help="Its secret, or the path of a PEM private key.")] = None,
    agg_trades: Annotated[
        Path | None,
        typer.Option("--agg-trades", help="Recorded aggregated trades, to go with --tape; limit orders fill by them."),
    ] = None,
    balance: Annotated[float, typer.Option(min=0.0, help="What each account begins with, in USDT.")] = 10_000.0,
    account: Annotated[
        list[str] | None,
        typer.Option(help="One more account: KEY:SECRET, and :BALANCE after it if it differs. May be repeated."),
    ] = None,
    pace: Annotated[str, typer.Option(help="realtime, or how many times faster, such as 60.")] = "realtime",
    history: Annotated[
        int | None, typer.Option(min=1, help="Bars that are past at the start. None: up to 1000, at most half.")
    ] = None,
    faults: Annotated[Path | None, typer.Option(help="A plan of faults, YAML: a list of lines under `faults`.")] = None,
    fault: Annotated[
        list[str] | None, typer.Option(help="One fault, such as 'unknown_503 at POST /fapi/v1/order'. May be repeated.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; the default is this machine alone.")] = "127.0.0.1",
    orders_per_minute: Annotated[int, typer.Option(min=1, help="Order limit of each account.")] = 1200,
    seed: Seed = 0,
    bars: Bars = None,
    log: LogLevel = None,
) -> None:
    """Serve the wire of Binance USDS-M futures over a tape, for ares and for anyone's client.

    When ready it prints one JSON line with the addresses of REST and of the streams. It ends with Ctrl-C.
    """
    import ares.log
    from ares.simulation.faults import Fault, FaultPlan
    from ares.simulation.server.limits import RequestLimits
    from ares.simulation.server.local_venue import LocalVenue
    from ares.simulation.server.market import Pace

    if log is not None:
        ares.log.configure(log.value)
    chosen = symbol_of(symbol, tape)
    played = open_tape(
        chosen,
        tape=tape,
        interval=interval or (None if tape else _SYNTHETIC_INTERVAL),
        recorded=Recorded(agg_trades=agg_trades),
        seed=seed,
        bars=bars,
    )
    plan = FaultPlan.from_file(faults) if faults is not None else FaultPlan()
    plan.faults = [*plan.faults, *(Fault.parse(line) for line in fault or ())]
    venue = LocalVenue(
        played,
        accounts=_accounts(api_key, api_secret, balance, account or []),
        pace=Pace.parse(pace),
        history=history,
        faults=plan,
        limits=RequestLimits(
            orders_per_minute=orders_per_minute, orders_per_10s=max(300, orders_per_minute // 4)
        ),
    )
    asyncio.run(_run(venue, host, port))


def _accounts(
    key: str | None, secret: str | None, balance: float, more: list[str]
) -> dict[str, tuple[Secret, Decimal]]:
    if (key is None) is not (secret is None):
        raise InvalidInput("an account needs both --api-key and --api-secret")
    given = [] if key is None or secret is None else [(key, secret, repr(balance))]
    for text in more:
        parts = text.split(":")
        if len(parts) not in (2, 3) or not all(parts):
            raise InvalidInput("--account is KEY:SECRET or KEY:SECRET:BALANCE")
        given.append((parts[0], parts[1], parts[2] if len(parts) == 3 else repr(balance)))
    found: dict[str, tuple[Secret, Decimal]] = {}
    for name, own, amount in given:
        if name in found:
            raise InvalidInput(f"two accounts have the key {name!r}", key=name)
        found[name] = (_secret(own), _amount(amount))
    return found


def _amount(text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise InvalidInput(f"an account's balance is an amount of money, not {text!r}") from None
    if not amount.is_finite() or amount < 0:
        raise InvalidInput(f"an account's balance is an amount of money, not {text}")
    return amount


def _secret(text: str) -> Secret:
    path = Path(text)
    if text.endswith(".pem") and path.is_file():
        return Secret(path.read_text(encoding="utf-8"))
    return Secret(text)


async def _run(venue: LocalVenue, host: str, port: int) -> None:
    from ares.simulation.server.serving import serve

    until = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, until.set)

    def ready(rest: str, streams: str) -> None:
        sys.stdout.write(json.dumps({"rest": rest, "streams": streams}) + "\n")
        sys.stdout.flush()
        note(f"{', '.join(venue.instruments)} · {venue.market.interval} bars · Ctrl-C ends it")

    await serve(venue, host=host, port=port, ready=ready, until=until)
