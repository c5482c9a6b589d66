"""Opinions and plans: by a stage's plain twin, or through the shell when it has only the async verb."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field

from ares.account import Account, Position
from ares.errors import ModelError
from ares.events import RunStage, StageDone
from ares.instruments import Instrument
from ares.market import MarketView
from ares.pipeline.outbox import Outbox
from ares.pipeline.records import Decision, DeskRecords
from ares.protocols import (
    AnalysisInput,
    AnalysisResult,
    AnalysisStage,
    FeatureRow,
    Limits,
    Reason,
    TacticsInput,
    TacticsResult,
    TacticsStage,
    TradePlan,
)

__all__ = ["Decider"]


@define
class Decider:
    """Runs the analyst and the tactician, in place or outside."""

    analyst: AnalysisStage
    tactician: TacticsStage
    timeout_ns: int
    _waiting: dict[str, int] = field(factory=dict)  # request -> when it was asked

    def analysis_input(self, row: FeatureRow, market: MarketView, position: Position | None) -> AnalysisInput:
        """What the analyst may know now."""
        return AnalysisInput(symbol=row.symbol, now_ns=market.now_ns, row=row, market=market, position=position)

    def analyze(self, out: Outbox, given: AnalysisInput, *, history: bool) -> AnalysisResult | None:
        """The opinion, at once; None when an outside stage was asked instead (history is not sent outside)."""
        twin: Callable[[AnalysisInput], AnalysisResult] | None = getattr(self.analyst, "analyze", None)
        if twin is not None:
            return twin(given)
        if not history:
            out.commands.append(RunStage(symbol=given.symbol, request=self._ask(out, given.symbol), analysis=given))
        return None

    def plan(
        self,
        out: Outbox,
        analysis: AnalysisResult,
        instrument: Instrument,
        account: Account,
        market: MarketView,
        limits: Limits,
    ) -> TacticsResult | None:
        """The plan or refusal, at once; None when an outside stage was asked instead."""
        given = TacticsInput(analysis=analysis, instrument=instrument, account=account, market=market, limits=limits)
        twin: Callable[[TacticsInput], TacticsResult] | None = getattr(self.tactician, "decide", None)
        if twin is not None:
            return twin(given)
        out.commands.append(RunStage(symbol=analysis.symbol, request=self._ask(out, analysis.symbol), tactics=given))
        return None

    def done(self, out: Outbox, event: StageDone) -> tuple[AnalysisResult | None, TacticsResult | None]:
        """Take an outside stage's answer; one that is unasked, late or an error is dropped with an alert."""
        asked = self._waiting.pop(event.request, None)
        if asked is None:
            out.alert("stage.unasked_answer", event.symbol, request=event.request)
        elif event.error:
            out.alert("stage.failed", event.symbol, request=event.request, error=event.error)
        elif out.now_ns - asked > self.timeout_ns:
            out.alert("stage.late_answer", event.symbol, request=event.request, late_ns=out.now_ns - asked)
        else:
            return event.analysis, event.tactics
        return None, None

    def activate(self, sha256: str) -> None:
        """Hand a new model to the analyst. Raises ModelError when the analyst has none to exchange."""
        verb: Callable[[str], Any] | None = getattr(self.analyst, "activate", None)
        if verb is None:
            raise ModelError(f"{type(self.analyst).__name__} has no model to activate", sha256=sha256)
        verb(sha256)

    def record(
        self,
        records: DeskRecords,
        out: Outbox,
        analysis: AnalysisResult,
        plan: TradePlan | None,
        reasons: tuple[Reason, ...],
    ) -> None:
        """Remember a decision for people."""
        records.decisions.append(
            Decision(
                seq=out.seq,
                symbol=analysis.symbol,
                now_ns=out.now_ns,
                analysis=analysis,
                plan=plan,
                reasons=reasons,
            )
        )

    def _ask(self, out: Outbox, symbol: str) -> str:
        request = out.next_id(symbol)
        self._waiting[request] = out.now_ns
        return request
