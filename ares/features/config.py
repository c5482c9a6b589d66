"""What to compute: switches by family, group and name, timeframes, wavelets, cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import field, frozen
from attrs.converters import optional
from attrs.validators import ge, in_, le

from ares.errors import InvalidInput, unknown_name
from ares.instruments import Interval
from ares.market import FUTURES_STATISTICS

__all__ = ["GROUPS", "SOURCES", "AutoencoderConfig", "FeatureConfig", "WaveletCacheConfig", "WaveletConfig"]

LEGACY_GROUPS = ("returns", "volatility", "trend", "momentum", "volume")
ADVANCED_GROUPS = ("wavelet", "calendar", "flow", "futures", "levels", "patterns", "meta")
AUTOENCODER_GROUPS = ("autoencoder",)
GROUPS = (*LEGACY_GROUPS, *ADVANCED_GROUPS, *AUTOENCODER_GROUPS)

SOURCES = ("agg_trades", "book_top", "futures", *FUTURES_STATISTICS)
"""What features may read besides klines. `futures`: all statistics of a futures venue; their names: one of them."""

HIGHER = {
    "1m": ("15m",), "3m": ("15m",), "5m": ("1h",), "15m": ("1h",), "30m": ("4h",), "1h": ("4h",),
    "2h": ("12h",), "4h": ("1d",), "6h": ("1d",), "8h": ("1d",), "12h": ("3d",), "1d": ("1w",),
}  # fmt: skip


_MOST_WINDOW = 1_000_000
_MOST_LEVELS = 15  # their energies and that of the remainder are taken together, sixteen at most


def _names(_: object, attribute: Any, value: object) -> None:
    if isinstance(value, str):
        raise InvalidInput(f"{attribute.name} takes several names, such as ({value!r},), not one text {value!r}")


def _few(_: object, __: object, levels: int) -> None:
    if levels > _MOST_LEVELS:
        raise InvalidInput(
            f"wavelet levels must be at most {_MOST_LEVELS}, not {levels}: level {levels} would see swings of "
            f"{2**levels:,} bars"
        )


@frozen(kw_only=True)
class WaveletConfig:
    """Maximal-overlap wavelets of log returns."""

    families: tuple[str, ...] = field(default=("db4",), validator=_names)  # any orthogonal one of PyWavelets: haar, db2
    levels: int = field(default=4, validator=[ge(1), _few])
    window: int = field(default=256, validator=[ge(2), le(_MOST_WINDOW)])  # bars over which energies are averaged
    exact: bool = False  # also the energies of `pywt.wavedec` over the trailing window, with their own names


@frozen(kw_only=True)
class WaveletCacheConfig:
    """Where computed features are kept between runs. Nothing is written unless a folder is named."""

    cache_enabled: bool = True
    cache_dir: Path | None = field(default=None, converter=optional(Path))  # None: no cache
    max_megabytes: int = field(default=2048, validator=ge(1))  # the least recently used entries go first


@frozen(kw_only=True)
class AutoencoderConfig:
    """A bottleneck fitted on training data only; without a fit its features are absent."""

    codes: int = field(default=4, validator=ge(1))  # width of the bottleneck
    hidden: int = field(default=24, validator=ge(1))
    max_iterations: int = field(default=200, validator=ge(1))
    seed: int = 7


def _known_groups(_: object, __: object, groups: tuple[str, ...] | None) -> None:
    for name in groups or ():
        if name not in GROUPS:
            raise unknown_name("feature group", name, GROUPS)


def _known_sources(_: object, __: object, sources: tuple[str, ...]) -> None:
    for name in sources:
        if name not in SOURCES:
            raise unknown_name("feature source", name, SOURCES)


@frozen(kw_only=True)
class FeatureConfig:
    """Which features there are.

    A feature is in when its family is enabled, its group is in `groups`, it is a default of its group or named in
    `include`, and no pattern of `exclude` matches its name. Names: `group.name_param[@timeframe]`.
    """

    enable_legacy_features: bool = True  # classic indicators: returns, volatility, trend, momentum, volume
    enable_advanced_features: bool = True  # all the rest but the autoencoder
    enable_autoencoder_features: bool = True
    wavelet_cache: WaveletCacheConfig = field(factory=WaveletCacheConfig)
    wavelets: WaveletConfig = field(factory=WaveletConfig)
    autoencoder: AutoencoderConfig = field(factory=AutoencoderConfig)
    groups: tuple[str, ...] | None = field(default=None, validator=[_names, _known_groups])  # None: all
    include: tuple[str, ...] = field(default=(), validator=_names)  # by full name, such as "momentum.rsi_21@1d"
    exclude: tuple[str, ...] = field(default=(), validator=_names)  # shell patterns, such as "volume.*" or "*@4h"
    timeframes: tuple[str, ...] | None = field(
        default=None, validator=_names
    )  # higher timeframes of the default set; None: one, by the base interval
    sources: tuple[str, ...] = field(default=(), validator=[_names, _known_sources])  # besides klines; of `SOURCES`
    parallel: int = field(default=1, validator=in_(range(1, 65)))  # threads over which a long batch is split in time

    def enabled_groups(self) -> tuple[str, ...]:
        """Groups that the switches leave on, in catalogue order."""
        families = (
            (self.enable_legacy_features, LEGACY_GROUPS),
            (self.enable_advanced_features, ADVANCED_GROUPS),
            (self.enable_autoencoder_features, AUTOENCODER_GROUPS),
        )
        on = [name for enabled, names in families if enabled for name in names]
        return tuple(name for name in on if self.groups is None or name in self.groups)

    def higher_timeframes(self, interval: Interval) -> tuple[str, ...]:
        """Higher timeframes of the default set. Raises InvalidInput for one that is no multiple of the base."""
        names = HIGHER.get(interval.name, ()) if self.timeframes is None else self.timeframes
        for name in names:
            timeframe_ratio(name, interval)
        return names


def timeframe_ratio(name: str, interval: Interval) -> int:
    """How many base bars make one bar of the timeframe. Raises InvalidInput when it is no whole multiple above 1."""
    higher = Interval.parse(name)
    if higher.ns <= interval.ns or higher.ns % interval.ns:
        raise InvalidInput(
            f"timeframe {name} is no whole multiple, two or more, of the base interval {interval.name}",
            timeframe=name,
            interval=interval.name,
        )
    return higher.ns // interval.ns
