"""Group `volume`: how much is traded, by whom, and what it costs to trade."""

from __future__ import annotations

from ares.features import expression as ex
from ares.features.catalogue.recipe import Recipe


def taker_ratio() -> ex.Expression:
    """Share of the volume that takers bought."""
    return ex.over(ex.TAKER_BUY_VOLUME, ex.VOLUME)


def _cash() -> ex.Expression:
    """Close times volume: quote currency traded, from columns that every kline has."""
    return ex.times(ex.CLOSE, ex.VOLUME)


def _vwap(n: int) -> ex.Expression:
    paid = ex.mean(ex.times(ex.typical(), ex.VOLUME), n)
    return ex.distance(ex.CLOSE, ex.over(paid, ex.mean(ex.VOLUME, n)), ex.atr(14))


def _amihud(n: int, slow: int) -> ex.Expression:
    cost = ex.over(ex.absolute(ex.log_return()), _cash())
    return ex.log_ratio(ex.mean(cost, n), ex.mean(cost, slow))


def _trade_size(n: int) -> ex.Expression:
    usual = ex.over(ex.mean(ex.VOLUME, n), ex.mean(ex.TRADES, n))
    return ex.log_ratio(ex.over(ex.VOLUME, ex.TRADES), usual)


def _roll(n: int) -> ex.Expression:
    r = ex.log_return()
    covariance = ex.covariance(r, ex.earlier(r, 1), n)[0]
    return ex.half_spread(covariance)


def _money_flow(n: int) -> ex.Expression:
    located = ex.Output(ex.node("close_location", ex.HIGH, ex.LOW, ex.CLOSE, ex.VOLUME))
    return ex.over(ex.mean(located, n), ex.mean(ex.VOLUME, n))


RECIPES = (
    Recipe(
        name="volume.z",
        build=lambda n: ex.z_score(ex.VOLUME, n),
        parameters=("bars",),
        defaults=((48,),),
        least=2,
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
        least=2,
        definition="Taker-buy share against its recent mean, in standard deviations.",
        formula="(q - mean_n(q)) / std_n(q), q = taker buy volume / V",
        source="definition",
        range="within +-(n-1)/sqrt(n); NaN while the window holds a bar without volume",
    ),
    Recipe(
        name="volume.relative",
        build=lambda n: ex.log_ratio(ex.VOLUME, ex.mean(ex.VOLUME, n)),
        parameters=("bars",),
        defaults=((24,),),
        definition="Volume against its recent mean.",
        formula="ln(V / mean_n(V))",
        source="definition",
        range="any number; NaN for a bar without volume",
    ),
    Recipe(
        name="volume.obv_slope",
        build=lambda n: ex.Output(ex.node("obv_slope", ex.CLOSE, ex.VOLUME, ints=(n,))),
        parameters=("bars",),
        defaults=((24,),),
        least=2,
        definition="Slope of on-balance volume in units of the mean volume.",
        formula="least-squares slope of OBV over n bars / mean_n(V)",
        source="Granville 1963",
        range="about [-1.5, 1.5]; NaN without volume",
    ),
    Recipe(
        name="volume.mfi",
        build=lambda n: ex.Output(ex.node("mfi", ex.typical(), ex.VOLUME, ints=(n,))),
        parameters=("bars",),
        defaults=((14,),),
        definition="Money flow index: share of money traded on rising typical prices.",
        formula="F+ / (F+ + F-), F = TP V summed over rises and falls of TP = (H + L + C) / 3",
        source="Quong and Soudack 1989, divided by 100",
        range="[0, 1]; NaN without flow",
    ),
    Recipe(
        name="volume.cmf",
        build=_money_flow,
        parameters=("bars",),
        defaults=((20,),),
        definition="Chaikin money flow.",
        formula="sum(((C - L) - (H - C)) / (H - L) V) / sum(V) over n bars",
        source="Chaikin 1982",
        range="[-1, 1]; NaN without volume",
    ),
    Recipe(
        name="volume.vwap_distance",
        build=_vwap,
        parameters=("bars",),
        defaults=((24,), (96,)),
        definition="Distance of the close from the volume-weighted mean price, in average true ranges.",
        formula="(C - sum(TP V) / sum(V)) / ATR_14 over n bars",
        source="definition",
        range="any number; NaN without volume",
    ),
    Recipe(
        name="volume.trade_size",
        build=_trade_size,
        parameters=("bars",),
        defaults=((48,),),
        definition="Mean trade size against that of the recent bars.",
        formula="ln((V / N) / (mean_n(V) / mean_n(N))), N trades",
        source="definition",
        range="any number; NaN for a bar without trades",
    ),
    Recipe(
        name="volume.amihud",
        build=_amihud,
        parameters=("fast", "slow"),
        defaults=((24, 168),),
        definition="Illiquidity, price move per money traded, against its longer mean.",
        formula="ln(mean_fast(|r| / (C V)) / mean_slow(|r| / (C V)))",
        source="Amihud 2002",
        range="any number; NaN while the window holds a bar without volume",
    ),
    Recipe(
        name="volume.roll_spread",
        build=_roll,
        parameters=("bars",),
        defaults=((48,),),
        least=2,
        definition="Effective spread implied by bouncing returns; 0 when they do not bounce.",
        formula="2 sqrt(max(-cov(r_t, r_{t-1}), 0)) over n bars",
        source="Roll 1984, on log returns",
        range=">= 0, a fraction",
    ),
    Recipe(
        name="volume.corwin_schultz",
        build=lambda n: ex.mean(ex.Output(ex.node("corwin_schultz", ex.HIGH, ex.LOW, ex.CLOSE)), n),
        parameters=("bars",),
        defaults=((24,),),
        definition="Spread implied by ranges of single and paired bars.",
        formula="mean_n(max(2 (e^a - 1) / (1 + e^a), 0)), a of Corwin and Schultz, gaps adjusted",
        source="Corwin and Schultz 2012",
        range="[0, 2), a fraction",
    ),
)
