"""Several models that belong together: trained, saved, loaded and replaced as one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

from ares.errors import InvalidInput, ModelError
from ares.models import registry
from ares.models.model import Stored
from ares.models.parts import adopted, restore

__all__ = ["Bundle"]


def _adopted(parts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: adopted(part) for name, part in parts.items()}


@frozen(kw_only=True, eq=False)
class Bundle:
    """Named parts (`side`, `timing`, `meta`, `regime`, ...) with one id; `settings` are JSON values that go with
    them. A part may be a model of a class of your own; it is held as an `OwnModel`.
    """

    parts: Mapping[str, Any] = field(converter=_adopted)
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
    def load(cls, directory: Path | str, *, classes: Mapping[str, type] | None = None) -> Bundle:
        """Read a bundle that `save` wrote. classes: of its parts that are not ours, by name. Raises ModelError."""
        return registry.load_as(cls, directory, classes=classes)

    def stored(self) -> Stored:
        """All parts as data. Raises ModelError when one cannot be."""
        if alien := [name for name, part in self.parts.items() if not hasattr(part, "stored")]:
            raise ModelError(
                f"the parts {', '.join(alien)} cannot be saved as data: a model of your own needs save and load",
                parts=alien,
            )
        parts = {name: part.stored() for name, part in self.parts.items()}
        return Stored(kind="bundle", meta=self.settings, parts=parts)

    @classmethod
    def restored(cls, stored: Stored) -> Bundle:
        """The bundle from data. Raises ModelError."""
        return cls(parts={name: restore(part) for name, part in stored.parts.items()}, settings=stored.meta)
