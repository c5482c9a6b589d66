"""What can never work is refused where it is given, by a typed error that says what would."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares import (
    Analyst,
    Backtester,
    BinanceExchange,
    FeatureOrchestrator,
    PositionMonitor,
    RuleAnalyst,
    Side,
    SimulatedExchange,
    Tactician,
    Tape,
    train,
)
from ares.clock import moment_ns
from ares.errors import InvalidInput
from ares.events import CandleClosed, MarkPrice, decode_event, encode
from ares.features.nodes import FeatureNode
from ares.instrument_tables import default_instrument
from ares.market import Candle

HOUR_NS = 3_600_000_000_000


@pytest.fixture(scope="module")
def tape() -> Tape:
    return Tape.synthetic("ETHUSDT", "1h", bars=60)


@pytest.mark.parametrize(
    "make",
    [
        Analyst,
        Backtester,
        BinanceExchange,
        FeatureOrchestrator,
        PositionMonitor,
        Tactician,
        lambda config: RuleAnalyst(config=config),
        lambda config: train(Tape.synthetic(bars=60), config=config),
    ],
)
def test_settings_of_another_class_are_refused(make: Callable[[Any], object]) -> None:
    with pytest.raises(InvalidInput, match=r"settings must be of class \w+Config, not dict"):
        make({"seed": 1})


def test_a_stage_is_an_instance_and_not_its_class() -> None:
    with pytest.raises(InvalidInput, match="the tactician is the class Tactician: give an instance"):
        Backtester(tactician=Tactician)  # type: ignore[arg-type]


def test_a_market_is_a_tape(tape: Tape) -> None:
    with pytest.raises(InvalidInput, match=r"`Tape\.from_frame` makes one"):
        SimulatedExchange(tape.frame())  # type: ignore[arg-type]


@pytest.mark.parametrize("back", [{"bars": -1}, {"seconds": -0.5}])
def test_time_does_not_go_back(tape: Tape, back: dict[str, Any]) -> None:
    async def advance() -> None:
        async with SimulatedExchange(tape) as exchange:
            await exchange.advance(**back)

    with pytest.raises(InvalidInput, match="does not go back"):
        asyncio.run(advance())


@pytest.mark.parametrize("nothing", [None, 5])
def test_what_is_no_name_is_an_unknown_name(nothing: Any) -> None:
    with pytest.raises(InvalidInput, match="unknown side"):
        Side.of(nothing)
    with pytest.raises(InvalidInput, match="unknown symbol"):
        default_instrument(nothing)


@pytest.mark.parametrize(
    "wrong", [{"name": ""}, {"step": 3}, {"inputs": "close"}], ids=["no name", "no function", "text for a tuple"]
)
def test_a_node_is_a_name_a_function_and_inputs(wrong: dict[str, Any]) -> None:
    right = {"name": "mine.one", "step": lambda x, state: 1.0, "inputs": ("close",)}
    with pytest.raises(InvalidInput, match="a feature node has"):
        FeatureNode(**{**right, **wrong})


@pytest.mark.parametrize("name", ["mine.one@4h", "my feature", "mine.one\n"])
def test_a_node_has_a_name_that_does_not_mislead(name: str) -> None:
    with pytest.raises(InvalidInput, match=r"named like 'mine\.drawdown_24', not"):
        FeatureNode(name, lambda x, state: 1.0, ("close",))


def test_nodes_are_a_list_of_nodes() -> None:
    node: Any = FeatureNode("mine.one", lambda x, state: 1.0, ("close",))
    wrong: Any
    for wrong in (node, [max], "mine.one"):
        with pytest.raises(InvalidInput, match="nodes is a list of feature nodes, not"):
            FeatureOrchestrator(nodes=wrong)
    assert "mine.one" in FeatureOrchestrator(nodes=iter([node])).feature_names


def test_a_step_that_forgets_to_return_is_named_in_both_rhythms() -> None:
    forgetful: Any = lambda x, state: None  # noqa: E731
    features = FeatureOrchestrator(nodes=[FeatureNode("mine.one", forgetful, ("close",))])
    tape = Tape.synthetic("ETHUSDT", "1h", bars=3)
    with pytest.raises(InvalidInput, match=r"step of 'mine\.one' returned nothing"):
        features.compute(tape.frame())
    with pytest.raises(InvalidInput, match=r"step of 'mine\.one' returned nothing"):
        features.stream("ETHUSDT", "1h").update(tape.candle("ETHUSDT", 0))


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)), st.integers(-12, 12))
def test_a_moment_is_the_same_however_it_is_written(naive: datetime, hours: int) -> None:
    since = naive - datetime(1970, 1, 1)
    expected = (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1_000
    elsewhere = naive.replace(tzinfo=UTC).astimezone(timezone(timedelta(hours=hours)))
    ways: tuple[Any, ...] = (naive, naive.isoformat(), elsewhere, elsewhere.isoformat(), expected, np.int64(expected))
    for written in ways:
        assert moment_ns(written) == expected


@pytest.mark.parametrize("nothing", ["yesterday", 1.5, None, [1]])
def test_what_is_no_moment_is_refused(tape: Tape, nothing: Any) -> None:
    with pytest.raises(InvalidInput, match="is no time"):
        moment_ns(nothing)


def test_numbers_out_of_a_frame_are_journaled_as_plain_ones() -> None:
    def closed(number: Callable[[float], Any], whole: Callable[[int], Any]) -> bytes:
        prices = {"open": number(0.1), "high": number(0.3), "low": number(0.1), "close": number(0.2)}
        candle = Candle(
            symbol="ETHUSDT", interval="1h", open_ns=whole(0), close_ns=whole(HOUR_NS), volume=number(7.0), **prices
        )
        return encode(CandleClosed(ts_event=HOUR_NS, ts_seen=HOUR_NS, candle=candle))

    assert closed(np.float64, np.int64) == closed(float, int)
    event = decode_event(closed(np.float64, np.int64))
    assert isinstance(event, CandleClosed) and type(event.candle.close) is float


def test_what_no_journal_holds_is_refused() -> None:
    with pytest.raises(InvalidInput, match="float32, which no journal holds"):
        encode(MarkPrice(ts_event=1, ts_seen=1, symbol="ETHUSDT", price=np.float32(0.1)))  # type: ignore[arg-type]
