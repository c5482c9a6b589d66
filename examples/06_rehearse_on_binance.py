"""The Binance client on a Binance of our own, in one process and without a network.

`LocalVenue` speaks the wire of Binance's USDS-M futures over a made-up market. The client does not know: swap the two
arguments for your keys and it trades on the real one. A fault is planned, so the first stop's answer gets lost.
"""

import asyncio
from decimal import Decimal

from ares import BinanceConfig, BinanceExchange, Tape
from ares.errors import OutcomeUnknown
from ares.events import FillBooked
from ares.secret import Secret
from ares.simulation.faults import Fault, FaultPlan
from ares.simulation.server import LocalVenue
from ares.simulation.server.in_process import VenueTransport, connector

SYMBOL = "ETHUSDT"


async def main():
    venue = LocalVenue(
        Tape.synthetic(SYMBOL, "1m", bars=400),
        accounts={"my-key": (Secret("my-secret"), Decimal(10_000))},
        faults=FaultPlan([Fault.parse("unknown_503 at POST /fapi/v1/algoOrder")]),
    )
    config = BinanceConfig(
        api_key=Secret("my-key"),
        api_secret=Secret("my-secret"),
        rest_url="http://localhost",
        stream_url="ws://localhost",
    )
    async with BinanceExchange(config, transport=VenueTransport(venue), connect=connector(venue)) as exchange:
        account = exchange.stream_account()
        print("venue truth:", (await anext(account)).account.wallet, "USDT")

        order = await exchange.create_order(SYMBOL, "BUY", "MARKET", 0.5)
        position = await exchange.wait_filled(order)
        print(f"bought {position.quantity} at {position.entry_price}, liquidation at {position.liquidation_price}")

        try:
            await exchange.create_order(
                SYMBOL,
                "SELL",
                "STOP_MARKET",
                0.5,
                stop_price=float(position.entry_price) * 0.98,
                reduce_only=True,
                client_order_id="my-stop",
            )
        except OutcomeUnknown as error:
            print("the answer was lost:", error)
        stop = await exchange.get_order(SYMBOL, client_order_id="my-stop")
        print(f"asked by its id: {stop.status.value}, trigger {stop.stop_price}")

        await exchange.cancel_order(SYMBOL, client_order_id="my-stop")
        await exchange.wait_filled(await exchange.create_order(SYMBOL, "SELL", "MARKET", 0.5, reduce_only=True))
        fills = []
        async for event in account:
            if isinstance(event, FillBooked):
                fills.append(fill := event.fill)
                print(f"fill {fill.trade_id}: {fill.side.value} at {fill.price}, fee {fill.fee}")
            if len(fills) == 2:
                break
        print("in the end:", (await exchange.get_account()).wallet, "USDT")


asyncio.run(main())
