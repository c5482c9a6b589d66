"""The sentences on a model's scores, by which side of knowing nothing their intervals lie on."""

from __future__ import annotations

import pytest

from ares.training.verdict import speaks_against, verdict_of

UNSURE = {
    "brier_skill_low": -0.1, "brier_skill_high": 0.1,
    "auc_direction_low": 0.45, "auc_direction_high": 0.55,
    "net_per_bet_low": -0.01, "net_per_bet_high": 0.01,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "good", "bad", "praise", "blame"),
    [
        ("brier_skill", (0.01, 0.02), (-0.02, -0.01), "better than the base rate", "worse than the base rate"),
        ("auc_direction", (0.51, 0.52), (0.48, 0.49), "better than a coin", "worse than a coin"),
        ("net_per_bet", (0.001, 0.002), (-0.002, -0.001), "", "bets lose after costs"),
    ],
)
def test_each_interval_speaks_for_or_against(
    name: str, good: tuple[float, float], bad: tuple[float, float], praise: str, blame: str
) -> None:
    neither = verdict_of(UNSURE)
    assert not speaks_against(UNSURE) and blame not in neither and neither.count("Nothing shows") == 2
    for ends, against in ((good, False), (bad, True)):
        figures = {**UNSURE, f"{name}_low": ends[0], f"{name}_high": ends[1]}
        assert speaks_against(figures) == against
        told = verdict_of(figures)
        assert (blame in told) == against
        assert against or praise in told
        assert against or not praise or told.count("Nothing shows") == 1


def test_figures_that_are_not_there_show_nothing() -> None:
    assert not speaks_against({}) and verdict_of({}).count("Nothing shows") == 2
