"""The streaming transform beside `pywt.swt`, the windowed one beside `pywt.wavedec`; features of known processes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import pywt

from ares.errors import InvalidInput
from ares.features import expression as ex
from ares.features.catalogue.wavelet import levels_of, recipes
from ares.features.config import FeatureConfig, WaveletConfig
from ares.features.orchestrator import FeatureOrchestrator
from ares.features.plan import Wanted, make_plan
from ares.kernels.engine import advance
from ares.kernels.layout import BAR_INPUTS

NAN = float("nan")


def run(wanted: list[tuple[str, ex.Expression]], close: np.ndarray) -> dict[str, np.ndarray]:
    """The expressions over bars that have only closes."""
    plan = make_plan([Wanted(name, x) for name, x in wanted], BAR_INPUTS, 60_000_000_000)
    n = close.size
    inputs = np.full((len(BAR_INPUTS), n), NAN)
    inputs[3] = close
    out = np.empty((len(wanted), n))
    e = plan.start()
    numbers = np.arange(n, dtype=np.int64) + 5_000_000
    advance(e.memory, e.table, e.state, inputs.reshape(-1), numbers, out.reshape(-1), 0, n, 0, 0, *[NAN] * 10)
    return dict(zip(plan.names, out, strict=True))


@pytest.mark.parametrize("family", ["haar", "db2", "db4", "sym8"])
def test_levels_are_swts_at_the_stated_alignment(family: str) -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(0, 1, 4096)
    levels = 4
    details, smooth = levels_of(ex.CLOSE, family, levels)
    got = run([*((f"d{j + 1}", d) for j, d in enumerate(details)), ("v", smooth)], x)
    filter_length = pywt.Wavelet(family).dec_len
    approximation, *coefficients = pywt.swt(x, family, level=levels, trim_approx=True, norm=True)
    for j in range(1, levels + 1):
        width = (2**j - 1) * (filter_length - 1) + 1
        shift = (2**j - 1) * filter_length // 2
        theirs = np.roll(coefficients[levels - j], shift)
        mine = got[f"d{j}"]
        np.testing.assert_allclose(mine[width - 1 :], theirs[width - 1 :], atol=1e-12)
        assert np.isnan(mine[: width - 1]).all()  # before that the circular transform wraps around
        assert abs(theirs[width - 2]) > 0
    shift = (2**levels - 1) * filter_length // 2
    width = (2**levels - 1) * (filter_length - 1) + 1
    np.testing.assert_allclose(got["v"][width - 1 :], np.roll(approximation, shift)[width - 1 :], atol=1e-12)


@pytest.mark.parametrize(("family", "levels", "window"), [("db4", 4, 256), ("haar", 5, 64), ("db2", 3, 101)])
def test_exact_energies_are_wavedecs(family: str, levels: int, window: int) -> None:
    rng = np.random.default_rng(6)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, 700)))
    config = WaveletConfig(families=(family,), levels=levels, window=window, exact=True)
    exact = [r for r in recipes(config) if "_exact_" in r.name]
    got = run([(r.name, r.build()) for r in exact], close)
    r = np.diff(np.log(close), prepend=np.nan)
    for i in (window, window + 1, 400, 699):
        parts = pywt.wavedec(r[i - window + 1 : i + 1], family, mode="symmetric", level=levels)
        energies = np.array([np.sum(p**2) for p in [*parts[:0:-1], parts[0]]])
        shares = energies / energies.sum()
        for j in range(levels):
            assert got[f"wavelet.{family}_exact_energy_{j + 1}"][i] == pytest.approx(shares[j], rel=1e-10)
        assert got[f"wavelet.{family}_exact_smooth_energy"][i] == pytest.approx(shares[-1], rel=1e-10)
        entropy = -(shares * np.log(shares)).sum() / np.log(levels + 1)
        assert got[f"wavelet.{family}_exact_entropy"][i] == pytest.approx(entropy, rel=1e-10)


def features(close: np.ndarray, **settings: object) -> dict[str, np.ndarray]:
    config = WaveletConfig(**settings)  # type: ignore[arg-type]
    return run([(r.feature_name(v), r.build(*v)) for r in recipes(config) for v in r.defaults], close)


def test_features_by_their_formulas() -> None:
    rng = np.random.default_rng(8)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.01, 900)))
    got = features(close, families=("haar",), levels=3, window=100)
    r = np.diff(np.log(close), prepend=np.nan)
    v = [r]
    w = []
    for j in range(3):
        late = np.concatenate([np.full(2**j, np.nan), v[-1][: -(2**j)]])
        w.append((v[-1] - late) / 2)  # Haar, divided by the root of 2 twice
        v.append((v[-1] + late) / 2)
    i = 800
    energies = np.array([np.mean(x[i - 99 : i + 1] ** 2) for x in w] + [np.var(v[-1][i - 99 : i + 1])])
    shares = energies / energies.sum()
    for j in range(3):
        assert got[f"wavelet.haar_energy_{j + 1}"][i] == pytest.approx(shares[j], rel=1e-9)
    assert got["wavelet.haar_smooth_energy"][i] == pytest.approx(shares[3], rel=1e-9)
    assert got["wavelet.haar_entropy"][i] == pytest.approx(-(shares * np.log(shares)).sum() / np.log(4), rel=1e-9)
    assert got["wavelet.haar_log_ratio_1"][i] == pytest.approx(np.log(energies[1] / energies[0]), rel=1e-9)
    slope = np.polyfit([1, 2, 3], np.log2(energies[:3]), 1)[0]
    assert got["wavelet.haar_hurst"][i] == pytest.approx((slope + 2) / 2, rel=1e-8)
    rms = np.sqrt(np.mean(r[i - 99 : i + 1] ** 2))
    assert got["wavelet.haar_slope"][i] == pytest.approx(v[-1][i] / rms, rel=1e-9)


def test_a_random_walk_has_hurst_one_half_and_a_trend_more() -> None:
    rng = np.random.default_rng(9)
    noise = rng.normal(0, 0.01, 20_000)
    walk = features(100 * np.exp(np.cumsum(noise)), levels=5, window=2048)["wavelet.db4_hurst"]
    assert np.nanmean(walk) == pytest.approx(0.5, abs=0.03)
    slow = pd.Series(noise).ewm(alpha=0.2).mean().to_numpy()
    trending = features(100 * np.exp(np.cumsum(slow)), levels=5, window=2048)["wavelet.db4_hurst"]
    assert np.nanmean(trending) > 0.8


def test_flat_prices_have_no_energy_and_so_no_shares() -> None:
    rng = np.random.default_rng(1)
    moved = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, 600)))
    got = features(np.concatenate([moved, np.full(900, moved[-1])]), levels=4, window=128)
    for name, values in got.items():
        assert np.isfinite(values[500:590]).all(), name
        assert np.isnan(values[-100:]).all(), name


def test_refuses_what_cannot_be_computed() -> None:
    with pytest.raises(InvalidInput, match="db4"):
        FeatureOrchestrator(FeatureConfig(wavelets=WaveletConfig(families=("db44",)))).schema("1h")
    with pytest.raises(InvalidInput, match="not orthogonal"):
        FeatureOrchestrator(FeatureConfig(wavelets=WaveletConfig(families=("bior2.2",)))).schema("1h")
    short = WaveletConfig(families=("db4",), levels=6, window=64, exact=True)
    with pytest.raises(InvalidInput, match="window"):
        FeatureOrchestrator(FeatureConfig(wavelets=short)).schema("1h")
