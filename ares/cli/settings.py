"""The settings a command runs with: the file it names, and what its options say otherwise."""

from __future__ import annotations

import math
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve

from ares.cli.options import LogLevelName
from ares.errors import InvalidInput

if TYPE_CHECKING:
    from ares.config import AresConfig
    from ares.models.registry import Manifest
    from ares.training.cuts import RetrainingConfig

__all__ = ["settings"]


def settings(
    path: Path | None,
    *,
    balance: float | None = None,
    model: Path | None = None,
    retrain: bool | None = None,
    models: Path | None = None,
    log: LogLevelName | None = None,
) -> AresConfig:
    """The settings of the file, with another starting balance or model if one is given; turns logging on when asked.

    retrain: whether models are trained anew; None: if the file says so. models: the folder they are kept in.

    Raises: InvalidInput, NotAuthorized as `load_config`.
    """
    from ares.config import load_config
    from ares.log import configure

    if log is not None:
        configure(log.value)
    chosen = load_config(path)
    if model is not None:
        named = _one_model(model)
        _warn_of(named)
        chosen = evolve(chosen, analyst=evolve(chosen.analyst, model=named))
    chosen = evolve(chosen, retraining=_retraining(chosen, retrain, models))
    if balance is None:
        return chosen
    if not math.isfinite(balance):
        raise InvalidInput(f"--balance is an amount of money, not {balance}", balance=balance)
    venue = evolve(chosen.backtest.venue, start_balance=Decimal(repr(balance)))
    return evolve(chosen, backtest=evolve(chosen.backtest, venue=venue))


def _retraining(config: AresConfig, retrain: bool | None, models: Path | None) -> RetrainingConfig | None:
    """The settings of retraining, or None: off."""
    from ares.training.cuts import RetrainingConfig

    wanted = config.retraining is not None if retrain is None else retrain
    if not wanted:
        if models is not None:
            raise InvalidInput("--models is the folder of retrained models: it goes with --retrain")
        return None
    found = config.retraining or RetrainingConfig()
    return found if models is None else evolve(found, models=models)


def _warn_of(model: Path) -> None:
    """Say what a model's own scores say of it, and when they speak against it. Raises ModelError."""
    from ares.cli.screen import note
    from ares.models.registry import inspect
    from ares.training.verdict import speaks_against, verdict_of

    figures = inspect(model).record.metrics
    if figures:
        against = "its own scores speak against it. " if speaks_against(figures) else ""
        note(f"model {model.name[:12]}: {against}{verdict_of(figures)} All this is out of sample; see its card.")


def _one_model(folder: Path) -> Path:
    """The model in `folder`, or of those that lie there the one trained up to the latest bar, and of these the newest.

    Raises: InvalidInput when there is none.
    """
    from ares.errors import InvalidInput
    from ares.models.registry import MANIFEST, Registry

    if (folder / MANIFEST).is_file():
        return folder
    found = Registry(folder).manifests() if folder.is_dir() else ()
    if not found:
        raise InvalidInput(f"there is no model in {folder}: `ares train` makes one", path=str(folder))

    def age(manifest: Manifest) -> tuple[int, int]:
        return manifest.record.trained_to_ns or 0, (folder / manifest.model_id / MANIFEST).stat().st_mtime_ns

    return folder / max(found, key=age).model_id
