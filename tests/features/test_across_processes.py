"""Another process goes on where one stopped: saved streams, a shared cache, a writer that dies half-way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ares.features import orchestrator as orchestrator_module
from ares.features.config import AutoencoderConfig, FeatureConfig, WaveletCacheConfig, WaveletConfig
from ares.features.orchestrator import FeatureOrchestrator
from tests.features.real import candles_of, differences

ROOT = Path(__file__).resolve().parents[2]

MARKET = """
import sys
import numpy as np
import pandas as pd

def market(rows):
    rng = np.random.default_rng(17)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, rows)))
    open_ = np.concatenate([[100.0], close[:-1]])
    index = pd.date_range("2024-01-01", periods=rows, freq="1h", tz="UTC", unit="ns", name="open_time")
    high, low = np.maximum(open_, close) * 1.001, np.minimum(open_, close) * 0.999
    columns = {"open": open_, "high": high, "low": low, "close": close, "volume": rng.lognormal(1, 1, rows)}
    return pd.DataFrame(columns, index=index)
"""

CONTINUE = (
    MARKET
    + """
import json
from pathlib import Path
from ares.features.autoencoder import Autoencoder
from ares.features.orchestrator import FeatureOrchestrator
from tests.features.real import candles_of

folder = Path(sys.argv[1])
stream = FeatureOrchestrator(autoencoder=Autoencoder.load(folder / "autoencoder")).stream("ETHUSDT", "1h")
with np.load(folder / "state.npz", allow_pickle=False) as stored:
    arrays = {name: stored[name] for name in ("memory", "state")}
    tails = [stored[f"tail_{i}"] for i in range(sum(name.startswith("tail_") for name in stored))]
stream.load_state({**json.loads((folder / "state.json").read_text()), **arrays, "tails": tails})
rows = [stream.update(candle).values for candle in candles_of(market(1_500), "1h")[stream.rows:]]
np.save(folder / "rows.npy", np.array(rows), allow_pickle=False)
"""
)

COMPUTE = (
    MARKET
    + """
from ares.features.config import FeatureConfig, WaveletCacheConfig
from ares.features.orchestrator import FeatureOrchestrator

folder, order = sys.argv[1], [int(n) for n in sys.argv[2].split(",")]
bars = market(max(order))
plain = FeatureOrchestrator(FeatureConfig()).compute(bars).to_numpy()
features = FeatureOrchestrator(FeatureConfig(wavelet_cache=WaveletCacheConfig(cache_dir=folder)))
for n in order:
    np.testing.assert_array_equal(features.compute(bars.iloc[:n]).to_numpy(), plain[:n])
"""
)

DIE = COMPUTE.replace(
    "folder, order",
    """import os
import ares.features.cache
ares.features.cache.atomic_write = lambda *given: os._exit(9)  # dies with the rows written and the manifest not
folder, order""",
    1,
)


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    """A new process in which a warning is an error."""
    command = [sys.executable, "-W", "error", "-c", program, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str], code: int = 0) -> None:
    error = process.communicate(timeout=600)[1]
    assert process.returncode == code, error


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    space: dict[str, object] = {}
    exec(MARKET, space)
    made = space["market"](1_500)  # type: ignore[operator]
    assert isinstance(made, pd.DataFrame)
    return made


def test_a_new_process_continues_with_the_same_bits(tmp_path: Path, bars: pd.DataFrame) -> None:
    small = FeatureConfig(autoencoder=AutoencoderConfig(max_iterations=5))
    features = FeatureOrchestrator(small).fit(bars.iloc[:900])
    assert features.autoencoder is not None
    features.autoencoder.save(tmp_path / "autoencoder")
    stream = FeatureOrchestrator(autoencoder=features.autoencoder).stream("ETHUSDT", "1h")
    candles = candles_of(bars, "1h")
    for candle in candles[:1_111]:
        stream.update(candle)
    saved = stream.save_state()
    arrays = {name: saved.pop(name) for name in ("memory", "state")}
    tails = {f"tail_{i}": state for i, state in enumerate(saved.pop("tails"))}
    np.savez(tmp_path / "state.npz", allow_pickle=False, **arrays, **tails)
    (tmp_path / "state.json").write_text(json.dumps(saved))
    finish(start(CONTINUE, tmp_path))
    here = np.array([stream.update(candle).values for candle in candles[1_111:]])
    there = np.load(tmp_path / "rows.npy", allow_pickle=False)
    np.testing.assert_array_equal(there, here)
    assert np.isfinite(here[-1]).any()


def test_processes_share_a_cache(tmp_path: Path) -> None:
    orders = ("400,900,1300", "1300,400,900", "900,1400,1500")
    for process in [start(COMPUTE, tmp_path, order) for order in orders]:
        finish(process)


def test_a_writer_that_dies_leaves_nothing_behind(tmp_path: Path, bars: pd.DataFrame) -> None:
    finish(start(DIE, tmp_path, "800"), code=9)
    assert list(tmp_path.rglob("*.parquet")) and not list(tmp_path.rglob("manifest.json"))
    features = FeatureOrchestrator(FeatureConfig(wavelet_cache=WaveletCacheConfig(cache_dir=tmp_path)))
    plain = FeatureOrchestrator(FeatureConfig()).compute(bars)
    for _ in range(2):
        assert differences(features.compute(bars.iloc[:800]), plain.iloc[:800]) == []
    status = features.get_feature_status()["cache"]
    assert status == {"hits": 1, "misses": 1, "extended": 0, "damaged": 0, "trouble": None}
    extended = FeatureOrchestrator(FeatureConfig(wavelet_cache=WaveletCacheConfig(cache_dir=tmp_path)))
    assert differences(extended.compute(bars), plain) == []
    assert extended.get_feature_status()["cache"]["extended"] == 1


def test_what_is_computed_and_how_is_part_of_the_key(
    tmp_path: Path, bars: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = WaveletCacheConfig(cache_dir=tmp_path)

    def misses(**settings: object) -> int:
        features = FeatureOrchestrator(FeatureConfig(wavelet_cache=cache, **settings))  # type: ignore[arg-type]
        features.compute(bars)
        count: int = features.get_feature_status()["cache"]["misses"]
        return count

    assert (misses(), misses()) == (1, 0)
    assert misses(wavelets=WaveletConfig(window=128)) == 1
    assert misses(exclude=("patterns.*",)) == 1
    assert misses(timeframes=()) == 1
    monkeypatch.setattr(orchestrator_module, "kernel_version", lambda: "other kernels")
    assert (misses(), misses()) == (1, 0)
    assert len(list(tmp_path.glob("*/manifest.json"))) == 5
