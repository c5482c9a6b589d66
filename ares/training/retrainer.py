"""`Retrainer`: trains models while a bot runs, at fixed bars, in a process of its own.

    |-- first --|- every -|- every -|-delay-|
    history     cut 0     cut 1     cut 2   the model of cut 2 begins

Where time is virtual, the bar at which a model begins waits for its training, so a run comes out alike everywhere. In
real time nothing waits: a model that is late begins at the next bar after it is ready, and a person is told how late.
A training that fails is told too; the old model goes on until it expires.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from bisect import bisect_right
from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import define, field

from ares.clock import Clock, VirtualClock
from ares.errors import AresError, DataError
from ares.events import Alert
from ares.instruments import Interval
from ares.market import Candle
from ares.protocols import MarketData
from ares.training.cuts import FIRST_TRADING
from ares.training.job import TrainingJob, run_apart

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Retrainer"]

_PAGE = 1000  # klines a request
_YOUNG = -1  # in place of a cut: the market was told to be too young


@define(eq=False)
class Retrainer:
    """A source of models for `LiveTradingPipeline(models=...)` that makes them itself; one symbol.

    market: where klines come from; the session's exchange will do. job: what to train; its `number` is set for each
    cut. since_ns: open time of the history's first bar, which must stay the same over restarts; None: so that the first
    model can be trained at once, by the market's own time, and `remember` is told. The analyst needs
    `Registry(job.models)` as its library.
    """

    market: MarketData
    clock: Clock
    job: TrainingJob
    since_ns: int | None = None
    remember: Callable[[int], None] | None = None
    _opened: list[int] = field(factory=list)  # open times of the bars that closed, from `since_ns`
    _made: dict[int, str] = field(factory=dict)  # cut -> model
    _failed: set[int] = field(factory=set)
    _told: set[int] = field(factory=set)  # cuts of which a person has heard
    _task: asyncio.Task[str] | None = None
    _training: int = -1  # the cut that `_task` works on

    # ------------------------------------------------------------ what the pipeline asks

    def due(self, close_ns: int, current: str) -> str | None:
        """The model that decides on the bar closing at `close_ns`; None: `current` goes on."""
        begun = [number for number in self._made if self._begins(number) <= close_ns]
        chosen = self._made[max(begun)] if begun else current
        return chosen if chosen != current else None

    async def follow(self, candle: Candle) -> tuple[Alert, ...]:
        """Take a closed bar, before the desk does: start a training when it is time. What a person should know."""
        if candle.symbol != self.job.symbol:
            return ()
        try:
            if candle.open_ns < await self._since():
                return ()
            await self._hear(candle)
        except AresError as error:  # the next bar tries again
            return (self._failure(-1, type(error).__name__, str(error)),)
        bars = bisect_right(self._opened, candle.open_ns)
        reached = self.job.schedule.reached(bars)
        if reached < FIRST_TRADING:
            return self._postponed()
        alerts: list[Alert] = []
        begun = reached if self._begins(reached) <= candle.close_ns else reached - 1
        if isinstance(self.clock, VirtualClock) and begun >= FIRST_TRADING and begun not in self._made:
            alerts += await self._wait_for(begun)
        alerts += await self._collect(reached)
        if self._task is None and reached not in self._made and reached not in self._failed:
            self._start(reached)
        return (*alerts, *self._late(begun, candle))

    async def close(self) -> None:
        """Stop a training under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    # ------------------------------------------------------------ bars

    async def _since(self) -> int:
        """Open time of the history's first bar. Raises DataError while the market has none."""
        if self.since_ns is None:
            last = await self.market.get_klines(self.job.symbol, self.job.interval, 1)
            if not len(last):
                raise DataError(f"{self.job.symbol}: the market has no closed bar yet", symbol=self.job.symbol)
            step = Interval.parse(self.job.interval).ns
            self.since_ns = _opens(last)[-1] + step - self.job.schedule.needed * step
            if self.remember is not None:
                self.remember(self.since_ns)
        return self.since_ns

    async def _hear(self, candle: Candle) -> None:
        """Know the open times of all bars up to this one; after a gap, by what the market has of it."""
        step = candle.close_ns - candle.open_ns
        if not self._opened or candle.open_ns > self._opened[-1] + step:
            self._opened = _opens(await self._klines(None))
        if not self._opened or candle.open_ns > self._opened[-1]:
            self._opened.append(candle.open_ns)

    async def _klines(self, bars: int | None) -> pd.DataFrame:
        """The first `bars` klines from the history's beginning; None: all that have closed. Raises DataError."""
        import pandas as pd

        pages: list[pd.DataFrame] = []
        start = dt.datetime.fromtimestamp(await self._since() / 1e9, dt.UTC)
        count = 0
        while bars is None or count < bars:
            page = await self.market.get_klines(self.job.symbol, self.job.interval, _PAGE, start=start)
            if not len(page):
                break
            pages.append(page)
            count += len(page)
            if len(page) < _PAGE:
                break
            start = (page.index[-1] + pd.Timedelta(1, "us")).to_pydatetime()
        if not pages:
            raise DataError(f"{self.job.symbol}: no klines from {start} on", symbol=self.job.symbol)
        frame = pd.concat(pages)
        if bars is not None and len(frame) < bars:
            raise DataError(f"{self.job.symbol}: {len(frame)} klines from the beginning, {bars} had closed", bars=bars)
        return frame if bars is None else frame.iloc[:bars]

    def _begins(self, number: int) -> int:
        """When the model of a cut begins, ns."""
        step = Interval.parse(self.job.interval).ns
        return self._opened[self.job.schedule.bars_at(number) - 1] + (1 + self.job.schedule.delay) * step

    # ------------------------------------------------------------ trainings

    def _start(self, number: int) -> None:
        self._training = number
        self._task = asyncio.ensure_future(self._train(number))

    async def _train(self, number: int) -> str:
        from attrs import evolve

        klines = await self._klines(self.job.schedule.bars_at(number))
        return await run_apart(evolve(self.job, number=number), klines)

    async def _wait_for(self, number: int) -> list[Alert]:
        """Virtual time stands still until the model of this cut is made, or cannot be."""
        alerts: list[Alert] = []
        while number not in self._made and number not in self._failed:
            if self._task is None:
                self._start(number)
            assert self._task is not None
            await asyncio.wait([self._task])
            alerts += await self._collect(number)
        return alerts

    async def _collect(self, reached: int) -> list[Alert]:
        """Take what a finished training made; one that the next cut has overtaken is given up."""
        task, number = self._task, self._training
        if task is None:
            return []
        if not task.done():
            if number >= reached or isinstance(self.clock, VirtualClock):
                return []
            await self.close()
            self._failed.add(number)
            return [self._failure(number, "Overtaken", f"it was not over when cut {reached} came")]
        self._task = None
        try:
            self._made[number] = task.result()
        except (AresError, OSError) as error:
            self._failed.add(number)
            return [self._failure(number, type(error).__name__, str(error))]
        return []

    def _postponed(self) -> tuple[Alert, ...]:
        """Said once, when the market does not go back far enough for a first model."""
        have, needed = len(self._opened), self.job.schedule.bars_at(FIRST_TRADING)
        if have >= needed or _YOUNG in self._told:
            return ()
        self._told.add(_YOUNG)
        return (
            Alert(code="training.postponed", symbol=self.job.symbol, facts={"bars": have, "needed": needed}),
        )

    def _failure(self, number: int, error: str, message: str) -> Alert:
        """number: the cut; -1: the klines could not be read."""
        return Alert(
            code="training.failed", symbol=self.job.symbol, facts={"cut": number, "error": error, "message": message}
        )

    def _late(self, begun: int, candle: Candle) -> list[Alert]:
        """Said once, at the bar at which a late model begins."""
        if begun not in self._made or begun in self._told:
            return []
        self._told.add(begun)
        late = candle.close_ns - self._begins(begun)
        if late <= 0 or isinstance(self.clock, VirtualClock):
            return []
        bars = late // Interval.parse(self.job.interval).ns
        return [
            Alert(
                code="model.began_late",
                symbol=self.job.symbol,
                facts={"cut": begun, "model": self._made[begun], "bars": bars},
            )
        ]


def _opens(frame: pd.DataFrame) -> list[int]:
    """Open times, ns."""
    import pandas as pd

    times: list[int] = pd.DatetimeIndex(frame.index).as_unit("ns").asi8.tolist()
    return times
