"""How many events a second the desk takes, alone and with the venue it trades on.

The tape is the synthetic market; the desk runs the reference stages. Budget: five years of hours in under ten seconds.
"""

from __future__ import annotations

import time
from typing import Any

from ares.assembly import stages
from ares.backtesting.backtester import Backtester
from ares.events import Command, Event
from ares.pipeline.desk import Desk
from ares.simulation.tape import Tape


def run(quick: bool) -> list[dict[str, Any]]:
    """Events a second of a whole backtest, of the desk alone, and bars a second."""
    bars = 5_000 if quick else 45_000
    tape = Tape.synthetic("ETHUSDT", "1h", bars=bars, seed=3)
    told: list[Event] = []

    def listen(event: Event, commands: list[Command]) -> None:
        told.append(event)

    backtester = Backtester()
    backtester.run(Tape.synthetic("ETHUSDT", "1h", bars=1_000, seed=3))  # compile
    backtester.run(tape, observer=listen)
    whole = _fastest(lambda: backtester.run(tape))
    alone = _fastest(lambda: _handle_all(told))
    return [
        _line(f"backtest, {bars:,} bars, desk and venue", len(told) / whole, "events/s"),
        _line(f"backtest, {bars:,} bars, desk and venue", bars / whole, "bars/s"),
        _line(f"desk alone, {len(told):,} recorded events", len(told) / alone, "events/s"),
    ]


def _handle_all(events: list[Event]) -> None:
    bot = stages()
    desk = Desk(
        features=bot.features,
        analyst=bot.analyst,
        tactician=bot.tactician,
        monitor=bot.monitor,
        symbols=["ETHUSDT"],
        interval="1h",
    )
    for event in events:
        desk.handle(event)


def _fastest(work: Any, rounds: int = 3) -> float:
    """Seconds of the fastest of some rounds: the others were disturbed."""
    best = float("inf")
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return best


def _line(workload: str, ours: float, unit: str) -> dict[str, Any]:
    return {"workload": workload, "ours": ours, "peer": "none", "ratio": None, "unit": unit, "note": "reference stages"}
