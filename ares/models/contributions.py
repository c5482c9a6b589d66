"""Why a model said what it said: how much of a probability each feature brought, for any model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import ArrayLike, NDArray

from ares.errors import InvalidInput

__all__ = ["Contributions", "contributions"]

Floats = NDArray[np.float64]


@frozen(kw_only=True)
class Contributions:
    """`base` plus all `parts` is `probability`, up to rounding."""

    label: int | str  # the class that the probability is of
    base: float  # its probability at the reference
    probability: float  # its probability at the row
    parts: Mapping[str, float]  # by feature or group, the weightiest first

    def top(self, count: int) -> dict[str, float]:
        """The `count` weightiest parts."""
        return dict(list(self.parts.items())[:count])


def contributions(
    model: Any,
    row: ArrayLike,
    reference: ArrayLike,
    label: int | str,
    *,
    groups: Mapping[str, Sequence[str]] | None = None,
    orders: int = 16,
    seed: int = 0,
) -> Contributions:
    """Share the step from the reference's probability to the row's among the features.

    Features are moved from their reference values to the row's one after another, in `orders` random orders and their
    reverses, and each is credited with the mean change it made: sampled Shapley values, which add up exactly.

    model: anything with `spec` and `predict_proba`. row, reference: (columns,) in the model's order; NaN is missing.
    label: one of the model's classes. groups: names to columns that are moved together; columns in none stand alone.
    Raises: InvalidInput. Source: Strumbelj and Kononenko 2014.
    """
    columns = model.spec.columns
    here, there = np.asarray(row, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if here.shape != (len(columns),) or there.shape != here.shape or orders < 1:
        raise InvalidInput(f"row and reference need {len(columns)} values, not {here.shape} and {there.shape}")
    if label not in model.spec.classes:
        raise InvalidInput(f"no class {label!r}; the classes are {model.spec.classes}")
    names, members = _players(columns, groups or {})
    rng = np.random.default_rng(seed)
    paths = [path for _ in range(orders) for path in _both_ways(rng.permutation(len(names)))]
    rows = np.tile(there, (len(paths) * len(names) + 2, 1))
    rows[-1] = here
    at = 0
    for path in paths:
        moved = there.copy()
        for player in path:
            moved[members[player]] = here[members[player]]
            rows[at] = moved
            at += 1
    chance = model.predict_proba(rows)[:, model.spec.classes.index(label)]
    base, final = float(chance[-2]), float(chance[-1])
    credit = np.zeros(len(names))
    for number, path in enumerate(paths):
        steps = chance[number * len(names) : (number + 1) * len(names)]
        credit[path] += np.diff(np.concatenate([[base], steps]))
    credit /= len(paths)
    order = np.argsort(-np.abs(credit), kind="stable")
    return Contributions(
        label=label, base=base, probability=final, parts={names[i]: float(credit[i]) for i in order.tolist()}
    )


def _both_ways(path: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return path, path[::-1]


def _players(
    columns: tuple[str, ...], groups: Mapping[str, Sequence[str]]
) -> tuple[list[str], list[NDArray[np.int64]]]:
    """What is moved as one: names and the positions of their columns."""
    place = {name: i for i, name in enumerate(columns)}
    taken: set[str] = set()
    names, members = [], []
    for name, group in groups.items():
        unknown = [column for column in group if column not in place]
        if unknown or taken & set(group) or not group:
            raise InvalidInput(f"group {name!r} is empty, or holds unknown or shared columns: {unknown or list(group)}")
        taken |= set(group)
        names.append(name)
        members.append(np.array([place[column] for column in group], dtype=np.int64))
    for column in columns:
        if column not in taken:
            names.append(column)
            members.append(np.array([place[column]], dtype=np.int64))
    if len(set(names)) != len(names):
        raise InvalidInput("a group is called like a column that stands alone")
    return names, members
