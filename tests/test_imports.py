"""`import ares` is cheap: it loads none of the heavy packages, and no room before a name of it is used."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {"numba", "pandas", "sklearn", "pywt", "scipy", "pyarrow", "httpx", "websockets", "rich", "typer", "structlog"}


def modules_after(code: str) -> set[str]:
    """Names of all modules loaded in a fresh interpreter that ran `code`."""
    program = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=800)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("code", ["import ares", "import ares, ares.errors, ares.protocols, ares.events, ares.log"])
def test_importing_ares_loads_nothing_heavy(code: str) -> None:
    assert modules_after(code).isdisjoint(HEAVY)


def test_listing_the_front_door_loads_nothing_more() -> None:
    assert modules_after("import ares; dir(ares)") == modules_after("import ares")


def test_a_module_called_like_a_public_name_does_not_hide_it() -> None:
    code = """
import importlib, pkgutil, types, ares
for room in pkgutil.iter_modules(ares.__path__, "ares."):
    names = getattr(importlib.import_module(room.name), "__all__", ()) if room.ispkg else ()
    for module in pkgutil.iter_modules(importlib.import_module(room.name).__path__, room.name + ".") if names else ():
        if module.name.rpartition(".")[2] in names:
            importlib.import_module(module.name)
            name = module.name.rpartition(".")[2]
            assert not isinstance(getattr(importlib.import_module(room.name), name), types.ModuleType), module.name
from ares.features.warm import is_warm
from ares.features import warm
assert callable(is_warm) and callable(warm)
"""
    modules_after(code)


def test_settings_are_read_without_the_stages_they_are_for() -> None:
    code = "from ares import load_config; config = load_config(env={}); assert config.backtest.desk == config.desk"
    assert modules_after(code).isdisjoint(HEAVY)


def test_the_command_lists_itself_without_numbers_or_network() -> None:
    code = "import sys; sys.argv = ['ares', '--help']\nfrom ares.cli import main\ntry: main()\nexcept SystemExit: pass"
    assert modules_after(code).isdisjoint(HEAVY - {"rich", "typer"})
