"""What every test stands on: an environment of its own, the folder of recorded data, and hypothesis profiles."""

from __future__ import annotations

import ast
import gc
import os
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

_ROOT = Path(__file__).resolve().parent.parent

# What a user has set for his own programs is no part of a test, nor of the processes that one starts.
_SCREEN = {
    *("TERM", "COLORTERM", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"),
    *("GITHUB_ACTIONS", "PY_COLORS", "TYPER_USE_RICH", "TERMINAL_WIDTH", "PYTHONWARNINGS"),
}
_OURS = {"ARES_REAL_DATA", "ARES_WRITE_PUBLIC_NAMES"}
for _name in os.environ.keys() - _OURS:
    if _name in _SCREEN or _name.startswith("ARES_") or _name.lower().endswith("_proxy"):
        del os.environ[_name]
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait by spinning starve a busy machine

settings.register_profile("ares", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("ares"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "ares")


_parse = ast.parse


@wraps(_parse)
def _parse_undisturbed(*given: Any, **more: Any) -> Any:
    """Parse while no garbage is collected: test files, sources that a test reads, code that hypothesis looks at.

    CPython 3.11 counts the depth of a syntax tree in one place for everybody: a finalizer that the collector runs in
    the middle, and that parses something itself (a traceback does, for its carets), makes the outer parse fail with
    "AST constructor recursion depth mismatch".
    """
    was = gc.isenabled()
    gc.disable()
    try:
        return _parse(*given, **more)
    finally:
        if was:
            gc.enable()


ast.parse = _parse_undisturbed


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of recorded market data: ARES_REAL_DATA, else `../shared/data` beside the repository.

    Example: `real_data / "market" / "um_ETHUSDT_1h.parquet"`. The test is skipped when there is none.
    """
    named = os.environ.get("ARES_REAL_DATA")
    folder = Path(named) if named else _ROOT.parent / "shared" / "data"
    if not (folder / "market").is_dir():
        pytest.skip(f"no recorded market data in {folder}; name their folder in ARES_REAL_DATA")
    return folder
