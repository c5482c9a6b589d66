"""Ctrl-C while an estimator is being fitted."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["ctrl_c_ends_it"]


@contextmanager
def ctrl_c_ends_it() -> Iterator[None]:
    """Let KeyboardInterrupt out of a fit. scikit-learn's perceptrons take it for "that was enough" and only warn.

    Not for two threads at once: Python's warning filters belong to the whole process.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Training interrupted", UserWarning)
        try:
            yield
        except UserWarning as told:
            if isinstance(told.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            raise
