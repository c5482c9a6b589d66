"""Wavelet energies and the Hurst exponent of processes whose answer is known: fractional Gaussian noise.

The peer is theory: the variance of a level's details is the filter's quadratic form over the autocovariance, and for
fractional noise it grows as 2^(j (2H - 2)) from scale to scale.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import pywt

from ares.features.config import FeatureConfig, WaveletConfig
from ares.features.orchestrator import FeatureOrchestrator

LEVELS, FAMILY = 5, "db4"


def autocovariance(hurst: float, lags: int) -> np.ndarray:
    """Of fractional Gaussian noise with unit variance, lags 0 .. lags - 1."""
    k = np.arange(lags, dtype=float)
    return 0.5 * (np.abs(k + 1) ** (2 * hurst) - 2 * k ** (2 * hurst) + np.abs(k - 1) ** (2 * hurst))


def noise(hurst: float, n: int, seed: int) -> np.ndarray:
    """Exact fractional Gaussian noise by circulant embedding (Davies and Harte 1987)."""
    row = autocovariance(hurst, n + 1)
    eigenvalues = np.fft.rfft(np.concatenate([row, row[-2:0:-1]])).real
    assert eigenvalues.min() > -1e-9
    rng = np.random.default_rng(seed)
    draws = rng.normal(size=(2, eigenvalues.size))
    spectrum = np.sqrt(np.maximum(eigenvalues, 0.0) * n) * (draws[0] + 1j * draws[1])
    spectrum[[0, -1]] = spectrum[[0, -1]].real * np.sqrt(2.0)
    made: np.ndarray = np.fft.irfft(spectrum, 2 * n)[:n]
    return made


def level_filters() -> list[np.ndarray]:
    """Equivalent filters of the levels' details, by running an impulse through the cascade."""
    wavelet = pywt.Wavelet(FAMILY)
    high, low = np.array(wavelet.dec_hi) / np.sqrt(2.0), np.array(wavelet.dec_lo) / np.sqrt(2.0)
    smooth, found = np.array([1.0]), []
    for j in range(LEVELS):
        spread = np.zeros((2, (high.size - 1) * 2**j + 1))
        spread[:, :: 2**j] = high, low
        found.append(np.convolve(smooth, spread[0]))
        smooth = np.convolve(smooth, spread[1])
    return found


def theory(hurst: float) -> np.ndarray:
    """Variance of the details of each level."""
    energies = []
    for h in level_filters():
        gamma = autocovariance(hurst, h.size)
        lag = np.abs(np.subtract.outer(np.arange(h.size), np.arange(h.size)))
        energies.append(float(h @ gamma[lag] @ h))
    return np.array(energies)


def exponent(energies: np.ndarray) -> float:
    """Of the least-squares slope of log2 energies on the level."""
    return float((np.polyfit(np.arange(1, LEVELS + 1), np.log2(energies), 1)[0] + 2) / 2)


def measured(hurst: float, window: int) -> pd.DataFrame:
    """The wavelet features of a price whose log returns are fractional noise."""
    r = 0.01 * noise(hurst, 1 << 16, seed=int(1000 * hurst))
    price = pd.Series(100 * np.exp(np.cumsum(r)))
    price.index = pd.date_range("2020-01-01", periods=price.size, freq="1min", tz="UTC", unit="ns", name="open_time")
    klines = pd.DataFrame({"open": price, "high": price, "low": price, "close": price, "volume": 1.0})
    wavelets = WaveletConfig(families=(FAMILY,), levels=LEVELS, window=window)
    config = FeatureConfig(groups=("wavelet",), wavelets=wavelets, timeframes=())
    return FeatureOrchestrator(config).compute(klines)


def test_the_made_noise_is_what_it_should_be() -> None:
    x = noise(0.7, 1 << 16, seed=1)
    found = [float(np.mean(x[k:] * x[: x.size - k])) for k in range(4)]
    np.testing.assert_allclose(found, autocovariance(0.7, 4), atol=0.03)


@pytest.mark.parametrize("hurst", [0.3, 0.5, 0.7, 0.85])
def test_energies_and_exponent_are_those_of_theory(hurst: float) -> None:
    expected = theory(hurst)
    got = measured(hurst, window=4096)
    shares = got[[f"wavelet.{FAMILY}_energy_{j}" for j in range(1, LEVELS + 1)]].mean().to_numpy()
    np.testing.assert_allclose(shares / shares.sum(), expected / expected.sum(), rtol=0.05)
    estimate = float(got[f"wavelet.{FAMILY}_hurst"].mean())
    assert estimate == pytest.approx(exponent(expected), abs=0.02)
    assert estimate == pytest.approx(hurst, abs=0.06)  # theory itself is off by this much at the finest levels


def test_white_noise_has_slope_minus_one() -> None:
    np.testing.assert_allclose(theory(0.5), 0.5 ** np.arange(1, LEVELS + 1), rtol=1e-12)
    assert exponent(theory(0.5)) == pytest.approx(0.5, abs=1e-12)


def test_a_short_window_scatters_as_widely_as_is_said() -> None:
    """Over 256 bars the exponent of a random walk scatters by about 0.06: a feature, not a measurement."""
    scatter = float(measured(0.5, window=256)[f"wavelet.{FAMILY}_hurst"].std())
    assert 0.04 < scatter < 0.1
