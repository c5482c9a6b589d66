"""A stream saved and restored, many updates without growth, own nodes, precomputed frames, status."""

from __future__ import annotations

import ctypes
import gc
import json
import sys
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from ares.errors import DataError, InvalidInput, ModelError
from ares.features.config import FeatureConfig, WaveletCacheConfig
from ares.features.nodes import FeatureNode
from ares.features.orchestrator import FeatureOrchestrator
from ares.kernels.jit import jit
from tests.features.real import candles_of, differences


@pytest.fixture(scope="module")
def bars(klines: Callable[..., pd.DataFrame]) -> pd.DataFrame:
    return klines("spot_ETHUSDT_1h_full", 3_000)


def running_maximum(x: np.ndarray, state: np.ndarray) -> float:
    state[0] = max(state[0], x[0])
    return float(x[0] / state[0] - 1.0)


DRAWDOWN = FeatureNode(name="mine.drawdown", step=running_maximum, inputs=("close",), state_size=1)
DOUBLE = FeatureNode(
    name="mine.double", step=jit(cached=False)(lambda x, state: x[0] + x[1]),
    inputs=("momentum.rsi_14", "mine.drawdown"), warmup=3,
)  # fmt: skip


def test_a_saved_stream_continues_with_the_same_bits(bars: pd.DataFrame) -> None:
    candles = candles_of(bars, "1h")
    first = FeatureOrchestrator(nodes=[DRAWDOWN]).stream("ETHUSDT", "1h")
    for candle in candles[:1_777]:
        first.update(candle)
    saved = first.save_state()
    plain = {k: v for k, v in saved.items() if k not in ("memory", "state", "tails")}
    saved = {**saved, **json.loads(json.dumps(plain))}
    second = FeatureOrchestrator(nodes=[DRAWDOWN]).stream("ETHUSDT", "1h")
    second.load_state(saved)
    for candle in candles[1_777:]:
        a, b = first.update(candle), second.update(candle)
        np.testing.assert_array_equal(a.values, b.values)
        assert a.schema_id == b.schema_id and a.ready == b.ready


def test_a_state_of_other_features_is_refused(bars: pd.DataFrame) -> None:
    stream = FeatureOrchestrator().stream("ETHUSDT", "1h")
    saved = stream.save_state()
    other = FeatureOrchestrator(FeatureConfig(exclude=("patterns.*",))).stream("ETHUSDT", "1h")
    with pytest.raises(ModelError, match="rebuild"):
        other.load_state(saved)
    with pytest.raises(ModelError, match="BTCUSDT"):
        FeatureOrchestrator().stream("BTCUSDT", "1h").load_state(saved)


def test_a_damaged_state_is_refused_and_leaves_an_empty_stream(bars: pd.DataFrame) -> None:
    candles = candles_of(bars.iloc[:60], "1h")
    first = FeatureOrchestrator(nodes=[DRAWDOWN]).stream("ETHUSDT", "1h")
    for candle in candles[:50]:
        first.update(candle)
    saved = first.save_state()
    kept = {"format", "symbol"}
    damaged = [{k: v for k, v in saved.items() if k != key} for key in saved if key not in kept]
    damaged += [{**saved, key: saved[key][:-1]} for key in ("memory", "state", "tails")]
    damaged += [{**saved, "rows": "many"}, {**saved, "tails": None}]
    for wrong in damaged:
        stream = FeatureOrchestrator(nodes=[DRAWDOWN]).stream("ETHUSDT", "1h")
        with pytest.raises(ModelError, match="rebuild from history"):
            stream.load_state(wrong)
        assert stream.rows == 0
        stream.update(candles[0])


