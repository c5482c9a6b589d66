"""Running a stage that has only the async verb, and telling the desk how it went."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

from ares.clock import Clock
from ares.events import RunStage, StageDone
from ares.pipeline.calls import expected
from ares.protocols import AnalysisResult, AnalysisStage, TacticsResult, TacticsStage

__all__ = ["answer_within", "stage_answer"]


async def stage_answer(
    command: RunStage, analyst: AnalysisStage, tactician: TacticsStage, clock: Clock
) -> StageDone:
    """The stage's answer, or its error in words: a stage is anybody's code, and the desk decides without it."""
    analysis = tactics = None
    error = ""
    try:
        if command.analysis is not None:
            analysis = expected(AnalysisResult, await analyst.execute_analysis(command.analysis))
        elif command.tactics is not None:
            tactics = expected(TacticsResult, await tactician.execute_tactics(command.tactics))
    except asyncio.CancelledError:
        raise
    except Exception as failure:
        error = f"{type(failure).__name__}: {failure}"
    now = clock.now_ns()
    return StageDone(
        ts_event=now,
        ts_seen=now,
        symbol=command.symbol,
        request=command.request,
        analysis=analysis,
        tactics=tactics,
        error=error,
    )


async def answer_within(
    timeout_ns: int, answering: Coroutine[None, None, StageDone], command: RunStage, clock: Clock
) -> StageDone:
    """A stage's answer, or, once so much time has passed, that there is none: then it is not waited for any more."""
    answer = asyncio.ensure_future(answering)
    deadline = asyncio.ensure_future(clock.wait_until(clock.now_ns() + timeout_ns))
    try:
        await asyncio.wait((answer, deadline), return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
    finally:
        answer.cancel()
        deadline.cancel()
    now = clock.now_ns()
    error = f"timed out: no answer within {timeout_ns / 1e6:g} ms"
    return StageDone(ts_event=now, ts_seen=now, symbol=command.symbol, request=command.request, error=error)
