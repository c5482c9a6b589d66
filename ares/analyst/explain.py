"""Explaining an opinion: what each feature contributed to its confidence.

A feature's contribution is the confidence as judged, less the confidence of the same row with that feature at its
training median. A group's contribution is the same with all of the group's features at their medians. Contributions
need not add up: features that say the same thing share what they say. Source: occlusion, Zeiler and Fergus 2014.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ares.analyst.dual_model import DualModel
from ares.errors import ModelError

__all__ = ["Explanation", "explain_row"]


@frozen(kw_only=True)
class Explanation:
    """Contributions to the confidence, largest first; positive ones spoke for the opinion's side."""

    side: int  # +1 long, -1 short, 0 tied
    confidence: float
    features: Mapping[str, float]
    groups: Mapping[str, float]


def explain_row(model: DualModel, x: NDArray[np.float64]) -> Explanation:
    """The contributions in one row, (columns,). Raises ModelError when the model has no training reference."""
    if "reference" not in model.bundle:
        raise ModelError("the model holds no training reference, so there is nothing to compare a row with")
    edges = model.bundle["reference"].edges
    usual = edges[:, (edges.shape[1] - 1) // 2]
    names = model.columns
    groups = sorted({name.partition(".")[0] for name in names})
    rows = np.tile(x, (1 + len(names) + len(groups), 1))
    for k in range(len(names)):
        rows[1 + k, k] = usual[k]
    for g, group in enumerate(groups):
        members = [k for k, name in enumerate(names) if name.partition(".")[0] == group]
        rows[1 + len(names) + g, members] = usual[members]
    judged = model.judge(rows)
    side = int(judged.side[0])
    # the confidence of the same side: where the likelier side turned, what is left for the first one
    same = np.where(judged.side == side, judged.confidence, 1.0 - judged.p_timeout - judged.confidence)
    change = float(same[0]) - same[1:]

    def ranked(keys: tuple[str, ...] | list[str], values: NDArray[np.float64]) -> dict[str, float]:
        order = np.argsort(-np.abs(values), kind="stable")
        return {keys[i]: float(values[i]) for i in order}

    return Explanation(
        side=side,
        confidence=float(judged.confidence[0]),
        features=ranked(names, change[: len(names)]),
        groups=ranked(groups, change[len(names) :]),
    )
