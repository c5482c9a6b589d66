"""What a catalogue entry is: a name, how to build it, and the facts its documentation is made of."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from ares.errors import InvalidInput
from ares.features.expression import Expression

__all__ = ["MOST_BARS", "Recipe"]

MOST_BARS = 1_000_000  # two years of minutes; each column of the table remembers as many rows as the longest window


@frozen(kw_only=True)
class Recipe:
    """A family of features that differ in their integer parameters: `momentum.rsi` gives `momentum.rsi_14`."""

    name: str  # "group.name"
    build: Callable[..., Expression]  # one integer a parameter
    parameters: tuple[str, ...] = ()  # what each integer is
    defaults: tuple[tuple[int, ...], ...] = ((),)  # parameter sets of the default set
    higher: tuple[tuple[int, ...], ...] = ()  # those also taken at the higher timeframes by default
    least: int = 1  # of the first parameter: with less there is nothing to compute
    most: int = MOST_BARS  # of every parameter
    definition: str
    formula: str
    source: str
    range: str

    def check(self, values: tuple[int, ...]) -> None:
        """Raises InvalidInput for a parameter with which the feature has no meaning."""
        for i, value in enumerate(values):
            least = self.least if i == 0 else 1
            if not least <= value <= self.most:
                name = self.feature_name(values)
                limit = f"at least {least}" if value < least else f"at most {self.most:,}"
                raise InvalidInput(f"feature {name}: {self.parameters[i]} must be {limit}, not {value:,}", name=name)

    @property
    def group(self) -> str:
        return self.name.partition(".")[0]

    def feature_name(self, values: tuple[int, ...]) -> str:
        """`group.name_p_q` for parameters p and q."""
        return "_".join([self.name, *map(str, values)])
