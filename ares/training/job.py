"""One training in a process of its own: told by files, answered by a line of JSON.

The process shares nothing with the bot but the folder of models, steps back behind it, and
may be killed at any moment: a model is in the folder whole or not at all.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
from attrs import field, frozen
from attrs.validators import ge, le

from ares.errors import AresError, ModelError
from ares.features.config import FeatureConfig
from ares.models.registry import Registry
from ares.strict_yaml import plain, section_of, structure
from ares.training.cuts import ScheduleConfig
from ares.training.dataset import TrainConfig

__all__ = ["TrainingJob", "main", "run_apart", "run_here"]

_PROGRAM = "import sys; sys.path[:] = {path!r}; from ares.training.job import main; sys.exit(main({folder!r}))"


@frozen(kw_only=True)
class TrainingJob:
    """What to train: the model of one cut."""

    symbol: str
    interval: str
    number: int  # of the cut
    schedule: ScheduleConfig
    models: Path = field(converter=Path)  # folder that the model is written to
    nice: int = field(validator=[ge(0), le(19)])  # how far the process steps back behind the bot's own
    features: FeatureConfig = field(factory=FeatureConfig)
    training: TrainConfig = field(factory=TrainConfig)


async def run_apart(job: TrainingJob, klines: pd.DataFrame) -> str:
    """Train in another process; the id of the model, which is then in the folder. Cancelled, the process is killed.

    klines: from the history's beginning to the cut.
    Raises: ModelError naming what went wrong there.
    """
    with tempfile.TemporaryDirectory(prefix="ares-training-") as folder:
        _write(job, klines, Path(folder))
        program = _PROGRAM.format(path=sys.path, folder=folder)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        try:
            out, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    return _answer(job, process.returncode or 0, out, err)


def run_here(job: TrainingJob, klines: pd.DataFrame) -> str:
    """The same in this process. Raises: TooShort, InvalidInput, DataError, ModelError."""
    from ares.features.orchestrator import FeatureOrchestrator
    from ares.training.schedule import train_cut

    made = train_cut(
        klines,
        job.number,
        schedule=job.schedule,
        config=job.training,
        features=FeatureOrchestrator(job.features),
        interval=job.interval,
        store=Registry(job.models),
    )
    return made.model_id


def main(folder: str) -> int:
    """Do the job that lies in `folder`; its answer goes to standard output. The exit code: 0 or 1."""
    try:
        job, klines = _read(Path(folder))
        if hasattr(os, "nice"):  # not on Windows
            os.nice(job.nice)
        answer, code = {"model_id": run_here(job, klines)}, 0
    except AresError as error:
        answer, code = {"error": type(error).__name__, "message": str(error)}, 1
    sys.stdout.write(json.dumps(answer) + "\n")
    return code


def _write(job: TrainingJob, klines: pd.DataFrame, folder: Path) -> None:
    klines.to_parquet(folder / "klines.parquet")
    (folder / "job.json").write_text(json.dumps(plain(job)), encoding="utf-8")


def _read(folder: Path) -> tuple[TrainingJob, pd.DataFrame]:
    values = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    return structure(section_of(values, "job.json"), TrainingJob), pd.read_parquet(folder / "klines.parquet")


def _answer(job: TrainingJob, code: int, out: bytes, err: bytes) -> str:
    """The model's id out of what the process said. Raises ModelError."""
    lines = out.decode(errors="replace").strip().splitlines()
    try:
        answer: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    except ValueError:
        answer = {}
    if code == 0 and "model_id" in answer:
        return str(answer["model_id"])
    last = err.decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {code}"]
    kind, message = answer.get("error", "ended"), answer.get("message", last[0])
    raise ModelError(f"training of cut {job.number} failed: {kind}: {message}", cut=job.number, error=kind)
