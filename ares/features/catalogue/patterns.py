"""Group `patterns`: candlestick patterns."""

from __future__ import annotations

from ares.features import expression as ex
from ares.features.catalogue.recipe import Recipe
from ares.kernels.patterns import NAMES


def outputs() -> tuple[ex.Output, ...]:
    """One output a pattern, in the order of `ares.kernels.patterns.NAMES`."""
    bars = (ex.OPEN, ex.HIGH, ex.LOW, ex.CLOSE)
    return ex.many("patterns", *bars, *ex.many("candles", *bars, outputs=3), outputs=len(NAMES))


_TEXT = {
    "doji": ("Open and close nearly equal.", "|C - O| <= 0.1 R", "{0, 1}"),
    "dragonfly_doji": ("A doji with a long lower shadow only.", "doji, upper < 0.1 R < lower", "{0, 1}"),
    "gravestone_doji": ("A doji with a long upper shadow only.", "doji, lower < 0.1 R < upper", "{0, 1}"),
    "spinning_top": ("A short body between longer shadows.", "body < B, both shadows > body", "{-1, 0, 1}"),
    "marubozu": ("A long body without shadows.", "body > B, both shadows < 0.1 R", "{-1, 0, 1}"),
    "hammer": ("Small body on top of a long lower shadow, near or below the last low.",
               "body < B, lower > body, upper < 0.1 R, body near the last low", "{0, 1}"),
    "hanging_man": ("Small body on top of a long lower shadow, near or above the last high.",
                    "body < B, lower > body, upper < 0.1 R, body near the last high", "{-1, 0}"),
    "inverted_hammer": ("Small body under a long upper shadow, gapping below the last body.",
                        "body < B, upper > body, lower < 0.1 R, gap down", "{0, 1}"),
    "shooting_star": ("Small body under a long upper shadow, gapping above the last body.",
                      "body < B, upper > body, lower < 0.1 R, gap up", "{-1, 0}"),
    "engulfing": ("A body that covers the last, opposite one; 0.8 when one end is equal.",
                  "min(O,C) <= min(O,C)_{-1}, max(O,C) >= max(O,C)_{-1}", "{-1, -0.8, 0, 0.8, 1}"),
    "harami": ("A short body inside the last, long one; 0.8 when one end is equal.",
               "body_{-1} > B, body <= B, inside", "{-1, -0.8, 0, 0.8, 1}"),
    "piercing": ("A rising body from below the last low to above the middle of the last, long falling body.",
                 "O < L_{-1}, middle < C < O_{-1}", "{0, 1}"),
    "dark_cloud_cover": ("A falling body from above the last high to below the middle of the last, long rising body.",
                         "O > H_{-1}, O_{-1} < C < middle", "{-1, 0}"),
    "morning_star": ("A long falling body, a short one gapping below, a rise into the first body.",
                     "C > C_{-2} + 0.3 body_{-2}", "{0, 1}"),
    "evening_star": ("A long rising body, a short one gapping above, a fall into the first body.",
                     "C < C_{-2} - 0.3 body_{-2}", "{-1, 0}"),
    "three_white_soldiers": ("Three rising bodies with hardly any upper shadow, each opening in or near the last.",
                             "C > C_{-1} > C_{-2}, upper < 0.1 R", "{0, 1}"),
    "three_black_crows": ("Three falling bodies with hardly any lower shadow, each opening in the last, after a rise.",
                          "C < C_{-1} < C_{-2}, lower < 0.1 R", "{-1, 0}"),
    "three_inside": ("A harami confirmed by a close beyond the first open.", "harami_{-1}, C beyond O_{-2}",
                     "{-1, 0, 1}"),
    "three_outside": ("An engulfing confirmed by a further close.", "engulfing_{-1}, C beyond C_{-1}", "{-1, 0, 1}"),
    "belt_hold": ("A long body that opens at its extreme.", "body > B, no shadow on the opening side", "{-1, 0, 1}"),
}  # fmt: skip


def _recipe(name: str, output: ex.Output) -> Recipe:
    definition, formula, values = _TEXT[name]
    return Recipe(
        name=f"patterns.{name}",
        build=lambda: output,
        definition=definition,
        formula=f"{formula}; B mean body and R mean range of the ten bars before",
        source="Nison 1991, proportions of TA-Lib",
        range=values,
    )


RECIPES = tuple(_recipe(name, output) for name, output in zip(NAMES, outputs(), strict=True))
