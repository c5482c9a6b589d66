"""Group `wavelet`: how movement is divided among time scales, by wavelets that look backward only."""

from __future__ import annotations

from functools import cache
from math import sqrt

from ares.errors import InvalidInput, unknown_name
from ares.features import expression as ex
from ares.features.catalogue.recipe import Recipe
from ares.features.config import WaveletConfig


@cache
def filters(family: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Wavelet and scaling filter for the maximal-overlap transform (divided by the root of 2), newest row first.

    Raises InvalidInput for a family that PyWavelets does not know or that is not orthogonal.
    """
    import pywt

    if family not in pywt.wavelist(kind="discrete"):
        raise unknown_name("wavelet", family, pywt.wavelist(kind="discrete"))
    wavelet = pywt.Wavelet(family)
    if not wavelet.orthogonal:
        raise InvalidInput(f"wavelet {family} is not orthogonal; take haar, db*, sym* or coif*", family=family)
    return tuple(x / sqrt(2.0) for x in wavelet.dec_hi), tuple(x / sqrt(2.0) for x in wavelet.dec_lo)


def levels_of(x: ex.Expression, family: str, levels: int) -> tuple[list[ex.Output], ex.Output]:
    """Details W_1 .. W_J and the last smooth V_J."""
    high, low = filters(family)
    details = []
    smooth = x
    for level in range(levels):
        it = ex.node("modwt_level", smooth, ints=(len(high), 1 << level), floats=(*high, *low))
        details.append(ex.Output(it, 0))
        smooth = ex.Output(it, 1)
    return details, smooth  # type: ignore[return-value]


def _family(family: str, config: WaveletConfig) -> tuple[Recipe, ...]:
    levels, window = config.levels, config.window
    r = ex.log_return()
    details, smooth = levels_of(r, family, levels)
    energies: list[ex.Expression] = [ex.mean_square(w, window) for w in details]
    energies.append(ex.square(ex.deviation(smooth, window)[1]))
    out = ex.many("bands", *energies, outputs=2 * (levels + 1))
    entropy, ratios, hurst = out[levels + 1], out[levels + 2 : 2 * levels + 1], out[2 * levels + 1]
    slope = ex.over(smooth, ex.mean_square(r, window, rooted=True))
    each = tuple((j,) for j in range(1, levels + 1))
    where = f"MODWT with {family} of one-bar log returns, {levels} levels, energies over {window} bars"
    source = f"Percival and Walden 2000, chapters 5 and 8; {where}"
    return (
        Recipe(
            name=f"wavelet.{family}_energy",
            build=lambda j: out[j - 1],
            parameters=("level",),
            defaults=each,
            most=levels,
            definition="Share of a level's details in all energy; level j sees swings of 2^j to 2^(j+1) bars.",
            formula="E_j / (E_1 + .. + E_J + E_V), E_j = mean of W_j^2, E_V = variance of V_J",
            source=source,
            range="[0, 1]; NaN without movement",
        ),
        Recipe(
            name=f"wavelet.{family}_smooth_energy",
            build=lambda: out[levels],
            definition="Share of the last smooth in all energy: movement slower than every level.",
            formula="E_V / (E_1 + .. + E_J + E_V)",
            source=source,
            range="[0, 1]; NaN without movement",
        ),
        Recipe(
            name=f"wavelet.{family}_entropy",
            build=lambda: entropy,
            definition="How evenly energy is spread over the bands: 0 all in one, 1 the same in each.",
            formula="-sum p ln p / ln(J + 1), p the shares of energy",
            source=f"Rosso et al. 2001; {where}",
            range="[0, 1]; NaN without movement",
        ),
        Recipe(
            name=f"wavelet.{family}_log_ratio",
            build=lambda j: ratios[j - 1],
            parameters=("level",),
            defaults=each[:-1],
            most=levels - 1,
            definition="A level's energy against the next finer one.",
            formula="ln(E_{j+1} / E_j)",
            source=source,
            range="any number; NaN when a band is empty",
        ),
        Recipe(
            name=f"wavelet.{family}_hurst",
            build=lambda: hurst,
            defaults=((),) if levels > 1 else (),
            definition="Hurst exponent from the growth of energy with scale: 0.5 for a random walk of the price.",
            formula="(b + 2) / 2, b the least-squares slope of log2 E_j on j",
            source=f"Abry and Veitch 1998 (unweighted); {where}",
            range="about [0, 1]; NaN when a band is empty",
        ),
        Recipe(
            name=f"wavelet.{family}_slope",
            build=lambda: slope,
            definition="Smoothed return per bar in units of one-bar volatility: the direction of the slow movement.",
            formula="V_J / sqrt(mean of r^2)",
            source=source,
            range="any number; NaN without movement",
        ),
    )


def _exact(family: str, config: WaveletConfig) -> tuple[Recipe, ...]:
    import pywt

    levels, window = config.levels, config.window
    wavelet = pywt.Wavelet(family)
    filters(family)  # refuses what cannot be used
    if pywt.dwt_max_level(window, wavelet.dec_len) < levels or window > 1000:
        raise InvalidInput(
            f"{levels} levels of {family} need a window of {(wavelet.dec_len - 1) << levels} to 1000, not {window}",
            window=window,
        )
    ints = (window, levels, wavelet.dec_len)
    floats = (*wavelet.dec_hi, *wavelet.dec_lo)
    energies = ex.many("windowed", ex.log_return(), outputs=levels + 1, ints=ints, floats=floats)
    out = ex.many("bands", *energies, outputs=2 * (levels + 1))
    source = f'pywt.wavedec(r[-{window}:], "{family}", "symmetric", {levels}) of one-bar log returns r'
    shares = [(f"energy_{j}", f"level {j}", out[j - 1]) for j in range(1, levels + 1)]
    shares.append(("smooth_energy", "the approximation", out[levels]))
    found = [
        Recipe(
            name=f"wavelet.{family}_exact_{name}",
            build=lambda output=output: output,
            definition=f"Share of {where} in the energy of the decomposition of the trailing window.",
            formula="sum of squared coefficients / sum over all levels",
            source=source,
            range="[0, 1]; NaN without movement",
        )
        for name, where, output in shares
    ]
    found.append(
        Recipe(
            name=f"wavelet.{family}_exact_entropy",
            build=lambda: out[levels + 1],
            definition="How evenly the energy of the trailing window's decomposition is spread.",
            formula="-sum p ln p / ln(J + 1), p the shares of energy",
            source=source,
            range="[0, 1]; NaN without movement",
        )
    )
    return tuple(found)


def recipes(config: WaveletConfig) -> tuple[Recipe, ...]:
    """The wavelet features of every configured family."""
    found = [recipe for family in config.families for recipe in _family(family, config) if recipe.most]
    if config.exact:
        found += [recipe for family in config.families for recipe in _exact(family, config)]
    return tuple(found)
