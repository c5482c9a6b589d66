"""Several models that belong together: trained, saved, loaded and replaced as one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

from ares.errors import InvalidInput, ModelError
from ares.models import registry
from ares.models.model import Stored
from ares.models.parts import restore

__all__ = ["Bundle"]


@frozen(kw_only=True, eq=False)
class Bundle:
    """Named parts (`side`, `timing`, `meta`, `regime`, ...) with one id; `settings` are JSON values that go with
    them.
    """

    parts: Mapping[str, Any] = field()
    settings: Mapping[str, Any] = field(factory=dict)

    @parts.validator
    def _some(self, attribute: object, value: Mapping[str, Any]) -> None:
        if not value:
            raise InvalidInput("a bundle needs at least one part")

    def __getitem__(self, name: str) -> Any:
        """A part by its name. Raises ModelError when there is none."""
        if name not in self.parts:
            raise ModelError(f"the bundle has no part {name!r}; it has {', '.join(sorted(self.parts))}", part=name)
        return self.parts[name]

    def get(self, name: str) -> Any:
        """A part by its name; None when there is none."""
        return self.parts.get(name)

    def __contains__(self, name: object) -> bool:
        return name in self.parts

    def __iter__(self) -> Iterator[str]:
        return iter(self.parts)

    def save(self, directory: Path | str, record: registry.TrainingRecord | None = None) -> str:
        """Write all parts into one new directory, whole or not at all; returns the id."""
        return registry.save(self, directory, record)

    @classmethod
    def load(cls, directory: Path | str) -> Bundle:
        """Read a bundle that `save` wrote."""
        return registry.load_as(cls, directory)

    def stored(self) -> Stored:
        """All parts as data. Raises ModelError when one cannot be."""
        parts = {name: part.stored() for name, part in self.parts.items()}
        return Stored(kind="bundle", meta=self.settings, parts=parts)

    @classmethod
    def restored(cls, stored: Stored) -> Bundle:
        """The bundle from data. Raises ModelError."""
        return cls(parts={name: restore(part) for name, part in stored.parts.items()}, settings=stored.meta)
