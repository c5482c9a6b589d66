"""What a catalogue entry is: a name, how to build it, and the facts its documentation is made of."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from ares.features.expression import Expression


@frozen(kw_only=True)
class Recipe:
    """A family of features that differ in their integer parameters: `momentum.rsi` gives `momentum.rsi_14`."""

    name: str  # "group.name"
    build: Callable[..., Expression]  # one integer a parameter
    parameters: tuple[str, ...] = ()  # what each integer is
    defaults: tuple[tuple[int, ...], ...] = ((),)  # parameter sets of the default set
    higher: tuple[tuple[int, ...], ...] = ()  # those also taken at the higher timeframes by default
    definition: str
    formula: str
    source: str
    range: str

    @property
    def group(self) -> str:
        return self.name.partition(".")[0]

    def feature_name(self, values: tuple[int, ...]) -> str:
        """`group.name_p_q` for parameters p and q."""
        return "_".join([self.name, *map(str, values)])
