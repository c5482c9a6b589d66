"""`FeatureOrchestrator`: every feature of a market, the same numbers in research and in live trading."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from ares.features.config import FeatureConfig
from ares.features.operations import kernel_version
from ares.features.plan import Plan, make_plan
from ares.features.registry import Feature, engine_inputs, select
from ares.features.stream import Stream
from ares.instruments import Interval
from ares.kernels.engine import advance

if TYPE_CHECKING:
    import pandas as pd

    from ares.features.frames import Bars

__all__ = ["FeatureOrchestrator", "Schema"]

KLINE_SOURCES = (
    "open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume", "trades",
)  # fmt: skip
_NAN = float("nan")
_LEAST_ROWS_A_THREAD = 50_000


@frozen(eq=False)
class Schema:
    """The features of one base interval and set of data sources: what a row holds, and when it may be trusted."""

    interval: Interval
    sources: frozenset[str]
    features: tuple[Feature, ...] = field(repr=False)
    plan: Plan = field(repr=False)
    fingerprint: str  # changes with names, order, parameters and kernels

    @property
    def names(self) -> tuple[str, ...]:
        """Column names, `group.name_param[@timeframe]`."""
        return self.plan.names

    @cached_property
    def warmup(self) -> int:
        """Rows that are not complete yet at the beginning of the data."""
        return int(self.plan.warmup.max())

    @cached_property
    def settle(self) -> int:
        """Rows after which every feature has forgotten where the data began, bit for bit."""
        return int(self.plan.settle.max())


class FeatureOrchestrator:
    """Computes features from klines and whatever else is there; row t knows nothing later than the close of bar t.

    `compute` (and its async verb `generate_all_features`) takes a whole frame, `stream` takes bar by bar; both run the
    same machine code and give the same bits. Columns whose data source is absent are absent, not filled.
    """

    def __init__(self, config: FeatureConfig | None = None) -> None:
        self.config = config or FeatureConfig()
        self._schemas: dict[tuple[str, frozenset[str]], Schema] = {}
        self._last: Schema | None = None

    # ------------------------------------------------------------------ schema

    def schema(self, interval: Interval | str = "1h", sources: Collection[str] = KLINE_SOURCES) -> Schema:
        """The features for bars of `interval` when `sources` are there. Raises InvalidInput when none are left."""
        interval = Interval.parse(interval)
        key = (interval.name, frozenset(sources))
        found = self._schemas.get(key)
        if found is None:
            features = select(self.config, interval, sources)
            plan = make_plan([f.wanted for f in features], engine_inputs(features), interval.ns)
            text = f"{interval.name};{plan.key};{kernel_version()}"
            fingerprint = hashlib.sha256(text.encode()).hexdigest()[:32]
            found = Schema(interval, key[1], tuple(features), plan, fingerprint)
            self._schemas[key] = found
        self._last = found
        return found

    def _current(self) -> Schema:
        return self._last or self.schema()

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the schema used last; before any use, that of 1h klines with all their columns."""
        return self._current().names

    @property
    def warmup(self) -> int:
        """Rows until every feature has a value, of the schema used last."""
        return self._current().warmup

    @property
    def settle(self) -> int:
        """Rows after which values no longer depend on where the data began, of the schema used last."""
        return self._current().settle

    @property
    def fingerprint(self) -> str:
        """Identity of the schema used last: names, order, parameters, kernels."""
        return self._current().fingerprint

    # ------------------------------------------------------------------ batch

    async def generate_all_features(
        self,
        klines_df: pd.DataFrame,
        agg_trades_df: pd.DataFrame | None = None,
        futures_df: pd.DataFrame | None = None,
        sr_levels: Sequence[float] | None = None,
    ) -> pd.DataFrame:
        """The async verb of `compute`."""
        return self.compute(klines_df, agg_trades_df, futures_df, sr_levels)

    def compute(
        self,
        klines_df: pd.DataFrame,
        agg_trades_df: pd.DataFrame | None = None,
        futures_df: pd.DataFrame | None = None,
        sr_levels: Sequence[float] | None = None,
        *,
        interval: Interval | str | None = None,
    ) -> pd.DataFrame:
        """All features, one row a kline, indexed by open time and known at the close time; NaN until warm.

        klines_df: see `ares.market.KLINE_COLUMNS`; only open, high, low, close and volume are required.
        interval: None infers it. Raises: InvalidInput, DataError (see `ares.features.frames.read_bars`).
        """
        from ares.features.frames import read_bars, write_frame

        bars = read_bars(klines_df, interval)
        schema = self.schema(bars.interval, bars.sources)
        return write_frame(self._run(schema, bars), schema.names, klines_df.index)

    def _run(self, schema: Schema, bars: Bars) -> NDArray[np.float64]:
        plan = schema.plan
        n = bars.open_ns.size
        src = np.empty((len(plan.inputs), n))
        for i, name in enumerate(plan.inputs):
            src[i] = bars.columns.get(name, _NAN)
        out = np.empty((len(plan.names), n))
        flat_src, flat_out, numbers = src.reshape(-1), out.reshape(-1), bars.numbers
        threads = max(1, min(self.config.parallel, n // max(_LEAST_ROWS_A_THREAD, 4 * schema.settle)))
        cuts = [n * i // threads for i in range(threads + 1)]

        def part(first: int, end: int) -> None:
            engine = plan.start()
            begin = max(0, first - schema.settle - 1)
            advance(
                engine.memory, engine.table, engine.state, flat_src, numbers, flat_out, begin, end, first,
                0, _NAN, _NAN, _NAN, _NAN, _NAN, _NAN, _NAN, _NAN, _NAN, _NAN,
            )  # fmt: skip

        if n and threads == 1:
            part(0, n)
        elif n:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(part, cuts[:-1], cuts[1:]))
        return out

    # ------------------------------------------------------------------ streaming

    def stream(
        self, symbol: str, interval: Interval | str, *, sources: Collection[str] | None = None
    ) -> Stream:
        """A fresh stream for one symbol.

        sources: names of the columns that its bars will carry. None: all of a kline's, until the first bar shows by its
        NaNs which of them its venue does not provide; the schema is fixed from then on.
        """
        return Stream(self, symbol, Interval.parse(interval), sources)

    def get_feature_status(self) -> dict[str, Any]:
        """The current schema in figures: features by group, warm-up, settling, fingerprint."""
        schema = self._current()
        groups: dict[str, int] = {}
        for feature in schema.features:
            groups[feature.recipe.group] = groups.get(feature.recipe.group, 0) + 1
        return {
            "interval": schema.interval.name,
            "features": len(schema.names),
            "groups": groups,
            "warmup": schema.warmup,
            "settle": schema.settle,
            "fingerprint": schema.fingerprint,
        }
