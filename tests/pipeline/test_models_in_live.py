"""Real money is not traded on a model that could not be verified."""

from __future__ import annotations

from typing import Any, cast

import pytest
from attrs import evolve

from ares.analyst.analyst import Analyst
from ares.assembly import Stages, build, stages
from ares.errors import InvalidInput
from ares.protocols import Exchange
from ares.simulation.simulated_exchange import SimulatedExchange
from ares.simulation.tape import Tape


class _Never:
    def due(self, close_ns: int, current: str) -> str | None:
        return None


def bot(analyst: Any) -> Stages:
    return evolve(stages(), analyst=analyst)


def test_live_needs_a_model_or_one_to_come() -> None:
    exchange = cast(Exchange, SimulatedExchange(Tape.synthetic("ETHUSDT", "1h", bars=50)))
    given: dict[str, Any] = {"exchange": exchange, "symbols": ["ETHUSDT"], "interval": "1h"}
    with pytest.raises(InvalidInput, match="no model"):
        build(mode="live", parts=bot(Analyst()), **given)
    build(mode="live", parts=bot(Analyst()), models=_Never(), **given)
    build(mode="paper", parts=bot(Analyst()), **given)
