"""Group `volatility`: how much the price moves, per bar, from closes and from ranges."""

from __future__ import annotations

from ares.features import expression as ex
from ares.features.catalogue.recipe import Recipe


def bar_variances() -> tuple[ex.Output, ...]:
    """Parkinson, Garman-Klass, Rogers-Satchell and the body of single bars."""
    return ex.many("bar_variance", ex.OPEN, ex.HIGH, ex.LOW, ex.CLOSE, outputs=4)


def _yang_zhang(n: int) -> ex.Expression:
    _, _, rogers_satchell, body = bar_variances()
    jump = ex.log_ratio(ex.OPEN, ex.earlier(ex.CLOSE, 1))
    parts = ex.deviation(jump, n, 1)[1], ex.deviation(body, n, 1)[1], ex.mean(rogers_satchell, n)
    return ex.Output(ex.node("yang_zhang", *parts, ints=(n,)))


def _of_volatility(n: int) -> ex.Expression:
    sigma = ex.ema_root_square(ex.log_return(), 32)
    average, spread = ex.deviation(sigma, n, 1)
    return ex.over(spread, average)


def _ratio(fast: int, slow: int) -> ex.Expression:
    r = ex.log_return()
    return ex.log_ratio(ex.mean_square(r, fast, rooted=True), ex.mean_square(r, slow, rooted=True))


RECIPES = (
    Recipe(
        name="volatility.ewma",
        build=lambda n: ex.ema_root_square(ex.log_return(), n),
        parameters=("span",),
        defaults=((32,), (128,)),
        higher=((32,),),
        definition="Exponentially weighted volatility of one-bar log returns, mean taken as zero.",
        formula="sqrt(v_t), v_t = a r_t^2 + (1-a) v_{t-1}, a = 2/(n+1)",
        source="RiskMetrics 1996",
        range=">= 0, a fraction per bar",
    ),
    Recipe(
        name="volatility.realized",
        build=lambda n: ex.mean_square(ex.log_return(), n, rooted=True),
        parameters=("bars",),
        defaults=((24,),),
        definition="Realised volatility per bar.",
        formula="sqrt(mean of r^2 over n bars)",
        source="Andersen and Bollerslev 1998",
        range=">= 0, a fraction per bar",
    ),
    Recipe(
        name="volatility.parkinson",
        build=lambda n: ex.mean(bar_variances()[0], n, rooted=True),
        parameters=("bars",),
        defaults=((24,),),
        definition="Volatility from high-low ranges.",
        formula="sqrt(mean of ln(H/L)^2 / (4 ln 2))",
        source="Parkinson 1980",
        range=">= 0, a fraction per bar",
    ),
    Recipe(
        name="volatility.garman_klass",
        build=lambda n: ex.mean(bar_variances()[1], n, rooted=True),
        parameters=("bars",),
        defaults=((24,),),
        definition="Volatility from open, high, low and close.",
        formula="sqrt(mean of ln(H/L)^2 / 2 - (2 ln 2 - 1) ln(C/O)^2)",
        source="Garman and Klass 1980",
        range=">= 0, a fraction per bar",
    ),
    Recipe(
        name="volatility.rogers_satchell",
        build=lambda n: ex.mean(bar_variances()[2], n, rooted=True),
        parameters=("bars",),
        defaults=((24,),),
        definition="Volatility from ranges, free of drift.",
        formula="sqrt(mean of u(u-c) + d(d-c)), u = ln(H/O), d = ln(L/O), c = ln(C/O)",
        source="Rogers and Satchell 1991",
        range=">= 0, a fraction per bar",
    ),
    Recipe(
        name="volatility.yang_zhang",
        build=_yang_zhang,
        parameters=("bars",),
        defaults=((24,),),
        least=2,
        definition="Volatility from opening jumps, bodies and ranges; free of drift.",
        formula="sqrt(var(ln(O/C_{-1})) + k var(ln(C/O)) + (1-k) RS), k = 0.34 / (1.34 + (n+1)/(n-1))",
        source="Yang and Zhang 2000",
        range=">= 0, a fraction per bar",
    ),
    Recipe(
        name="volatility.atr",
        build=lambda n: ex.over(ex.atr(n), ex.CLOSE),
        parameters=("bars",),
        defaults=((14,),),
        higher=((14,),),
        definition="Average true range as a fraction of the close.",
        formula="W_n(max(H, C_{-1}) - min(L, C_{-1})) / C, W_n Wilder's mean",
        source="Wilder 1978",
        range=">= 0, a fraction",
    ),
    Recipe(
        name="volatility.of_volatility",
        build=_of_volatility,
        parameters=("bars",),
        defaults=((64,),),
        least=2,
        definition="How much the volatility itself varies.",
        formula="std(ewma_32 over n bars) / mean(ewma_32 over n bars), divisor n - 1",
        source="definition",
        range=">= 0",
    ),
    Recipe(
        name="volatility.ratio",
        build=_ratio,
        parameters=("fast", "slow"),
        defaults=((8, 64),),
        definition="Recent against longer realised volatility.",
        formula="ln(realized_fast / realized_slow)",
        source="definition",
        range="any number; NaN without movement",
    ),
)
