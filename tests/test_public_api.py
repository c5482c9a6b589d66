"""The names that users rely on: they exist, are typed and documented, and none comes or goes unnoticed.

`tests/public_names.txt` is the list of every room's public names. After a wanted change write it anew with
`ARES_WRITE_PUBLIC_NAMES=1 python -m pytest tests/test_public_api.py`, and say so in the changelog.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import pkgutil
from pathlib import Path

import pytest

import ares

SNAPSHOT = Path(__file__).with_name("public_names.txt")

FRONT_DOOR = [
    *("Exchange", "FeatureStage", "AnalysisStage", "TacticsStage", "MonitoringStage"),
    *("FeatureRow", "AnalysisInput", "AnalysisResult", "TacticsInput", "TacticsResult", "TradePlan"),
    *("Assessment", "AssessmentInput", "AresConfig", "load_config"),
    *("Tape", "FeatureOrchestrator", "Analyst", "train", "RuleAnalyst", "Tactician", "PositionMonitor"),
    *("LiveTradingPipeline",),
    *("Backtester", "BacktestResult", "SimulatedExchange", "PaperExchange", "BinanceExchange", "Analyst", "train"),
    "check_causality",
]


def public_names() -> list[str]:
    """`room.module: name` for every name that a module of ares lists in `__all__`."""
    lines = []
    for module in pkgutil.walk_packages(ares.__path__, "ares."):
        if module.name.split(".")[-1].startswith("_"):
            continue
        names = getattr(importlib.import_module(module.name), "__all__", ())
        lines += [f"{module.name}: {name}" for name in sorted(names)]
    return sorted(lines)


@pytest.mark.parametrize("name", FRONT_DOOR)
def test_a_front_door_name_exists_and_is_documented(name: str) -> None:
    thing = getattr(ares, name)
    assert inspect.getdoc(thing), f"{name} has no docstring"
    assert name in ares.__all__
    assert name in dir(ares)


@pytest.mark.parametrize("name", sorted(set(ares.__all__) - {"__version__"}))
def test_a_public_callable_is_typed(name: str) -> None:
    thing = getattr(ares, name)
    functions = [thing] if inspect.isfunction(thing) else [
        value for key, value in vars(thing).items() if inspect.isfunction(value) and not key.startswith("_")
    ]
    for function in functions:
        signature = inspect.signature(function)
        given = [p for p in signature.parameters.values() if p.name not in {"self", "cls"}]
        untyped = [p.name for p in given if p.annotation is p.empty]
        assert not untyped, f"{name}.{function.__name__} leaves {untyped} untyped"
        assert signature.return_annotation is not signature.empty, f"{name}.{function.__name__} has no return type"


def test_type_checkers_see_the_same_names() -> None:
    """The imports under TYPE_CHECKING, the lazy table and `__all__` are one list, and say the same homes."""
    tree = ast.parse(Path(ares.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    seen = {a.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for a in node.names}
    assert seen == ares._HOMES
    assert sorted([*seen, "__version__"]) == ares.__all__


def test_a_missing_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Exchagne"):
        _ = ares.Exchagne


def test_every_listed_name_exists() -> None:
    for line in public_names():
        module, name = line.split(": ")
        assert hasattr(importlib.import_module(module), name), line


def test_no_public_name_came_or_went_unnoticed() -> None:
    now = public_names()
    if os.environ.get("ARES_WRITE_PUBLIC_NAMES"):
        SNAPSHOT.write_text("\n".join(now) + "\n", encoding="utf-8")
    before = SNAPSHOT.read_text(encoding="utf-8").splitlines()
    assert sorted(set(before) - set(now)) == [], "gone"
    assert sorted(set(now) - set(before)) == [], "new"


def test_the_version_is_that_of_the_package() -> None:
    project = (Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{ares.__version__}"' in project
