"""The conformance kit: our own stages pass, and each kind of fault is found by the check that names it."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from itertools import count
from typing import Any

import pandas as pd
import pytest
from attrs import evolve

from ares.analyst.rules import RuleAnalyst
from ares.errors import AresError, InvalidInput
from ares.features.config import FeatureConfig
from ares.features.orchestrator import FeatureOrchestrator
from ares.instruments import Side
from ares.monitor.position_monitor import PositionMonitor
from ares.protocols import (
    Action,
    AnalysisInput,
    AnalysisResult,
    Assessment,
    AssessmentInput,
    Leg,
    Reason,
    TacticsInput,
    TacticsResult,
)
from ares.tactician.tactician import Tactician
from ares.testing.report import Check, NotConforming, Report
from ares.testing.stage import check_stage

FEW = FeatureConfig(groups=("returns", "volatility", "trend", "wavelet"), timeframes=())


def features() -> FeatureOrchestrator:
    return FeatureOrchestrator(FEW)


def failed(report: Report) -> set[str]:
    return {check.name for check in report.failures}


OURS = [features, RuleAnalyst, RuleAnalyst(lambda row: Side.BUY), Tactician, PositionMonitor]


@pytest.mark.parametrize("stage", OURS)
async def test_our_own_stages_pass(stage: object) -> None:
    report = await check_stage(stage, features=features())
    report.raise_for_failures()
    assert len(report.checks) >= 9


async def test_what_is_no_stage_is_refused() -> None:
    with pytest.raises(InvalidInput, match="execute_analysis"):
        await check_stage(object())
    with pytest.raises(InvalidInput, match="at least 100"):
        await check_stage(RuleAnalyst, klines=pd.DataFrame({"close": [1.0]}))


# ---------------------------------------------------------------- features


class LeakingFeatures(FeatureOrchestrator):
    """Takes the next close into the row."""

    def __init__(self) -> None:
        super().__init__(FEW)

    async def generate_all_features(self, klines_df: pd.DataFrame, *args: Any, **kwargs: Any) -> pd.DataFrame:
        frame = await super().generate_all_features(klines_df, *args, **kwargs)
        return frame.assign(**{frame.columns[0]: klines_df["close"].shift(-1)})


async def test_a_feature_that_knows_the_next_bar_is_found() -> None:
    found = failed(await check_stage(LeakingFeatures))
    assert "the future changes no earlier row" in found
    assert "bar by bar it gives the same bits as all at once" in found
    assert "the klines are not changed" not in found


class ChangingFeatures(FeatureOrchestrator):
    def __init__(self) -> None:
        super().__init__(FEW)

    async def generate_all_features(self, klines_df: pd.DataFrame, *args: Any, **kwargs: Any) -> pd.DataFrame:
        frame = await super().generate_all_features(klines_df, *args, **kwargs)
        klines_df["close"] = 0.0
        return frame


async def test_a_stage_that_writes_into_its_input_is_found() -> None:
    assert failed(await check_stage(ChangingFeatures)) == {"the klines are not changed"}


# ---------------------------------------------------------------- analysis


class Analyst:
    """A sound analyst in ten lines; the faulty ones below change one thing each."""

    def __init__(self) -> None:
        self.calls = 0

    async def execute_analysis(self, given: AnalysisInput) -> AnalysisResult:
        self.calls += 1
        known = given.row.ready and not math.isnan(given.row.values[0])
        return self.opinion(given, Side.BUY if known else None)

    def opinion(self, given: AnalysisInput, side: Side | None) -> AnalysisResult:
        return AnalysisResult(
            symbol=given.symbol,
            now_ns=given.now_ns,
            p_up=0.6,
            p_down=0.3,
            p_timeout=0.1,
            side=side,
            confidence=0.0 if side is None else 0.6,
            horizon=4,
            horizon_ns=4 * 3_600_000_000_000,
            stop_width=0.02,
            target_width=0.02,
            valid_until_ns=given.now_ns + 1,
            model_id="mine",
            reasons=(Reason(code="said.so"),),
        )


CALLS = count()


class Faulty(Analyst):
    def __init__(self, fault: Callable[[Faulty, AnalysisInput, AnalysisResult], AnalysisResult]) -> None:
        super().__init__()
        self.fault = fault

    async def execute_analysis(self, given: AnalysisInput) -> AnalysisResult:
        return self.fault(self, given, await super().execute_analysis(given))


async def test_a_stage_needs_no_base_class() -> None:
    report = await check_stage(Analyst, features=features())
    report.raise_for_failures()
    assert "a saved stage goes on bit for bit" not in {check.name for check in report.checks}


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        (lambda me, given, r: evolve(r, p_up=0.9), "probabilities lie in [0, 1] and sum to at most 1"),
        (lambda me, given, r: evolve(r, confidence=0.6), "abstaining has a reason and no confidence"),
        (lambda me, given, r: evolve(r, reasons=()), "abstaining has a reason and no confidence"),
        (lambda me, given, r: evolve(r, stop_width=-0.1), "a side has its confidence, its widths, and time left"),
        (lambda me, given, r: evolve(r, valid_until_ns=0), "a side has its confidence, its widths, and time left"),
        (lambda me, given, r: evolve(r, symbol="X"), "an answer is about the symbol and the moment it was asked about"),
        (lambda me, given, r: me.opinion(given, Side.SELL), "a row of missing values makes it abstain"),
        (
            lambda me, given, r: evolve(r, model_id=str(next(CALLS))),
            "the same bars give the same opinions",
        ),
    ],
)
async def test_each_fault_of_an_analyst_is_found(fault: Any, check: str) -> None:
    assert check in failed(await check_stage(lambda: Faulty(fault), features=features()))


async def test_an_analyst_that_raises_fails_and_does_not_end_the_trial() -> None:
    def broken(me: Faulty, given: AnalysisInput, result: AnalysisResult) -> AnalysisResult:
        raise KeyError("column")

    report = await check_stage(lambda: Faulty(broken), features=features())
    assert not report.passed
    assert "KeyError" in report.failures[0].detail


class TwoFaced(Analyst):
    def analyze(self, given: AnalysisInput) -> AnalysisResult:
        return self.opinion(given, None)


async def test_a_twin_that_differs_is_found() -> None:
    assert failed(await check_stage(TwoFaced, features=features())) == {"the plain twin agrees with the verb"}


class Forgetful(Analyst):
    async def execute_analysis(self, given: AnalysisInput) -> AnalysisResult:
        return evolve(await super().execute_analysis(given), model_id=f"call {self.calls}")

    def save_state(self) -> dict[str, Any]:
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        assert state == {}


async def test_a_state_that_loses_something_is_found() -> None:
    assert failed(await check_stage(Forgetful, features=features())) == {"a saved stage goes on bit for bit"}


# ---------------------------------------------------------------- tactics


class Rash(Tactician):
    """Twice the size, whatever the caps say."""

    async def execute_tactics(self, given: TacticsInput) -> TacticsResult:
        result = self.decide(given)
        if result.plan is None:
            return result
        legs = tuple(Leg(quantity=leg.quantity * 40) for leg in result.plan.legs)
        return evolve(result, plan=evolve(result.plan, legs=legs))


class OffGrid(Tactician):
    def decide(self, given: TacticsInput) -> TacticsResult:
        result = super().decide(given)
        return result if result.plan is None else evolve(result, plan=evolve(result.plan, stop=Decimal("1.2345")))


class Levered(Tactician):
    def decide(self, given: TacticsInput) -> TacticsResult:
        result = super().decide(given)
        return result if result.plan is None else evolve(result, plan=evolve(result.plan, leverage=75))


class Silent(Tactician):
    def decide(self, given: TacticsInput) -> TacticsResult:
        return TacticsResult(plan=None)


@pytest.mark.parametrize(
    ("stage", "checks"),
    [
        (Rash, {"the account can bear it", "the plain twin agrees with the verb"}),
        (OffGrid, {"every order of a plan passes the venue's filters"}),
        (Levered, {"the stop lies well before liquidation", "the account can bear it"}),
        (Silent, {"a refusal has a reason", "a clear edge gets a plan"}),
    ],
)
async def test_each_fault_of_a_tactician_is_found(stage: type, checks: set[str]) -> None:
    assert checks <= failed(await check_stage(stage))


# ---------------------------------------------------------------- monitoring


class Loosening(PositionMonitor):
    def assess_position(self, given: AssessmentInput) -> Assessment:
        verdict = super().assess_position(given)
        if verdict.action is Action.HOLD and given.trade.stop is not None:
            worse = given.trade.stop - given.trade.side.sign
            return evolve(verdict, action=Action.MOVE_STOP, new_stop=worse)
        return verdict


class Counting(PositionMonitor):
    """Closes at the third look: it depends on how often it was asked."""

    def assess_position(self, given: AssessmentInput) -> Assessment:
        self.looks = getattr(self, "looks", 0) + 1
        verdict = super().assess_position(given)
        held = abs(given.position.quantity)
        return verdict if self.looks % 3 else evolve(verdict, action=Action.CLOSE, quantity=held, new_stop=None)


class Patient(PositionMonitor):
    def assess_position(self, given: AssessmentInput) -> Assessment:
        verdict = super().assess_position(given)
        return evolve(verdict, action=Action.HOLD, quantity=None) if verdict.action is Action.CLOSE else verdict


@pytest.mark.parametrize(
    ("stage", "check"),
    [
        (Loosening, "a stop only tightens, on the tick grid and on its side of the price"),
        (Counting, "the same input gives the same verdict, whatever was asked before"),
        (Patient, "the time barrier closes a buy position"),
    ],
)
async def test_each_fault_of_a_monitor_is_found(stage: type, check: str) -> None:
    assert check in failed(await check_stage(stage))


# ---------------------------------------------------------------- the report


def test_a_report_reads_well_and_raises_what_it_found() -> None:
    good, bad = Check(name="one", passed=True), Check(name="two", passed=False, detail="it is 3")
    Report(subject="part", checks=(good,)).raise_for_failures()
    report = Report(subject="part", checks=(good, bad))
    assert str(report).splitlines() == ["part: 1 of 2 checks passed", "  pass  one", "  FAIL  two: it is 3"]
    with pytest.raises(AssertionError, match="it is 3") as raised:
        report.raise_for_failures()
    assert isinstance(raised.value, AresError)
    assert raised.value.facts["failed"] == ("two",)
    with pytest.raises(NotConforming, match="no check"):
        Report(subject="part", checks=()).raise_for_failures()
