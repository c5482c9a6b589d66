"""Group `momentum`: speed and extremity of the move."""

from __future__ import annotations

from ares.features import expression as ex
from ares.features.catalogue.recipe import Recipe


def rsi(n: int) -> ex.Expression:
    return ex.Output(ex.node("rsi", ex.CLOSE, ints=(n,)))


def _fast_k(n: int) -> ex.Expression:
    top, bottom = ex.channel(n)
    return ex.position(ex.CLOSE, bottom, top)


def _trix(n: int) -> ex.Expression:
    thrice = ex.ema(ex.ema(ex.ema(ex.CLOSE, n), n), n)
    return ex.over(ex.change(thrice, 1), ex.ema_root_square(ex.log_return(), 32))


def _aroon(n: int, output: int) -> ex.Expression:
    return ex.affine(ex.channel_ages(n + 1)[output], -1.0 / n, 1.0)


RECIPES = (
    Recipe(
        name="momentum.rsi",
        build=rsi,
        parameters=("bars",),
        defaults=((14,),),
        higher=((14,),),
        definition="Relative strength index.",
        formula="U / (U + D), U and D Wilder's means of gains and losses of the close",
        source="Wilder 1978, divided by 100",
        range="[0, 1]; NaN when nothing moved",
    ),
    Recipe(
        name="momentum.stochastic_k",
        build=lambda n, slow: ex.mean(_fast_k(n), slow),
        parameters=("bars", "smoothing"),
        defaults=((14, 3),),
        definition="Where the close lies in the recent range, smoothed: slow %K.",
        formula="SMA_s((C - LL_n) / (HH_n - LL_n))",
        source="Lane 1984, divided by 100",
        range="[0, 1]; NaN when the range is zero",
    ),
    Recipe(
        name="momentum.stochastic_d",
        build=lambda n, slow, signal: ex.mean(ex.mean(_fast_k(n), slow), signal),
        parameters=("bars", "smoothing", "signal"),
        defaults=((14, 3, 3),),
        definition="Slow %D: the mean of slow %K.",
        formula="SMA_d(%K)",
        source="Lane 1984, divided by 100",
        range="[0, 1]; NaN when the range is zero",
    ),
    Recipe(
        name="momentum.williams_r",
        build=lambda n: ex.affine(_fast_k(n), 1.0, -1.0),
        parameters=("bars",),
        defaults=((14,),),
        definition="Williams %R: distance of the close from the recent high, in ranges.",
        formula="(C - HH_n) / (HH_n - LL_n)",
        source="Williams 1973, divided by 100",
        range="[-1, 0]; NaN when the range is zero",
    ),
    Recipe(
        name="momentum.cci",
        build=lambda n: ex.Output(ex.node("cci", ex.typical(), ints=(n,))),
        parameters=("bars",),
        defaults=((20,),),
        definition="Commodity channel index in mean absolute deviations, without Lambert's divisor 0.015.",
        formula="(TP - SMA_n(TP)) / mean|TP - SMA_n(TP)|, TP = (H + L + C) / 3",
        source="Lambert 1980, times 0.015",
        range="any number; 0 when all prices are equal",
    ),
    Recipe(
        name="momentum.roc",
        build=lambda n: ex.change(ex.CLOSE, n),
        parameters=("bars",),
        defaults=((12,),),
        higher=((12,),),
        definition="Rate of change of the close.",
        formula="C_t / C_{t-n} - 1",
        source="definition",
        range="> -1, a fraction",
    ),
    Recipe(
        name="momentum.trix",
        build=_trix,
        parameters=("span",),
        defaults=((15,),),
        definition="Rate of change of the thrice smoothed close, in one-bar volatilities.",
        formula="(E_t / E_{t-1} - 1) / ewma_32, E = EMA_n(EMA_n(EMA_n(C)))",
        source="Hutson 1983; ewma_32 as in volatility.ewma",
        range="any number",
    ),
    Recipe(
        name="momentum.aroon_up",
        build=lambda n: _aroon(n, 0),
        parameters=("bars",),
        defaults=((25,),),
        definition="How recent the highest high is: 1 now, 0 n bars ago.",
        formula="1 - (bars since the highest high of n + 1 bars) / n",
        source="Chande 1995, divided by 100",
        range="[0, 1]",
    ),
    Recipe(
        name="momentum.aroon_down",
        build=lambda n: _aroon(n, 1),
        parameters=("bars",),
        defaults=((25,),),
        definition="How recent the lowest low is: 1 now, 0 n bars ago.",
        formula="1 - (bars since the lowest low of n + 1 bars) / n",
        source="Chande 1995, divided by 100",
        range="[0, 1]",
    ),
)
