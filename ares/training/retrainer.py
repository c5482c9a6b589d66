"""`Retrainer`: trains models while a bot runs, at fixed bars, in a process of its own.

    |-- first --|- every -|- every -|-delay-|
    history     cut 0     cut 1     cut 2   the model of cut 2 begins

Where time is virtual, the bar at which a model begins waits for its training, so a run comes out alike everywhere. In
real time nothing waits: a model that is late begins at the next bar after it is ready, and a person is told how late.
A training that fails is told too; the old model goes on until it expires. A market that is only busy is asked again at
the next bar.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from bisect import bisect_right
from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import define, field

from ares.clock import Clock, VirtualClock
from ares.errors import DataError, Retryable
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
    _busy: set[int] = field(factory=set)  # cuts of which a person has heard that their klines could not be read yet
    _told: set[int] = field(factory=set)  # cuts of which a person has heard
    _task: asyncio.Task[str] | None = None
    _training: int = -1  # the cut that `_task` works on
    _reading: asyncio.Task[None] | None = None  # of open times
    _current: str | None = None  # the model that decides, as far as `due` was told

    # ------------------------------------------------------------ what the pipeline asks

    def due(self, close_ns: int, current: str) -> str | None:
        """The model that decides on the bar closing at `close_ns`; None: `current` goes on."""
        begun = [number for number in self._made if self._begins(number) <= close_ns]
        self._current = self._made[max(begun)] if begun else current
        return self._current if self._current != current else None

    async def follow(self, candle: Candle) -> tuple[Alert, ...]:
        """Take a closed bar, before the desk does: start a training when it is time. What a person should know.

        Open times that it lacks are read meanwhile in real time, and the bar goes on without them.
        """
        if candle.symbol != self.job.symbol or (self.since_ns is not None and candle.open_ns < self.since_ns):
            return ()
        alerts = self._read_over()
        if self._reading is None and self._lacks(candle):
            self._reading = asyncio.ensure_future(self._read(candle))
            if self._waits:
                await asyncio.wait([self._reading])
                alerts += self._read_over()
        if self._reading is not None or self._lacks(candle):
            return tuple(alerts)
        if candle.open_ns > self._opened[-1]:
            self._opened.append(candle.open_ns)
        reached, begun = self._cuts(candle)
        if reached < FIRST_TRADING:
            return (*alerts, *self._postponed())
        if self._waits and begun >= FIRST_TRADING and begun not in self._made:
            alerts += await self._wait_for(begun)
        alerts += await self._collect(reached)
        self._start_due(reached)
        return (*alerts, *self._late(begun, candle))

    async def close(self) -> None:
        """Stop a training and a reading under way."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
            self._reading = None
        await self._give_up()

    @property
    def _waits(self) -> bool:
        return isinstance(self.clock, VirtualClock)

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

    def _lacks(self, candle: Candle) -> bool:
        """Whether bars before this one are unknown: at the beginning, and after a gap."""
        return not self._opened or candle.open_ns > self._opened[-1] + candle.close_ns - candle.open_ns

    async def _read(self, candle: Candle) -> None:
        """Know the open times of all bars up to this one, by what the market has; in real time start what is due."""
        if candle.open_ns < await self._since():
            return
        opened = _opens(await self._klines(None))
        if candle.open_ns > opened[-1]:
            opened.append(candle.open_ns)
        self._opened = opened
        if not self._waits:
            self._start_due(self._cuts(candle)[0])

    def _read_over(self) -> list[Alert]:
        """Put away a reading that has ended; what went wrong with it. The next bar tries again."""
        task = self._reading
        if task is None or not task.done():
            return []
        self._reading = None
        error = task.exception()
        return [] if error is None else [self._failure(-1, type(error).__name__, str(error))]

    def _cuts(self, candle: Candle) -> tuple[int, int]:
        """The last cut that this bar has reached, and the last whose model has begun with it."""
        opened = self._opened[: bisect_right(self._opened, candle.open_ns)]
        plan = self.job.schedule
        return plan.reached(len(opened)), plan.begun(opened, Interval.parse(self.job.interval).ns)

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
        return self.job.schedule.begins(number, self._opened, Interval.parse(self.job.interval).ns)

    # ------------------------------------------------------------ trainings

    def _start_due(self, reached: int) -> None:
        """Start the training of the last cut unless it is under way, done or in vain."""
        done = reached in self._made or reached in self._failed
        if reached >= FIRST_TRADING and self._task is None and not done:
            self._start(reached)

    async def _give_up(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def _start(self, number: int) -> None:
        self._training = number
        self._task = asyncio.ensure_future(self._train(number))

    async def _train(self, number: int) -> str:
        from attrs import evolve

        klines = await self._klines(self.job.schedule.bars_at(number))
        return await run_apart(evolve(self.job, number=number), klines)

    async def _wait_for(self, number: int) -> list[Alert]:
        """Virtual time stands still until the model of this cut is made, or cannot be now."""
        alerts: list[Alert] = []
        tried = False
        while not tried and number not in self._made and number not in self._failed:
            if self._task is None:
                self._start(number)
            assert self._task is not None
            tried = self._training == number
            await asyncio.wait([self._task])
            alerts += await self._collect(number)
        return alerts

    async def _collect(self, reached: int) -> list[Alert]:
        """Take what a finished training made; one that the next cut has overtaken is given up."""
        task, number = self._task, self._training
        if task is None:
            return []
        if not task.done():
            if number >= reached or self._waits:
                return []
            await self._give_up()
            self._failed.add(number)
            return [self._failure(number, "Overtaken", f"it was not over when cut {reached} came")]
        self._task = None
        error = task.exception()
        if error is None:
            self._made[number] = task.result()
            return []
        if isinstance(error, Retryable):  # the next bar tries again
            told = number in self._busy
            self._busy.add(number)
            return [] if told else [self._failure(number, type(error).__name__, str(error))]
        self._failed.add(number)
        return [self._failure(number, type(error).__name__, str(error))]

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
        if begun not in self._made or begun in self._told or self._current is None:
            return []
        self._told.add(begun)
        late = candle.close_ns - self._begins(begun)
        if late <= 0 or self._waits or self._current == self._made[begun]:  # it has long begun: a restart
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
