"""Group `levels`: support and resistance, from pivots, from volume by price, and as given by the caller."""

from __future__ import annotations

from collections.abc import Sequence

from ares.features import expression as ex
from ares.features.catalogue.recipe import Recipe
from ares.kernels.levels import BINS

MEMORY = 1024  # bars that levels remember, at least


def _pivots(wing: int, half_life: int) -> tuple[ex.Output, ...]:
    bars = (ex.HIGH, ex.LOW, ex.CLOSE, ex.atr(14))
    return ex.many("pivots", *bars, outputs=8, ints=(wing, MEMORY), floats=(2.0 ** (1.0 / half_life),))


def _profile(half_life: int) -> tuple[ex.Output, ...]:
    bars = (ex.HIGH, ex.LOW, ex.CLOSE, ex.VOLUME, ex.atr(14))
    return ex.many("profile", *bars, outputs=3, ints=(MEMORY,), floats=(2.0 ** (1.0 / half_life),))


def _pivot_recipe(index: int) -> Recipe:
    above = index < 4
    side = "resistance" if above else "support"
    where = "above" if above else "below"
    what, definition, formula, values = (
        ("distance", f"Distance to the nearest level {where} the close.", "(level - C) / ATR_14",
         "[0, 10]; 10 when there is none within" if above else "[-10, 0); -10 when there is none within"),
        ("strength", f"Strength of the nearest level {where}: pivots that made it, each fading.",
         "sum of 0.5^(bars since the pivot's confirmation / half-life)", ">= 0; 0 when there is none"),
        ("touches", f"Pivots that made the nearest level {where}.", "count", ">= 0; 0 when there is none"),
        ("freshness", f"How recently the nearest level {where} was touched.", "0.5^(bars since / half-life)",
         "[0, 1]; 0 when there is none"),
    )[index % 4]  # fmt: skip
    return Recipe(
        name=f"levels.{side}_{what}",
        build=lambda wing, half_life: _pivots(wing, half_life)[index],
        parameters=("wing", "half_life"),
        defaults=((5, 256),),
        definition=f"{definition} A pivot is known `wing` bars after it; pivots within ATR/2 are one level.",
        formula=formula,
        source=f"definition; remembers {MEMORY} bars or more",
        range=values,
    )


def _profile_recipe(index: int) -> Recipe:
    what, definition, formula, values = (
        ("poc_distance", "Distance from the close to the price with the most traded volume.", "(POC - C) / ATR_14",
         "any number"),
        ("volume_above", "Share of the remembered volume traded above the close.", "sum above / sum", "[0, 1]"),
        ("volume_here", "Share of the remembered volume that was traded around the close.", "bin / sum", "[0, 1]"),
    )[index]  # fmt: skip
    return Recipe(
        name=f"levels.{what}",
        build=lambda half_life: _profile(half_life)[index],
        parameters=("half_life",),
        defaults=((128,),),
        definition=f"{definition} Volume fades by half each half-life.",
        formula=f"{formula}, over {BINS} log-price bins of about ATR/2 around the price",
        source=f"definition; remembers {MEMORY} bars or more",
        range=values,
    )


def _given_recipes(levels: Sequence[float]) -> tuple[Recipe, ...]:
    ordered = tuple(sorted(float(x) for x in levels))
    above, below = ex.many("given", ex.CLOSE, ex.atr(14), outputs=2, ints=(len(ordered),), floats=ordered)
    return tuple(
        Recipe(
            name=f"levels.given_{where}",
            build=lambda output=output: output,
            definition=f"Distance to the nearest of the caller's levels {where} the close.",
            formula="(level - C) / ATR_14",
            source="the caller's `sr_levels`",
            range=values,
        )
        for where, output, values in (
            ("above", above, "[0, 10]; 10 when there is none within"),
            ("below", below, "[-10, 0); -10 when there is none within"),
        )
    )


def recipes(given: Sequence[float]) -> tuple[Recipe, ...]:
    """The levels' features; those of the caller's own levels only when there are any."""
    own = (*(_pivot_recipe(i) for i in range(8)), *(_profile_recipe(i) for i in range(3)))
    return (*own, *(_given_recipes(given) if len(given) else ()))
