"""Running the program as its user does, in this process so that kernels are compiled once."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen

from ares.cli.program import program
from ares.training import retrainer
from ares.training.job import TrainingJob, run_apart


@frozen
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def answer(self) -> dict[str, Any]:
        """The one JSON object on standard output."""
        assert self.returncode == 0, self.stderr
        read = json.loads(self.stdout)
        assert isinstance(read, dict)
        return read


@pytest.fixture(scope="session", autouse=True)
def trainings_step_back_behind_nobody() -> Iterator[None]:
    """On a busy machine a training that does would never end."""

    async def at_our_side(job: TrainingJob, klines: Any) -> str:
        return await run_apart(evolve(job, nice=0), klines)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrainer, "run_apart", at_our_side)
        yield


@pytest.fixture(scope="session")
def ares(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Done]:
    """`ares("backtest", "--json")` runs the program with these arguments, in a new folder unless one is named."""

    def run(*arguments: str | Path, folder: Path | None = None) -> Done:
        out, err = io.StringIO(), io.StringIO()
        place = chdir(folder or tmp_path_factory.mktemp("run"))
        with place, redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            program([str(argument) for argument in arguments], prog_name="ares")
        return Done(int(ended.value.code or 0), out.getvalue(), err.getvalue())

    return run
