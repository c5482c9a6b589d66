"""Group `futures`: what only a perpetual has, joined on the time of publication."""

from __future__ import annotations

from ares.features import expression as ex
from ares.features.catalogue.recipe import Recipe
from ares.instruments import Interval

FUNDING, MARK, INDEX, OPEN_INTEREST, ACCOUNTS, TOP_TRADERS, TAKERS = (
    ex.Column(name)
    for name in (
        "futures_funding_rate",
        "futures_mark_price",
        "futures_index_price",
        "futures_open_interest",
        "futures_long_short_ratio",
        "futures_top_long_short_ratio",
        "futures_taker_long_short_ratio",
    )
)

CYCLE_SECONDS = 8 * 3600.0


def _interest_change(n: int) -> ex.Expression:
    return ex.difference(ex.log_of(OPEN_INTEREST), n)


def _quadrant(n: int, price_up: bool, interest_up: bool) -> ex.Expression:
    price = ex.sign(ex.log_return(n))
    interest = ex.sign(_interest_change(n))
    a = price if price_up else ex.affine(price, -1.0)
    b = interest if interest_up else ex.affine(interest, -1.0)
    return ex.times(ex.clip(a, 0.0, 1.0), ex.clip(b, 0.0, 1.0))


def _ratio(column: ex.Expression, name: str, who: str) -> tuple[Recipe, Recipe]:
    level = ex.log_of(column)
    return (
        Recipe(
            name=f"futures.{name}",
            build=lambda: level,
            definition=f"Longs against shorts among {who}.",
            formula="ln(long / short), the latest published",
            source="exchange statistics, joined on publish time",
            range="any number",
        ),
        Recipe(
            name=f"futures.{name}_z",
            build=lambda n: ex.z_score(level, n),
            parameters=("bars",),
            defaults=((168,),),
            least=2,
            definition=f"Longs against shorts among {who}, against the recent mean, in standard deviations.",
            formula="(x - mean_n(x)) / std_n(x), x = ln(long / short)",
            source="exchange statistics, joined on publish time",
            range="any number; NaN when the ratio has not changed",
        ),
    )


_QUADRANTS = (
    ("long_build", True, True, "Price and open interest up: new longs."),
    ("short_build", False, True, "Price down, open interest up: new shorts."),
    ("short_cover", True, False, "Price up, open interest down: shorts leave."),
    ("long_unwind", False, False, "Price and open interest down: longs leave."),
)


def recipes(interval: Interval) -> tuple[Recipe, ...]:
    """The futures' features; the time to funding needs the bar's length."""
    clock = ex.Output(ex.node("until", ex.TIME, floats=(interval.ns / 1e9, CYCLE_SECONDS)))
    basis = ex.ratio_less_one(MARK, INDEX)
    return (
        Recipe(
            name="futures.funding",
            build=lambda: FUNDING,
            definition="The latest published funding rate.",
            formula="rate per funding interval",
            source="exchange, joined on publish time",
            range="a fraction; longs pay when above 0",
        ),
        Recipe(
            name="futures.funding_z",
            build=lambda n: ex.z_score(FUNDING, n),
            parameters=("bars",),
            defaults=((336,),),
            least=2,
            definition="Funding rate against its recent mean, in standard deviations.",
            formula="(F - mean_n(F)) / std_n(F)",
            source="exchange, joined on publish time",
            range="any number; NaN when the rate has not changed",
        ),
        Recipe(
            name="futures.funding_clock",
            build=lambda: ex.times(clock, ex.affine(FUNDING, 0.0, 1.0)),
            definition="Share of the eight-hour funding interval still to go.",
            formula="(next multiple of 8 h - close) / 8 h",
            source="exchange rule; times of other intervals are not covered",
            range="[0, 1)",
        ),
        Recipe(
            name="futures.basis",
            build=lambda: basis,
            definition="Mark price over index price.",
            formula="mark / index - 1",
            source="exchange, joined on publish time",
            range="a fraction",
        ),
        Recipe(
            name="futures.basis_z",
            build=lambda n: ex.z_score(basis, n),
            parameters=("bars",),
            defaults=((168,),),
            least=2,
            definition="Basis against its recent mean, in standard deviations.",
            formula="(b - mean_n(b)) / std_n(b), b = mark / index - 1",
            source="exchange, joined on publish time",
            range="any number; NaN when the basis has not changed",
        ),
        Recipe(
            name="futures.premium",
            build=lambda: ex.ratio_less_one(ex.CLOSE, MARK),
            definition="Last price over mark price.",
            formula="C / mark - 1",
            source="exchange, joined on publish time",
            range="a fraction",
        ),
        Recipe(
            name="futures.oi_change",
            build=_interest_change,
            parameters=("bars",),
            defaults=((1,), (24,)),
            definition="Growth of open interest.",
            formula="ln(OI_t / OI_{t-n})",
            source="exchange, joined on publish time",
            range="any number",
        ),
        Recipe(
            name="futures.oi_volume",
            build=lambda n: ex.log_ratio(OPEN_INTEREST, ex.mean(ex.VOLUME, n)),
            parameters=("bars",),
            defaults=((24,),),
            definition="Open interest in bars of volume.",
            formula="ln(OI / mean_n(V))",
            source="exchange, joined on publish time",
            range="any number; NaN without volume",
        ),
        *(
            Recipe(
                name=f"futures.{name}",
                build=lambda n, p=price, i=interest: _quadrant(n, p, i),
                parameters=("bars",),
                defaults=((24,),),
                definition=text,
                formula="1 when the signs of ln(C_t / C_{t-n}) and ln(OI_t / OI_{t-n}) are so, else 0",
                source="exchange, joined on publish time",
                range="{0, 1}",
            )
            for name, price, interest, text in _QUADRANTS
        ),
        *_ratio(ACCOUNTS, "long_short", "all accounts"),
        *_ratio(TOP_TRADERS, "top_long_short", "top traders"),
        *_ratio(TAKERS, "taker_long_short", "takers' volume"),
    )
