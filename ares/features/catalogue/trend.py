"""Group `trend`: where the price stands against its own past, in units of its own movement."""

from __future__ import annotations

from ares.features import expression as ex
from ares.features.catalogue.recipe import Recipe


def _macd(fast: int, slow: int, signal: int) -> tuple[ex.Expression, ex.Expression]:
    line = ex.minus(ex.ema(ex.CLOSE, fast), ex.ema(ex.CLOSE, slow))
    return line, ex.ema(line, signal)


def _macd_line(fast: int, slow: int, signal: int) -> ex.Expression:
    return ex.over(_macd(fast, slow, signal)[0], ex.atr(14))


def _macd_histogram(fast: int, slow: int, signal: int) -> ex.Expression:
    line, slower = _macd(fast, slow, signal)
    return ex.distance(line, slower, ex.atr(14))


def _bollinger(n: int, width: bool) -> ex.Expression:
    average, sigma = ex.deviation(ex.CLOSE, n)
    return ex.over(sigma, average) if width else ex.distance(ex.CLOSE, average, sigma)


def direction(n: int) -> tuple[ex.Output, ...]:
    """ADX, +DI, -DI."""
    return ex.many("direction", ex.HIGH, ex.LOW, ex.CLOSE, outputs=3, ints=(n,))


def _supertrend(n: int, factor: int) -> ex.Expression:
    floats = (float(factor),)
    band = ex.many("supertrend", ex.HIGH, ex.LOW, ex.CLOSE, ex.atr(n), outputs=2, ints=(64,), floats=floats)[0]
    return ex.distance(ex.CLOSE, band, ex.atr(n))


def _donchian(n: int) -> ex.Expression:
    top, bottom = ex.channel(n)
    return ex.position(ex.CLOSE, bottom, top)


def _keltner(n: int, m: int) -> ex.Expression:
    return ex.distance(ex.CLOSE, ex.ema(ex.typical(), n), ex.atr(m))


def _line(n: int) -> tuple[ex.Output, ...]:
    return ex.many("slope", ex.log_of(ex.CLOSE), outputs=2, ints=(n,))


RECIPES = (
    Recipe(
        name="trend.ema_distance",
        build=lambda n: ex.distance(ex.CLOSE, ex.ema(ex.CLOSE, n), ex.atr(14)),
        parameters=("span",),
        defaults=((12,), (50,), (200,)),
        higher=((12,), (50,)),
        definition="Distance of the close from its exponential mean, in average true ranges.",
        formula="(C - EMA_n(C)) / ATR_14",
        source="definition; ATR of Wilder 1978",
        range="any number",
    ),
    Recipe(
        name="trend.macd",
        build=_macd_line,
        parameters=("fast", "slow", "signal"),
        defaults=((12, 26, 9),),
        definition="Moving average convergence-divergence, in average true ranges.",
        formula="(EMA_fast(C) - EMA_slow(C)) / ATR_14",
        source="Appel 1979",
        range="any number",
    ),
    Recipe(
        name="trend.macd_histogram",
        build=_macd_histogram,
        parameters=("fast", "slow", "signal"),
        defaults=((12, 26, 9),),
        higher=((12, 26, 9),),
        definition="MACD line less its signal line, in average true ranges.",
        formula="(M - EMA_signal(M)) / ATR_14, M = EMA_fast(C) - EMA_slow(C)",
        source="Appel 1979",
        range="any number",
    ),
    Recipe(
        name="trend.bollinger_z",
        build=lambda n: _bollinger(n, False),
        parameters=("bars",),
        defaults=((20,),),
        least=2,
        definition="Distance of the close from its mean in standard deviations; Bollinger's %b is (2 + z) / 4.",
        formula="(C - SMA_n) / std_n, divisor n",
        source="Bollinger 2001",
        range="within +-sqrt(n-1); NaN when all closes are equal",
    ),
    Recipe(
        name="trend.bollinger_width",
        build=lambda n: _bollinger(n, True),
        parameters=("bars",),
        defaults=((20,),),
        definition="Standard deviation of the close as a fraction of its mean; Bollinger's bandwidth is 4 times this.",
        formula="std_n / SMA_n, divisor n",
        source="Bollinger 2001",
        range=">= 0",
    ),
    Recipe(
        name="trend.adx",
        build=lambda n: direction(n)[0],
        parameters=("bars",),
        defaults=((14,),),
        higher=((14,),),
        definition="Average directional index: strength of the trend whatever its direction.",
        formula="W_n(|DI+ - DI-| / (DI+ + DI-))",
        source="Wilder 1978, divided by 100",
        range="[0, 1]",
    ),
    Recipe(
        name="trend.di_plus",
        build=lambda n: direction(n)[1],
        parameters=("bars",),
        defaults=((14,),),
        definition="Upward directional indicator.",
        formula="W_n(+DM) / W_n(TR)",
        source="Wilder 1978, divided by 100",
        range="[0, 1]",
    ),
    Recipe(
        name="trend.di_minus",
        build=lambda n: direction(n)[2],
        parameters=("bars",),
        defaults=((14,),),
        definition="Downward directional indicator.",
        formula="W_n(-DM) / W_n(TR)",
        source="Wilder 1978, divided by 100",
        range="[0, 1]",
    ),
    Recipe(
        name="trend.supertrend",
        build=_supertrend,
        parameters=("bars", "factor"),
        defaults=((10, 3),),
        definition="Distance of the close from the SuperTrend band; positive in a rising trend.",
        formula="(C - band) / ATR_n; of the bands (H+L)/2 +- factor ATR_n the upper only falls and the lower only "
        "rises until a close lies beyond it; such a close turns the trend",
        source="Seban 2009",
        range="any number",
    ),
    Recipe(
        name="trend.donchian",
        build=_donchian,
        parameters=("bars",),
        defaults=((20,), (55,)),
        definition="Where the close lies in the channel of highs and lows.",
        formula="(C - LL_n) / (HH_n - LL_n)",
        source="Donchian 1960",
        range="[0, 1]; NaN when the channel is flat",
    ),
    Recipe(
        name="trend.keltner",
        build=_keltner,
        parameters=("span", "bars"),
        defaults=((20, 10),),
        definition="Distance of the close from the mean typical price, in average true ranges.",
        formula="(C - EMA_n(TP)) / ATR_m, TP = (H + L + C) / 3",
        source="Keltner 1960, Raschke's variant",
        range="any number",
    ),
    Recipe(
        name="trend.slope",
        build=lambda n: ex.over(_line(n)[0], ex.ema_root_square(ex.log_return(), 32)),
        parameters=("bars",),
        defaults=((24,), (96,)),
        least=2,
        definition="Slope of the least-squares line through log closes, in one-bar volatilities.",
        formula="b / ewma_32, ln C = a + b t over n bars",
        source="definition; ewma_32 as in volatility.ewma",
        range="any number",
    ),
    Recipe(
        name="trend.r_squared",
        build=lambda n: _line(n)[1],
        parameters=("bars",),
        defaults=((24,), (96,)),
        least=2,
        definition="How straight the path of log closes is.",
        formula="R^2 of the least-squares line through ln C over n bars",
        source="definition",
        range="[0, 1]; NaN when all closes are equal",
    ),
)
