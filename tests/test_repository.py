"""What the readme promises is what the makefile and the continuous integration run."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
CI = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_readme_opens_with_demo_and_test() -> None:
    commands = README.split("```console\n")[1].split("```")[0].splitlines()
    assert [line.split("#")[0].strip() for line in commands] == ["make demo", "make test"]


def test_one_test_command_everywhere() -> None:
    assert ".venv/bin/python -m pytest\n" in README
    assert "$(BIN)/python -m pytest\n" in MAKEFILE
    assert CI.rstrip().endswith("python -m pytest")


def test_the_demo_is_the_same_everywhere() -> None:
    recipe = re.search(r"^demo:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert recipe is not None
    commands = re.findall(r"\$\(BIN\)/(ares .*)", recipe[1])
    assert [command.split()[1] for command in commands] == ["train", "paper"]
    for command in commands:
        assert f".venv/bin/{command}\n" in README


def test_the_readme_names_files_that_exist() -> None:
    for name in ("examples/02_wire_the_stages.py", "docs", "CHANGELOG.md", "LICENSE"):
        assert (ROOT / name).exists()


def test_every_extra_named_by_the_project_is_there() -> None:
    wanted = {"report", "serve", "ops", "cluster", "ccxt", "lightgbm", "bench", "docs", "test"}
    assert wanted <= set(PROJECT["project"]["optional-dependencies"])
    assert PROJECT["project"]["name"] == "ares-trading"
    assert (ROOT / "ares" / "py.typed").exists()


def test_no_file_holds_two_versions_of_itself() -> None:
    """What a merge left undecided reads as text in a page, and is found by nobody."""
    folders = [ROOT / name for name in ("ares", "benchmarks", "docs", "examples", "tests")]
    files = [*ROOT.glob("*.*"), *(f for folder in folders for f in folder.rglob("*.*"))]
    texts = [f for f in files if f.is_file() and f.suffix in {".md", ".py", ".toml", ".yml", ".yaml", ".txt"}]
    assert len(texts) > 300
    undecided = re.compile(rb"^(<{7} |>{7} |={7}$)", re.MULTILINE)
    assert [f for f in texts if undecided.search(f.read_bytes())] == []
