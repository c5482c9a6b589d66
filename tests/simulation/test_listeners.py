"""Time waits for who listens, and is patient with a reader that is busy."""

from __future__ import annotations

import asyncio

from ares.simulation.simulated_exchange import SimulatedExchange
from tests.simulation.market import flat, tape
from tests.virtual_time import at_once, stand_still


async def test_a_reader_that_compiles_for_minutes_is_not_taken_for_lost() -> None:
    """While it works nobody else runs, nor looks at a clock; then it comes back by way of other waits."""
    sim = SimulatedExchange(tape(flat(2000, 12)))
    account = sim.stream_account()
    began = asyncio.Event()

    async def reader() -> None:
        await anext(account)
        began.set()
        await asyncio.sleep(1.0)  # time waits for it
        stand_still(300.0)
        for _ in range(3):
            await asyncio.sleep(0.01)
        await anext(account, None)

    with at_once():
        task = asyncio.create_task(reader())
        await began.wait()
        assert await anext(sim.stream_market(["ETHUSDT"], "1h"))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
