"""What the inputs looked like in training: the yardstick for drift and for rows like none that was learned from."""

from __future__ import annotations

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ares.errors import ModelError
from ares.models.model import Stored

__all__ = ["DriftReference"]

Floats = NDArray[np.float64]


@frozen(kw_only=True, eq=False)
class DriftReference:
    """Deciles and extremes of each column in training. Made by `ares.training.drift.reference_of`."""

    edges: Floats  # (columns, bins - 1) not decreasing; a value at an edge belongs to the bin above
    share: Floats  # (columns, bins) of the training rows, sum 1
    low: Floats  # (columns,) least value
    high: Floats

    def stored(self) -> Stored:
        """The reference as data."""
        return Stored(kind="drift_reference", arrays={name: getattr(self, name) for name in _ARRAYS})

    @classmethod
    def restored(cls, stored: Stored) -> DriftReference:
        """The reference from data. Raises ModelError when its parts do not fit together."""
        low = stored.array("low", "<f8", (None,))
        edges = stored.array("edges", "<f8", (low.size, None))
        made = cls(
            edges=edges,
            share=stored.array("share", "<f8", (low.size, edges.shape[1] + 1)),
            low=low,
            high=stored.array("high", "<f8", (low.size,)),
        )
        sound = (
            all(bool(np.isfinite(getattr(made, name)).all()) for name in _ARRAYS)
            and bool((np.diff(made.edges, axis=1) >= 0).all())
            and bool((made.share >= 0).all() and np.allclose(made.share.sum(axis=1), 1.0))
            and bool((made.low <= made.high).all())
        )
        if not sound:
            raise ModelError("the parts of this drift reference do not fit together", kind="drift_reference")
        return made


_ARRAYS = ("edges", "share", "low", "high")
