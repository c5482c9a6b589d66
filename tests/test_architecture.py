"""The floors of the house: which room may import which, and what nobody may do.

Everything is read from the source; nothing is imported. A room is a folder or a file directly under `ares/`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "ares"

# A room imports only rooms on lower floors; rooms on one floor never meet. Inside a room, files may, without cycles.
FLOORS: dict[float, str] = {
    0: "errors clock kernels log secret _lazy",
    1: "storage instruments strict_yaml",
    1.5: "instrument_tables",
    2: "market orders",
    3: "account",
    4: "values models",
    4.3: "events",
    4.6: "protocols",
    5: "exchange data features analyst tactician monitor",
    6: "report training simulation",
    6.5: "download",
    7: "pipeline",
    8: "backtesting",
    9: "testing",
    10: "config",
    11: "assembly",
    12: "cli",
    13: "__main__",
}
FLOOR_OF = {room: floor for floor, rooms in FLOORS.items() for room in rooms.split()}

# Floor 0 is several small rooms; these pairs may meet there, in this direction only.
MAY_ALSO_MEET = {
    ("secret", "errors"),  # raises the error tree
    ("log", "errors"),
    ("log", "secret"),  # keeps secrets out of log lines
    ("clock", "errors"),
}

# Files that may touch what the rest of the code may not, and why.
SEAMS: dict[str, dict[str, str]] = {
    "time": {"clock.py": "the one place that asks the machine for the time"},
    "environment": {
        "config.py": "settings and secrets",
        "kernels/jit.py": "where compiled code is kept",
    },
}

TIME_CALLS = {
    "time": {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "sleep"},
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
    "Timestamp": {"now", "utcnow", "today"},
}
CHANCE_MODULES = {"random", "secrets"}
CHANCE_NAMES = {"uuid1", "uuid4"}
FORBIDDEN_MODULES = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
FORBIDDEN_BUILTINS = {"eval", "exec"}
FORBIDDEN_CALLS = {("yaml", "load"), ("yaml", "full_load"), ("yaml", "unsafe_load")}

LONGEST_FILE = 500
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc"}


@cache
def sources() -> dict[str, ast.Module]:
    """Module name (`ares.pipeline.desk`) to its syntax tree, for every file of the package."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    return found


def file_of(module: str) -> str:
    """The file of a module, relative to the package: `pipeline/desk.py`."""
    inner = module.split(".")[1:]
    folder = PACKAGE.joinpath(*inner)
    return (folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")).relative_to(PACKAGE).as_posix()


def room_of(module: str) -> str:
    """`ares.pipeline.desk` lives in the room `pipeline`; the front door is the room with the empty name."""
    inner = module.split(".")[1:]
    return inner[0] if inner else ""


def imports_of(module: str) -> Iterator[tuple[str, int]]:
    """Every module of ours that `module` imports, wherever the statement stands, with its line."""
    known = sources()
    for node in ast.walk(known[module]):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names if alias.name.split(".")[0] == "ares")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file_of(module)}:{node.lineno} imports relatively; name the module in full"
            if node.module is not None and node.module.split(".")[0] == "ares":
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    yield (inner if inner in known else node.module), node.lineno


def called(node: ast.Call) -> tuple[str, str]:
    """Owner and name of what is called: `time.sleep(1)` is ("time", "sleep"), `eval(x)` is ("", "eval")."""
    if isinstance(node.func, ast.Attribute):
        owner = node.func.value
        return (owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")), node.func.attr
    return "", getattr(node.func, "id", "")


def test_every_room_has_a_floor() -> None:
    rooms = {room_of(module) for module in sources()} - {""}
    assert not rooms - FLOOR_OF.keys(), "give each new room its floor in FLOORS"


def test_imports_only_go_down() -> None:
    wrong = []
    for module in sources():
        if not (room := room_of(module)):
            continue
        for target, line in imports_of(module):
            below = room_of(target)
            if below in {room, ""} or (room, below) in MAY_ALSO_MEET:
                continue
            if FLOOR_OF[below] >= FLOOR_OF[room] and not (below == "_lazy" and room != "_lazy"):
                wrong.append(f"{file_of(module)}:{line} ({FLOOR_OF[room]}) imports {target} ({FLOOR_OF[below]})")
    assert not wrong, "\n".join(wrong)


def test_nobody_inside_imports_the_front_door() -> None:
    inside = [module for module in sources() if module != "ares"]
    assert not [f"{file_of(m)}:{line}" for m in inside for target, line in imports_of(m) if target == "ares"]


def test_files_import_each_other_without_cycles() -> None:
    graph = {module: {target for target, _ in imports_of(module) if target != module} for module in sources()}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join([*trail[trail.index(module) :], module])
        if module not in done:
            for target in sorted(graph.get(module, ())):
                visit(target, (*trail, module))
            done.add(module)

    for module in graph:
        if module != "ares":  # the front door resolves its names on first use
            visit(module, ())


def test_only_the_clock_asks_for_the_time() -> None:
    wrong = []
    for module, tree in sources().items():
        if file_of(module) in SEAMS["time"]:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                owner, name = called(node)
                if name in TIME_CALLS.get(owner, ()):
                    wrong.append(f"{file_of(module)}:{node.lineno} calls {owner}.{name}")
            elif isinstance(node, ast.ImportFrom) and node.module == "time":
                wrong.append(f"{file_of(module)}:{node.lineno} imports from time")
    assert not wrong, "\n".join(wrong)


def test_chance_comes_from_a_seed() -> None:
    """No `random`, `secrets` or fresh uuid, and no numpy generator without a seed."""
    wrong = []
    for module, tree in sources().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                heads = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
                names = {alias.name for alias in node.names}
                if CHANCE_MODULES & set(heads) or CHANCE_NAMES & names:
                    wrong.append(f"{file_of(module)}:{node.lineno} imports chance")
            elif isinstance(node, ast.Call):
                owner, name = called(node)
                unseeded = name == "default_rng" and not node.args and not node.keywords
                global_state = owner == "random" and name not in {"default_rng", "Generator", "SeedSequence", "PCG64"}
                if name in CHANCE_NAMES or unseeded or global_state:
                    wrong.append(f"{file_of(module)}:{node.lineno} calls {owner}.{name}")
    assert not wrong, "\n".join(wrong)


def test_nothing_runs_data_as_code() -> None:
    wrong = []
    for module, tree in sources().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                heads = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
                found = [head for head in heads if head.split(".")[0] in FORBIDDEN_MODULES]
                wrong += [f"{file_of(module)}:{node.lineno} imports {head}" for head in found]
            elif isinstance(node, ast.Call):
                owner, name = called(node)
                if (owner == "" and name in FORBIDDEN_BUILTINS) or (owner, name) in FORBIDDEN_CALLS:
                    wrong.append(f"{file_of(module)}:{node.lineno} calls {name}")
                if any(k.arg == "allow_pickle" and getattr(k.value, "value", None) is not False for k in node.keywords):
                    wrong.append(f"{file_of(module)}:{node.lineno} allows pickle")
    assert not wrong, "\n".join(wrong)


def test_only_settings_read_the_environment() -> None:
    wrong = []
    for module, tree in sources().items():
        if file_of(module) in SEAMS["environment"]:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}:
                wrong.append(f"{file_of(module)}:{node.lineno} reads the environment")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_a_file_is_one_idea(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= LONGEST_FILE, f"{lines} lines: two ideas share this file"
    assert path.stem not in VAGUE_NAMES, "name the file after its idea"


def test_every_module_says_what_it_is_for() -> None:
    assert not [file_of(module) for module, tree in sources().items() if not ast.get_docstring(tree)]
