"""Spans of many days in nanoseconds: the last day and the last settlement belong to them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from ares.training.labels import Costs, _settlements
from ares.training.noting import DAY_NS, daily_returns

HOUR = 3600 * 10**9


@pytest.mark.parametrize("days", [1, 2, 63, 189, 400, 2000])
def test_a_bet_of_the_last_day_is_counted(days: int) -> None:
    t0 = 10 * DAY_NS + HOUR + DAY_NS * np.arange(days)
    data, found = SimpleNamespace(t0=t0), SimpleNamespace(tested=np.ones(days, dtype=np.bool_))
    scores = SimpleNamespace(trading=SimpleNamespace(t0=t0[-1:], net=np.array([0.25])))
    daily = daily_returns(cast(Any, data), cast(Any, found), cast(Any, scores))
    assert len(daily) == days
    assert daily.iloc[-1] == 0.25 and daily.sum() == 0.25


@pytest.mark.parametrize("bars", [1, 5, 8, 5000, 5005, 40_005])
def test_every_settlement_up_to_the_last_close_is_assumed(bars: int) -> None:
    opened = 3 * HOUR + HOUR * np.arange(bars)
    settled, _ = _settlements(opened, HOUR, np.ones(bars), None, Costs())
    assert settled.tolist() == [t for t in range(0, int(opened[-1]) + HOUR + 1, 8 * HOUR) if t >= opened[0]]
