"""Orders a second that the local venue takes over loopback: signature, filters, matching, ledger, reports, answer.

Budget: 1,000 orders a second on one core. It is counted by the server's own processor time, in a process of its own, so
that the client that asks costs nothing; market orders, one account, alternating sides, each filled at once.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import time
from decimal import Decimal
from typing import Any

KEY, SECRET, SYMBOL = "benchmark-key", "benchmark-secret", "ETHUSDT"
TARGET = 1000.0
_CLIENTS = 4  # connections that ask at the same time


def _serve(pipe: Any) -> None:
    """Serve until told to end; then say what it cost."""
    from ares.secret import Secret
    from ares.simulation.server.limits import RequestLimits
    from ares.simulation.server.local_venue import LocalVenue
    from ares.simulation.server.serving import serve
    from ares.simulation.tape import Tape

    venue = LocalVenue(
        Tape.synthetic(SYMBOL, "1m", bars=3000, seed=3),
        accounts={KEY: (Secret(SECRET), Decimal(10_000_000))},
        limits=RequestLimits(orders_per_minute=10**9, orders_per_10s=10**9),
    )

    async def run() -> None:
        until = asyncio.Event()
        loop = asyncio.get_running_loop()

        def asked() -> None:
            if pipe.recv() == "cost":
                pipe.send((time.process_time(), venue.orders_taken))
            else:
                until.set()

        loop.add_reader(pipe.fileno(), asked)
        await serve(venue, ready=lambda rest, streams: pipe.send(rest), until=until)

    asyncio.run(run())


async def _place(rest: str, orders: int) -> None:
    """Market orders over a few kept connections, each signed anew."""
    from ares.exchange.http import LeanWire
    from ares.exchange.signing import signer_for
    from ares.secret import Secret

    signer = signer_for(Secret(SECRET))

    async def one(number: int) -> None:
        wire = LeanWire(rest)
        headers = {"X-MBX-APIKEY": KEY}
        for n in range(orders // _CLIENTS):
            side = "BUY" if (n + number) % 2 else "SELL"
            text = f"symbol={SYMBOL}&side={side}&type=MARKET&quantity=0.1&timestamp={time.time_ns() // 1_000_000}"
            body = f"{text}&signature={signer.sign(text.encode())}".encode()
            answer = await wire.send("POST", "/fapi/v1/order", headers, body, 10.0)
            if answer.status != 200:
                raise SystemExit(f"the local venue refused an order: {answer.body!r}")
        await wire.close()

    await asyncio.gather(*(one(number) for number in range(_CLIENTS)))


def run(quick: bool) -> list[dict[str, Any]]:
    """The median of a few rounds."""
    orders, rounds = (400, 3) if quick else (2000, 5)
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs,), daemon=True)
    server.start()
    rest = ours.recv()
    rates = []
    asyncio.run(_place(rest, orders))
    for _ in range(rounds):
        ours.send("cost")
        before, taken = ours.recv()
        asyncio.run(_place(rest, orders))
        ours.send("cost")
        after, total = ours.recv()
        rates.append((total - taken) / (after - before))
    ours.send("end")
    server.join(10)
    rate = statistics.median(rates)
    return [
        {
            "workload": f"market orders taken by ares simulate over loopback, {_CLIENTS} connections",
            "ours": rate,
            "peer": "none",
            "ratio": None,
            "unit": "orders/s of one core",
            "note": f"budget {TARGET:,.0f}: {'kept' if rate >= TARGET else 'missed'}",
        }
    ]
