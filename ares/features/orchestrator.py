"""`FeatureOrchestrator`: every feature of a market, the same numbers in research and in live trading."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ares.errors import DataError, InvalidInput, settings_or_default
from ares.features.config import SOURCES, FeatureConfig
from ares.features.nodes import FeatureNode, PrecomputedTail, Tail, bind, node_tails
from ares.features.operations import kernel_version
from ares.features.plan import Engine, make_plan
from ares.features.precompute import Precomputed, precompute
from ares.features.registry import engine_inputs, select
from ares.features.schema import Schema
from ares.features.sources import input_columns, kinds_of
from ares.features.stream import Stream
from ares.instruments import Interval
from ares.kernels.engine import advance
from ares.kernels.jit import is_compiled
from ares.log import get_logger, tell
from ares.market import REQUIRED_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

    from ares.features.cache import FeatureCache
    from ares.features.frames import Bars
    from ares.features.precompute import Frames
    from ares.models.autoencoder import Autoencoder

__all__ = ["FeatureOrchestrator", "Schema"]

KLINE_SOURCES = (
    "open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume", "trades",
)  # fmt: skip
_OPTIONAL = tuple(name for name in KLINE_SOURCES if name not in REQUIRED_COLUMNS)
_NAN = float("nan")
_LEAST_ROWS_A_THREAD = 50_000
_ROWS_KEPT_AT_ONCE = 100_000  # with a cache, so that a long run that is interrupted loses no more than these
log = get_logger("features")


class FeatureOrchestrator:
    """Computes features from klines and whatever else is there; row t knows nothing later than the close of bar t.

    `compute` (and its async verb `generate_all_features`) takes a whole frame, `stream` takes bar by bar; both run the
    same machine code and give the same bits. Columns whose data source is absent are absent, not filled.

    nodes: features of your own. precomputed: a frame of columns made elsewhere, indexed by open time.
    """

    def __init__(
        self,
        config: FeatureConfig | None = None,
        *,
        nodes: Sequence[FeatureNode] = (),
        precomputed: pd.DataFrame | None = None,
        autoencoder: Autoencoder | None = None,
    ) -> None:
        self.config = settings_or_default(config, FeatureConfig)
        self._tails: list[Tail] = [] if precomputed is None else [PrecomputedTail(precomputed)]
        self._tails += node_tails(nodes)
        self.autoencoder = autoencoder  # None until fitted; used only while the configuration enables it
        self._schemas: dict[tuple[str, frozenset[str], tuple[float, ...]], Schema] = {}
        self._last: Schema | None = None
        self._streams: dict[tuple[str, str], Stream] = {}
        self._missing: dict[str, int] = {}
        self._rows = 0
        self._cache: FeatureCache | None = None
        self._told: Callable[[int, int], None] | None = None  # how far a batch is: (rows done, rows in all)
        cache = self.config.wavelet_cache
        if cache.cache_enabled and cache.cache_dir is not None:
            from ares.features.cache import FeatureCache

            self._cache = FeatureCache(cache.cache_dir, cache.max_megabytes << 20)

    # ------------------------------------------------------------------ schema

    def schema(
        self,
        interval: Interval | str = "1h",
        sources: Collection[str] | None = None,
        sr_levels: Sequence[float] = (),
    ) -> Schema:
        """The features for bars of `interval` when `sources`, names of input columns, are there.

        None: all of a kline's, and those that the configuration names. Raises InvalidInput when none are left.
        """
        interval = Interval.parse(interval)
        if sources is None:
            sources = {*KLINE_SOURCES, *input_columns(self.config.sources)}
        levels = _levels(sr_levels)
        if not all(0.0 < x < float("inf") for x in levels):
            raise InvalidInput(f"price levels must be positive numbers: {levels}", sr_levels=levels)
        self._last = found = self._schema(interval, frozenset(sources), levels)
        return found

    def _schema(self, interval: Interval, sources: frozenset[str], sr_levels: tuple[float, ...]) -> Schema:
        key = (interval.name, sources, sr_levels)
        found = self._schemas.get(key)
        if found is None:
            found = self._schemas[key] = self._make_schema(interval, sources, sr_levels)
        return found

    def _make_schema(self, interval: Interval, sources: frozenset[str], sr_levels: tuple[float, ...]) -> Schema:
        features = select(self.config, interval, sources, sr_levels)
        plan = make_plan([f.wanted for f in features], engine_inputs(features), interval.ns)
        tails = list(self._tails)
        if self.autoencoder is not None and "autoencoder" in self.config.enabled_groups():
            tails.append(self.autoencoder)
        bound = bind(tails, plan.names, plan.inputs, plan.warmup.tolist(), plan.settle.tolist())
        names = (*plan.names, *(name for b in bound for name in b.tail.names))
        text = ";".join([interval.name, plan.key, kernel_version(), *(b.tail.key for b in bound)])
        fingerprint = hashlib.sha256(text.encode()).hexdigest()[:32]
        return Schema(interval, sources, sr_levels, tuple(features), plan, tuple(bound), names, fingerprint)

    def may_settle_on(self, fingerprint: str, interval: Interval | str, carried: Collection[str] | None = None) -> bool:
        """Whether a stream of bars of `interval` could compute the features of this fingerprint.

        carried: the kline columns that the bars have; None: not known, any that is not required may be absent.
        Raises InvalidInput for an interval that cannot be.
        """
        interval = Interval.parse(interval)
        every = frozenset((*KLINE_SOURCES, *input_columns(self.config.sources)))
        for count in range(len(_OPTIONAL) + 1):
            for lacking in map(frozenset, combinations(_OPTIONAL, count)):
                possible = carried is None or lacking == frozenset(_OPTIONAL).difference(carried)
                if possible and self._schema(interval, every - lacking, ()).fingerprint == fingerprint:
                    return True
        return False

    @property
    def current_schema(self) -> Schema:
        """The schema used last; before any use, that of 1h klines with all their columns."""
        return self._last or self.schema()

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the schema used last; before any use, that of 1h klines with all their columns."""
        return self.current_schema.names

    @property
    def warmup(self) -> int:
        """Rows until every feature has a value, of the schema used last."""
        return self.current_schema.warmup

    @property
    def settle(self) -> int:
        """Rows after which values no longer depend on where the data began, of the schema used last."""
        return self.current_schema.settle

    @property
    def fingerprint(self) -> str:
        """Identity of the schema used last: names, order, parameters, kernels."""
        return self.current_schema.fingerprint

    # ------------------------------------------------------------------ batch

    async def generate_all_features(
        self,
        klines_df: pd.DataFrame,
        agg_trades_df: pd.DataFrame | None = None,
        futures_df: pd.DataFrame | None = None,
        sr_levels: Sequence[float] | None = None,
        *,
        book_df: pd.DataFrame | None = None,
    ) -> pd.DataFrame:
        """The async verb of `compute`."""
        return self.compute(klines_df, agg_trades_df, futures_df, sr_levels, book_df=book_df)

    def compute(
        self,
        klines_df: pd.DataFrame,
        agg_trades_df: pd.DataFrame | None = None,
        futures_df: pd.DataFrame | None = None,
        sr_levels: Sequence[float] | None = None,
        *,
        book_df: pd.DataFrame | None = None,
        interval: Interval | str | None = None,
    ) -> pd.DataFrame:
        """All features, one row a kline, indexed by open time and known at the close time; NaN until warm.

        klines_df: see `ares.market.KLINE_COLUMNS`; only open, high, low, close and volume are required.
        agg_trades_df, futures_df, book_df: see `ares.features.sources`. When the configuration names sources, exactly
        those count, as in a stream, and what was not given of them is NaN. sr_levels: price levels of your own.
        interval: None infers it. Raises: InvalidInput, DataError with the first offending row; nothing is repaired.
        """
        from ares.features.frames import read_bars, write_frame
        from ares.features.sources import book_columns, flow_columns, futures_columns

        bars = read_bars(klines_df, interval)
        if agg_trades_df is not None:
            bars.columns.update(flow_columns(agg_trades_df, bars))
        if book_df is not None:
            bars.columns.update(book_columns(book_df, bars))
        if futures_df is not None:
            bars.columns.update(futures_columns(futures_df, bars))
        named = self.config.sources
        sources = (bars.sources - input_columns(SOURCES)) | input_columns(named) if named else bars.sources
        schema = self.schema(bars.interval, sources, () if sr_levels is None else sr_levels)
        values = self._run(schema, bars)
        self._rows = bars.open_ns.size
        self._missing = dict(zip(schema.names, np.isnan(values).sum(axis=1).tolist(), strict=True))
        frame = write_frame(values, schema.names, klines_df.index)
        noted = {"schema_id": schema.fingerprint, "warmup": schema.warmup, "interval": schema.interval.name}
        frame.attrs.update(noted)  # for `FeatureRow.at`
        return frame

    def _run(self, schema: Schema, bars: Bars) -> NDArray[np.float64]:
        plan = schema.plan
        n, width = bars.open_ns.size, len(plan.names)
        inputs = np.empty((len(plan.inputs), n))
        for i, name in enumerate(plan.inputs):
            inputs[i] = bars.columns.get(name, _NAN)
        out = np.empty((len(schema.names), n))
        if n:
            self._run_table(schema, bars, inputs, out[:width])
        for tail in schema.tails:
            rows = slice(tail.first, tail.first + len(tail.tail.names))
            tail.tail.batch(tail.gather(out, inputs), bars.open_ns, out[rows])
            out[rows, : tail.warmup] = _NAN
        return out

    def _run_table(self, schema: Schema, bars: Bars, inputs: NDArray[np.float64], out: NDArray[np.float64]) -> None:
        _tell_when_compiling()
        plan = schema.plan
        n = bars.open_ns.size
        cache = self._cache
        identity = f"{schema.interval.name};{plan.key};{kernel_version()}"
        cached = cache.read(identity, plan, inputs, bars.open_ns, out) if cache else None
        begin = cached.rows if cached else 0
        engine = cached.engine if cached else plan.start()
        numbers = bars.numbers
        length = _ROWS_KEPT_AT_ONCE if cache else n
        while begin < n:
            end = n if n - begin < 2 * length else begin + length
            engine = self._advance(schema, engine, inputs, numbers, out, begin, end)
            if cache:
                cache.write(identity, inputs[:, :end], bars.open_ns[:end], out[:, :end], begin, engine, n)
            begin = end
            if self._told is not None:
                self._told(begin, n)

    def _advance(
        self,
        schema: Schema,
        engine: Engine,
        inputs: NDArray[np.float64],
        numbers: NDArray[np.int64],
        out: NDArray[np.float64],
        begin: int,
        end: int,
    ) -> Engine:
        """Compute rows [begin, end), split in time over threads; the engine as it stands after them."""
        n = end - begin
        threads = max(1, min(self.config.parallel, n // max(_LEAST_ROWS_A_THREAD, 4 * schema.settle)))
        cuts = [begin + n * i // threads for i in range(threads + 1)]
        engines = [engine, *(schema.plan.start() for _ in range(threads - 1))]
        flat_inputs, flat_out = inputs.reshape(-1), out.reshape(-1)

        def part(i: int) -> None:
            e = engines[i]
            first = cuts[i] if i == 0 else max(0, cuts[i] - schema.settle - 1)
            advance(
                e.memory, e.table, e.state, flat_inputs, numbers, flat_out, first, cuts[i + 1], cuts[i],
                0, _NAN, _NAN, _NAN, _NAN, _NAN, _NAN, _NAN, _NAN, _NAN, _NAN,
            )  # fmt: skip

        if threads == 1:
            part(0)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(part, range(threads)))
        return engines[-1]

    # ------------------------------------------------------------------ fitting and precomputing

    def fit(
        self,
        klines_df: pd.DataFrame,
        agg_trades_df: pd.DataFrame | None = None,
        futures_df: pd.DataFrame | None = None,
        sr_levels: Sequence[float] | None = None,
        *,
        book_df: pd.DataFrame | None = None,
    ) -> FeatureOrchestrator:
        """Fit the autoencoder on these bars, which must all be training data, and return self.

        From then on the schema has the autoencoder's columns, and another fingerprint. Without
        `enable_autoencoder_features` there is nothing to fit. Raises TooShort below 200 complete rows.
        """
        if "autoencoder" in self.config.enabled_groups():
            from ares.features.autoencoder import fit_autoencoder

            self.autoencoder = None
            self._schemas.clear()
            frame = self.compute(klines_df, agg_trades_df, futures_df, sr_levels, book_df=book_df)
            self.autoencoder = fit_autoencoder(frame, self.config.autoencoder)
            self._schemas.clear()
            schema = self.current_schema
            self.schema(schema.interval, schema.sources, schema.sr_levels)
        return self

    def precompute(
        self,
        klines: Mapping[str, Frames],
        *,
        executor: Executor | None = None,
        progress: Callable[[str, int, int], None] | None = None,
        rows: Callable[[str, int, int], None] | None = None,
    ) -> dict[str, Precomputed]:
        """Fill the cache for many symbols, resuming where an earlier run stopped (see `ares.features.precompute`)."""
        return precompute(_precompute_one, self.config, klines, executor=executor, progress=progress, rows=rows)

    # ------------------------------------------------------------------ streaming

    def stream(
        self,
        symbol: str | None = None,
        interval: Interval | str | None = None,
        *,
        sources: Collection[str] | None = None,
        sr_levels: Sequence[float] = (),
    ) -> Stream:
        """A fresh stream for one symbol.

        symbol, interval: None takes those of the first candle; until then the stream's columns are those of hours.
        sources: names of the columns that its bars will carry. None: those of the configuration's `sources`, which the
        stream gathers itself from the events it is told (`observe`) where a feature reads them, and all of a kline's,
        until the first bar shows by its NaNs which of them its venue does not provide; the schema is fixed from then
        on.
        """
        _tell_when_compiling()
        unnamed = frozenset(name for name, it in (("symbol", symbol), ("interval", interval)) if it is None)
        schema = self.schema(interval or "1h", sources, sr_levels)
        read = set(schema.plan.inputs)
        asked = () if sources is not None else self.config.sources
        kinds = kinds_of([source for source in asked if not read.isdisjoint(input_columns([source]))])
        stream = Stream(
            self.schema, symbol or "", schema, fixed=sources is not None, kinds=kinds, unnamed=unnamed
        )
        self._streams[symbol or "", schema.interval.name if interval else ""] = stream
        return stream

    # ------------------------------------------------------------------ status

    def get_feature_status(self) -> dict[str, Any]:
        """The schema used last, NaN counts of the last batch, cache hits, and each stream's progress."""
        schema = self.current_schema
        groups: dict[str, int] = {}
        for name in schema.names:
            group = name.partition(".")[0]
            groups[group] = groups.get(group, 0) + 1
        cache = self._cache
        return {
            "interval": schema.interval.name,
            "features": len(schema.names),
            "groups": groups,
            "warmup": schema.warmup,
            "settle": schema.settle,
            "fingerprint": schema.fingerprint,
            "autoencoder": "off" if "autoencoder" not in self.config.enabled_groups()
            else ("absent" if self.autoencoder is None else "fitted"),
            "last_batch": {"rows": self._rows, "missing": dict(self._missing)},
            "cache": None
            if cache is None
            else {
                "hits": cache.hits, "misses": cache.misses, "extended": cache.extended, "damaged": cache.damaged,
                "trouble": cache.trouble,
            },
            "streams": {f"{s.symbol} {s.interval.name}": s.status() for s in self._streams.values()},
        }  # fmt: skip


def _levels(given: Any) -> tuple[float, ...]:
    """Price levels as plain numbers, from a sequence, an array or a Series."""
    try:
        if isinstance(given, str) or hasattr(given, "columns"):
            raise TypeError
        return tuple(float(x) for x in given)
    except (TypeError, ValueError):
        kind = type(given).__name__
        raise InvalidInput(f"sr_levels must be a sequence of prices, not {kind}", sr_levels=kind) from None


def _tell_when_compiling() -> None:
    if not is_compiled(advance):
        note = "the first use compiles the feature kernels; later starts load them"
        log.info("kernels.compiling", note=note)
        tell(f"ares: {note}")


def _precompute_one(
    config: FeatureConfig, symbol: str, klines: Frames, told: Callable[[int, int], None] | None = None
) -> Precomputed:
    """Compute one symbol's features into the cache that the configuration names."""
    orchestrator = FeatureOrchestrator(config)
    orchestrator._told = told
    try:
        features = orchestrator.compute(klines() if callable(klines) else klines)
    except DataError as error:
        raise DataError(f"{symbol}: {error.message}", **error.facts) from error  # type: ignore[arg-type]
    cache = orchestrator.get_feature_status()["cache"]
    if cache["trouble"] is not None:
        raise InvalidInput(cache["trouble"], symbol=symbol)
    return Precomputed(symbol=symbol, rows=len(features), features=features.shape[1], resumed=bool(cache["hits"]))
