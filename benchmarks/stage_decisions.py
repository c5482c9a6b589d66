"""What one decision of each stage costs: an opinion, a plan or refusal, a look at a position.

The questions are those that a backtest of the synthetic market really asked. Budgets: an opinion with its bookkeeping
under 30 us, a plan or refusal under 200 us, a look under 50 us.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ares.analyst.rules import RuleAnalyst
from ares.backtesting.backtester import Backtester
from ares.monitor.position_monitor import PositionMonitor
from ares.simulation.tape import Tape
from ares.tactician.tactician import Tactician


class Overheard:
    """Notes what a stage's twin was asked."""

    def __init__(self, stage: object, twin: str) -> None:
        self.asked: list[Any] = []
        answer = getattr(stage, twin)

        def ask(given: Any) -> Any:
            self.asked.append(given)
            return answer(given)

        setattr(stage, twin, ask)


def run(quick: bool) -> list[dict[str, Any]]:
    """Microseconds a decision, for each stage."""
    bars = 5_000 if quick else 30_000
    analyst, tactician, monitor = RuleAnalyst(), Tactician(), PositionMonitor()
    told = [Overheard(analyst, "analyze"), Overheard(tactician, "decide"), Overheard(monitor, "assess_position")]
    tape = Tape.synthetic("ETHUSDT", "1h", bars=bars, seed=2)
    Backtester(analyst=analyst, tactician=tactician, monitor=monitor).run(tape)
    opinions, plans, looks = (overheard.asked for overheard in told)
    return [
        _line("an opinion of the rule analyst", opinions, lambda: RuleAnalyst().analyze),
        _line("a plan or its refusal", plans, lambda: Tactician().decide),
        _line("a look at a position", looks, lambda: PositionMonitor().assess_position),
    ]


def _line(workload: str, asked: list[Any], fresh: Callable[[], Callable[[Any], Any]]) -> dict[str, Any]:
    best = float("inf")
    for _ in range(3):
        answer = fresh()
        began = time.perf_counter()
        for given in asked:
            answer(given)
        best = min(best, time.perf_counter() - began)
    return {
        "workload": f"{workload}, {len(asked):,} of them",
        "ours": best / max(1, len(asked)) * 1e6,
        "peer": None,
        "ratio": None,
        "unit": "us",
        "note": "reference stages",
    }
