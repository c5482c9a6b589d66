"""The feature cache: the same bits, growing at the end, never trusted when damaged, bounded, safe for two processes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ares.errors import DataError, InvalidInput
from ares.features import cache as cache_module
from ares.features.cache import FeatureCache
from ares.features.config import FeatureConfig, WaveletCacheConfig
from ares.features.orchestrator import FeatureOrchestrator
from ares.features.plan import Engine
from ares.storage import FileLock, sha256_bytes
from tests.features.real import differences


@pytest.fixture(scope="module")
def bars(klines: Callable[..., pd.DataFrame]) -> pd.DataFrame:
    return klines("spot_ETHUSDT_1h", 6_000)


@pytest.fixture(scope="module")
def plain(bars: pd.DataFrame) -> pd.DataFrame:
    return FeatureOrchestrator(FeatureConfig()).compute(bars)


def cached(folder: Path, **settings: object) -> FeatureOrchestrator:
    cache = WaveletCacheConfig(cache_dir=folder, **settings)  # type: ignore[arg-type]
    return FeatureOrchestrator(FeatureConfig(wavelet_cache=cache))


def counts(features: FeatureOrchestrator) -> dict[str, Any]:
    found: dict[str, Any] = features.get_feature_status()["cache"]
    return found


def test_a_second_run_reads_and_new_bars_are_appended(tmp_path: Path, bars: pd.DataFrame, plain: pd.DataFrame) -> None:
    first = cached(tmp_path)
    assert differences(first.compute(bars.iloc[:4_000]), plain.iloc[:4_000]) == []
    assert counts(first) == {"hits": 0, "misses": 1, "extended": 0, "damaged": 0, "trouble": None}
    second = cached(tmp_path)
    assert differences(second.compute(bars.iloc[:4_000]), plain.iloc[:4_000]) == []
    for n in (4_001, 5_500, 6_000):
        assert differences(second.compute(bars.iloc[:n]), plain.iloc[:n]) == []
    assert counts(second) == {"hits": 4, "misses": 0, "extended": 3, "damaged": 0, "trouble": None}
    assert len(list(tmp_path.glob("*/rows_*.parquet"))) == 4


def test_another_past_is_another_entry(tmp_path: Path, bars: pd.DataFrame) -> None:
    features = cached(tmp_path)
    features.compute(bars)
    changed = bars.copy()
    changed.iloc[3_000, changed.columns.get_loc("volume")] += 1.0
    expected = FeatureOrchestrator(FeatureConfig()).compute(changed)
    assert differences(features.compute(changed), expected) == []
    assert counts(features)["hits"] == 0


@pytest.mark.parametrize("what", ["rows", "engine", "manifest"])
def test_damage_is_found_told_and_repaired(tmp_path: Path, bars: pd.DataFrame, plain: pd.DataFrame, what: str) -> None:
    cached(tmp_path).compute(bars)
    pattern = {"rows": "*/rows_*.parquet", "engine": "*/engine_*.npz", "manifest": "*/manifest.json"}[what]
    path = next(tmp_path.glob(pattern))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data[:-3]) if what == "manifest" else bytes(data))
    features = cached(tmp_path)
    with pytest.warns(UserWarning, match="damaged"):
        assert differences(features.compute(bars), plain) == []
    assert counts(features)["damaged"] == 1
    again = cached(tmp_path)
    assert differences(again.compute(bars), plain) == []
    assert counts(again)["hits"] == 1


@pytest.mark.parametrize("pattern", ["*/rows_*.parquet", "*/engine_*.npz"])
def test_a_file_that_is_gone_is_damage(tmp_path: Path, bars: pd.DataFrame, plain: pd.DataFrame, pattern: str) -> None:
    cached(tmp_path).compute(bars)
    path = next(tmp_path.glob(pattern))
    path.unlink()
    features = cached(tmp_path)
    with pytest.warns(UserWarning, match=f"damaged and is computed again: {path.name} is missing"):
        assert differences(features.compute(bars), plain) == []
    assert counts(features)["damaged"] == 1
    assert differences(features.compute(bars), plain) == []
    assert counts(features)["hits"] == 1


def reseal(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    manifest = json.loads(path.read_bytes())
    change(manifest)
    del manifest["digest"]
    manifest["digest"] = sha256_bytes(json.dumps(manifest, sort_keys=True).encode())
    path.write_bytes(json.dumps(manifest).encode())


@pytest.mark.parametrize("content", ["null", "[1]", "{}", '"text"', "7"])
def test_a_manifest_of_another_shape_is_damage(
    tmp_path: Path, bars: pd.DataFrame, plain: pd.DataFrame, content: str
) -> None:
    cached(tmp_path).compute(bars)
    next(tmp_path.glob("*/manifest.json")).write_text(content)
    with pytest.warns(UserWarning, match="damaged"):
        assert differences(cached(tmp_path).compute(bars), plain) == []


def test_a_manifest_altered_by_hand_is_damage(tmp_path: Path, bars: pd.DataFrame, plain: pd.DataFrame) -> None:
    cached(tmp_path).compute(bars)
    path = next(tmp_path.glob("*/manifest.json"))
    path.write_text(path.read_text().replace("6000", "5999", 1))
    with pytest.warns(UserWarning, match="digest differs"):
        assert differences(cached(tmp_path).compute(bars), plain) == []


@pytest.mark.parametrize("kind", ["engine_", "rows_"])
def test_a_file_without_a_checksum_is_never_read(
    tmp_path: Path, bars: pd.DataFrame, plain: pd.DataFrame, kind: str
) -> None:
    cached(tmp_path).compute(bars)

    def forget(manifest: dict[str, Any]) -> None:
        manifest["files"] = {name: sum_ for name, sum_ in manifest["files"].items() if not name.startswith(kind)}

    reseal(next(tmp_path.glob("*/manifest.json")), forget)
    with pytest.warns(UserWarning, match="has no checksum"):
        assert differences(cached(tmp_path).compute(bars), plain) == []


def test_a_folder_that_cannot_be_used_is_told_once_and_passed_over(
    tmp_path: Path, bars: pd.DataFrame, plain: pd.DataFrame
) -> None:
    (tmp_path / "file").write_text("not a folder")
    features = cached(tmp_path / "file" / "cache")
    with pytest.warns(UserWarning, match="cannot be used"):
        assert differences(features.compute(bars), plain) == []
    assert differences(features.compute(bars), plain) == []  # a second warning would be an error
    assert "cannot be used" in str(counts(features)["trouble"])
    with pytest.warns(UserWarning, match="cannot be used"), pytest.raises(InvalidInput, match="cannot be used"):
        features.precompute({"ETHUSDT": bars.iloc[:500]})


def test_a_shorter_run_leaves_a_longer_entry(tmp_path: Path, bars: pd.DataFrame, plain: pd.DataFrame) -> None:
    cached(tmp_path).compute(bars)
    shorter = cached(tmp_path)
    assert differences(shorter.compute(bars.iloc[:3_000]), plain.iloc[:3_000]) == []
    again = cached(tmp_path)
    assert differences(again.compute(bars), plain) == [] and counts(again)["hits"] == 1


def test_an_entry_larger_than_the_bound_is_not_kept(tmp_path: Path, bars: pd.DataFrame, plain: pd.DataFrame) -> None:
    features = cached(tmp_path, max_megabytes=1)
    with pytest.warns(UserWarning, match="max_megabytes is 1"):
        assert differences(features.compute(bars), plain) == []
    assert sum(p.stat().st_size for p in tmp_path.rglob("*") if p.is_file()) <= 1 << 20


def test_a_long_run_is_kept_in_parts_and_goes_on_inside_a_symbol(
    tmp_path: Path, bars: pd.DataFrame, plain: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ares.features.orchestrator._ROWS_KEPT_AT_ONCE", 1_500)
    told: list[tuple[str, int, int]] = []

    def interrupted(symbol: str, rows: int, total: int) -> None:
        told.append((symbol, rows, total))
        if rows == 3_000:
            raise KeyboardInterrupt

    features = cached(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        features.precompute({"ETHUSDT": bars}, rows=interrupted)
    assert told == [("ETHUSDT", 1_500, 6_000), ("ETHUSDT", 3_000, 6_000)]
    done = features.precompute({"ETHUSDT": bars}, rows=lambda *now: told.append(now))
    assert done["ETHUSDT"].resumed and told[2:] == [("ETHUSDT", 4_500, 6_000), ("ETHUSDT", 6_000, 6_000)]
    last = cached(tmp_path)
    assert differences(last.compute(bars), plain) == []
    assert counts(last) == {"hits": 1, "misses": 0, "extended": 0, "damaged": 0, "trouble": None}


def test_switched_off_nothing_is_written(tmp_path: Path, bars: pd.DataFrame) -> None:
    cached(tmp_path / "cache", cache_enabled=False).compute(bars)
    FeatureOrchestrator(FeatureConfig()).compute(bars)
    assert not (tmp_path / "cache").exists()


def test_the_least_recently_used_make_room(tmp_path: Path, bars: pd.DataFrame) -> None:
    features = cached(tmp_path, max_megabytes=11)
    for begin in (0, 100, 200, 300):
        features.compute(bars.iloc[begin:])
    size = sum(p.stat().st_size for p in tmp_path.rglob("*") if p.is_file())
    assert size <= 11 << 20
    assert 1 <= len(list(tmp_path.glob("*/manifest.json"))) < 4
    last = cached(tmp_path)
    last.compute(bars.iloc[300:])
    assert counts(last)["hits"] == 1


def test_two_writers_do_no_harm(tmp_path: Path, bars: pd.DataFrame, plain: pd.DataFrame) -> None:
    def work(n: int) -> list[str]:
        return differences(cached(tmp_path).compute(bars.iloc[:n]), plain.iloc[:n])

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, [3_000, 4_000, 5_000, 6_000] * 3)) == [[]] * 12
    for manifest in tmp_path.glob("*/manifest.json"):
        assert json.loads(manifest.read_bytes())["rows"] <= len(bars)


def grow(folder: Path, seed: int, max_bytes: int) -> str | None:
    """Write an entry in twenty parts of random numbers, and say what troubled the cache."""
    cache, rng, n = FeatureCache(folder, max_bytes), np.random.default_rng(seed), 2_000
    inputs, out, open_ns = rng.normal(size=(3, n)), rng.normal(size=(5, n)), np.arange(n, dtype=np.int64)
    engine = Engine(np.zeros(3), np.zeros(3, np.int64), np.zeros(3, np.int64), np.zeros(3))
    for begin in range(0, n, 100):
        end = begin + 100
        cache.write("f", inputs[:, :end], open_ns[:end], out[:, :end], begin, engine, n)
    return cache.trouble


@pytest.mark.parametrize("max_bytes", [1 << 30, 200_000])
def test_entries_that_others_write_or_remove_meanwhile_are_no_trouble(tmp_path: Path, max_bytes: int) -> None:
    """Four entries of 100 to 200 kB at once: beyond the smaller bound they remove each other."""
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda seed: grow(tmp_path, seed, max_bytes), range(4))) == [None] * 4
    grow(tmp_path, 5, max_bytes)
    assert sum(p.stat().st_size for p in tmp_path.glob("*/*")) <= max_bytes


def test_an_entry_that_vanishes_while_it_is_measured_is_no_trouble(
    tmp_path: Path, bars: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached(tmp_path).compute(bars.iloc[:2_000])
    stat = Path.stat

    def gone(path: Path, **rest: Any) -> os.stat_result:
        found = stat(path, **rest)
        if path.name.startswith(("rows_", "engine_")) and path.parent in others:
            path.unlink()
            raise FileNotFoundError(path)
        return found

    others = {path.parent for path in tmp_path.glob("*/manifest.json")}
    features = cached(tmp_path)
    monkeypatch.setattr(Path, "stat", gone)
    features.compute(bars.iloc[100:2_000])
    assert counts(features)["trouble"] is None


def test_an_entry_that_grows_while_it_is_read_is_no_damage(
    tmp_path: Path, bars: pd.DataFrame, plain: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process appends, and removes the engine before it, each time after the manifest was read."""
    other = cached(tmp_path)
    other.compute(bars.iloc[:1_000])
    ends, real = [2_000, 1_500], cache_module._manifest

    def overtaken(folder: Path) -> dict[str, Any] | None:
        found = real(folder)
        if ends:
            n = ends.pop()
            with monkeypatch.context() as alone:
                alone.setattr(cache_module, "_manifest", real)
                other.compute(bars.iloc[:n])
        return found

    monkeypatch.setattr(cache_module, "_manifest", overtaken)
    reader = cached(tmp_path)
    assert differences(reader.compute(bars.iloc[:3_000]), plain.iloc[:3_000]) == []
    assert counts(reader) == {"hits": 1, "misses": 0, "extended": 1, "damaged": 0, "trouble": None}
    assert not ends


