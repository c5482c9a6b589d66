"""Break-even, and conformal sets that err as often as they should and learn only from the past."""

from __future__ import annotations

import numpy as np
import pytest

from ares.errors import InvalidInput
from ares.models.abstention import AdaptiveConformal, break_even


def test_at_break_even_a_bet_pays_nothing() -> None:
    for gain, loss, cost in ((0.02, 0.01, 0.001), (0.01, 0.01, 0.0), (0.005, 0.02, 0.002)):
        p = break_even(gain, loss, cost)
        assert p * gain - (1 - p) * loss - cost == pytest.approx(0.0, abs=1e-15)
    assert break_even(0.001, 0.001, 0.002) > 1
    with pytest.raises(InvalidInput):
        break_even(0.0, 0.01, 0.0)


def run(sets: AdaptiveConformal, n: int, delay: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A market whose forecasts are honest in the first half and useless in the second: (missed, singleton)."""
    rng = np.random.default_rng(seed)
    missed, single, waiting = np.zeros(n), np.zeros(n), []
    for t in range(n):
        while waiting and waiting[0][0] <= t:
            ready, number, outcome = waiting.pop(0)
            sets.resolve(number, outcome, ready)
        p = rng.beta(1, 1)
        outcome = int(rng.random() < (p if t < n // 2 else 0.5))
        issued = sets.issue([1 - p, p], t + delay)
        missed[t], single[t] = not issued.members[outcome], issued.only is not None
        waiting.append((t + delay, issued.number, outcome))
    return missed, single


def test_sets_err_as_often_as_they_should_even_when_the_market_changes() -> None:
    missed, single = run(AdaptiveConformal(target=0.2, rate=0.02), 8000, 24)
    assert missed[500:4000].mean() == pytest.approx(0.2, abs=0.03)
    assert missed[4500:].mean() == pytest.approx(0.2, abs=0.03)
    assert single[500:4000].mean() > single[4500:].mean() + 0.1


def test_nothing_is_learnt_before_it_has_matured() -> None:
    sets = AdaptiveConformal(least=1)
    first = sets.issue([0.3, 0.7], 100)
    assert first.members == (True, True)
    assert first.only is None
    with pytest.raises(InvalidInput, match="matures at 100"):
        sets.resolve(first.number, 1, 99)
    level = sets.level
    sets.resolve(first.number, 1, 100)
    assert sets.level > level
    with pytest.raises(InvalidInput, match="already resolved"):
        sets.resolve(first.number, 1, 101)
    with pytest.raises(InvalidInput, match="position"):
        sets.resolve(sets.issue([0.3, 0.7], 0).number, 2, 1)
    with pytest.raises(InvalidInput, match="probabilities"):
        sets.issue([float("nan"), 1.0], 0)


def test_a_restored_state_goes_on_as_if_nothing_had_happened() -> None:
    whole = AdaptiveConformal(target=0.1, window=100)
    run(whole, 300, 5)
    again = AdaptiveConformal(target=0.1, window=100)
    again.load_state(whole.save_state())
    assert again.save_state() == whole.save_state()
    assert again.issue([0.2, 0.8], 10**6) == whole.issue([0.2, 0.8], 10**6)
