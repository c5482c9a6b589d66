"""Group `calendar`: the hour and the day, as of the bar's close, UTC."""

from __future__ import annotations

from ares.features import expression as ex
from ares.features.catalogue.recipe import Recipe
from ares.instruments import Interval


def recipes(interval: Interval) -> tuple[Recipe, ...]:
    """The calendar's features; the close of a bar needs its length."""
    outputs = ex.many("calendar", ex.TIME, outputs=8, floats=(interval.ns / 1e9,))
    table = (
        ("hour_sin", "Hour of the day on a circle, sine.", "sin(2 pi s / 86400), s seconds since midnight", "[-1, 1]"),
        ("hour_cos", "Hour of the day on a circle, cosine.", "cos(2 pi s / 86400)", "[-1, 1]"),
        ("week_sin", "Time of the week on a circle, sine.", "sin(2 pi w / 7), w days since Monday 00:00", "[-1, 1]"),
        ("week_cos", "Time of the week on a circle, cosine.", "cos(2 pi w / 7)", "[-1, 1]"),
        ("weekend", "Saturday or Sunday.", "1 or 0", "{0, 1}"),
        ("asia", "Asian hours.", "1 when 00:00 <= close < 08:00", "{0, 1}"),
        ("europe", "European hours.", "1 when 07:00 <= close < 16:00", "{0, 1}"),
        ("america", "American hours.", "1 when 13:00 <= close < 22:00", "{0, 1}"),
    )
    found = []
    for (name, definition, formula, values), output in zip(table, outputs, strict=True):
        found.append(
            Recipe(
                name=f"calendar.{name}",
                build=lambda output=output: output,
                definition=definition,
                formula=formula,
                source="definition; all times UTC",
                range=values,
            )
        )
    return tuple(found)
