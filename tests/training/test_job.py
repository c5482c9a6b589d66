"""A training in a process of its own: how far it steps back behind the bot."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest

from ares.assembly import retrainer_of
from ares.clock import VirtualClock
from ares.config import load_config
from ares.errors import InvalidInput
from ares.simulation.simulated_exchange import SimulatedExchange
from ares.simulation.tape import Tape
from ares.training import job as jobs
from ares.training.cuts import ScheduleConfig


def played(monkeypatch: pytest.MonkeyPatch, settings: str, folder: Path) -> list[int]:
    """What the process of a training asks of the machine, by these settings."""
    asked: list[int] = []
    monkeypatch.setattr(os, "nice", asked.append, raising=False)
    monkeypatch.setattr(jobs, "run_here", lambda job, klines: "made")
    path = folder / "bot.yaml"
    path.write_text(settings, encoding="utf-8")
    tape = Tape.synthetic("ETHUSDT", "1h", bars=40)
    trainer = retrainer_of(
        load_config(path, env={}),
        market=SimulatedExchange(tape),
        clock=VirtualClock(tape.start_ns),
        symbols=["ETHUSDT"],
        interval="1h",
        since_ns=tape.start_ns,
    )
    jobs._write(trainer.job, tape.frame("ETHUSDT"), folder)
    assert jobs.main(str(folder)) == 0
    return asked


@pytest.mark.parametrize(("settings", "wanted"), [("every: 30d", 10), ("nice: 0", 0), ("nice: 3", 3), ("nice: 19", 19)])
def test_a_training_steps_back_as_far_as_the_settings_say(
    settings: str, wanted: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert played(monkeypatch, f"retraining: {{{settings}}}\n", tmp_path) == [wanted]
    assert capsys.readouterr().out == '{"model_id": "made"}\n'


@pytest.mark.parametrize("nice", [-1, 20])
def test_it_steps_back_by_no_other_amount(nice: int, tmp_path: Path) -> None:
    path = tmp_path / "bot.yaml"
    path.write_text(f"retraining: {{nice: {nice}}}\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match="nice"):
        load_config(path, env={})


def test_frames_go_to_the_process_and_back_unchanged(tmp_path: Path) -> None:
    frame = Tape.synthetic("ETHUSDT", "1h", bars=40).frame("ETHUSDT")
    made = jobs.TrainingJob(
        symbol="ETHUSDT", interval="1h", number=2, schedule=ScheduleConfig(), models=tmp_path, nice=4
    )
    jobs._write(made, frame, tmp_path)
    job, klines = jobs._read(tmp_path)
    assert job == made
    pd.testing.assert_frame_equal(klines, frame, check_freq=False)
