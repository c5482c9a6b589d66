"""The catalogue as a whole: which features there are, which are chosen, and how a name is read."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from fnmatch import fnmatchcase

from attrs import evolve, frozen

from ares.errors import InvalidInput, unknown_name
from ares.features.catalogue import (
    calendar,
    flow,
    futures,
    levels,
    meta,
    momentum,
    patterns,
    returns,
    trend,
    volatility,
    volume,
    wavelet,
)
from ares.features.catalogue.recipe import Recipe
from ares.features.config import HIGHER, FeatureConfig, timeframe_ratio
from ares.features.expression import Column, Expression, Output
from ares.features.plan import Wanted
from ares.instruments import Interval
from ares.kernels.layout import BAR_INPUTS

__all__ = ["Feature", "columns_of", "recipes", "select"]


@frozen(kw_only=True)
class Feature:
    """One chosen feature and the recipe that documents it."""

    name: str  # with "@timeframe" when it is not the base interval's
    recipe: Recipe
    wanted: Wanted


def recipes(config: FeatureConfig, interval: Interval, given: Sequence[float] = ()) -> dict[str, Recipe]:
    """Every recipe by name, in catalogue order, for bars of `interval`. given: the caller's own price levels."""
    found = (
        *returns.RECIPES,
        *volatility.RECIPES,
        *trend.RECIPES,
        *momentum.RECIPES,
        *volume.RECIPES,
        *wavelet.recipes(config.wavelets),
        *calendar.recipes(interval),
        *flow.RECIPES,
        *futures.recipes(interval),
        *levels.recipes(given),
        *patterns.RECIPES,
        *meta.RECIPES,
    )
    return {recipe.name: recipe for recipe in found}


def columns_of(expression: Expression) -> frozenset[str]:
    """Names of the input columns that an expression reads."""
    seen: set[Expression] = set()
    names: set[str] = set()

    def visit(x: Expression) -> None:
        if x in seen:
            return
        seen.add(x)
        if isinstance(x, Column):
            names.add(x.name)
        elif isinstance(x, Output):
            for inner in x.node.inputs:
                visit(inner)

    visit(expression)
    return frozenset(names)


def select(
    config: FeatureConfig, interval: Interval, sources: Collection[str], given: Sequence[float] = ()
) -> list[Feature]:
    """The features that `config` chooses and `sources` (names of input columns) can feed, in catalogue order.

    Raises InvalidInput for an unknown name in `include`, a pattern in `exclude` that matches nothing there is, and when
    nothing is left.
    """
    available = {*sources, "time"}
    chosen: dict[str, Feature] = {}
    _check_patterns(config, interval, given)
    for feature in _candidates(config, interval, given):
        if not any(fnmatchcase(feature.name, pattern) for pattern in config.exclude):
            chosen.setdefault(feature.name, feature)
    found = [f for f in chosen.values() if columns_of(f.wanted.expression) <= available]
    if not found:
        raise InvalidInput("the configuration leaves no features", groups=config.enabled_groups())
    return found


def _check_patterns(config: FeatureConfig, interval: Interval, given: Sequence[float]) -> None:
    """Refuse a pattern that matches no feature at all, whether it is switched on or not."""
    if not config.exclude:
        return
    whole = evolve(
        config,
        groups=None,
        enable_legacy_features=True,
        enable_advanced_features=True,
        timeframes=config.timeframes or tuple(t for t in sorted(_TIMEFRAMES) if _fits(t, interval)),
    )
    names = {feature.name for feature in _candidates(whole, interval, given)}
    for pattern in config.exclude:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise unknown_name("feature to exclude, or pattern of names,", pattern, names)


_TIMEFRAMES = {name for higher in HIGHER.values() for name in higher}


def _fits(timeframe: str, interval: Interval) -> bool:
    length = Interval.parse(timeframe).ns
    return length > interval.ns and length % interval.ns == 0


def _candidates(config: FeatureConfig, interval: Interval, given: Sequence[float]) -> Iterator[Feature]:
    groups = config.enabled_groups()
    base = recipes(config, interval, given)
    for recipe in base.values():
        if recipe.group in groups:
            for values in recipe.defaults:
                yield _feature(recipe, values, "", 1)
    for timeframe in config.higher_timeframes(interval):
        ratio = timeframe_ratio(timeframe, interval)
        for recipe in recipes(config, Interval.parse(timeframe)).values():
            if recipe.group in groups:
                for values in recipe.higher:
                    yield _feature(recipe, values, timeframe, ratio)
    for name in config.include:
        yield named(name, config, interval)


def named(name: str, config: FeatureConfig, interval: Interval) -> Feature:
    """The feature of a full name such as "momentum.rsi_21@4h". Raises InvalidInput naming the nearest there is."""
    plain, _, timeframe = name.partition("@")
    ratio = timeframe_ratio(timeframe, interval) if timeframe else 1
    known = recipes(config, Interval.parse(timeframe) if timeframe else interval)
    stem = plain
    digits: list[str] = []
    while stem not in known and stem.rpartition("_")[2].isdigit():
        stem, _, last = stem.rpartition("_")
        digits.insert(0, last)
    recipe = known.get(stem)
    if recipe is None or len(digits) != len(recipe.parameters):
        valid = [r.feature_name(values) for r in known.values() for values in r.defaults]
        raise unknown_name("feature", name, valid)
    values = tuple(int(x) for x in digits)
    recipe.check(values)
    return _feature(recipe, values, timeframe, ratio)


def _feature(recipe: Recipe, values: tuple[int, ...], timeframe: str, ratio: int) -> Feature:
    name = recipe.feature_name(values) + (f"@{timeframe}" if timeframe else "")
    return Feature(name=name, recipe=recipe, wanted=Wanted(name, recipe.build(*values), ratio))


def engine_inputs(features: Collection[Feature]) -> tuple[str, ...]:
    """Input columns of the engine: those of a bar, then whatever else the features read, by name."""
    extra = {c for f in features for c in columns_of(f.wanted.expression)} - set(BAR_INPUTS)
    return (*BAR_INPUTS, *sorted(extra))
