"""Kernels compiled in a copied package: edits in other files, processes at once, damaged entries, folders read only."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ares.kernels
from ares.kernels.jit import inner, jit, woven

PACKAGE = Path(ares.kernels.__file__).parent.parent

RULE = """
from ares.kernels.jit import inner, jit

@jit
def rule(x):
    return x * {factor}

@inner
def part(x):
    return x + {shift}
"""
CALLER = """
from ares.kernels.jit import jit
from ares.kernels.rule import part, rule

@jit
def call(x):
    return part(rule(x))

@jit
def first(x):
    return x[0]
"""
ASK = """
import json, sys
from ares.kernels import caller
from ares.kernels.jit import is_compiled, loaded_from_cache
ready = is_compiled(caller.call)
value = caller.call(10.0)
print(json.dumps({"value": value, "ready": ready, "loaded": loaded_from_cache(caller.call)}))
"""

FIRST = """
import sys
import numpy as np
from ares.kernels.caller import first
print(first(np.array([7], dtype=sys.argv[1])))
"""


class Copy:
    """A copy of the kernels with two small ones besides: `caller.call` uses the rules of `rule.py`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kernels = folder / "ares" / "kernels"
        self.kernels.mkdir(parents=True)
        (folder / "ares" / "__init__.py").write_text("")
        for name in ("__init__.py", "jit.py"):
            shutil.copy(PACKAGE / "kernels" / name, self.kernels / name)
        (self.kernels / "caller.py").write_text(CALLER)
        self.edit(factor=2.0, shift=1.0)

    def edit(self, *, factor: float, shift: float) -> None:
        """Write the rules anew, a second later than the last time by the file's own stamp.

        Python takes byte code for that of a source with the same size and the same whole second.
        """
        path = self.kernels / "rule.py"
        last = path.stat().st_mtime if path.exists() else 1e9
        path.write_text(RULE.format(factor=factor, shift=shift))
        os.utime(path, (last + 1.0, last + 1.0))

    def start(self, program: str = ASK, *arguments: str) -> subprocess.Popen[str]:
        """A new process; by default it calls `caller.call(10.0)`."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA")}
        given = {**kept, "PYTHONPATH": str(self.folder), "XDG_CACHE_HOME": str(self.folder / "home")}
        pipe = subprocess.PIPE
        command = [sys.executable, "-c", program, *arguments]
        return subprocess.Popen(command, cwd=self.folder, env=given, stdout=pipe, stderr=pipe, text=True)

    def ask(self) -> dict[str, Any]:
        found: dict[str, Any] = answer(self.start())
        return found


def answer(process: subprocess.Popen[str]) -> Any:
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return json.loads(out)


@pytest.fixture
def copied(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


def test_an_edited_rule_changes_its_callers_in_other_files(copied: Copy) -> None:
    assert copied.ask() == {"value": 21.0, "ready": False, "loaded": False}
    assert copied.ask() == {"value": 21.0, "ready": True, "loaded": True}
    copied.edit(factor=3.0, shift=1.0)
    assert copied.ask() == {"value": 31.0, "ready": False, "loaded": False}
    copied.edit(factor=3.0, shift=5.0)  # a rule that is set into its caller and has no entry of its own
    assert copied.ask() == {"value": 35.0, "ready": False, "loaded": False}
    assert copied.ask() == {"value": 35.0, "ready": True, "loaded": True}


def test_a_folder_that_cannot_be_written_falls_back_to_the_users_cache(copied: Copy) -> None:
    (copied.kernels / "__pycache__").write_text("a file where the folder would be")
    assert not copied.ask()["loaded"]
    assert list((copied.folder / "home" / "ares").rglob("*.nbc"))
    assert copied.ask() == {"value": 21.0, "ready": True, "loaded": True}
    copied.edit(factor=4.0, shift=1.0)
    assert copied.ask() == {"value": 41.0, "ready": False, "loaded": False}


READ_ONLY = """
import tempfile
granted = tempfile.TemporaryFile
def guarded(**given):
    if str(given["dir"]).endswith("__pycache__"):
        raise PermissionError(13, "Permission denied", str(given["dir"]))
    return granted(**given)
tempfile.TemporaryFile = guarded
"""


def test_what_was_compiled_beside_the_sources_serves_a_user_who_may_not_write_there(copied: Copy) -> None:
    copied.ask()  # whoever may, as when a container is made
    assert answer(copied.start(READ_ONLY + ASK)) == {"value": 21.0, "ready": True, "loaded": True}
    assert not list(copied.folder.glob("home/**/*.nbc"))
    copied.edit(factor=3.0, shift=1.0)
    assert answer(copied.start(READ_ONLY + ASK)) == {"value": 31.0, "ready": False, "loaded": False}
    assert list(copied.folder.glob("home/**/*.nbc"))
    assert answer(copied.start(READ_ONLY + ASK)) == {"value": 31.0, "ready": True, "loaded": True}


def test_kernels_that_cannot_be_kept_anywhere_run_and_one_warning_says_so(copied: Copy) -> None:
    (copied.kernels / "__pycache__").write_text("a file where the folder would be")
    (copied.folder / "home").write_text("and another one")
    told = "from ares.kernels.jit import unkept\nprint(unkept(), file=sys.stderr)\n"
    out, err = copied.start(ASK + told).communicate(timeout=600)
    assert json.loads(out) == {"value": 21.0, "ready": False, "loaded": False}
    assert err.count("UserWarning: compiled kernels cannot be kept in") == 1, "of two kernels"
    reason = err.splitlines()[-1]
    assert "NUMBA_CACHE_DIR" in reason and str(copied.folder / "home") in reason


def test_processes_that_compile_at_once_agree(copied: Copy) -> None:
    started = [copied.start() for _ in range(3)]
    assert [answer(process)["value"] for process in started] == [21.0] * 3
    assert copied.ask() == {"value": 21.0, "ready": True, "loaded": True}


def test_a_damaged_entry_is_compiled_again(copied: Copy) -> None:
    copied.ask()
    for entry in (copied.kernels / "__pycache__").glob("*.nb[ci]"):
        entry.write_bytes(entry.read_bytes()[: entry.stat().st_size // 2])
    assert copied.ask()["value"] == 21.0


def test_an_entry_for_arguments_of_other_types_is_not_taken(copied: Copy) -> None:
    """Two processes that add an entry at once choose one name for both; the file is then that of the later writer."""

    def asked(dtype: str) -> float:
        return float(answer(copied.start(FIRST, dtype)))

    assert asked("float64") == asked("int64") == 7.0
    floats, whole = sorted((copied.kernels / "__pycache__").glob("caller.first*.nbc"))
    whole.write_bytes(floats.read_bytes())
    assert asked("int64") == 7.0, "and not what the bits of a 7 mean as a float"
    assert asked("float64") == asked("int64") == 7.0


@inner
def twice(x: float) -> float:
    return 2.0 * x


@woven
def thrice(x: float) -> float:
    return 3.0 * x


@jit(cached=False)
def both(x: float) -> float:
    return twice(x) + thrice(x)


def test_parts_of_kernels_refuse_to_be_called_from_python() -> None:
    assert both(2.0) == 10.0
    with pytest.raises(TypeError, match="twice is a part of other kernels"):
        twice(2.0)
    assert thrice(2.0) == 6.0
