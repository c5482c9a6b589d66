"""The documentation speaks of things that exist: its settings parse, its imports work, its options are real."""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import frozen

from ares.config import load_config
from ares.simulation.faults import FaultPlan

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for number, (kind, text) in enumerate(FENCE.findall(page.read_text(encoding="utf-8"))):
            if kind == language:
                yield f"{page.relative_to(ROOT)}-{number}", text


def params(language: str) -> list[object]:
    return [pytest.param(text, id=name) for name, text in blocks(language)]


@pytest.mark.parametrize("text", params("yaml"))
def test_settings_in_the_documentation_parse(text: str, tmp_path: Path) -> None:
    text = re.sub(r"\s+api_(key|secret)_file: .*", "", text)
    text = re.sub(r"binance_exchange:\n(?! )", "binance_exchange: {}\n", text)
    path = tmp_path / "bot.yaml"
    path.write_text(text)
    load_config(path, env={})


def test_the_plan_of_faults_in_the_documentation_parses(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "how-to" / "simulate.md").read_text(encoding="utf-8")
    (text,) = re.findall(r'^```yaml title="faults.yaml"\n(.*?)^```', page, re.MULTILINE | re.DOTALL)
    (tmp_path / "faults.yaml").write_text(text)
    assert FaultPlan.from_file(tmp_path / "faults.yaml").faults


@pytest.mark.parametrize("text", params("python"))
def test_imports_in_the_documentation_work(text: str) -> None:
    tree = ast.parse(text, mode="exec")
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ares":
            module = importlib.import_module(node.module or "")
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"


@frozen
class Page:
    """A page whose Python runs as it stands, block after block, in one namespace."""

    path: str
    blocks: tuple[int, ...] = ()  # among the page's Python blocks; none named: all of them


PLAYED = (
    Page("README.md"),
    Page("docs/tutorial/first-backtest.md"),
    Page("docs/features/index.md"),
    Page("docs/how-to/settings.md"),
    Page("docs/how-to/crash-recovery.md"),
    Page("docs/how-to/own-analyst.md", blocks=(0, 1)),
    Page("docs/how-to/own-tactician.md", blocks=(0, 1)),
    Page("docs/how-to/own-model.md", blocks=(0, 1, 3)),
)


@pytest.fixture
def newcomer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The files and the names that the pages take for granted, in a folder of their own."""
    from ares import Analyst, FeatureOrchestrator, Tape
    from ares.pipeline.journal import SqliteJournal

    monkeypatch.chdir(tmp_path)
    tape = Tape.synthetic("ETHUSDT", "1h", bars=900, seed=3)
    klines = tape.frame()
    klines.to_parquet("ETHUSDT_1h.parquet")
    Path("bot.yaml").write_text("tactician: {risk_per_trade: 0.01}\n")
    SqliteJournal("bot.sqlite", {}).close()
    X = FeatureOrchestrator().compute(klines).iloc[-200:]
    y = np.sign(klines["close"].diff().shift(-1).fillna(0.0)).astype(int).to_numpy()[-200:]
    return {"Analyst": Analyst, "klines": klines, "candle": tape.candle("ETHUSDT", 0), "X": X, "y": y}


@pytest.mark.parametrize("page", PLAYED, ids=lambda page: page.path)
def test_python_in_the_documentation_runs(page: Page, newcomer: dict[str, Any]) -> None:
    fences = re.findall(r"^```python[^\n]*\n(.*?)^```", (ROOT / page.path).read_text(encoding="utf-8"), re.M | re.S)
    for number in page.blocks or range(len(fences)):
        code = compile(fences[number], f"{page.path}-{number}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        waiting = eval(code, newcomer)
        if inspect.iscoroutine(waiting):
            asyncio.run(waiting)


@pytest.mark.parametrize("text", params("console"))
def test_commands_in_the_documentation_exist(text: str) -> None:
    from ares.cli.program import program

    commands = {c.callback.__name__: set(c.callback.__annotations__) for c in program.registered_commands if c.callback}
    commands = {name: {*options, *(f"no_{option}" for option in options)} for name, options in commands.items()}
    for command, rest in re.findall(r"\bares (\w+)([^\n#]*)", text):
        if command not in commands:
            continue  # a sentence, or the output of a command
        for option in re.findall(r"--([\w-]+)", rest):
            assert option.replace("-", "_") in commands[command], f"ares {command} has no --{option}"


def test_every_command_is_documented() -> None:
    from ares.cli.program import program

    page = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    for command in program.registered_commands:
        assert command.callback is not None
        assert f"{{{{ help {command.callback.__name__} }}}}" in page
