"""Group `meta`: rule detectors, how strongly each fires, and how often it has been right of late.

They are features for a meta-model: which simple rules see something now, and which of them the market has been paying.
"""

from __future__ import annotations

from collections.abc import Callable

from ares.features import expression as ex
from ares.features.catalogue.momentum import rsi
from ares.features.catalogue.recipe import Recipe
from ares.features.catalogue.trend import direction
from ares.kernels import meta

HORIZON = 12  # bars until a signal is judged
MEMORY = 512  # bars over which judgements count


def _detect(mode: int, *inputs: ex.Expression) -> ex.Expression:
    padded = (*inputs, *(inputs[0],) * (6 - len(inputs)))
    return ex.Output(ex.node("detect", *padded, ints=(mode,)))


def _from_mean(span: int) -> ex.Expression:
    return ex.distance(ex.CLOSE, ex.ema(ex.CLOSE, span), ex.atr(14))


def _body() -> ex.Expression:
    return ex.distance(ex.CLOSE, ex.OPEN, ex.atr(14))


def _bollinger_z() -> ex.Expression:
    average, sigma = ex.deviation(ex.CLOSE, 20)
    return ex.distance(ex.CLOSE, average, sigma)


def _squeeze() -> ex.Expression:
    average, sigma = ex.deviation(ex.CLOSE, 20)
    width = ex.over(sigma, average)
    return ex.earlier(ex.over(width, ex.mean(width, 100)), 1)


def _channel() -> tuple[ex.Expression, ...]:
    top, bottom = ex.channel(20)
    return ex.HIGH, ex.LOW, ex.CLOSE, ex.earlier(top, 1), ex.earlier(bottom, 1), ex.atr(14)


def _scaled_8() -> ex.Expression:
    return ex.over(ex.log_return(8), ex.ema_root_square(ex.log_return(), 32))


DETECTORS: tuple[tuple[str, Callable[[], ex.Expression], str, str], ...] = (
    (
        "continuation",
        lambda: _detect(meta.CONTINUATION, _from_mean(50), _from_mean(12), direction(14)[0]),
        "A trend with strength: price on one side of both means, ADX above 0.25.",
        "(C - EMA_50) / ATR_14 * ADX_14",
    ),
    (
        "exhaustion",
        lambda: _detect(meta.EXHAUSTION, rsi(14), _scaled_8()),
        "A run too far: RSI beyond 0.7 or 0.3 after an 8-bar move above two volatilities; favours the turn.",
        "-+(RSI distance beyond the threshold) / 0.3",
    ),
    (
        "reversion",
        lambda: _detect(meta.REVERSION, _bollinger_z()),
        "Close outside the two-sigma Bollinger band; favours the way back.",
        "-sign(z) (|z| - 2)",
    ),
    (
        "breakout",
        lambda: _detect(meta.BREAKOUT, *_channel()),
        "Close beyond the 20-bar channel before this bar; favours the way out.",
        "(C - edge) / ATR_14",
    ),
    (
        "failed_breakout",
        lambda: _detect(meta.FAILED_BREAKOUT, *_channel()),
        "The bar left the 20-bar channel and closed inside; favours the way back.",
        "-+(excursion) / ATR_14",
    ),
    (
        "expansion",
        lambda: _detect(meta.EXPANSION, _squeeze(), _body()),
        "Bands narrower than 0.8 of their 100-bar mean, then a body above one ATR; favours the body's side.",
        "body / ATR_14 * (0.8 - width ratio)",
    ),
    (
        "climax",
        lambda: _detect(meta.CLIMAX, ex.z_score(ex.VOLUME, 48), _body()),
        "Volume above two standard deviations on a body above one ATR; favours the turn.",
        "-body / ATR_14 * (z - 2)",
    ),
    (
        "pullback",
        lambda: _detect(meta.PULLBACK, _from_mean(50), _from_mean(12), rsi(14)),
        "Price beyond the slow mean by an ATR but back through the fast one; favours the slow side.",
        "-(C - EMA_12) / ATR_14",
    ),
)


def _recipes(name: str, build: Callable[[], ex.Expression], definition: str, formula: str) -> tuple[Recipe, Recipe]:
    signal = build()

    def rate(horizon: int, memory: int) -> ex.Expression:
        return ex.Output(ex.node("success", signal, ex.log_of(ex.CLOSE), ints=(horizon, memory)))

    return (
        Recipe(
            name=f"meta.{name}",
            build=lambda: signal,
            definition=definition,
            formula=f"{formula}; 0 when it does not fire",
            source="definition",
            range="any number; the sign is the side favoured",
        ),
        Recipe(
            name=f"meta.{name}_success",
            build=rate,
            parameters=("horizon", "memory"),
            defaults=((HORIZON, MEMORY),),
            definition=f"How often `meta.{name}` has been right, over signals that matured in the last bars.",
            formula="(h + 1) / (n + 2), h of n matured signals followed by a close on their side after the horizon",
            source="definition; Laplace's rule of succession",
            range="(0, 1); 0.5 without evidence",
        ),
    )


RECIPES = tuple(recipe for row in DETECTORS for recipe in _recipes(*row))
