"""Group `volume`: how much is traded, by whom, and what it costs to trade."""

from __future__ import annotations

from ares.features import expression as ex
from ares.features.catalogue.recipe import Recipe


def taker_ratio() -> ex.Expression:
    """Share of the volume that takers bought."""
    return ex.over(ex.TAKER_BUY_VOLUME, ex.VOLUME)


RECIPES = (
    Recipe(
        name="volume.z",
        build=lambda n: ex.z_score(ex.VOLUME, n),
        parameters=("bars",),
        defaults=((48,),),
        higher=((48,),),
        definition="Volume against its recent mean, in standard deviations.",
        formula="(V - mean_n(V)) / std_n(V), divisor n - 1",
        source="definition",
        range="within +-(n-1)/sqrt(n); NaN when all volumes are equal",
    ),
    Recipe(
        name="volume.taker_ratio",
        build=lambda n: ex.over(ex.mean(ex.TAKER_BUY_VOLUME, n), ex.mean(ex.VOLUME, n)),
        parameters=("bars",),
        defaults=((1,), (24,)),
        definition="Share of the volume bought by takers.",
        formula="sum_n(taker buy volume) / sum_n(V)",
        source="exchange klines",
        range="[0, 1]; NaN without volume",
    ),
    Recipe(
        name="volume.taker_z",
        build=lambda n: ex.z_score(taker_ratio(), n),
        parameters=("bars",),
        defaults=((48,),),
        definition="Taker-buy share against its recent mean, in standard deviations.",
        formula="(q - mean_n(q)) / std_n(q), q = taker buy volume / V",
        source="definition",
        range="within +-(n-1)/sqrt(n); NaN while the window holds a bar without volume",
    ),
)