def test_an_entry_that_another_process_is_removing_is_passed_over(
    tmp_path: Path, bars: pd.DataFrame, plain: pd.DataFrame
) -> None:
    cached(tmp_path).compute(bars.iloc[:1_000])
    engine = next(tmp_path.glob("*/engine_*.npz"))
    engine.unlink()
    reader = cached(tmp_path)
    with FileLock(tmp_path / f"{engine.parent.name}.lock"):
        assert differences(reader.compute(bars.iloc[:1_000]), plain.iloc[:1_000]) == []
    assert counts(reader) == {"hits": 0, "misses": 1, "extended": 0, "damaged": 0, "trouble": None}


def test_an_entry_removed_as_it_was_read_does_not_come_back(
    tmp_path: Path, bars: pd.DataFrame, plain: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached(tmp_path).compute(bars.iloc[:1_000])
    manifest, load_arrays = next(tmp_path.glob("*/manifest.json")), np.load

    def last(*given: Any, **more: Any) -> Any:
        manifest.unlink()
        return load_arrays(*given, **more)

    monkeypatch.setattr(np, "load", last)
    reader = cached(tmp_path)
    assert differences(reader.compute(bars.iloc[:1_000]), plain.iloc[:1_000]) == []
    assert counts(reader)["hits"] == 1 and not manifest.exists()


def test_what_killed_runs_left_goes_and_what_is_being_written_stays(tmp_path: Path, bars: pd.DataFrame) -> None:
    left, busy, foreign = tmp_path / ("a" * 40), tmp_path / ("b" * 40), tmp_path / "models"
    for folder in (left, busy, foreign):
        folder.mkdir()
        (folder / ".rows_0_9.parquet.x.tmp").write_bytes(bytes(2 << 20))
    (foreign / "manifest.json").write_text("{}")
    with FileLock(tmp_path / f"{busy.name}.lock"):
        features = cached(tmp_path, max_megabytes=4)
        features.compute(bars.iloc[:500])
        assert not left.exists() and busy.exists() and foreign.exists()
    features.compute(bars.iloc[:600])
    assert not busy.exists() and foreign.exists()
    assert counts(features) == {"hits": 1, "misses": 1, "extended": 1, "damaged": 0, "trouble": None}


def load(path: Path, rows: int) -> pd.DataFrame:
    frame = pd.read_parquet(path).set_index("open_time").iloc[:rows]
    frame.index = frame.index.as_unit("ns")
    return frame


def test_precompute_many_symbols_and_resume(tmp_path: Path, real_data: Path) -> None:
    config = FeatureConfig(groups=("momentum", "wavelet"), wavelet_cache=WaveletCacheConfig(cache_dir=tmp_path))
    features = FeatureOrchestrator(config)
    market = real_data / "market"
    files = {"ETHUSDT": "um_ETHUSDT_1h", "BTCUSDT": "um_BTCUSDT_1h", "LTCUSDT": "um_LTCUSDT_1h"}
    jobs = {symbol: partial(load, market / f"{name}.parquet", 3_000) for symbol, name in files.items()}
    told: list[tuple[str, int, int]] = []
    with ThreadPoolExecutor(2) as pool:
        done = features.precompute(jobs, executor=pool, progress=lambda *what: told.append(what))
        assert sorted(done) == sorted(files) and [t[1:] for t in told] == [(1, 3), (2, 3), (3, 3)]
        assert not any(job.resumed for job in done.values())
        longer = {**jobs, "ETHUSDT": partial(load, market / "um_ETHUSDT_1h.parquet", 3_500)}
        again = features.precompute(longer, executor=pool)
    assert all(job.resumed for job in again.values()) and again["ETHUSDT"].rows == 3_500
    got = features.compute(load(market / "um_ETHUSDT_1h.parquet", 3_500))
    expected = FeatureOrchestrator(FeatureConfig(groups=("momentum", "wavelet")))
    assert differences(got, expected.compute(load(market / "um_ETHUSDT_1h.parquet", 3_500))) == []
    assert features.get_feature_status()["cache"]["hits"] == 1


def test_bad_data_are_told_with_their_symbol(tmp_path: Path, bars: pd.DataFrame) -> None:
    jobs = {"GOOD": bars.iloc[:500], "BAD": bars.iloc[:500].iloc[::-1]}
    with ThreadPoolExecutor(2) as pool, pytest.raises(DataError, match=r"^BAD: klines: row 1 .* not later") as caught:
        cached(tmp_path).precompute(jobs, executor=pool)
    assert caught.value.row == 1


def test_precompute_in_processes(tmp_path: Path, bars: pd.DataFrame) -> None:
    config = FeatureConfig(groups=("momentum",), wavelet_cache=WaveletCacheConfig(cache_dir=tmp_path))
    done = FeatureOrchestrator(config).precompute({"A": bars.iloc[:2_000], "B": bars.iloc[100:2_500]})
    assert {s: job.rows for s, job in done.items()} == {"A": 2_000, "B": 2_400}
    with pytest.raises(InvalidInput, match="cache_dir"):
        FeatureOrchestrator(FeatureConfig()).precompute({"A": bars})
    assert np.isfinite(done["A"].features)
