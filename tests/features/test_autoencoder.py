"""The autoencoder: scikit-learn's numbers by our kernel, fitted on the past only, frozen, beside PCA."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.neural_network import MLPRegressor

from ares.errors import ModelError, TooShort
from ares.features.autoencoder import Autoencoder, fit_autoencoder
from ares.features.config import AutoencoderConfig, FeatureConfig
from ares.features.orchestrator import FeatureOrchestrator
from tests.features.real import candles_of, differences

SMALL = AutoencoderConfig(codes=3, hidden=12, max_iterations=60)


@pytest.fixture(scope="module")
def bars(klines: Callable[..., pd.DataFrame]) -> pd.DataFrame:
    return klines("um_ETHUSDT_1h", 6_000)


@pytest.fixture(scope="module")
def fitted(bars: pd.DataFrame) -> FeatureOrchestrator:
    config = FeatureConfig(groups=("momentum", "trend", "volatility", "wavelet", "autoencoder"), autoencoder=SMALL)
    return FeatureOrchestrator(config).fit(bars.iloc[:4_000])


def test_codes_are_scikit_learns_forward_pass(fitted: FeatureOrchestrator, bars: pd.DataFrame) -> None:
    model = fitted.autoencoder
    assert model is not None
    got = fitted.compute(bars).iloc[4_000:]
    x = np.clip((got[list(model.inputs)].to_numpy() - model.center) / model.scale, -8, 8)
    sizes = model.widths.tolist()
    other = MLPRegressor(hidden_layer_sizes=tuple(sizes[1:-1]), activation="tanh", max_iter=1)
    with pytest.warns():
        other.fit(x[:50], x[:50])
    at = [0, *np.cumsum([a * b for a, b in zip(sizes, sizes[1:], strict=False)])]
    offsets = [0, *np.cumsum(sizes[1:])]
    pairs = list(zip(sizes, sizes[1:], strict=False))
    other.coefs_ = [model.weights[at[i] : at[i + 1]].reshape(pair) for i, pair in enumerate(pairs)]
    other.intercepts_ = [model.biases[offsets[i] : offsets[i + 1]] for i in range(len(pairs))]
    rebuilt = other.predict(x)
    codes = np.tanh(np.tanh(x @ other.coefs_[0] + other.intercepts_[0]) @ other.coefs_[1] + other.intercepts_[1])
    for j in range(3):
        np.testing.assert_allclose(got[f"autoencoder.code_{j + 1}"], codes[:, j], atol=1e-12)
    error = ((rebuilt - x) ** 2).mean(axis=1)
    np.testing.assert_allclose(got["autoencoder.error"], error, rtol=1e-10)
    novelty = (np.log(error) - model.error_mean) / model.error_spread
    np.testing.assert_allclose(got["autoencoder.novelty"], novelty, rtol=1e-8, atol=1e-10)


def test_stream_and_batch_are_the_same_bits(fitted: FeatureOrchestrator, bars: pd.DataFrame) -> None:
    part = bars.iloc[:1_200]
    whole = fitted.compute(part)
    stream = fitted.stream("ETHUSDT", "1h")
    rows = [stream.update(c).values for c in candles_of(part, "1h")]
    assert differences(pd.DataFrame(rows, part.index, whole.columns), whole) == []


def test_only_the_bars_given_are_used(bars: pd.DataFrame) -> None:
    config = FeatureConfig(groups=("momentum", "autoencoder"), autoencoder=SMALL)
    first = FeatureOrchestrator(config).fit(bars.iloc[:2_000])
    second = FeatureOrchestrator(config).fit(bars.iloc[:2_000])
    assert first.autoencoder is not None and second.autoencoder is not None
    assert first.autoencoder.key == second.autoencoder.key and first.fingerprint == second.fingerprint
    third = FeatureOrchestrator(config).fit(bars.iloc[:2_100])
    assert third.fingerprint != first.fingerprint


def test_it_beats_as_narrow_a_pca_on_bars_it_never_saw(bars: pd.DataFrame) -> None:
    settings = AutoencoderConfig(codes=3, hidden=24, max_iterations=200)
    config = FeatureConfig(groups=("momentum", "trend", "autoencoder"), autoencoder=settings, timeframes=())
    features = FeatureOrchestrator(config).fit(bars.iloc[:4_500])
    model = features.autoencoder
    assert model is not None
    got = features.compute(bars)
    x = np.clip((got[list(model.inputs)].to_numpy() - model.center) / model.scale, -8, 8)
    train, fresh = x[300:3_600], x[4_500:]
    pca = PCA(3, random_state=0).fit(train)
    by_pca = ((pca.inverse_transform(pca.transform(fresh)) - fresh) ** 2).mean()
    assert got["autoencoder.error"].iloc[4_500:].mean() < by_pca


def test_ctrl_c_ends_the_fit_and_leaves_no_half_fitted_model(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pd.DataFrame(np.random.default_rng(1).normal(size=(300, 4)), columns=list("abcd"))
    steps = MLPRegressor._backprop
    seen = []

    def interrupted(self: MLPRegressor, *given: object) -> object:
        seen.append(1)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return steps(self, *given)

    monkeypatch.setattr(MLPRegressor, "_backprop", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit_autoencoder(rows, AutoencoderConfig())
    assert len(seen) == 3


def test_what_was_never_seen_is_novel(fitted: FeatureOrchestrator, bars: pd.DataFrame) -> None:
    normal = fitted.compute(bars.iloc[4_000:])["autoencoder.novelty"].iloc[500:].mean()
    strange = bars.iloc[4_000:].copy()
    burst = 1 + 0.08 * np.where(np.arange(len(strange)) % 2 == 0, 1.0, -1.0)
    for column in ("open", "high", "low", "close"):
        strange[column] *= burst
    strange["high"] = strange[["open", "high", "low", "close"]].max(axis=1)
    strange["low"] = strange[["open", "high", "low", "close"]].min(axis=1)
    assert fitted.compute(strange)["autoencoder.novelty"].iloc[500:].mean() > normal + 2


def test_saved_and_loaded_it_is_the_same(tmp_path: Path, fitted: FeatureOrchestrator, bars: pd.DataFrame) -> None:
    assert fitted.autoencoder is not None
    fitted.autoencoder.save(tmp_path)
    loaded = FeatureOrchestrator(fitted.config, autoencoder=Autoencoder.load(tmp_path))
    assert differences(loaded.compute(bars), fitted.compute(bars)) == []
    assert loaded.fingerprint == fitted.fingerprint
    content = bytearray((tmp_path / "weights.npy").read_bytes())
    content[-1] ^= 1
    (tmp_path / "weights.npy").write_bytes(content)
    with pytest.raises(ModelError, match="altered"):
        Autoencoder.load(tmp_path)


def test_switched_off_or_unfitted_its_columns_are_absent(fitted: FeatureOrchestrator, bars: pd.DataFrame) -> None:
    off = FeatureOrchestrator(FeatureConfig(enable_autoencoder_features=False), autoencoder=fitted.autoencoder)
    left_out = FeatureOrchestrator(FeatureConfig(groups=("momentum",)), autoencoder=fitted.autoencoder)
    unfitted = FeatureOrchestrator(FeatureConfig())
    for features in (off, left_out, unfitted):
        assert not any(c.startswith("autoencoder.") for c in features.compute(bars.iloc[:500]).columns)
    with pytest.raises(TooShort):
        fit_autoencoder(unfitted.compute(bars.iloc[:700]), SMALL)
