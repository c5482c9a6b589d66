"""Explaining an opinion: what each feature contributed to its confidence.

The step from the confidence at the training medians to the confidence as judged is shared among the features, as
`ares.models.contributions` does it: each is credited with the mean change it makes when it moves from its median to the
row's value, in random orders. Shares add up exactly, and a group's is the sum of its features'. A column that the model
does not read gets nothing. Source: Strumbelj and Kononenko 2014.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ares.analyst.dual_model import DualModel
from ares.errors import ModelError
from ares.models.contributions import contributions
from ares.models.model import ModelSpec

__all__ = ["Explanation", "explain_row"]


@frozen(kw_only=True)
class Explanation:
    """Contributions to the confidence, weightiest first; positive ones spoke for the opinion's side.

    `base` and all `features` add up to `confidence`, up to rounding; so do `base` and all `groups`.
    """

    side: int  # +1 long, -1 short, 0 tied
    confidence: float
    base: float  # confidence in the same side with every feature at its training median
    features: Mapping[str, float]
    groups: Mapping[str, float]


@frozen(eq=False)
class _SameSide:
    """A dual model's confidence in one side, as the model that contributions are asked of."""

    model: DualModel
    side: int
    spec: ModelSpec

    def predict_proba(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, 1): where the likelier side turned, what is left for the first one."""
        judged = self.model.judge(X)
        same = np.where(judged.side == self.side, judged.confidence, 1.0 - judged.p_timeout - judged.confidence)
        return np.asarray(same[:, np.newaxis])


def explain_row(model: DualModel, x: NDArray[np.float64]) -> Explanation:
    """The contributions in one row, (columns,). Raises ModelError when the model has no training reference."""
    if "reference" not in model.bundle:
        raise ModelError("the model holds no training reference, so there is nothing to compare a row with")
    edges = model.bundle["reference"].edges
    usual = edges[:, (edges.shape[1] - 1) // 2]
    judged = model.judge(x[np.newaxis, :])
    side = int(judged.side[0])
    asked = _SameSide(model, side, ModelSpec(columns=model.columns, classes=(side,)))
    told = contributions(asked, x, usual, side)
    groups: dict[str, float] = {}
    for name, part in told.parts.items():
        group = name.partition(".")[0]
        groups[group] = groups.get(group, 0.0) + part
    return Explanation(
        side=side,
        confidence=float(judged.confidence[0]),
        base=told.base,
        features=told.parts,
        groups=dict(sorted(groups.items(), key=lambda item: -abs(item[1]))),
    )