def test_own_nodes_run_in_both_rhythms(bars: pd.DataFrame) -> None:
    features = FeatureOrchestrator(FeatureConfig(groups=("momentum",)), nodes=[DRAWDOWN, DOUBLE])
    whole = features.compute(bars)
    expected = bars.close / bars.close.cummax() - 1.0
    np.testing.assert_allclose(whole["mine.drawdown"], expected, rtol=1e-15)
    warm = int(whole["momentum.rsi_14"].isna().sum()) + 3
    double = (whole["momentum.rsi_14"] + whole["mine.drawdown"]).where(np.arange(len(bars)) >= warm)
    np.testing.assert_array_equal(whole["mine.double"], double)
    stream = features.stream("ETHUSDT", "1h")
    rows = [stream.update(c).values for c in candles_of(bars, "1h")]
    assert differences(pd.DataFrame(rows, bars.index, whole.columns), whole) == []


@pytest.mark.parametrize("compiled", [False, True])
def test_a_node_that_gives_an_infinite_number_is_named(bars: pd.DataFrame, compiled: bool) -> None:
    def inverse(x: np.ndarray, state: np.ndarray) -> float:
        return np.inf if x[0] == 0.0 else 1.0 / x[0]

    node = FeatureNode("mine.inverse", jit(cached=False)(inverse) if compiled else inverse, ("volume",))
    features = FeatureOrchestrator(FeatureConfig(groups=("momentum",)), nodes=[node])
    some = bars.iloc[:100].copy()
    assert np.isfinite(features.compute(some)["mine.inverse"]).all()
    some = some[["open", "high", "low", "close", "volume"]]
    some.iloc[60, 4] = 0.0
    with pytest.raises(DataError, match=rf"mine\.inverse' returned inf .*opens at {bars.index[60].value}"):
        features.compute(some)
    stream = features.stream("ETHUSDT", "1h")
    candles = candles_of(some, "1h")
    for candle in candles[:60]:
        stream.update(candle)
    with pytest.raises(DataError, match=r"mine\.inverse' returned inf"):
        stream.update(candles[60])
    with pytest.raises(DataError, match="not newer"):
        stream.update(candles[60])
    rows = [stream.update(candle).values[:-1] for candle in candles[61:]]
    plain = FeatureOrchestrator(FeatureConfig(groups=("momentum",))).compute(some)
    assert differences(pd.DataFrame(rows, some.index[61:], plain.columns), plain.iloc[61:]) == []


def test_a_node_may_be_given_by_position() -> None:
    short = FeatureNode("mine.x", running_maximum, ("close",), 1, 2, 3, "4")
    assert short == FeatureNode(
        name="mine.x", step=running_maximum, inputs=("close",), state_size=1, warmup=2, settle=3, version="4"
    )


def test_a_node_must_name_what_exists(bars: pd.DataFrame) -> None:
    node = FeatureNode(name="mine.x", step=running_maximum, inputs=("momentum.rsi_15",), state_size=1)
    with pytest.raises(InvalidInput, match=r"momentum\.rsi_14"):
        FeatureOrchestrator(nodes=[node]).compute(bars)
    twice = FeatureNode(name="momentum.rsi_14", step=running_maximum, inputs=("close",), state_size=1)
    with pytest.raises(InvalidInput, match="already"):
        FeatureOrchestrator(nodes=[twice]).compute(bars)


def test_a_node_changes_the_fingerprint_with_its_version(bars: pd.DataFrame) -> None:
    def fingerprint(version: str) -> str:
        node = FeatureNode(name="mine.x", step=running_maximum, inputs=("close",), state_size=1, version=version)
        return FeatureOrchestrator(nodes=[node]).schema("1h").fingerprint

    assert fingerprint("1") == fingerprint("1") != fingerprint("2") != FeatureOrchestrator().schema("1h").fingerprint


def test_a_precomputed_frame_is_joined_by_open_time(bars: pd.DataFrame) -> None:
    own = pd.DataFrame({"mine.rank": np.arange(2_000.0)}, index=bars.index[500:2_500])
    features = FeatureOrchestrator(FeatureConfig(groups=("momentum",)), precomputed=own)
    whole = features.compute(bars)
    pd.testing.assert_series_equal(whole["mine.rank"], own["mine.rank"].reindex(bars.index), check_names=False)
    stream = features.stream("ETHUSDT", "1h")
    rows = [stream.update(c).values for c in candles_of(bars, "1h")]
    assert differences(pd.DataFrame(rows, bars.index, whole.columns), whole) == []


