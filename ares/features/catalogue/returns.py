"""Group `returns`: log returns over several spans and their distribution."""

from __future__ import annotations

from ares.features import expression as ex
from ares.features.catalogue.recipe import Recipe


def _scaled(rows: int) -> ex.Expression:
    return ex.over(ex.log_return(rows), ex.ema_root_square(ex.log_return(), 32))


RECIPES = (
    Recipe(
        name="returns.log",
        build=ex.log_return,
        parameters=("bars",),
        defaults=((1,), (4,), (24,)),
        higher=((1,),),
        definition="Log return of the close over the last bars.",
        formula="ln(C_t / C_{t-n})",
        source="definition",
        range="any number",
    ),
    Recipe(
        name="returns.scaled",
        build=_scaled,
        parameters=("bars",),
        defaults=((1,), (8,), (48,)),
        definition="Log return over the last bars in units of the current one-bar volatility.",
        formula="ln(C_t / C_{t-n}) / ewma_32",
        source="definition; ewma_32 as in volatility.ewma",
        range="any number",
    ),
    Recipe(
        name="returns.skew",
        build=lambda n: ex.many("shape", ex.log_return(), outputs=2, ints=(n,))[0],
        parameters=("bars",),
        defaults=((64,),),
        least=3,
        definition="Skewness of one-bar log returns.",
        formula="sqrt(n(n-1)) / (n-2) * m3 / m2^1.5, m_k the central moments",
        source="Joanes and Gill 1998, G1 (as pandas)",
        range="any number; NaN when all returns are equal",
    ),
    Recipe(
        name="returns.kurtosis",
        build=lambda n: ex.many("shape", ex.log_return(), outputs=2, ints=(n,))[1],
        parameters=("bars",),
        defaults=((64,),),
        least=4,
        definition="Excess kurtosis of one-bar log returns; 0 for a normal distribution.",
        formula="(n-1) / ((n-2)(n-3)) * ((n+1) m4 / m2^2 - 3(n-1))",
        source="Joanes and Gill 1998, G2 (as pandas)",
        range="any number; NaN when all returns are equal",
    ),
    Recipe(
        name="returns.autocorrelation",
        build=lambda n: ex.covariance(ex.log_return(), ex.earlier(ex.log_return(), 1), n)[1],
        parameters=("bars",),
        defaults=((48,),),
        least=2,
        definition="Correlation of one-bar log returns with the returns before them.",
        formula="corr(r_t, r_{t-1}) over n bars",
        source="definition",
        range="[-1, 1]; NaN when all returns are equal",
    ),
)
