"""Group `flow`: who trades, from aggregated trades gathered into bars, and the best quotes."""

from __future__ import annotations

from ares.features import expression as ex
from ares.features.catalogue.recipe import Recipe

LARGE = 5.0  # a print of at least this many times the bar's mean print is large

BUY, SELL, COUNT, BIG, PAIRS, REPEATS = (
    ex.Column(name)
    for name in ("flow_buy", "flow_sell", "flow_count", "flow_large", "flow_pairs", "flow_repeats")
)
IMBALANCE, MICROPRICE, SPREAD = (ex.Column(name) for name in ("book_imbalance", "book_microprice", "book_spread"))
OFI, TOUCH, UPDATES = (ex.Column(name) for name in ("flow_ofi", "flow_touch", "flow_updates"))


def _delta() -> ex.Expression:
    return ex.minus(BUY, SELL)


def _total() -> ex.Expression:
    return ex.plus(BUY, SELL)


def _windowed(n: int) -> ex.Expression:
    return ex.over(ex.mean(_delta(), n), ex.mean(_total(), n))


def _autocorrelation(n: int) -> ex.Expression:
    return ex.affine(ex.over(ex.mean(REPEATS, n), ex.mean(PAIRS, n)), 2.0, -1.0)


RECIPES = (
    Recipe(
        name="flow.delta",
        build=_windowed,
        parameters=("bars",),
        defaults=((1,), (24,)),
        definition="Volume bought less sold by takers, as a share of both: the windowed cumulative delta.",
        formula="sum_n(buy - sell) / sum_n(buy + sell)",
        source="aggTrades; a trade whose buyer is the maker was a seller's aggression",
        range="[-1, 1]; NaN without trades",
    ),
    Recipe(
        name="flow.delta_z",
        build=lambda n: ex.z_score(ex.over(_delta(), _total()), n),
        parameters=("bars",),
        defaults=((48,),),
        least=2,
        definition="The bar's delta share against its recent mean, in standard deviations.",
        formula="(d - mean_n(d)) / std_n(d), d = (buy - sell) / (buy + sell)",
        source="aggTrades",
        range="any number; NaN while the window holds a bar without trades",
    ),
    Recipe(
        name="flow.large_share",
        build=lambda n: ex.over(ex.mean(BIG, n), ex.mean(_total(), n)),
        parameters=("bars",),
        defaults=((1,), (24,)),
        definition=f"Share of volume in large prints, those of {LARGE:g} times the bar's mean print or more.",
        formula="sum_n(large) / sum_n(buy + sell)",
        source="aggTrades",
        range="[0, 1]; NaN without trades",
    ),
    Recipe(
        name="flow.arrival",
        build=lambda n: ex.log_ratio(COUNT, ex.mean(COUNT, n)),
        parameters=("bars",),
        defaults=((24,),),
        definition="Rate of prints against its recent mean.",
        formula="ln(N / mean_n(N)), N prints in the bar",
        source="aggTrades",
        range="any number; NaN for a bar without trades",
    ),
    Recipe(
        name="flow.sign_autocorrelation",
        build=_autocorrelation,
        parameters=("bars",),
        defaults=((1,), (24,)),
        definition="Whether buys follow buys and sells follow sells.",
        formula="2 (pairs of one side) / (adjacent pairs) - 1, within bars",
        source="aggTrades",
        range="[-1, 1]; NaN without pairs",
    ),
    Recipe(
        name="flow.imbalance_toxicity",
        build=lambda n: ex.over(ex.mean(ex.absolute(_delta()), n), ex.mean(_total(), n)),
        parameters=("bars",),
        defaults=((50,),),
        definition="Mean one-sidedness of bars: VPIN over time bars with the true sides.",
        formula="mean_n|buy - sell| / mean_n(buy + sell)",
        source="Easley, Lopez de Prado and O'Hara 2012",
        range="[0, 1]; NaN without trades",
    ),
    Recipe(
        name="flow.impact",
        build=lambda n: ex.covariance(ex.log_return(), _delta(), n)[1],
        parameters=("bars",),
        defaults=((48,),),
        least=2,
        definition="How much returns follow the delta.",
        formula="corr(r, buy - sell) over n bars",
        source="Kyle 1985, as a correlation",
        range="[-1, 1]; NaN when one of them does not vary",
    ),
    Recipe(
        name="flow.book_imbalance",
        build=lambda: IMBALANCE,
        definition="Size at the best bid against the best ask, at the bar's last quote.",
        formula="(Qb - Qa) / (Qb + Qa)",
        source="best quotes",
        range="[-1, 1]",
    ),
    Recipe(
        name="flow.microprice",
        build=lambda: ex.over(MICROPRICE, ex.ema_root_square(ex.log_return(), 32)),
        definition="Microprice against the midpoint at the bar's last quote, in one-bar volatilities.",
        formula="((Pa Qb + Pb Qa) / (Qb + Qa) / mid - 1) / ewma_32",
        source="Stoikov 2018, first order",
        range="any number",
    ),
    Recipe(
        name="flow.spread",
        build=lambda: ex.over(SPREAD, ex.ema_root_square(ex.log_return(), 32)),
        definition="Quoted spread at the bar's last quote, in one-bar volatilities.",
        formula="(Pa - Pb) / mid / ewma_32",
        source="best quotes",
        range=">= 0",
    ),
    Recipe(
        name="flow.ofi",
        build=lambda n: ex.over(ex.mean(OFI, n), ex.over(ex.mean(TOUCH, n), ex.mean(UPDATES, n))),
        parameters=("bars",),
        defaults=((1,), (24,)),
        definition="Order-flow imbalance per bar, in mean sizes at the touch.",
        formula="mean_n(OFI) / mean size at the touch, OFI of Cont, Kukanov and Stoikov",
        source="Cont, Kukanov and Stoikov 2014",
        range="any number",
    ),
)