def test_a_stream_without_a_name_takes_that_of_its_first_candle(bars: pd.DataFrame) -> None:
    quarters = bars.iloc[:400].set_axis(pd.date_range("2024-01-01", periods=400, freq="15min", tz="UTC", unit="ns"))
    whole = FeatureOrchestrator().compute(quarters)
    candles = candles_of(quarters, "15m")
    features = FeatureOrchestrator()
    stream = features.stream()
    rows = [stream.update(c).values for c in candles[:300]]
    assert (stream.symbol, stream.interval.name) == (candles[0].symbol, "15m")
    assert features.get_feature_status()["streams"][f"{candles[0].symbol} 15m"]["rows"] == 300
    with pytest.raises(InvalidInput, match="in the stream of"):
        stream.update(candles_of(bars.iloc[2_000:2_001], "1h")[0])
    again = FeatureOrchestrator().stream()
    again.load_state(stream.save_state())
    assert (again.symbol, again.interval.name) == (candles[0].symbol, "15m")
    rows += [again.update(c).values for c in candles[300:]]
    assert differences(pd.DataFrame(rows, quarters.index, whole.columns), whole) == []
    with pytest.raises(ModelError, match="rebuild from history"):
        FeatureOrchestrator().stream().load_state({**stream.save_state(), "interval": "15 m"})
    with pytest.raises(ModelError, match="of 15m bars, not of 1h"):
        FeatureOrchestrator().stream(candles[0].symbol, "1h").load_state(stream.save_state())


def test_a_node_may_read_precomputed_columns(bars: pd.DataFrame) -> None:
    own = pd.DataFrame({"mine.rank": np.arange(2_000.0)}, index=bars.index[500:2_500])
    node = FeatureNode(name="mine.next", step=lambda x, state: float(x[0] + 1.0), inputs=("mine.rank",))
    features = FeatureOrchestrator(FeatureConfig(groups=("momentum",)), nodes=[node], precomputed=own)
    whole = features.compute(bars)
    np.testing.assert_array_equal(whole["mine.next"], whole["mine.rank"] + 1.0)
    stream = features.stream("ETHUSDT", "1h")
    rows = [stream.update(c).values for c in candles_of(bars.iloc[:700], "1h")]
    assert differences(pd.DataFrame(rows, bars.index[:700], whole.columns), whole.iloc[:700]) == []


def test_what_is_no_frame_of_numbers_is_refused_before_it_is_used(bars: pd.DataFrame) -> None:
    own = pd.DataFrame({"mine.rank": np.arange(9.0)}, index=bars.index[:9])
    with pytest.raises(InvalidInput, match="not in a Series"):
        FeatureOrchestrator(precomputed=own["mine.rank"])  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"mine\.rank in row 0 is 'x'"):
        FeatureOrchestrator(precomputed=own.assign(**{"mine.rank": "x"}))
    with pytest.raises(DataError, match=r"mine\.rank in row 3 is infinite"):
        FeatureOrchestrator(precomputed=own.replace(3.0, np.inf))
    features = FeatureOrchestrator(FeatureConfig(wavelet_cache=WaveletCacheConfig(cache_dir="unused")))
    with pytest.raises(InvalidInput, match="map symbols to frames"):
        features.precompute(bars)  # type: ignore[arg-type]


def test_sources_decide_the_schema_of_batch_and_stream_alike(bars: pd.DataFrame) -> None:
    features = FeatureOrchestrator()
    poor = bars[["open", "high", "low", "close", "volume"]]
    whole = features.compute(poor)
    assert not any("taker" in name or "trade_size" in name for name in whole.columns)
    stream = features.stream("ETHUSDT", "1h")
    row = stream.update(candles_of(poor, "1h")[0])
    assert row.names == stream.feature_names == tuple(whole.columns)
    assert row.schema_id == features.fingerprint
    rich = features.compute(bars)
    assert set(rich.columns) - set(whole.columns) == {
        "volume.taker_ratio_1", "volume.taker_ratio_24", "volume.taker_z_48", "volume.trade_size_48"
    }  # fmt: skip


