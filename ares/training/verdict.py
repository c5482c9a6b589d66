"""What the intervals of a model's scores say, in sentences: the same on its card, after training and before trading."""

from __future__ import annotations

import math
from collections.abc import Mapping

__all__ = ["of_bets", "of_direction", "of_skill", "speaks_against", "verdict_of"]

_KNOWS_NOTHING = {"brier_skill": 0.0, "auc_direction": 0.5, "net_per_bet": 0.0}  # what each figure is without knowledge


def of_skill(low: float, high: float) -> str:
    """Of the interval of the Brier skill."""
    if low > _KNOWS_NOTHING["brier_skill"]:
        return "Its probabilities are better than the base rate."
    if high < _KNOWS_NOTHING["brier_skill"]:
        return "Its probabilities are worse than the base rate."
    return "Nothing shows that its probabilities are better than the base rate."


def of_direction(low: float, high: float) -> str:
    """Of the interval of the AUC of up against down."""
    if low > _KNOWS_NOTHING["auc_direction"]:
        return "It tells up from down better than a coin."
    if high < _KNOWS_NOTHING["auc_direction"]:
        return "It tells up from down worse than a coin."
    return "Nothing shows that it tells up from down better than a coin."


def of_bets(high: float) -> str:
    """Of the upper end of the interval of the mean net return of a bet: empty unless they lose."""
    return "Its bets lose after costs." if high < _KNOWS_NOTHING["net_per_bet"] else ""


def verdict_of(figures: Mapping[str, float]) -> str:
    """The verdict on the figures of `Scores.figures`, as a model's record keeps them; a missing one shows nothing."""

    def interval(name: str) -> tuple[float, float]:
        return figures.get(f"{name}_low", math.nan), figures.get(f"{name}_high", math.nan)

    _, most = interval("net_per_bet")
    told = (of_skill(*interval("brier_skill")), of_direction(*interval("auc_direction")), of_bets(most))
    return " ".join(sentence for sentence in told if sentence)


def speaks_against(figures: Mapping[str, float]) -> bool:
    """Whether a whole interval lies on the wrong side of knowing nothing."""
    return any(figures.get(f"{name}_high", math.nan) < nothing for name, nothing in _KNOWS_NOTHING.items())
