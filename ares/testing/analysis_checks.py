"""What the pipeline counts on in an analysis stage."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import evolve

from ares.features.orchestrator import FeatureOrchestrator
from ares.market import MarketView
from ares.protocols import AnalysisInput, AnalysisResult
from ares.testing.feature_checks import candles_of
from ares.testing.trial import Trial, expect

if TYPE_CHECKING:
    import pandas as pd

    from ares.protocols import FeatureStage

__all__ = ["check_analysis"]

_EPSILON = 1e-9


async def check_analysis(
    trial: Trial,
    make: Callable[[], object],
    klines: pd.DataFrame,
    features: FeatureStage | None,
    symbol: str,
    interval: str,
) -> None:
    """Types, probabilities, reasons, abstaining on missing values, determinism, the twin, and saved state."""
    inputs = _inputs(klines, features if features is not None else FeatureOrchestrator(), symbol, interval)
    results: list[AnalysisResult] = []
    with trial.check("the verb is async and answers each bar with an AnalysisResult"):
        stage: Any = make()
        expect(inspect.iscoroutinefunction(stage.execute_analysis), "execute_analysis is not async")
        for given in inputs:
            result = await stage.execute_analysis(given)
            expect(isinstance(result, AnalysisResult), f"it gave a {type(result).__name__}")
            results.append(result)
    if len(results) < len(inputs):
        return
    _check_answers(trial, inputs, results)
    await _check_silence(trial, make, inputs)
    with trial.check("the input is not changed"):
        again = _inputs(klines, features if features is not None else FeatureOrchestrator(), symbol, interval)
        for given, fresh in zip(inputs, again, strict=True):
            expect(np.array_equal(given.row.values, fresh.row.values, equal_nan=True), "the row's values changed")
    with trial.check("the same bars give the same opinions"):
        other: Any = make()
        for number, given in enumerate(inputs):
            _same(results[number], await other.execute_analysis(given), number)
    if callable(getattr(make(), "analyze", None)):
        with trial.check("the plain twin agrees with the verb"):
            twin: Any = make()
            for number, given in enumerate(inputs):
                _same(results[number], twin.analyze(given), number)
    if callable(getattr(make(), "save_state", None)):
        with trial.check("a saved stage goes on bit for bit"):
            await _check_saved(make, inputs, results)


def _inputs(klines: pd.DataFrame, features: FeatureStage, symbol: str, interval: str) -> list[AnalysisInput]:
    stream = features.stream(symbol, interval)
    found = []
    for candle in candles_of(klines, symbol, interval):
        market = MarketView(symbol=symbol, now_ns=candle.close_ns, candle=candle, mark_price=candle.close)
        row = stream.update(candle)
        found.append(AnalysisInput(symbol=symbol, now_ns=candle.close_ns, row=row, market=market))
    return found


def _check_answers(trial: Trial, inputs: list[AnalysisInput], results: list[AnalysisResult]) -> None:
    with trial.check("an answer is about the symbol and the moment it was asked about"):
        for given, result in zip(inputs, results, strict=True):
            expect(result.symbol == given.symbol, f"asked about {given.symbol}, it answered about {result.symbol}")
            expect(result.now_ns == given.now_ns, f"asked at {given.now_ns}, it answered as of {result.now_ns}")
    with trial.check("probabilities lie in [0, 1] and sum to at most 1"):
        for number, result in enumerate(results):
            parts = [p for p in (result.p_up, result.p_down, result.p_timeout) if p is not None]
            inside = all(0.0 <= p <= 1.0 for p in parts) and sum(parts) <= 1.0 + _EPSILON
            expect(inside, f"bar {number}: {parts}")
    with trial.check("a side has its confidence, its widths, and time left"):
        for number, result in enumerate(results):
            if result.side is not None:
                expect(result.confidence > 0.0, f"bar {number}: {result.side} with confidence {result.confidence}")
                low = result.confidence_low
                expect(low is None or low <= result.confidence, f"bar {number}: lower bound {low} above the confidence")
                widths = (result.stop_width, result.target_width)
                expect(all(math.isfinite(w) and w > 0 for w in widths), f"bar {number}: widths {widths}")
                expect(result.valid_until_ns > result.now_ns, f"bar {number}: it has expired already")
    with trial.check("abstaining has a reason and no confidence"):
        for number, result in enumerate(results):
            if result.side is None:
                expect(bool(result.reasons), f"bar {number}: it abstains without a reason")
                expect(result.confidence == 0.0, f"bar {number}: it abstains with confidence {result.confidence}")


async def _check_silence(trial: Trial, make: Callable[[], object], inputs: list[AnalysisInput]) -> None:
    last = inputs[-1]
    nothing = np.full(last.row.values.shape, np.nan)
    for name, row in (
        ("a row of missing values makes it abstain", evolve(last.row, values=nothing)),
        ("a row that is not ready makes it abstain", evolve(last.row, ready=False)),
    ):
        with trial.check(name):
            stage: Any = make()
            result = await stage.execute_analysis(evolve(last, row=row))
            expect(result.side is None, f"it chose {result.side}")
            expect(bool(result.reasons), "it gives no reason")


async def _check_saved(make: Callable[[], object], inputs: list[AnalysisInput], results: list[AnalysisResult]) -> None:
    first: Any = make()
    second: Any = make()
    half = len(inputs) // 2
    for given in inputs[:half]:
        await first.execute_analysis(given)
    second.load_state(first.save_state())
    for number, given in enumerate(inputs[half:], half):
        _same(results[number], await second.execute_analysis(given), number)


def _same(one: AnalysisResult, other: AnalysisResult, number: int) -> None:
    """Equal to the last bit; the text of a float is exact, and there a NaN equals a NaN."""
    expect(repr(one) == repr(other), f"bar {number}: {one}, then {other}")
