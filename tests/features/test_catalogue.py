"""Switches, names, timeframes; and that the catalogue holds what it promises."""

from __future__ import annotations

import re

import pytest

from ares.errors import InvalidInput
from ares.features.config import FeatureConfig, WaveletConfig
from ares.features.orchestrator import FeatureOrchestrator
from ares.features.registry import recipes
from ares.instruments import Interval

HOUR = Interval.parse("1h")


def names(**settings: object) -> tuple[str, ...]:
    return FeatureOrchestrator(FeatureConfig(**settings)).schema("1h").names  # type: ignore[arg-type]


def test_about_a_hundred_by_default_each_documented() -> None:
    default = names()
    assert 100 <= len(default) == len(set(default)) <= 160
    pattern = re.compile(r"^[a-z]+\.[a-z0-9_]+(@\d+[mhdw])?$")
    assert all(pattern.match(name) for name in default)
    for recipe in recipes(FeatureConfig(), HOUR).values():
        for text in (recipe.definition, recipe.formula, recipe.source, recipe.range):
            assert text.strip(), recipe.name
    assert sum(name.startswith("patterns.") for name in default) >= 15


def test_each_switch_does_what_it_says() -> None:
    groups = lambda found: {name.partition(".")[0] for name in found}  # noqa: E731
    legacy = names(enable_advanced_features=False, enable_autoencoder_features=False)
    assert groups(legacy) == {"returns", "volatility", "trend", "momentum", "volume"}
    advanced = names(enable_legacy_features=False)
    assert groups(advanced) == {"wavelet", "calendar", "levels", "patterns", "meta"}
    assert groups(names(groups=("trend", "meta"))) == {"trend", "meta"}
    assert not any(n.endswith("@4h") or n.startswith("volume.") for n in names(exclude=("*@4h", "volume.*")))
    with pytest.raises(InvalidInput, match="no features"):
        names(enable_legacy_features=False, enable_advanced_features=False)


def test_any_feature_at_any_multiple() -> None:
    extra = ("momentum.rsi_21@1d", "volatility.ewma_10@12h", "wavelet.db4_entropy@2h", "trend.donchian_7")
    assert set(extra) <= set(names(include=extra))
    assert names(timeframes=("2h", "1d"))[-1].endswith("@1d")
    assert not any("@" in name for name in names(timeframes=()))
    families = names(wavelets=WaveletConfig(families=("haar", "sym8"), levels=3))
    assert "wavelet.haar_energy_3" in families and "wavelet.sym8_hurst" in families


def test_a_wrong_name_is_met_with_the_nearest() -> None:
    with pytest.raises(InvalidInput, match=r"momentum\.rsi_14"):
        names(include=("momentum.rsy_14",))
    with pytest.raises(InvalidInput, match="momentum"):
        FeatureConfig(groups=("momentun",))
    with pytest.raises(InvalidInput, match="multiple"):
        names(timeframes=("90m",))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("momentum.rsi_0", "bars must be at least 1, not 0"),
        ("momentum.rsi_1000001@1d", "bars must be at most 1,000,000"),
        ("returns.log_100000000000", "at most 1,000,000, not 100,000,000,000"),
        ("returns.skew_2", "bars must be at least 3"),
        ("returns.kurtosis_3", "bars must be at least 4"),
        ("volume.z_1", "bars must be at least 2"),
        ("wavelet.db4_energy_5", "level must be at most 4"),
        ("wavelet.db4_log_ratio_4", "level must be at most 3"),
    ],
)
def test_parameters_with_which_a_feature_has_no_meaning_are_refused(name: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        names(include=(name,))


def test_one_level_has_no_ratio_of_levels() -> None:
    wavelets = WaveletConfig(levels=1)
    assert not any("log_ratio" in name for name in names(wavelets=wavelets))
    with pytest.raises(InvalidInput, match="unknown feature"):
        names(wavelets=wavelets, include=("wavelet.db4_log_ratio_1",))


def test_the_fingerprint_is_the_choice() -> None:
    first = FeatureOrchestrator(FeatureConfig()).schema("1h").fingerprint
    assert first == FeatureOrchestrator(FeatureConfig()).schema("1h").fingerprint
    others = [
        FeatureOrchestrator(FeatureConfig()).schema("4h").fingerprint,
        FeatureOrchestrator(FeatureConfig(wavelets=WaveletConfig(window=128))).schema("1h").fingerprint,
        FeatureOrchestrator(FeatureConfig(include=("momentum.rsi_21",))).schema("1h").fingerprint,
    ]
    assert len({first, *others}) == 4
