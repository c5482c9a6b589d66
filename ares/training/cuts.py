"""When models are trained and begin: settings in bars or durations, and the arithmetic that every mode shares.

A cut is a number of bars since the history's first one, so a backtest over recorded bars and a bot that hears them one
by one cut at the same places.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import field, frozen
from attrs.validators import ge, le

from ares.errors import InvalidInput
from ares.instruments import Interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["FIRST_TRADING", "RetrainingConfig", "ScheduleConfig"]

FIRST_TRADING = 2  # cut from which a model has a meta model and calibration of its own


@frozen(kw_only=True)
class ScheduleConfig:
    """When models are trained and begin. Lengths are in bars."""

    first: int = field(default=4380, validator=ge(200))  # before the first cut
    every: int = field(default=2190, validator=ge(50))  # between cuts
    delay: int = field(default=24, validator=ge(1))  # from a cut to the first bar that its model decides on
    window: int | None = None  # before a cut that a model learns from; None: everything
    lifetime: int | None = None  # after its start for which a model may decide; None: twice `every`

    def __attrs_post_init__(self) -> None:
        if self.delay >= self.every:
            raise InvalidInput(f"delay {self.delay} must be shorter than every {self.every}")
        for name, least in (("window", 200), ("lifetime", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InvalidInput(f"{name} must be at least {least} bars, not {value}")

    def bars_at(self, number: int) -> int:
        """Bars that have closed at cut `number`, counted from 0."""
        return self.first + number * self.every

    def reached(self, bars: int) -> int:
        """Number of the last cut once so many bars have closed; -1 before the first."""
        return (bars - self.first) // self.every if bars >= self.first else -1

    def begins(self, number: int, opened: Sequence[int] | NDArray[np.int64], step: int) -> int:
        """When the model of a cut begins, ns: at the first bar that closes then or later. opened: of all bars, ns."""
        return int(opened[self.bars_at(number) - 1]) + (1 + self.delay) * step

    def begun(self, opened: Sequence[int] | NDArray[np.int64], step: int) -> int:
        """Number of the last cut whose model decides on the last of these bars; -1 before the first.

        opened: open times of all bars from the history's beginning, ns. step: length of a bar, ns. Cuts lie at numbers
        of bars, but a delay passes in time, so a gap after a cut lets its model begin after fewer bars.
        """
        number = self.reached(len(opened))
        if number >= 0 and self.begins(number, opened, step) > int(opened[-1]) + step:
            number -= 1  # the one before has begun: a delay is shorter than `every`
        return number

    @property
    def needed(self) -> int:
        """Bars from the beginning of the history to the first one that a model of this schedule decides on."""
        return self.bars_at(FIRST_TRADING) + self.delay


def _length(value: int | str, interval: Interval, name: str) -> int:
    """A length in bars: a number of them, or a duration such as 90d."""
    if isinstance(value, int):
        return value
    bars, rest = divmod(Interval.parse(value).ns, interval.ns)
    if rest or bars < 1:
        raise InvalidInput(f"retraining.{name} {value} is no whole number of {interval} bars", setting=name)
    return bars


def _is_length(instance: object, attribute: object, value: int | str | None) -> None:
    """Refuse what is neither bars nor a duration as soon as it is read."""
    name = getattr(attribute, "name", "")
    if isinstance(value, str):
        Interval.parse(value)
    elif isinstance(value, int) and value < 1:
        raise InvalidInput(f"{name} must be at least 1 bar, not {value}")


def _is_window(instance: object, attribute: object, value: int | str) -> None:
    if value not in ("expanding", "rolling"):
        _is_length(instance, attribute, value)


@frozen(kw_only=True)
class RetrainingConfig:
    """When models are trained anew, and where they are kept. A length is a number of bars or a duration, such as 30d.

    Models are cut at `first`, `first` + `every`, ... from the beginning of the history. The first two cuts only serve
    the meta model and the calibration, so trading begins with the third cut's model, `delay` after it.
    """

    every: int | str = field(default="30d", validator=_is_length)  # between two cuts
    first: int | str = field(default="90d", validator=_is_length)  # of history before the first cut
    window: int | str = field(default="expanding", validator=_is_window)  # or rolling (over `first`), or a length
    delay: int | str = field(default="1d", validator=_is_length)  # from a cut to the first bar that its model decides
    lifetime: int | str | None = field(default=None, validator=_is_length)  # after its start; None: twice `every`
    models: Path = field(default=Path("data/models"), converter=Path)  # folder that models are written to and read from
    nice: int = field(default=10, validator=[ge(0), le(19)])  # how far a training steps back behind the bot; 0: not

    def schedule(self, interval: Interval | str) -> ScheduleConfig:
        """The same in bars of `interval`. Raises InvalidInput for a duration that is no whole number of bars."""
        step = Interval.parse(interval)
        window: int | str | None = self.first if self.window == "rolling" else self.window
        if window == "expanding":
            window = None
        return ScheduleConfig(
            first=_length(self.first, step, "first"),
            every=_length(self.every, step, "every"),
            delay=_length(self.delay, step, "delay"),
            window=None if window is None else _length(window, step, "window"),
            lifetime=None if self.lifetime is None else _length(self.lifetime, step, "lifetime"),
        )
