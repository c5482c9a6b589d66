"""How the code's own words become API pages.

The comment beside a field is its documentation: units, meanings of None. In a docstring each `name: meaning` line is a
paragraph of its own, and square brackets are brackets, not links.
"""

from __future__ import annotations

import io
import re
import tokenize
from functools import cache
from pathlib import Path
from typing import Any

import griffe

_ENTRY = re.compile(r"(?<=[^\n])\n(?=\w[\w, ()]*: )")  # a `name: meaning` line right after another line
_CODE = re.compile(r"(`[^`]*`|^(?: {4}|>>> |\| ).*$)", re.MULTILINE)  # spans, indented blocks, sessions, table rows


@cache
def comments(path: Path) -> dict[int, str]:
    """Line number to the comment that ends the line."""
    with io.StringIO(path.read_text(encoding="utf-8")) as text:
        tokens = tokenize.generate_tokens(text.readline)
        return {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT and t.start[1] > 0}


def as_markdown(docstring: str) -> str:
    """A docstring as the Markdown that shows it as it was meant."""
    parts = _CODE.split(_ENTRY.sub("\n\n", docstring))
    return "".join(part if n % 2 else part.replace("[", r"\[") for n, part in enumerate(parts))


class CommentsAreDocs(griffe.Extension):
    """Gives attributes the comment on their line, and makes docstrings Markdown."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: Any) -> None:
        if attr.docstring is None and attr.endlineno is not None and isinstance(attr.filepath, Path):
            comment = comments(attr.filepath).get(attr.endlineno)
            if comment:
                attr.docstring = griffe.Docstring(as_markdown(comment), parent=attr)
