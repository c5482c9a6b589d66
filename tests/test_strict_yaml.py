"""Settings are read strictly: each refusal names the line and what would be right."""

from __future__ import annotations

from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest
from attrs import field, frozen
from attrs.validators import gt

from ares.errors import InvalidInput
from ares.strict_yaml import read_yaml, structure


class Colour(Enum):
    RED = "red"
    GREEN = "green"


@frozen(kw_only=True)
class Wheel:
    spokes: int = field(default=32, validator=gt(0))
    colour: Colour = Colour.RED


@frozen(kw_only=True)
class Bicycle:
    name: str = "plain"
    bell: bool = True
    weight: float = 12.5
    price: Decimal = Decimal(300)
    shed: Path | None = None
    gears: tuple[int, ...] = (1,)
    tags: dict[str, float] = field(factory=dict)
    brake: Literal["disc", "rim"] = "rim"
    wheel: Wheel = field(factory=Wheel)


def bicycle(text: str) -> Bicycle:
    return structure(read_yaml(text, "bike.yaml"), Bicycle)


def test_an_empty_file_means_the_defaults() -> None:
    assert bicycle("") == bicycle("# only a remark\n") == Bicycle()


def test_every_kind_of_value_arrives_in_its_type() -> None:
    read = bicycle(
        "name: fast\nbell: false\nweight: 9\nprice: 1499.90\nshed: data/shed\ngears: [1, 2, 3]\n"
        "tags: {steel: 0.5, rust: 1e-3}\nbrake: disc\nwheel: {spokes: 24, colour: green}\n"
    )
    assert read == Bicycle(
        name="fast",
        bell=False,
        weight=9.0,
        price=Decimal("1499.90").normalize(),
        shed=Path("data/shed"),
        gears=(1, 2, 3),
        tags={"steel": 0.5, "rust": 0.001},
        brake="disc",
        wheel=Wheel(spokes=24, colour=Colour.GREEN),
    )
    assert isinstance(read.weight, float)
    assert bicycle("shed: null").shed is None


def test_anchors_and_merges_work() -> None:
    text = "wheel: &w {spokes: 20}\n"
    assert bicycle(text).wheel.spokes == 20
    merged = read_yaml("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\n", "t")
    assert dict(merged.values["b"].values) == {"x": 1, "y": 3}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nmae: x", ["nmae (bike.yaml, line 1)", "did you mean 'name'?"]),
        ("name: x\nwheel:\n  spoke: 3\n", ["wheel.spoke (bike.yaml, line 3)", "did you mean 'spokes'?"]),
        ("bell: 'yes'", ["bell (bike.yaml, line 1)", "'yes'", "true or false"]),
        ("bell: 1", ["true or false"]),
        ("wheel: {spokes: 2.5}", ["wheel.spokes", "a whole number"]),
        ("wheel: {spokes: true}", ["a whole number"]),
        ("wheel: {spokes: 0}", ["wheel (bike.yaml, line 1)", "spokes"]),
        ("wheel: {colour: gren}", ["wheel.colour", "did you mean 'green'?"]),
        ("wheel: 3", ["wheel", "a group of settings"]),
        ("name: {a: 1}", ["name", "one value"]),
        ("brake: dics", ["brake", "did you mean 'disc'?"]),
        ("weight: .nan", ["weight", "a number"]),
        ("weight: heavy", ["a number"]),
        ("name: 5", ["text"]),
        ("gears: 3", ["gears", "a list"]),
        ("gears: [1, two]", ["gears", "a whole number"]),
        ("name: a\nname: b", ["line 2", "'name' was set on line 1"]),
        ("- 1\n- 2", ["the file (bike.yaml, line 1)"]),
        ("name: [", ["bike.yaml, line 1 is not YAML"]),
        ("1: x", ["the name of a setting is text"]),
        ("name: !!python/object/apply:os.system ['true']", ["not YAML"]),
    ],
)
def test_a_refusal_says_where_and_what_would_be_right(text: str, told: list[str]) -> None:
    with pytest.raises(InvalidInput) as refusal:
        bicycle(text)
    assert all(part in str(refusal.value) for part in told), str(refusal.value)


def test_reading_is_plain_data_only() -> None:
    read: Any = read_yaml("a: 2024-01-01\nb: [1, {c: 2}]\n", "t").values
    assert read["b"] == [1, {"c": 2}]
