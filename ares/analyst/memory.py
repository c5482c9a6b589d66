"""What an analyst remembers of one symbol: past excursions, the model's alarms, the regime, and a bet that waits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from attrs import define, field

from ares.analyst.active import ActiveModel
from ares.analyst.config import AnalystConfig
from ares.analyst.liquidation import Excursions
from ares.analyst.vigilance import Vigilance
from ares.instruments import Interval
from ares.models.regime import RegimeFilter
from ares.models.regime_columns import RegimeColumns
from ares.values import FeatureRow, Reason

__all__ = ["Memory"]


@define(eq=False)
class Memory:
    """What is remembered of one symbol."""

    excursions: Excursions
    vigilance: Vigilance | None = None
    regime: RegimeFilter | None = None
    regime_columns: RegimeColumns = field(factory=RegimeColumns)  # what it observed outlives the model
    last_open_ns: int = -1
    wish_side: int = 0  # a bet that waits for its moment
    wish_ends_ns: int = 0
    lapsed: bool = False  # its time to live is over; it begins anew once the opinion has gone or turned

    @classmethod
    def fresh(cls, config: AnalystConfig, model: ActiveModel | None) -> Memory:
        """The memory of a symbol that was never seen."""
        horizon = model.horizon if model is not None else config.horizon
        found = cls(excursions=Excursions(horizon, config.liquidation.memory))
        found.fit_out(config, model)
        return found

    def fit_out(self, config: AnalystConfig, model: ActiveModel | None) -> None:
        """Begin anew what belongs to the model in use: its alarms, its regimes, and a waiting bet."""
        self.wish_side, self.lapsed = 0, False
        if model is None:
            return
        if self.excursions.horizon != model.horizon:
            self.excursions = Excursions(model.horizon, config.liquidation.memory)
        bundle = model.dual.bundle
        uniqueness = float(model.dual.setting("uniqueness", (int, float)))
        self.vigilance = Vigilance(bundle.get("reference"), model.horizon, uniqueness, config.vigilance)
        regime = bundle.get("regime")
        self.regime = None
        if regime is not None:
            self.regime = RegimeFilter(regime, Interval.parse(model.dual.setting("interval", str)).ns)
        self.regime_columns.use(model.regimes)

    def moment(
        self, row: FeatureRow, time_to_live: int, side: int, timing: float, *, wanted: bool, age: int | None = None
    ) -> Reason | None:
        """Why a wanted bet is not entered on this bar; None: now, or there is nothing to wait for.

        It waits while `timing`, the chance that the next move goes its way, is below a half, at most `time_to_live`
        bars from the first one that wanted it. Then it lapses, until the opinion has gone or turned.

        age: bars since the side was decided, for a model that decides sides on a higher timeframe: the time to live
        begins there, and each decision has its own. None: each bar decides.
        """
        if not wanted:
            self.wish_side, self.lapsed = 0, False
            return None
        ends_ns = row.known_ns + (time_to_live - (age or 0)) * (row.known_ns - row.open_ns)
        if side != self.wish_side or (age is not None and ends_ns != self.wish_ends_ns):
            self.wish_side, self.lapsed = side, False
            self.wish_ends_ns = ends_ns
        if math.isnan(timing) and age is None:
            return None
        if self.lapsed or row.known_ns > self.wish_ends_ns:
            self.lapsed = True
            numbers = {} if math.isnan(timing) else {"timing": timing}
            return Reason(code="timing.lapsed", numbers=numbers)
        if not timing < 0.5:
            return None
        left = (self.wish_ends_ns - row.known_ns) / 1e9
        return Reason(code="timing.wait", numbers={"timing": timing, "seconds_left": left})

    def save_state(self) -> dict[str, Any]:
        """Everything, as plain values and arrays."""
        parts = {name: getattr(self, name) for name in _PARTS}
        states = {name: part.save_state() for name, part in parts.items() if part is not None}
        return {**{name: getattr(self, name) for name in _PLAIN}, **states}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `save_state` gave. Raises ModelError when another model's state is given."""
        for name in _PLAIN:
            setattr(self, name, state[name])
        for name in _PARTS:
            part = getattr(self, name)
            if name in state and part is not None:
                part.load_state(state[name])


_PLAIN = ("last_open_ns", "wish_side", "wish_ends_ns", "lapsed")
_PARTS = ("excursions", "vigilance", "regime", "regime_columns")
