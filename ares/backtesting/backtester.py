"""`Backtester`: the bot on recorded data. The desk, the venue and every rule are those of paper and live trading."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import evolve

from ares.analyst.rules import RuleAnalyst
from ares.backtesting.config import BacktestConfig
from ares.backtesting.discount import discounted, record_run
from ares.backtesting.driver import Driver, Observer
from ares.backtesting.recorder import Recorder
from ares.backtesting.result import BacktestResult, result_of
from ares.clock import SystemClock
from ares.errors import InvalidInput, settings_or_default
from ares.events import CandleClosed, Command, Event
from ares.features.orchestrator import FeatureOrchestrator
from ares.instrument_tables import symbol_in
from ares.instruments import Instrument
from ares.monitor.position_monitor import PositionMonitor
from ares.pipeline.calls import check_verbs
from ares.pipeline.desk import Desk
from ares.pipeline.retraining import ModelSource
from ares.protocols import AnalysisStage, FeatureStage, MonitoringStage, TacticsStage
from ares.simulation.session import Session
from ares.simulation.tape import Tape
from ares.storage import sha256_bytes
from ares.tactician.tactician import Tactician
from ares.training.trials import TrialLedger, family_of, session_ledger

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BacktestConfig", "Backtester"]

_SYMBOL = "ETHUSDT"  # of klines that name none
Progress = Callable[[int, int], None]  # bars done, bars in all


class Backtester:
    """Runs stages over recorded klines, bar by bar, exactly as they would run live.

    A stage that is not given is the reference one. Each run works on copies of the stages, so runs do not see each
    other.
    """

    def __init__(
        self,
        config: BacktestConfig | None = None,
        *,
        features: FeatureStage | None = None,
        analyst: AnalysisStage | None = None,
        tactician: TacticsStage | None = None,
        monitor: MonitoringStage | None = None,
        trials: TrialLedger | None = None,
    ) -> None:
        """trials: where each run is written down; None: the ledger in memory that this process shares."""
        self._trials = trials
        self.config = settings_or_default(config, BacktestConfig)
        chosen: dict[str, Any] = {
            "features": features if features is not None else FeatureOrchestrator(),
            "analyst": analyst if analyst is not None else RuleAnalyst(),
            "tactician": tactician if tactician is not None else Tactician(),
            "monitor": monitor if monitor is not None else PositionMonitor(),
        }
        check_verbs(**chosen)
        self._stages = chosen

    def run(
        self,
        klines: Tape | pd.DataFrame | str | Path,
        *,
        symbol: str | None = None,
        interval: str | None = None,
        funding: pd.DataFrame | str | Path | None = None,
        instruments: Sequence[Instrument] | None = None,
        start: datetime | int | None = None,
        models: ModelSource | None = None,
        progress: Progress | None = None,
        observer: Observer | None = None,
    ) -> BacktestResult:
        """Play klines through the bot.

        klines: a `Tape`, a klines frame, or a Parquet or CSV file; for the last two `symbol` names what they hold;
        None: what the file is named after, or ETHUSDT.
        funding: settled rates (frame or file); None plays without, and the result says so.
        instruments: one for each symbol; None takes the built-in table for simulation.
        start: when trading begins (datetime, or ns UTC); bars before it only warm the features. None: the first bar.
        models: which model decides when, such as a schedule of retrained ones, which is also the analyst's library;
        None: the analyst keeps the one it has.
        progress: called with (bars done, bars in all). observer: called with each event and its commands.
        Raises: DataError for data that cannot be played honestly; InvalidInput for arguments that cannot work and,
        caused by the stage's own exception, for a stage that fails while `stop_on_failure` is set.
        """
        tape = _tape(klines, symbol, interval, funding)
        stages = self._copies()
        desk = Desk(
            **stages,
            symbols=tape.symbols,
            interval=tape.interval.name,
            config=self.config.desk,
            records_limit=None,
        )
        session = Session(
            tape, start=start, config=self.config.venue, instruments=instruments, kinds=desk.kinds
        )
        recorder = Recorder(desk)
        watchers: list[Observer] = [recorder, *([observer] if observer is not None else [])]
        if progress is not None:
            watchers.append(_Meter(progress, len(tape)))

        def tell(event: Event, commands: list[Command]) -> None:
            for watcher in watchers:
                watcher(event, commands)

        driver = Driver(
            session=session,
            desk=desk,
            analyst=stages["analyst"],
            tactician=stages["tactician"],
            observer=tell,
            history=self.config.history,
            models=models,
            stop_on_failure=self.config.stop_on_failure,
        )
        driver.run()
        result = result_of("backtest", recorder, slippage=self.config.venue.slippage, draws=self.config.random_draws)
        return self.judged(result, tape.sha256, made_up=tape.made_up)

    def judged(
        self, result: BacktestResult, market: str | None, kind: str = "backtest", *, made_up: bool = False
    ) -> BacktestResult:
        """The result written down, and judged among everything that was tried on its symbols and interval.

        Trainings count as well. market: what tells the market it was played on from others, such as a tape's digest.
        kind: "backtest", or "paper" for a session with these stages; one that repeats a backtest is not counted again.
        made_up: that market was not recorded but invented; only what was tried on invented ones is counted.
        """
        ledger = self._trials if self._trials is not None else session_ledger()
        family = family_of(result.symbols, result.interval.name, made_up=made_up)
        start = result.statistics.start_equity
        stages = {name: type(stage).__name__ for name, stage in self._stages.items()}
        settings = repr([self.config, *(getattr(stage, "config", None) for stage in self._stages.values())])
        record_run(
            ledger,
            family=family,
            name=stages["analyst"],
            parameters={"tape": market, "settings": sha256_bytes(settings.encode()), **stages},
            start_equity=start,
            equity=result.equity,
            recorded_ns=SystemClock().now_ns(),
            kind=kind,
        )
        return evolve(result, discount=discounted(ledger, family, start, result.equity))

    def _copies(self) -> dict[str, Any]:
        """Fresh copies of the stages. Raises InvalidInput for a stage that cannot be copied."""
        copies = {}
        for name, stage in self._stages.items():
            try:
                copies[name] = copy.deepcopy(stage)
            except TypeError as error:
                kind = type(stage).__name__
                raise InvalidInput(f"{kind} cannot be copied ({error}): give it a __deepcopy__", stage=name) from error
        return copies


def _tape(klines: Any, symbol: str | None, interval: str | None, funding: Any) -> Tape:
    if isinstance(klines, Tape):
        if interval is not None and interval != klines.interval.name:
            raise InvalidInput(f"the tape's interval is {klines.interval}, not {interval}")
        return klines
    make = Tape.from_file if isinstance(klines, str | Path) else Tape.from_frame
    named = symbol_in(Path(klines).name) if isinstance(klines, str | Path) else None
    return make(klines, symbol=symbol or named or _SYMBOL, interval=interval, funding=funding)


class _Meter:
    """Counts closed bars for a progress bar, a few hundred calls a run."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0
        self._every = max(1, total // 400)

    def __call__(self, event: Event, commands: list[Command]) -> None:
        if isinstance(event, CandleClosed):
            self._done += 1
            if self._done % self._every == 0 or self._done == self._total:
                self._progress(self._done, self._total)
