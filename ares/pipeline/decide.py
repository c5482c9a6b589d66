"""Opinions and plans: by a stage's plain twin, or through the shell when it has only the async verb."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from attrs import define, field

from ares.account import Account, Position
from ares.errors import ModelError
from ares.events import RunStage, StageDone
from ares.instruments import Instrument
from ares.market import MarketView
from ares.pipeline.calls import Calls
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

__all__ = ["Answer", "Decider"]


class Answer(NamedTuple):
    """What an outside stage said; at most one of the first two. history: of a bar that only warms it."""

    analysis: AnalysisResult | None = None
    tactics: TacticsResult | None = None
    history: bool = False


@define
class Decider:
    """Runs the analyst and the tactician, in place or outside."""

    analyst: AnalysisStage
    tactician: TacticsStage
    calls: Calls
    timeout_ns: int
    _waiting: dict[str, RunStage] = field(factory=dict)
    _asked_ns: dict[str, int] = field(factory=dict)

    def analysis_input(self, row: FeatureRow, market: MarketView, position: Position | None) -> AnalysisInput:
        """What the analyst may know now."""
        return AnalysisInput(symbol=row.symbol, now_ns=market.now_ns, row=row, market=market, position=position)

    def analyze(self, out: Outbox, given: AnalysisInput, *, history: bool) -> AnalysisResult | None:
        """The opinion, at once; None when the stage failed, or when an outside one was asked instead.

        An outside stage hears of history only when it says `needs_history = True`: one call a bar takes its time.
        """
        twin: Callable[[AnalysisInput], AnalysisResult] | None = getattr(self.analyst, "analyze", None)
        if twin is not None:
            return self.calls.answer(out, "analyst", given.symbol, AnalysisResult, twin, given)
        if not history or getattr(self.analyst, "needs_history", False):
            request = out.next_id(given.symbol)
            self._ask(out, RunStage(symbol=given.symbol, request=request, analysis=given, history=history))
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
        """The plan or refusal, at once; None when the stage failed, or when an outside one was asked instead."""
        given = TacticsInput(analysis=analysis, instrument=instrument, account=account, market=market, limits=limits)
        twin: Callable[[TacticsInput], TacticsResult] | None = getattr(self.tactician, "decide", None)
        if twin is not None:
            return self.calls.answer(out, "tactician", analysis.symbol, TacticsResult, twin, given)
        self._ask(out, RunStage(symbol=analysis.symbol, request=out.next_id(analysis.symbol), tactics=given))
        return None

    def done(self, out: Outbox, event: StageDone) -> Answer:
        """Take an outside stage's answer; one that is unasked, late, an error or no answer is dropped with an alert."""
        asked = self._waiting.pop(event.request, None)
        if asked is None:
            out.alert("stage.unasked_answer", event.symbol, request=event.request)
            return Answer()
        stage = "analyst" if asked.analysis is not None else "tactician"
        late_ns = out.now_ns - self._asked_ns.pop(event.request) - self.timeout_ns
        if event.error:
            self.calls.failed(out, stage, event.symbol, event.error)
        elif late_ns > 0 and not asked.history:
            out.alert("stage.late_answer", event.symbol, request=event.request, late_ns=late_ns + self.timeout_ns)
        elif asked.analysis is not None:
            said = self.calls.checked(out, stage, event.symbol, AnalysisResult, event.analysis)
            return Answer(analysis=said, history=asked.history)
        else:
            return Answer(tactics=self.calls.checked(out, stage, event.symbol, TacticsResult, event.tactics))
        return Answer()

    def activate(self, out: Outbox, sha256: str) -> bool:
        """Hand a new model to the analyst; False after an alert when it is refused or there is none to exchange."""

        def take() -> bool:
            verb: Callable[[str], Any] | None = getattr(self.analyst, "activate", None)
            if verb is None:
                raise ModelError(f"{type(self.analyst).__name__} has no model to activate", sha256=sha256)
            verb(sha256)
            return True

        return self.calls.answer(out, "model", "", bool, take) is True

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

    def _ask(self, out: Outbox, command: RunStage) -> None:
        self._waiting[command.request] = command
        self._asked_ns[command.request] = out.now_ns
        out.commands.append(command)
