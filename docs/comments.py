"""The comment beside a field is its documentation: units, meanings of None. This shows it in the API pages."""

from __future__ import annotations

import io
import tokenize
from functools import cache
from pathlib import Path
from typing import Any

import griffe


@cache
def comments(path: Path) -> dict[int, str]:
    """Line number to the comment that ends the line."""
    with io.StringIO(path.read_text(encoding="utf-8")) as text:
        tokens = tokenize.generate_tokens(text.readline)
        return {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT and t.start[1] > 0}


class CommentsAreDocs(griffe.Extension):
    """Gives each attribute without a docstring the comment that stands on its line."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: Any) -> None:
        if attr.docstring is None and attr.endlineno is not None and isinstance(attr.filepath, Path):
            comment = comments(attr.filepath).get(attr.endlineno)
            if comment:
                attr.docstring = griffe.Docstring(comment, parent=attr)
