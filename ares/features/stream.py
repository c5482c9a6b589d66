"""Features bar by bar: the same table, the same machine code and the same bits as the batch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ares.clock import SystemClock
from ares.errors import DataError, InvalidInput, ModelError, unknown_name
from ares.events import Event
from ares.features.live_sources import LiveSources
from ares.features.schema import Schema
from ares.instruments import Interval
from ares.kernels.engine import advance
from ares.kernels.layout import BAR_INPUTS
from ares.market import LARGEST, SMALLEST, Candle, exceeds
from ares.protocols import FeatureRow

__all__ = ["Stream"]

_OPTIONAL = ("quote_volume", "taker_buy_volume", "taker_buy_quote_volume", "trades")
_INFINITY = float("inf")
_NAN = float("nan")
_FORMAT = 1
_NEVER = -(1 << 62)
_SAVED = {"fingerprint", "interval", "sources", "sr_levels", "rows", "last_ns", "memory", "state", "tails", "gathered"}
_now_ns = SystemClock().now_ns

SchemaOf = Callable[[Interval, Collection[str], Sequence[float]], Schema]  # the orchestrator's `schema`


class Stream:
    """The features of one symbol, one closed bar at a time. Bars may be missing; they may not be late or repeated."""

    def __init__(
        self,
        schema_of: SchemaOf,
        symbol: str,
        schema: Schema,
        *,
        fixed: bool,
        kinds: frozenset[str] = frozenset(),
        unnamed: frozenset[str] = frozenset(),
    ) -> None:
        """kinds: of market events that it gathers itself (`observe`): agg_trades, book_top, futures.

        unnamed: which of symbol and interval the first candle tells, or the state that is loaded.
        """
        self._schema_of = schema_of
        self._unnamed = unnamed
        self.symbol = symbol
        self.interval = schema.interval
        self.rows = 0  # bars taken so far
        self._last_ns = _NEVER
        self._latency_ns = 0
        self._fixed = fixed
        self.kinds = kinds
        self._gathered = LiveSources(schema.interval, kinds) if kinds else None
        self._bind(schema)

    def _bind(self, schema: Schema) -> None:
        self._schema = schema
        plan = schema.plan
        engine = plan.start()
        self._memory, self._table, self._state, self._inputs = engine.memory, engine.table, engine.state, engine.inputs
        self._extra = {name: i for i, name in enumerate(plan.inputs) if i >= len(BAR_INPUTS)}
        self._number = np.zeros(1, np.int64)
        self._out = np.empty(len(schema.names))
        self._table_out = self._out[: len(plan.names)]
        self._tail_state = [np.zeros(t.tail.state_size) for t in schema.tails]
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

    def observe(self, event: Event) -> None:
        """Take a market event besides candles: trades, quotes, futures statistics, a lost link.

        Only what `kinds` names is gathered; see `ares.features.live_sources` for what is late, repeated or missing.
        Raises: DataError for a trade or quote that cannot be.
        """
        if self._gathered is not None:
            self._gathered.observe(event)

    def update(self, candle: Candle, columns: Mapping[str, float] | None = None) -> FeatureRow:
        """Take one closed bar and give its row, known at the bar's close.

        columns: the bar's values from other sources, as `ares.features.LiveSources` gathers them; None: what was
        observed. What a stream's schema has and this lacks is NaN. Raises: DataError when the bar is not newer than the
        last one or holds prices that cannot be; InvalidInput when it belongs to another symbol or interval. A refused
        bar changes nothing. Whatever a node of the user's own raises: that bar was taken and has no row.
        """
        begun = _now_ns()
        open_ns = candle.open_ns
        trades = self._check(candle)
        if self._unnamed:
            self._name(candle.symbol, candle.interval)
        if not self._fixed:
            self._fix_sources(candle)
        if columns is None and self._gathered is not None:
            columns = self._gathered.columns(open_ns, candle.volume)  # read or not: what is over is let go
        if self._extra:
            self._take(columns or {})
        advance(
            self._memory, self._table, self._state, self._inputs, self._number, self._table_out, 0, 0, 0,
            open_ns // self.interval.ns, candle.open, candle.high, candle.low, candle.close, candle.volume,
            candle.quote_volume, candle.taker_buy_volume, candle.taker_buy_quote_volume, trades,
            float(open_ns // 1_000_000_000),
        )  # fmt: skip
        before, self.rows = self.rows, self.rows + 1  # the table has taken it, whatever a node may raise
        self._last_ns = open_ns
        for tail, state in zip(self._schema.tails, self._tail_state, strict=True):
            part = self._out[tail.first : tail.first + len(tail.tail.names)]
            tail.tail.step(tail.gather(self._out, self._inputs), open_ns, state, part)
            if before < tail.warmup:
                part[:] = _NAN
        values = self._out.copy()
        values.setflags(write=False)
        row = FeatureRow(
            symbol=self.symbol,
            interval=self.interval.name,
            open_ns=open_ns,
            known_ns=candle.close_ns,
            schema_id=self._schema.fingerprint,
            values=values,
            ready=self.rows > self._warmup,
            names=self._schema.names,
        )
        self._latency_ns = _now_ns() - begun
        return row

    def _check(self, candle: Candle) -> float:
        """Refuse what cannot be; gives the number of trades, NaN when unknown."""
        if not self._fits(candle.symbol, candle.interval):
            raise InvalidInput(
                f"a {candle.symbol} {candle.interval} candle in the stream of {self.symbol} {self.interval}",
                symbol=candle.symbol,
                interval=candle.interval,
            )
        if candle.open_ns <= self._last_ns:
            raise DataError(
                f"candle at {candle.open_ns} is not newer than the last one at {self._last_ns}", row=self.rows
            )
        low, high = candle.low, candle.high
        fits = SMALLEST <= low <= candle.open <= high and low <= candle.close <= high <= LARGEST
        amounts = candle.quote_volume, candle.taker_buy_volume, candle.taker_buy_quote_volume
        wrong = (
            candle.trades < -1
            or any(x < 0.0 or x == _INFINITY for x in amounts)
            or exceeds(candle.taker_buy_volume, candle.volume)
            or exceeds(candle.taker_buy_quote_volume, candle.quote_volume)
        )
        if wrong or not (fits and (candle.volume == 0.0 or SMALLEST <= candle.volume <= LARGEST)):
            raise DataError(f"prices or a volume that cannot be: {candle}", row=self.rows)
        return float(candle.trades) if candle.trades >= 0 else _NAN

    def _fits(self, symbol: str, interval: str) -> bool:
        """Whether a bar or a state is of our symbol and interval, as far as they are named."""
        return (symbol == self.symbol or "symbol" in self._unnamed) and (
            interval == self.interval.name or "interval" in self._unnamed
        )

    def _name(self, symbol: str, interval: str) -> None:
        """Take over the symbol and interval that nobody named. Raises InvalidInput for an interval that cannot be."""
        if interval != self.interval.name:
            length = Interval.parse(interval)
            self._bind(self._schema_of(length, self._schema.sources, self._schema.sr_levels))
            self.interval = length
            if self._gathered is not None:
                self._gathered.interval = length
        self.symbol = symbol
        self._unnamed = frozenset()

    def _take(self, columns: Mapping[str, float]) -> None:
        for name in columns:
            if name not in self._extra and not name.startswith(("flow_", "book_", "futures_")):
                raise unknown_name("input column", name, self._extra)
        for name, i in self._extra.items():
            self._inputs[i] = columns.get(name, _NAN)

    def _fix_sources(self, candle: Candle) -> None:
        """Choose the schema by what the first candle carries."""
        absent = {name for name in _OPTIONAL if not getattr(candle, name) >= 0}
        self._fixed = True
        if absent:
            old = self._schema
            self._bind(self._schema_of(self.interval, old.sources - absent, old.sr_levels))

    def status(self) -> dict[str, Any]:
        """Progress: rows taken, share of the warm-up done, NaNs in the last row, latency of the last update."""
        return {
            "rows": self.rows,
            "warm": min(1.0, self.rows / (self._warmup + 1)),
            "settled": self.rows > self._schema.settle,
            "missing": int(np.isnan(self._out).sum()) if self.rows else len(self._out),
            "latency_us": self._latency_ns / 1e3,
        }

    def save_state(self) -> dict[str, Any]:
        """Everything a restart needs to continue with the same bits: numbers, strings and arrays."""
        return {
            "format": _FORMAT,
            "fingerprint": self._schema.fingerprint,
            "symbol": self.symbol,
            "interval": self.interval.name,
            "sources": sorted(self._schema.sources),
            "sr_levels": list(self._schema.sr_levels),
            "rows": self.rows,
            "last_ns": self._last_ns,
            "memory": self._memory.copy(),
            "state": self._state.copy(),
            "tails": [state.copy() for state in self._tail_state],
            "gathered": None if self._gathered is None else self._gathered.save_state(),
        }

    def load_state(self, saved: Mapping[str, Any]) -> None:
        """Continue where `save_state` was called.

        Raises: ModelError when features or symbol are not the same, or the state is damaged; then the stream is empty.
        """
        symbol = str(saved.get("symbol"))
        if saved.get("format") != _FORMAT or not self._fits(symbol, self.interval.name):
            raise ModelError(f"the saved state is not of a {self.symbol} stream", symbol=symbol)
        missing = _SAVED - saved.keys()
        if missing:
            raise ModelError(f"the saved state lacks {', '.join(sorted(missing))}: rebuild from history")
        interval = str(saved["interval"])
        if not self._fits(symbol, interval):
            raise ModelError(f"the saved state is of {interval} bars, not of {self.interval}", interval=interval)
        try:
            schema = self._schema_of(Interval.parse(interval), saved["sources"], saved["sr_levels"])
        except (InvalidInput, TypeError) as error:
            raise ModelError(f"the saved state is damaged ({error}): rebuild from history") from error
        if schema.fingerprint != saved["fingerprint"]:
            raise ModelError(
                f"the saved state is of features {saved['fingerprint']}, these are {schema.fingerprint}: rebuild from"
                " history",
                saved=saved["fingerprint"],
                current=schema.fingerprint,
            )
        if self._unnamed:
            self._name(symbol, interval)
        before = self._schema, self._fixed, self._gathered
        try:
            self._restore(schema, saved)
        except (KeyError, TypeError, ValueError) as error:
            self._fixed, self._gathered = before[1:]
            self._bind(before[0])
            self.rows, self._last_ns = 0, _NEVER
            raise ModelError(f"the saved state is damaged ({error}): rebuild from history") from error

    def _restore(self, schema: Schema, saved: Mapping[str, Any]) -> None:
        self._bind(schema)
        self._fixed = True
        if self._gathered is not None and saved["gathered"] is not None:
            self._gathered = LiveSources(schema.interval, self.kinds)
            self._gathered.load_state(saved["gathered"])
        self.rows = int(saved["rows"])
        self._last_ns = int(saved["last_ns"])
        for mine, theirs in (
            (self._memory, saved["memory"]),
            (self._state, saved["state"]),
            *zip(self._tail_state, saved["tails"], strict=True),
        ):
            given = np.asarray(theirs, dtype=mine.dtype)
            if given.shape != mine.shape:
                raise ValueError(f"an array has shape {given.shape}, not {mine.shape}")
            mine[:] = given
