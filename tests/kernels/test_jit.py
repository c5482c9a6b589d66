"""The compile cache: warm starts load, and an edit in any kernel file recompiles its callers in other files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ares.kernels.jit import KERNELS, source_digest

RULE = "from ares_copy.kernels.jit import inner\n\n\n@inner\ndef rule(x):\n    return x * 2.0\n"
CALLER = """from ares_copy.kernels.jit import jit
from ares_copy.kernels import rule_file


@jit
def caller(x):
    return rule_file.rule(x) + 1.0
"""
PROGRAM = """
from ares_copy.kernels.caller_file import caller
from ares_copy.kernels.jit import is_compiled, loaded_from_cache
known = is_compiled(caller)
print(caller(10.0), known, loaded_from_cache(caller))
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with our `jit` and two kernel files, one calling the other."""
    folder = tmp_path / "ares_copy" / "kernels"
    folder.mkdir(parents=True)
    (tmp_path / "ares_copy" / "__init__.py").write_text("")
    (folder / "__init__.py").write_text("")
    (folder / "jit.py").write_text((KERNELS / "jit.py").read_text())
    (folder / "rule_file.py").write_text(RULE)
    (folder / "caller_file.py").write_text(CALLER)
    return tmp_path


def run(package: Path, **more: str) -> list[str]:
    """What a fresh process prints."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")}
    environment |= {"PYTHONPATH": str(package), **more}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_an_edited_rule_reaches_its_compiled_caller(package: Path) -> None:
    assert run(package) == ["21.0", "False", "False"]  # cold: compiled
    assert run(package) == ["21.0", "True", "True"]  # warm: loaded
    path = package / "ares_copy" / "kernels" / "rule_file.py"
    path.write_text(RULE.replace("2.0", "3.00"))  # another size: Python sees no edit of the same size and second
    assert run(package) == ["31.0", "False", "False"]  # edited: the caller's own file is unchanged
    assert run(package) == ["31.0", "True", "True"]


def test_a_named_cache_folder_is_used(package: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    assert run(package, NUMBA_CACHE_DIR=str(folder)) == ["21.0", "False", "False"]
    assert list(folder.rglob("*.nbi"))
    assert run(package, NUMBA_CACHE_DIR=str(folder)) == ["21.0", "True", "True"]


def test_without_a_writable_package_the_users_cache_is_used(package: Path, tmp_path: Path) -> None:
    kernels = package / "ares_copy" / "kernels"
    (kernels / "__pycache__").write_text("a file where the folder should be")
    home = tmp_path / "home"
    assert run(package, XDG_CACHE_HOME=str(home), PYTHONDONTWRITEBYTECODE="1") == ["21.0", "False", "False"]
    assert list(home.rglob("*.nbi"))
    assert run(package, XDG_CACHE_HOME=str(home), PYTHONDONTWRITEBYTECODE="1") == ["21.0", "True", "True"]


def test_the_digest_is_of_the_named_files() -> None:
    whole, part = source_digest(), source_digest(("moving.py", "layout.py"))
    assert len(whole) == len(part) == 64 and whole != part
