"""The kinds of model there are, and how to bring one back from data."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ares.errors import ModelError
from ares.models.model import Stored, is_own

__all__ = ["adopted", "restore"]

_KINDS = {
    "trees": ("ares.models.trees", "TreeModel"),
    "dense": ("ares.models.dense", "DenseModel"),
    "calibrator": ("ares.models.calibrators", "Calibrator"),
    "calibrated": ("ares.models.calibrators", "CalibratedModel"),
    "lower_bound": ("ares.models.abstention", "LowerBound"),
    "regime": ("ares.models.regime", "RegimeModel"),
    "drift_reference": ("ares.models.reference", "DriftReference"),
    "autoencoder": ("ares.models.autoencoder", "Autoencoder"),
    "own": ("ares.models.own", "OwnModel"),
    "bundle": ("ares.models.bundle", "Bundle"),
}


def adopted(model: Any) -> Any:
    """A model of the user's own class as an `OwnModel`; anything else as it is. Raises InvalidInput without a spec."""
    if not is_own(model):
        return model
    module, name = _KINDS["own"]
    return getattr(import_module(module), name)(model=model)


def restore(stored: Stored) -> Any:
    """The model that `stored` describes. Raises: ModelError, also for a kind that is unknown or does not fit
    together.
    """
    if stored.kind not in _KINDS:
        known = ", ".join(sorted(_KINDS))
        raise ModelError(f"models of kind {stored.kind!r} are unknown here; known: {known}", kind=stored.kind)
    module, name = _KINDS[stored.kind]
    try:
        return getattr(import_module(module), name).restored(stored)
    except ModelError:
        raise
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise ModelError(f"the parts of a model of kind {stored.kind!r} do not fit together: {error}") from error