def test_updates_do_not_grow(bars: pd.DataFrame) -> None:
    import tracemalloc

    stream = FeatureOrchestrator().stream("ETHUSDT", "1h")
    candles = candles_of(bars, "1h")
    for candle in candles[:1_500]:
        stream.update(candle)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for candle in candles[1_500:]:
        stream.update(candle)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 20_000


class Malloc(ctypes.Structure):
    """What the C library's allocator tells of itself, in bytes."""

    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "mapped", "usmblks", "fsmblks", "used", "free", "keepcost"
    )]  # fmt: skip


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="told by the GNU C library 2.33 or later")
def test_updates_hold_no_memory_that_python_does_not_know_of() -> None:
    """20,000 leaks, one a row, are 320 kB at the least, and 20,000 of Python's blocks.

    What is in use counts, by the allocator itself: resident memory also grows by what the kernel does with pages.
    """
    from benchmarks.features_streaming import candles

    told = ctypes.CDLL(None).mallinfo2
    told.restype = Malloc
    stream = FeatureOrchestrator().stream("X", "1m")
    held = []
    for i, candle in enumerate(candles(30_000)):
        stream.update(candle)
        if (i + 1) % 10_000 == 0:
            gc.collect()
            now = told()
            held.append((now.used + now.mapped, sys.getallocatedblocks()))
    assert held[-1][0] - held[0][0] < 200_000
    assert held[-1][1] - held[0][1] < 10_000


def test_status_tells_progress_and_missing_values(bars: pd.DataFrame) -> None:
    features = FeatureOrchestrator()
    whole = features.compute(bars)
    stream = features.stream("ETHUSDT", "1h")
    for candle in candles_of(bars, "1h")[:100]:
        stream.update(candle)
    status = features.get_feature_status()
    assert status["features"] == whole.shape[1] == sum(status["groups"].values())
    assert status["last_batch"]["rows"] == len(bars)
    assert status["last_batch"]["missing"]["momentum.rsi_14"] == int(whole["momentum.rsi_14"].isna().sum())
    progress = status["streams"]["ETHUSDT 1h"]
    assert progress["rows"] == 100 and 0 < progress["warm"] < 1 and not progress["settled"]
    assert progress["latency_us"] > 0 and progress["missing"] > 0
    assert status["cache"] is None and status["autoencoder"] == "absent"
    json.dumps(status)


async def test_the_async_verb_is_compute(bars: pd.DataFrame) -> None:
    features = FeatureOrchestrator(FeatureConfig(groups=("returns",)))
    assert differences(await features.generate_all_features(klines_df=bars), features.compute(bars)) == []


def test_a_stream_may_settle_on_the_features_of_any_columns_that_its_bars_could_lack(bars: pd.DataFrame) -> None:
    features = FeatureOrchestrator()
    for absent in (["trades"], ["quote_volume", "taker_buy_volume", "taker_buy_quote_volume", "trades"]):
        poor = bars.drop(columns=absent)
        stream = features.stream("ETHUSDT", "1h")
        stream.update(candles_of(poor, "1h")[0])
        asked = FeatureOrchestrator()
        known = asked.fingerprint
        found = features.fingerprint
        assert found != known
        assert asked.may_settle_on(found, "1h") and asked.may_settle_on(found, "1h", poor.columns)
        assert not asked.may_settle_on(found, "1h", bars.columns), "its bars have these columns"
        assert not asked.may_settle_on(found, "4h")
        assert asked.fingerprint == known, "a question changes nothing"
    assert FeatureOrchestrator().may_settle_on(FeatureOrchestrator().fingerprint, "1h", bars.columns)
