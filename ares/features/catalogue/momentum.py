"""Group `momentum`: speed and extremity of the move."""

from __future__ import annotations

from ares.features import expression as ex
from ares.features.catalogue.recipe import Recipe

RECIPES = (
    Recipe(
        name="momentum.rsi",
        build=lambda n: ex.Output(ex.node("rsi", ex.CLOSE, ints=(n,))),
        parameters=("bars",),
        defaults=((14,),),
        higher=((14,),),
        definition="Relative strength index.",
        formula="U / (U + D), U and D Wilder's means of gains and losses of the close",
        source="Wilder 1978, divided by 100",
        range="[0, 1]; NaN when nothing moved",
    ),
)
