"""Taking a model up: from whatever was given to a dual model, and whether it may trade real money."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from attrs import fields
from numpy.typing import NDArray

from ares.analyst.config import AnalystConfig
from ares.analyst.dual_model import DualModel, Judgement, settings_of
from ares.errors import InvalidInput, ModelError
from ares.models import registry
from ares.models.adapters import unsavable
from ares.models.bundle import Bundle
from ares.models.model import is_own
from ares.models.own import OwnModel
from ares.storage import sha256_bytes

__all__ = ["as_bundle", "read_model", "refusal_of", "uneven"]

Floats = NDArray[np.float64]
VOLATILITY = "volatility.ewma_128"  # read when there is no trained model to name another column
_ROWS = 64  # that are asked for alone and together
_SEED = 5


def read_model(model: Any, classes: Mapping[str, type] | None = None) -> registry.Loaded:
    """A model from a directory, a `Loaded`, anything that carries one as `loaded`, or a model of the user's own.

    classes: of parts that are not ours, by name, to read a directory. Raises: InvalidInput, ModelError.
    """
    if isinstance(model, registry.Loaded):
        return model
    if isinstance(model, str | Path):
        return registry.load(model, classes=classes)
    if is_own(model):
        return _own(OwnModel(model=model))
    found = getattr(model, "loaded", None)
    if not isinstance(found, registry.Loaded):
        raise InvalidInput(
            f"model must be a directory, a trained model, or one of your own with spec, predict_proba, save and load, "
            f"not {type(model).__name__}"
        )
    return found


def _own(model: OwnModel) -> registry.Loaded:
    """As it comes back from disk; as it is when it cannot be data, and then its id is of its class and spec alone."""
    if unsavable(model) is None:
        with tempfile.TemporaryDirectory() as folder:
            model.save(Path(folder) / "model")
            return registry.load(Path(folder) / "model", classes={model.name: type(model.model)})
    content = repr((model.name, model.spec)).encode()
    manifest = registry.Manifest(
        model_id=sha256_bytes(content),
        kind="backtest_only",
        spec=model.spec,
        record=registry.TrainingRecord(),
        code_version="",
    )
    return registry.Loaded(model=model, manifest=manifest)


def as_bundle(model: Any, config: AnalystConfig) -> Bundle:
    """A bundle as it is. A side model by itself becomes one, without calibration, for the bet that the settings name.

    Raises: ModelError for anything else, and for a model that does not tell up from down.
    """
    if isinstance(model, Bundle):
        return model
    if not isinstance(model, OwnModel):
        raise ModelError(f"an analyst needs a bundle of models, not a {type(model).__name__}")
    spec = model.spec
    if not {-1, 1} <= set(spec.classes):
        raise ModelError(
            f"a side model knows the classes -1 (target down) and 1 (target up), and 0 (neither) if it likes, "
            f"not {spec.classes}",
            classes=spec.classes,
        )
    horizon = spec.horizon if spec.horizon is not None else config.horizon
    settings = settings_of(
        np.array([0.5, np.nan, np.nan]),
        np.ones(3),
        prior=0.5,
        aggregator="log_odds",
        required=list(spec.columns),
        volatility=VOLATILITY,
        interval=spec.timeframe,
        horizon=horizon,
        target=config.target_multiple,
        stop=config.stop_multiple,
        cost=config.round_trip_cost,
        time_to_live=config.time_to_live,
        uniqueness=1.0 / horizon,  # as of bets at each bar: each shares its life with all that are open
    )
    return Bundle(parts={"side": model}, settings=settings)


def refusal_of(dual: DualModel, manifest: registry.Manifest) -> str | None:
    """Why a model must not trade real money; None when it may."""
    if manifest.kind == "backtest_only":
        reasons = {name: unsavable(part) for name, part in dual.bundle.parts.items()}
        told = "; ".join(f"{name}: {reason}" for name, reason in reasons.items() if reason is not None)
        return f"a part of the model cannot be saved and verified ({told})"
    if not any(isinstance(part, OwnModel) for part in dual.bundle.parts.values()):
        return None
    if "confidence_calibrator" not in dual.bundle:
        return "nothing has calibrated the model's probabilities; ares.train(side=...) does"
    return uneven(dual)


def uneven(dual: DualModel) -> str | None:
    """Where a row alone and the same row in a batch get different bits; None when they do not."""
    X = _rows(dual)
    together = dual.judge(X)
    for i in range(_ROWS):
        alone = dual.judge(X[i : i + 1])
        for name in (part.name for part in fields(Judgement)):
            one, many = getattr(alone, name)[0], getattr(together, name)[i]
            if not np.array_equal(one, many, equal_nan=True):
                return (
                    f"a row alone gets another answer than in a batch ({name} {float(one)!r}, in a batch "
                    f"{float(many)!r}), so a live session would not decide as its backtest did"
                )
    return None


def _rows(dual: DualModel) -> Floats:
    """Rows to try a model on, (n, columns): mixed from its training reference, or normal without one."""
    rng = np.random.default_rng(_SEED)
    reference = dual.bundle.get("reference")
    if reference is None:
        return rng.standard_normal((_ROWS, len(dual.columns)))
    levels = np.column_stack([reference.low, reference.edges, reference.high])
    pick = rng.integers(0, levels.shape[1], size=(_ROWS, levels.shape[0]))
    return np.ascontiguousarray(np.take_along_axis(levels.T, pick, axis=0))
