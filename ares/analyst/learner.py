"""What each state of a rule has been worth, learned from trades whose end is known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np
from attrs import frozen

from ares.analyst.config import AnalystConfig
from ares.errors import ModelError
from ares.kernels.outcomes import driftless_chances, driftless_time, learn, recount, weigh

__all__ = ["Learner", "Odds", "Prior"]

_VERSION = 3


@frozen(kw_only=True)
class Prior:
    """What is believed before the first outcome: a driftless walk, or the user's own chance of winning."""

    target: float  # outcomes that it counts for, of each kind
    stop: float
    timeout: float
    timeout_return: float  # mean return of these timeouts before costs, in widths of the target
    timeout_square: float  # mean of its square

    @classmethod
    def of(cls, config: AnalystConfig) -> Prior:
        """The prior of these settings; the multiples are distances in deviations over the horizon.

        A driftless walk gains nothing on average: what its targets bring and its stops do not take, its timeouts lose.
        Its mean square is the time it has walked.
        """
        rules, wide = config.rules, config.stop_multiple / config.target_multiple
        target, stop, timeout = driftless_chances(config.target_multiple, config.stop_multiple)
        worth = (stop * wide - target) / timeout if timeout > 0.0 else 0.0
        worth = min(1.0, max(-wide, worth))  # it ended between the barriers; rounding may say otherwise
        walked = driftless_time(config.target_multiple, config.stop_multiple) / config.target_multiple**2
        square = (walked - target - stop * wide**2) / timeout if timeout > 0.0 else 0.0
        square = min(max(1.0, wide) ** 2, max(worth**2, square))
        if rules.prior_win is not None:
            target, stop = (target + stop) * rules.prior_win, (target + stop) * (1.0 - rules.prior_win)
        least = 1e-6  # a chance of nothing at all would be certainty, which no count could overcome
        target, stop, timeout = (rules.prior_strength * max(p, least) for p in (target, stop, timeout))
        return cls(target=target, stop=stop, timeout=timeout, timeout_return=worth, timeout_square=square)


@frozen(kw_only=True)
class Odds:
    """What is known of the better side of a state."""

    side: int  # +1 long, -1 short
    p_target: float
    p_stop: float
    p_timeout: float
    low: float  # lower bound of `p_target`, with unequal widths that of the bet's mean return as well
    needed: float  # break-even `p_target` after costs
    outcomes: int  # ever counted for this state and side
    timeout_loss: float  # mean of a timeout before costs, a fraction of the notional, >= 0


class Learner:
    """The memory of one symbol. It learns from closed bars in order; asking for odds changes nothing."""

    def __init__(self, interval: str, cells: int, config: AnalystConfig) -> None:
        self.interval = interval
        self.last_open_ns: int | None = None
        self.counted = 0  # outcomes, over all states
        self._config = config
        self._prior = Prior.of(config)
        self._forget = 1.0 if config.rules.memory is None else math.exp(-1.0 / config.rules.memory)
        self._deviations = NormalDist().inv_cdf(config.rules.confidence_level)
        slots = 2 * cells
        self._when = np.zeros((slots, 2), dtype=np.int64)
        self._level = np.full((slots, 5), np.nan)
        self._tally = np.zeros((slots, 6))
        self._low = np.empty(slots)
        for slot in range(slots):
            recount(self._tally, self._low, slot, self._prior.target, self._prior.stop, config.rules.confidence_level)

    def is_new(self, open_ns: int) -> bool:
        """True for a bar that comes after the one taken last."""
        return self.last_open_ns is None or open_ns > self.last_open_ns

    def is_past(self, open_ns: int) -> bool:
        """True for a bar before the one taken last: what became of it may be known by now."""
        return self.last_open_ns is not None and open_ns < self.last_open_ns

    def learn(
        self,
        open_ns: int,
        close_ns: int,
        prices: tuple[float, float, float, float],
        volume: float,
        cell: int,
        sides: int,
        widths: tuple[float, float],
    ) -> None:
        """Take one closed bar and the state its row showed; prices: open, high, low, close."""
        step = close_ns - open_ns
        self.last_open_ns = open_ns
        self.counted += learn(
            self._when,
            self._level,
            self._tally,
            self._low,
            open_ns,
            step,
            *prices,
            volume != 0.0,
            self._config.horizon,
            self._forget,
            self._prior.target,
            self._prior.stop,
            self._config.rules.confidence_level,
            cell,
            sides,
            *widths,
            close_ns + self._config.valid_bars * step,
        )

    def odds(self, cell: int, sides: int, widths: tuple[float, float]) -> Odds:
        """The better of these sides in a state, after the configured costs."""
        side, target, stop, timeout, low, needed, outcomes, timeout_loss = weigh(
            self._tally,
            self._low,
            cell,
            sides,
            self._prior.target,
            self._prior.stop,
            self._prior.timeout,
            self._prior.timeout_return,
            self._prior.timeout_square,
            *widths,
            self._config.round_trip_cost,
            self._deviations,
        )
        return Odds(
            side=side,
            p_target=target,
            p_stop=stop,
            p_timeout=timeout,
            low=low,
            needed=needed,
            outcomes=int(outcomes),
            timeout_loss=timeout_loss,
        )

    def tallies(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """(cells, 2, 4): for each state and side (long, short) targets, stops, timeouts, outcomes ever counted."""
        return self._tally[:, :4].reshape(-1, 2, 4).copy()

    def save_state(self) -> dict[str, Any]:
        """All there is to know, as plain values and arrays."""
        return {
            "version": _VERSION,
            "interval": self.interval,
            "last_open_ns": self.last_open_ns,
            "counted": self.counted,
            "when": self._when.copy(),
            "level": self._level.copy(),
            "tally": self._tally.copy(),
            "low": self._low.copy(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take up a saved memory. Raises ModelError when it is of another version or another number of states."""
        if state.get("version") != _VERSION:
            raise ModelError(f"a learner's state of version {state.get('version')}, not {_VERSION}")
        arrays = {}
        for name, own in (("when", self._when), ("level", self._level), ("tally", self._tally), ("low", self._low)):
            array = np.array(state[name], dtype=own.dtype)
            if array.shape != own.shape:
                raise ModelError(f"{name} of shape {array.shape} does not fit {own.shape}", part=name)
            arrays[name] = array
        self.interval, self.counted = state["interval"], int(state["counted"])
        self.last_open_ns = None if state["last_open_ns"] is None else int(state["last_open_ns"])
        self._when, self._level = arrays["when"], arrays["level"]
        self._tally, self._low = arrays["tally"], arrays["low"]
