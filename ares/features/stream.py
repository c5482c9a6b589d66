"""Features bar by bar: the same table, the same machine code and the same bits as the batch."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from ares.errors import DataError, InvalidInput
from ares.instruments import Interval
from ares.kernels.engine import advance
from ares.market import Candle
from ares.protocols import FeatureRow

if TYPE_CHECKING:
    from ares.features.orchestrator import FeatureOrchestrator, Schema

__all__ = ["Stream"]

_OPTIONAL = ("quote_volume", "taker_buy_volume", "taker_buy_quote_volume", "trades")


class Stream:
    """The features of one symbol, one closed bar at a time. Bars may be missing; they may not be late or repeated."""

    def __init__(
        self, owner: FeatureOrchestrator, symbol: str, interval: Interval, sources: Collection[str] | None
    ) -> None:
        self._owner = owner
        self.symbol = symbol
        self.interval = interval
        self.rows = 0  # bars taken so far
        self._last_ns = -(1 << 62)
        self._bound = sources is not None
        self._bind(owner.schema(interval, sources) if sources is not None else owner.schema(interval))

    def _bind(self, schema: Schema) -> None:
        self._schema = schema
        engine = schema.plan.start()
        self._memory, self._table, self._state, self._inputs = engine.memory, engine.table, engine.state, engine.inputs
        self._number = np.zeros(1, np.int64)
        self._out = np.empty(len(schema.names))
        self._warmup = schema.warmup

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Column names of every row."""
        return self._schema.names

    @property
    def warmup(self) -> int:
        """Rows until `ready`."""
        return self._schema.warmup

    @property
    def settle(self) -> int:
        """Rows after which values no longer depend on where the stream began."""
        return self._schema.settle

    @property
    def fingerprint(self) -> str:
        """Identity of names, order, parameters and kernels; the `schema_id` of every row."""
        return self._schema.fingerprint

    def update(self, candle: Candle) -> FeatureRow:
        """Take one closed bar and give its row, known at the bar's close.

        Raises: DataError when the bar is not newer than the last one or holds prices that cannot be; InvalidInput when
        it belongs to another symbol or interval. A refused bar changes nothing.
        """
        if candle.symbol != self.symbol or candle.interval != self.interval.name:
            raise InvalidInput(
                f"a {candle.symbol} {candle.interval} candle in the stream of {self.symbol} {self.interval}",
                symbol=candle.symbol,
                interval=candle.interval,
            )
        open_ns = candle.open_ns
        if open_ns <= self._last_ns:
            raise DataError(f"candle at {open_ns} is not newer than the last one at {self._last_ns}", row=self.rows)
        low, high, volume = candle.low, candle.high, candle.volume
        fits = 0.0 < low <= candle.open <= high and low <= candle.close <= high < float("inf")
        if not (fits and 0.0 <= volume < float("inf")):
            raise DataError(f"candle at {open_ns} holds prices or a volume that cannot be: {candle}", row=self.rows)
        trades = float(candle.trades) if candle.trades >= 0 else float("nan")
        if not self._bound:
            self._fix_sources(candle)
        advance(
            self._memory, self._table, self._state, self._inputs, self._number, self._out, 0, 0, 0,
            open_ns // self.interval.ns, candle.open, high, low, candle.close, volume, candle.quote_volume,
            candle.taker_buy_volume, candle.taker_buy_quote_volume, trades, float(open_ns // 1_000_000_000),
        )  # fmt: skip
        self.rows += 1
        self._last_ns = open_ns
        values = self._out.copy()
        values.setflags(write=False)
        return FeatureRow(
            symbol=self.symbol,
            interval=self.interval.name,
            open_ns=open_ns,
            known_ns=candle.close_ns,
            schema_id=self._schema.fingerprint,
            values=values,
            ready=self.rows > self._warmup,
            names=self._schema.names,
        )

    def _fix_sources(self, candle: Candle) -> None:
        """Choose the schema by what the first candle carries."""
        absent = {name for name in _OPTIONAL if not getattr(candle, name) >= 0}
        self._bound = True
        if absent:
            self._bind(self._owner.schema(self.interval, self._schema.sources - absent))
