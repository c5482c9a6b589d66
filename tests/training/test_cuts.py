"""When models are trained: lengths in bars or durations, and where cuts lie."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares.config import load_config, settings_from_store, settings_to_store
from ares.errors import InvalidInput
from ares.training.cuts import FIRST_TRADING, RetrainingConfig, ScheduleConfig


def test_durations_become_bars_of_any_interval() -> None:
    wanted = RetrainingConfig(first="90d", every="30d", delay="1d", window="60d", lifetime="45d")
    assert wanted.schedule("1h") == ScheduleConfig(first=2160, every=720, delay=24, window=1440, lifetime=1080)
    assert wanted.schedule("15m") == ScheduleConfig(first=8640, every=2880, delay=96, window=5760, lifetime=4320)
    bars = RetrainingConfig(first=500, every=100, delay=3)
    assert bars.schedule("1h") == bars.schedule("5m") == ScheduleConfig(first=500, every=100, delay=3)


def test_a_rolling_window_is_as_long_as_the_first_history() -> None:
    assert RetrainingConfig(first=600).schedule("1h").window is None
    assert RetrainingConfig(first=600, window="expanding").schedule("1h").window is None
    assert RetrainingConfig(first=600, window="rolling").schedule("1h").window == 600


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"every": "monthly"}, "interval"),
        ({"window": "sliding"}, "interval"),
        ({"delay": 0}, "at least 1 bar"),
        ({"lifetime": -5}, "at least 1 bar"),
    ],
)
def test_lengths_that_mean_nothing_are_refused_as_they_are_read(settings: dict[str, object], problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        RetrainingConfig(**settings)  # type: ignore[arg-type]


def test_a_schedule_must_fit_its_interval_and_itself() -> None:
    with pytest.raises(InvalidInput, match="no whole number"):
        RetrainingConfig(delay="90m").schedule("1h")
    with pytest.raises(InvalidInput, match="shorter than every"):
        RetrainingConfig(every="1d", delay="2d", first=300).schedule("15m")


@given(st.integers(200, 3000), st.integers(50, 900), st.integers(0, 20_000))
def test_the_last_cut_reached_is_the_last_whose_bars_have_closed(first: int, every: int, bars: int) -> None:
    plan = ScheduleConfig(first=first, every=every, delay=1)
    reached = plan.reached(bars)
    assert reached < 0 or plan.bars_at(reached) <= bars
    assert plan.bars_at(reached + 1) > bars
    assert plan.needed == plan.bars_at(FIRST_TRADING) + 1


@given(
    st.integers(200, 260),
    st.integers(50, 80),
    st.integers(1, 49),
    st.lists(st.integers(1, 90), min_size=1, max_size=600),
)
def test_the_last_model_that_has_begun_is_counted_by_cuts_in_bars_and_delays_in_time(
    first: int, every: int, delay: int, steps: list[int]
) -> None:
    """steps: bars to the next one, so anything above 1 is a gap."""
    plan, step = ScheduleConfig(first=first, every=every, delay=delay), 60
    opened = [0]
    for bars in [1] * 199 + steps:
        opened.append(opened[-1] + bars * step)
    by_definition = [
        n
        for n in range(20)
        if plan.bars_at(n) <= len(opened)
        and opened[plan.bars_at(n) - 1] + (1 + delay) * step <= opened[-1] + step
    ]
    assert plan.begun(opened, step) == max(by_definition, default=-1)


def test_the_section_is_off_until_it_is_written_and_survives_the_journal(tmp_path: Path) -> None:
    assert load_config(env={}).retraining is None
    path = tmp_path / "bot.yaml"
    path.write_text("retraining: {every: 7d, first: 400, window: rolling, models: somewhere}\n", encoding="utf-8")
    config = load_config(path, env={})
    assert config.retraining == RetrainingConfig(every="7d", first=400, window="rolling", models=Path("somewhere"))
    for each in (config, load_config(env={})):
        assert settings_from_store(settings_to_store(each), "journal").retraining == each.retraining
    path.write_text("retraining: {evry: 7d}\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match="every"):
        load_config(path, env={})
