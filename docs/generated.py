"""Tables that are read from the code when the documentation is built, so that they cannot fall behind it.

A page asks for one with a line of its own:

    {{ settings ares.tactician.config.TacticianConfig }}     the fields of a settings class
    {{ log events }}                                         every event that is logged
    {{ reasons }}                                            every code that a decision or an alert may carry
    {{ exit codes }}                                         of the command line
    {{ help backtest }}                                      what a command says about itself
    {{ front door }}                                         the names of `ares` and their homes
    {{ room tactician }}                                     every module of a room that has public names
    {{ features momentum }}                                  the features of a group, from the catalogue
"""

from __future__ import annotations

import ast
import importlib
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

PACKAGE = Path(__file__).resolve().parent.parent / "ares"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs with the text of each page."""
    return re.sub(r"^\{\{ (.+?) \}\}$", lambda found: _table(found[1]), markdown, flags=re.MULTILINE)


def _table(asked: str) -> str:
    kind, _, rest = asked.partition(" ")
    if kind == "settings":
        return _settings(rest)
    if asked == "log events":
        return _rows(("event", "level", "facts", "file"), sorted(set(_log_events())))
    if asked == "reasons":
        return _rows(("code", "numbers", "file"), sorted(set(_reasons())))
    if asked == "exit codes":
        from ares.cli.exits import EXIT_CODES

        return _rows(("code", "error"), [(str(code), f"`{error.__name__}`") for error, code in EXIT_CODES.items()])
    if asked == "front door":
        return _front_door()
    if kind == "room":
        return _room(rest)
    if kind == "features":
        return _features(rest)
    if kind == "help":
        return _help(rest)
    raise ValueError(f"no table is called {asked!r}")


def _rows(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    """A bar ends a cell, but not inside code, where escaping it would show."""
    return "`".join(part if n % 2 else part.replace("|", "\\|") for n, part in enumerate(text.split("`")))


def _settings(name: str) -> str:
    """Key, type, default and the comment beside each field."""
    module_name, _, class_name = name.rpartition(".")
    cls = getattr(importlib.import_module(module_name), class_name)
    module = importlib.import_module(cls.__module__)
    comments = _comments(Path(module.__file__ or ""), class_name)
    rows = []
    for field in attrs.fields(cls):
        kind = str(cls.__annotations__[field.name])
        made = isinstance(field.default, attrs.Factory)  # type: ignore[arg-type]
        default = "" if attrs.has(getattr(field.default, "factory", None) or int) else field.default
        default = field.default.factory() if made and default != "" else default
        shown = f"`{default!r}`" if default != "" else "see below"
        rows.append((f"`{field.name}`", f"`{kind}`", shown, comments.get(field.name, "")))
    return _rows(("key", "type", "default", "meaning"), rows)


def _comments(path: Path, class_name: str) -> dict[str, str]:
    """Field name to the comment at the end of its line."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    cls = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == class_name)
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    by_line = {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}
    return {
        node.target.id: by_line.get(node.end_lineno or 0, "")
        for node in cls.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def _calls() -> Iterator[tuple[ast.Call, str, str]]:
    """Every call in the package with its function's name and its file."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                yield node, name, path.relative_to(PACKAGE).as_posix()


def _text(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _keys(node: ast.Call) -> str:
    return ", ".join(f"`{keyword.arg}`" for keyword in node.keywords if keyword.arg)


def _log_events() -> Iterator[tuple[str, ...]]:
    for node, name, file in _calls():
        event = _text(node.args[0]) if node.args else None
        if name in {"debug", "info", "warning", "error"} and event and re.fullmatch(r"[a-z_]+\.[a-z_]+", event):
            yield f"`{event}`", name, _keys(node), f"`{file}`"


def _reasons() -> Iterator[tuple[str, ...]]:
    for node, name, file in _calls():
        if name in ("Reason", "Alert"):
            code = next((_text(k.value) for k in node.keywords if k.arg == "code"), None)
            numbers = next((k.value for k in node.keywords if k.arg in ("numbers", "facts")), None)
            keys = [_text(key) for key in numbers.keys] if isinstance(numbers, ast.Dict) else []
            if code:
                yield f"`{code}`", ", ".join(f"`{key}`" for key in keys if key), f"`{file}`"
        elif name == "alert" and node.args and (code := _text(node.args[0])):
            yield f"`{code}`", _keys(node), f"`{file}`"


def _help(command: str) -> str:
    """A command's options, from the command itself."""
    import inspect
    from typing import get_args, get_type_hints

    function = getattr(importlib.import_module(f"ares.cli.{command}"), command)
    hints = get_type_hints(function, include_extras=True)
    rows = []
    for name, parameter in inspect.signature(function).parameters.items():
        _, option = get_args(hints[name])[:2]
        spelled = ", ".join(option.param_decls or ()) or "--" + name.replace("_", "-")
        default = "" if parameter.default in (None, False, inspect.Parameter.empty) else f"`{parameter.default}`"
        rows.append((f"`{spelled}`", default, option.help or ""))
    return (inspect.getdoc(function) or "") + "\n\n" + _rows(("option", "default", "meaning"), rows)


def _front_door() -> str:
    import ares

    rows = []
    for name, home in sorted(ares._HOMES.items()):
        summary = (getattr(ares, name).__doc__ or "").strip().splitlines()[0]
        rows.append((f"[`{name}`][{home}.{name}]", f"`{home}`", summary))
    return _rows(("name", "home", "what it is"), rows)


def _room(room: str) -> str:
    """A heading and the API of each module of the room that lists public names."""
    parts = []
    for path in sorted((PACKAGE / room).rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        text = path.read_text(encoding="utf-8")
        if path.stem != "__init__" and "\n__all__ = [" in text:
            parts.append(f"## {module}\n\n::: {module}\n")
    return "\n".join(parts)


def _features(group: str) -> str:
    """Each feature of a group: what it is, formula, source, range, and rows of hourly klines before its first value."""
    from ares.features.config import FeatureConfig, WaveletConfig
    from ares.features.orchestrator import KLINE_SOURCES, FeatureOrchestrator
    from ares.features.sources import FUTURES_COLUMNS
    from ares.kernels.volume import BOOK_COLUMNS, FLOW_COLUMNS

    sources = {*KLINE_SOURCES, *FLOW_COLUMNS, *BOOK_COLUMNS, *(f"futures_{name}" for name in FUTURES_COLUMNS)}
    config = FeatureConfig(timeframes=(), wavelets=WaveletConfig(exact=True))
    schema = FeatureOrchestrator(config).schema("1h", sources, (1.0,))
    warmup = dict(zip(schema.plan.names, schema.plan.warmup.tolist(), strict=True))
    settle = dict(zip(schema.plan.names, schema.plan.settle.tolist(), strict=True))
    lines = []
    for feature in schema.features:
        recipe = feature.recipe
        if recipe.group != group:
            continue
        parts = feature.name.removeprefix(recipe.name).strip("_").split("_")
        counts = str(warmup[feature.name]), str(settle[feature.name])
        row = (f"`{recipe.formula}`", recipe.range, recipe.source, *counts)
        given = ", ".join(f"{name} {value}" for name, value in zip(recipe.parameters, parts, strict=False))
        lines += [
            f"### `{feature.name}`",
            "",
            recipe.definition + (f" Parameters: {given}." if given else ""),
            "",
            _rows(("formula", "range", "source", "warm-up", "settled after"), [row]),
            "",
        ]
    if not lines:
        raise ValueError(f"there are no features in group {group!r}")
    return "\n".join(lines)
