"""YAML into frozen classes, strictly: what a class does not know is refused, with the line and the nearest name.

Only plain data are read (the safe subset of YAML). A value keeps the type it was written in: `"yes"` is no bool and
`2.5` no int, because a setting that is silently converted is a setting that silently means something else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from enum import Enum
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import attrs
import cattrs
import yaml
from attrs import field, frozen

from ares.errors import AresError, InvalidInput, unknown_name
from ares.secret import Secret

__all__ = ["Section", "plain", "read_yaml", "section_of", "structure"]

T = TypeVar("T")


@frozen
class Section:
    """A mapping read from YAML that remembers where it stood."""

    path: str  # dotted path of keys from the top of the file, "" for the whole file
    source: str  # file name, for messages
    line: int  # 1-based line on which the mapping begins
    values: Mapping[str, Any] = field(repr=False)  # a nested mapping is a Section, anything else plain data
    lines: Mapping[str, int] = field(factory=dict, repr=False)  # line of each key

    def place(self, key: str) -> str:
        """Where a key stands, for a message: `tactician.max_history (bot.yaml, line 12)`."""
        name = f"{self.path}.{key}" if self.path else key
        return f"{name} ({self.source}, line {self.lines.get(key, self.line)})"

    def without(self, *keys: str) -> Section:
        """The same section lacking some keys."""
        return attrs.evolve(self, values={k: v for k, v in self.values.items() if k not in keys})

    def with_value(self, key: str, value: object, line: int) -> Section:
        """The same section with one more key, as if it had stood there."""
        return attrs.evolve(self, values={**self.values, key: value}, lines={**self.lines, key: line})


def read_yaml(text: str, source: str) -> Section:
    """The sections of a YAML text. An empty text is an empty section.

    source: what to call the text in messages, usually its file name.
    Raises: InvalidInput with the line when it is not YAML, not a mapping of names, or names a key twice.
    """
    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return Section("", source, 1, {})
            return _section(loader, node, "", source)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error)
        raise InvalidInput(f"{source}{where} is not YAML: {problem}", source=source) from None


def _section(loader: yaml.SafeLoader, node: yaml.Node, path: str, source: str) -> Section:
    line = node.start_mark.line + 1
    if not isinstance(node, yaml.MappingNode):
        raise InvalidInput(f"{path or 'the file'} ({source}, line {line}) must hold settings, `name: value`")
    first: dict[str, int] = {}
    for key_node, _ in node.value:
        key_line = key_node.start_mark.line + 1
        if first.setdefault(key_node.value, key_line) != key_line:
            raise InvalidInput(f"{source}, line {key_line}: {key_node.value!r} was set on line {first[key_node.value]}")
    loader.flatten_mapping(node)  # `<<: *name`
    values: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        key_line = key_node.start_mark.line + 1
        if not isinstance(key, str):
            raise InvalidInput(f"{source}, line {key_line}: the name of a setting is text, not {key!r}")
        inner = f"{path}.{key}" if path else key
        values[key] = (
            _section(loader, value_node, inner, source)
            if isinstance(value_node, yaml.MappingNode)
            else loader.construct_object(value_node, deep=True)
        )
        lines[key] = key_line
    return Section(path, source, line, values, lines)


def section_of(values: Mapping[str, Any], source: str, path: str = "") -> Section:
    """Plain nested values as the section they would be if they had been read from YAML, without line numbers."""
    inner = {
        key: section_of(value, source, f"{path}.{key}" if path else key) if isinstance(value, Mapping) else value
        for key, value in values.items()
    }
    return Section(path, source, 1, inner)


def plain(value: object) -> Any:
    """The settings in `value` as YAML would hold them: mappings, lists, text, numbers; `section_of` reads them back.

    Raises: InvalidInput for a secret, which is never written down.
    """
    if isinstance(value, Secret):
        raise InvalidInput("a secret is never written down")
    if attrs.has(type(value)):
        return {f.name.lstrip("_"): plain(getattr(value, f.name)) for f in attrs.fields(type(value)) if f.init}  # type: ignore[arg-type]
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list | frozenset | set):
        return [plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value if isinstance(value.value, str | int) else value.name
    return str(value) if isinstance(value, Decimal | Path) else value


def structure(section: Section, cls: type[T]) -> T:
    """An instance of the attrs class `cls` with the section's settings and the class's own defaults for the rest.

    Raises: InvalidInput for a key the class does not have (with the nearest it has), a value of the wrong type, or
    one that the class refuses; each with path and line.
    """
    known = {a.name.lstrip("_"): a for a in attrs.fields(cls) if a.init}  # type: ignore[arg-type]
    types = get_type_hints(cls)
    given: dict[str, Any] = {}
    for key, value in section.values.items():
        if key not in known:
            problem = unknown_name("setting", key, known)
            raise InvalidInput(f"{section.place(key)}: {problem.message}", **problem.facts)
        given[key] = _value(section, key, value, types[known[key].name])
    try:
        return cls(**given)
    except (ValueError, TypeError) as error:
        where = f"{section.path or 'settings'} ({section.source}, line {section.line})"
        raise InvalidInput(f"{where}: {error.args[0] if error.args else error}") from error


def _value(section: Section, key: str, value: object, kind: Any) -> Any:
    """One setting, turned into the type its field declares."""
    options = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    if value is None and type(None) in options:
        return None
    if isinstance(value, Section):
        for option in options:
            if attrs.has(option):
                return structure(value, option)
            if get_origin(option) in (dict, Mapping):
                inner = get_args(option)[1]
                return {name: _value(value, name, item, inner) for name, item in value.values.items()}
        raise InvalidInput(f"{section.place(key)} is one value, not a group of settings")
    problems = []
    for option in options:
        if attrs.has(option):
            problems.append("a group of settings")
            continue
        if get_origin(option) in (tuple, list, frozenset) and not isinstance(value, list):
            problems.append("a list, [a, b, ...]")
            continue
        try:
            return _leaves().structure(value, option)
        except AresError as error:
            raise InvalidInput(f"{section.place(key)}: {error.message}", **error.facts) from None
        except _WrongType as error:
            problems.append(str(error))
    shown = "**********" if Secret in options else repr(value)
    raise InvalidInput(f"{section.place(key)} is {shown}; it must be {' or '.join(dict.fromkeys(problems))}")


class _WrongType(TypeError):
    """A leaf is not of the type wanted; the message says which is."""


def _is_literal(kind: Any) -> bool:
    origin: object = get_origin(kind)
    return origin is Literal


@cache
def _leaves() -> cattrs.Converter:
    """cattrs with hooks that convert nothing but what loses nothing."""
    converter = cattrs.Converter(detailed_validation=False)

    def exactly(kind: type, *accepted: type, name: str) -> None:
        def hook(value: object, _: Any) -> Any:
            if isinstance(value, bool) is not (kind is bool) or not isinstance(value, accepted):
                raise _WrongType(name)
            return kind(value)

        converter.register_structure_hook(kind, hook)

    exactly(bool, bool, name="true or false")
    exactly(int, int, name="a whole number")
    exactly(str, str, name="text")
    exactly(Path, str, name="a path")

    def number(value: object, _: Any) -> float:
        try:  # YAML reads 1e-3 as text: it wants a dot
            result = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
        except ValueError:
            result = math.nan
        if not math.isfinite(result):
            raise _WrongType("a number")
        return result

    def decimal(value: object, _: Any) -> Decimal:
        try:
            result = Decimal("nan" if isinstance(value, bool) else str(value))
        except InvalidOperation:
            result = Decimal("nan")
        if not result.is_finite():
            raise _WrongType("a decimal number")
        return result

    def secret(value: object, _: Any) -> Secret:
        if not isinstance(value, str):
            raise _WrongType("text")
        return Secret(value)

    def enum(value: object, kind: type[Enum]) -> Enum:
        names = {m.name.lower(): m for m in kind} | {str(m.value): m for m in kind if isinstance(m.value, str | int)}
        for asked in (str(value), str(value).lower()):
            if asked in names:
                return names[asked]
        raise unknown_name("choice", str(value), names)

    def literal(value: object, kind: Any) -> Any:
        if value not in get_args(kind):
            raise unknown_name("choice", str(value), [str(choice) for choice in get_args(kind)])
        return value

    def nothing(value: object, _: Any) -> None:
        raise _WrongType("empty")

    converter.register_structure_hook(float, number)
    converter.register_structure_hook(Decimal, decimal)
    converter.register_structure_hook(Secret, secret)
    converter.register_structure_hook(type(None), nothing)
    converter.register_structure_hook_func(lambda k: isinstance(k, type) and issubclass(k, Enum), enum)
    converter.register_structure_hook_func(_is_literal, literal)
    return converter
