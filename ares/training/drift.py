"""Drift: how far today's inputs are from those that a model was trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ares.errors import InvalidInput, TooShort
from ares.models.reference import DriftReference

__all__ = ["population_stability", "reference_of"]

Floats = NDArray[np.float64]
_LEAST = 1e-4  # share that an empty bin is read as, so that the index stays finite


def reference_of(X: ArrayLike, bins: int = 10) -> DriftReference:
    """Equally filled bins and extremes of each column; missing values are left out. X: (n, columns).

    Raises: TooShort when a column has fewer than 10 values a bin; InvalidInput.
    """
    rows = np.asarray(X, dtype=np.float64)
    if rows.ndim != 2 or bins < 2:
        raise InvalidInput(f"a reference needs rows of columns and at least 2 bins, not {rows.shape} and {bins}")
    edges, share = np.empty((rows.shape[1], bins - 1)), np.empty((rows.shape[1], bins))
    low, high = np.empty(rows.shape[1]), np.empty(rows.shape[1])
    for k, column in enumerate(rows.T):
        seen = column[np.isfinite(column)]
        if seen.size < 10 * bins:
            raise TooShort(f"column {k} has {seen.size} values, too few for {bins} bins", rows=int(seen.size))
        edges[k] = np.quantile(seen, np.arange(1, bins) / bins)
        share[k] = _shares(seen, edges[k])
        low[k], high[k] = seen.min(), seen.max()
    return DriftReference(edges=edges, share=share, low=low, high=high)


def population_stability(reference: DriftReference, X: ArrayLike) -> Floats:
    """Population stability index of each column of X against the reference, (columns,): sum of (q - p) ln(q / p).

    Below 0.1 is usual, above 0.25 a changed distribution. NaN for a column without values. Source: Siddiqi 2006.
    """
    rows = np.asarray(X, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != reference.low.size:
        raise InvalidInput(f"X has shape {rows.shape}, the reference knows {reference.low.size} columns")
    out = np.full(rows.shape[1], np.nan)
    for k, column in enumerate(rows.T):
        seen = column[np.isfinite(column)]
        if seen.size:
            q = np.maximum(_shares(seen, reference.edges[k]), _LEAST)
            p = np.maximum(reference.share[k], _LEAST)
            out[k] = float(np.sum((q - p) * np.log(q / p)))
    return out


def _shares(values: Floats, edges: Floats) -> Floats:
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=edges.size + 1)
    return counts / values.size
