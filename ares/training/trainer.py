"""`train`: from recorded bars to a calibrated dual model, with an honest account of how it did out of sample."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from attrs import asdict, evolve, frozen
from numpy.typing import NDArray

from ares.analyst.dual_model import DualModel, Late, meta_columns, settings_of
from ares.errors import InvalidInput, settings_or_default
from ares.features.orchestrator import FeatureOrchestrator
from ares.instruments import Interval
from ares.models import registry
from ares.models.adapters import adapt, storable
from ares.models.bundle import Bundle
from ares.models.own import OwnModel
from ares.models.regime import RegimeModel
from ares.models.regime_columns import OBSERVED
from ares.storage import sha256_bytes
from ares.training.dataset import Dataset, TrainConfig, klines_of, limited, make_dataset, recorded_of
from ares.training.drift import reference_of
from ares.training.folds import (
    Estimators,
    OutOfSample,
    Progress,
    bases,
    calibrators,
    horizon_cost,
    late_bets,
    walk_forward,
)
from ares.training.noting import family_for, note_training
from ares.training.out_of_fold import fit_fresh
from ares.training.regime import RegimeConfig, fit_regimes
from ares.training.scores import Scores, score
from ares.training.trials import TrialLedger

__all__ = ["TrainedModel", "adapted", "identified", "record_of", "regime_of", "settings_for", "train", "train_on"]

Floats = NDArray[np.float64]
REGIME_ROWS = 8760


@frozen(kw_only=True, eq=False)
class TrainedModel:
    """A model, what it was trained on, and how its kind did out of sample. Give it to `Analyst(model=...)`."""

    loaded: registry.Loaded  # the bundle and its manifest, as they would come from disk
    config: TrainConfig
    data: Dataset
    out_of_sample: OutOfSample
    scores: Scores

    @property
    def model_id(self) -> str:
        """The digest that names the model."""
        return self.loaded.manifest.model_id

    @property
    def bundle(self) -> Bundle:
        """The parts."""
        bundle: Bundle = self.loaded.model
        return bundle

    @property
    def predictions(self) -> pd.DataFrame:
        """The walk-forward predictions that the scores were made from; see `OutOfSample.frame`."""
        return self.out_of_sample.frame(self.data)

    def save(self, directory: Path | str) -> str:
        """Write the model as data into a new directory; returns its id.

        Raises: ModelError when a part cannot be data (an estimator without an adapter); InvalidInput when the
        directory holds something else.
        """
        return self.bundle.save(directory, self.loaded.manifest.record)


def train(
    klines: Any,
    *,
    config: TrainConfig | None = None,
    features: FeatureOrchestrator | None = None,
    side: Any = None,
    timing: Any = None,
    meta: Any = None,
    symbol: str | None = None,
    interval: Interval | str | None = None,
    funding: pd.Series | pd.DataFrame | None = None,
    trials: int = 1,
    ledger: TrialLedger | None = None,
    progress: Progress | None = None,
) -> TrainedModel:
    """Train a dual model on all of `klines`, and score its kind walk-forward on the same.

    klines: a klines frame or a tape (then `symbol` names its track). features: an orchestrator; None: the default set.
    side, timing, meta: unfitted scikit-learn classifiers, or models of your own (`ares.models.Model`) with `fit`; None:
    gradient boosting. config: see `TrainConfig`.
    An autoencoder that they enable is fitted on the first training window, before any test block, and saved with the
    model, which computes its columns itself: sessions give the model the same features without it. So are the regimes
    whose filtered probabilities the models read as columns.
    funding: settled rates by time, a Series or a frame; None: the assumed rate, charged to both sides. trials:
    configurations tried so far, this one included; it goes into the manifest. ledger: where this is written down as a
    trial of its symbol (ETHUSDT unless told) and interval; None: in memory, shared by this process. progress: called
    with (stage, done, in all).
    Raises: TooShort for too little history; InvalidInput, DataError.
    """
    chosen = settings_or_default(config, TrainConfig)
    parts = _estimators(chosen, side, timing, meta)
    orchestrator = features if features is not None else FeatureOrchestrator()
    frame = klines_of(klines, symbol)
    step = progress if progress is not None else _silent
    step("features", 0, 1)
    recorded = recorded_of(klines, symbol, orchestrator)
    data = make_dataset(
        frame, chosen, orchestrator, interval=interval, funding=funding, recorded=recorded
    )
    step("features", 1, 1)
    model = train_on(data, chosen, **asdict(parts, recurse=False), trials=trials, progress=progress)
    note_training(
        ledger,
        family=family_for(klines, symbol, data.interval.name),
        name="dual model",
        parameters={"model_id": model.model_id, **model.loaded.manifest.record.parameters},
        data=data,
        found=model.out_of_sample,
        scores=model.scores,
    )
    return model


def train_on(
    data: Dataset,
    config: TrainConfig,
    *,
    side: Any = None,
    timing: Any = None,
    meta: Any = None,
    trials: int = 1,
    progress: Progress | None = None,
) -> TrainedModel:
    """The same from a dataset, which tells no symbol: nothing is written down as a trial."""
    step = progress if progress is not None else _silent
    estimators = _estimators(config, side, timing, meta)
    found = walk_forward(data, estimators, config, progress)
    step("scores", 0, 1)
    scores = score(data, found, config)
    step("scores", 1, 1)
    step("final fit", 0, 1)
    bundle = _refit(data, found, estimators, config)
    loaded = identified(bundle, record_of(data, config, estimators, scores.figures(), trials))
    step("final fit", 1, 1)
    return TrainedModel(loaded=loaded, config=config, data=data, out_of_sample=found, scores=scores)


def _estimators(config: TrainConfig, side: Any, timing: Any, meta: Any) -> Estimators:
    usual = Estimators.default(config.seed)
    return Estimators(
        side=side if side is not None else usual.side,
        timing=(timing if timing is not None else usual.timing) if config.timing else None,
        meta=(meta if meta is not None else usual.meta) if config.meta else None,
    )


def _silent(stage: str, done: int, total: int) -> None:
    pass


def _refit(data: Dataset, found: OutOfSample, estimators: Estimators, config: TrainConfig) -> Bundle:
    """The parts fitted on every row whose answer they may know, calibrated on out-of-fold scores only."""
    kwargs: dict[str, Any] = {"timeframe": data.interval.name, "horizon": config.barriers.horizon}
    parts: dict[str, Any] = {}
    X, learnt = data.side_rows, np.flatnonzero(data.decided)
    with limited(config.threads):
        side = fit_fresh(estimators.side, X[learnt], data.y[learnt], data.weights(learnt), data.side_columns)
        parts["side"] = adapted(side, columns=data.side_columns, **kwargs)
        if np.isfinite(found.timing).any():
            X, columns = data.X[:, data.timing_at], data.timing_columns
            timing = fit_fresh(estimators.timing, X, data.rises, data.weights(), columns)
            parts["timing"] = adapted(timing, columns=columns, **kwargs)
        bets = data.bets(found.side)
        rows = np.flatnonzero((found.fold >= 0) & (found.side != 0) & data.decided)
        pays = (bets.net > 0).astype(np.int64)
        if np.isfinite(found.meta).any() and np.unique(pays[rows]).size == 2:
            X, columns = np.hstack([data.side_rows, found.sides])[rows], meta_columns(data.side_columns)
            meta = fit_fresh(estimators.meta, X, pays[rows], data.weights(rows), columns)
            parts["meta"] = adapted(meta, columns=columns, **kwargs)
        regime = regime_of(data, config)
    scored = np.flatnonzero(found.scored & (found.side != 0))
    base, prior = bases(data, found.side, scored, "timing" in parts, "meta" in parts)
    first, second, bound = calibrators(data, config, scored, found.sides, found.side, found.score)
    if first is not None:
        parts["side_calibrator"] = first
    parts |= {"confidence_calibrator": second, "bound": bound, "reference": reference_of(data.X)}
    if regime is not None:
        parts["regime"] = regime
    if data.autoencoder is not None:
        parts["autoencoder"] = data.autoencoder
    if data.regimes is not None:
        parts["regime_features"] = data.regimes
    late = late_bets(data, config, found.side, scored)
    return Bundle(parts=parts, settings=settings_for(data, config, base, prior, late))


def adapted(estimator: Any, **spec: Any) -> Any:
    """What `fit_fresh` gave as a model: one of the user's own as it is, else by its own adapter when it has one."""
    if isinstance(estimator, OwnModel):
        told = {name: value for name, value in spec.items() if name in ("timeframe", "horizon")}
        return evolve(estimator, spec=evolve(estimator.spec, **told))
    own = getattr(estimator, "adapted", None)
    return adapt(estimator, **spec) if own is None else own(**spec)


def regime_of(data: Dataset, config: TrainConfig, previous: RegimeModel | None = None) -> RegimeModel | None:
    """A regime model of the last `REGIME_ROWS` rows, its states named as before; None when features lack columns."""
    if any(name not in data.columns for name in OBSERVED):
        return None
    at = [data.columns.index(name) for name in OBSERVED]
    chosen = RegimeConfig(restarts=2, iterations=40, seed=config.seed)
    return fit_regimes(
        data.X[-REGIME_ROWS:, at],
        columns=OBSERVED,
        config=chosen,
        previous=previous,
        timeframe=data.interval.name,
    ).model


def settings_for(
    data: Dataset, config: TrainConfig, base: Floats, prior: float, late: Late
) -> dict[str, Any]:
    """The settings of a bundle: the bet that its probabilities are about, and how its parts are pooled."""
    ends = int(data.t1.max())
    lifetime = config.lifetime
    apart = {} if config.side_timeframe is None else {"columns": list(data.columns)}
    return dict(
        settings_of(
            base,
            np.ones(3),
            prior=prior,
            late=asdict(late),
            aggregator=config.aggregator,
            required=list(data.required),
            volatility=config.volatility,
            interval=data.interval.name,
            horizon=config.barriers.horizon,
            target=config.barriers.target,
            stop=config.barriers.stop,
            cost=horizon_cost(config, data.interval.ns),
            time_to_live=config.time_to_live,
            side_timeframe=config.side_timeframe,
            **apart,
            regimes=[] if data.regimes is None else list(data.regimes.states),
            uniqueness=data.uniqueness,
            expires_ns=None if lifetime is None else ends + lifetime * data.interval.ns,
        )
    )


def record_of(
    data: Dataset, config: TrainConfig, estimators: Estimators, metrics: dict[str, float], trials: int
) -> registry.TrainingRecord:
    """Where a model comes from, for its manifest."""
    if trials < 1:
        raise InvalidInput(f"trials must be at least 1, this one included, not {trials}", trials=trials)
    parameters: dict[str, Any] = {"training": asdict(config)}
    for name in ("side", "timing", "meta"):
        estimator = getattr(estimators, name)
        parameters[name] = None if estimator is None else _described(estimator)
    encoder = data.autoencoder
    parameters["autoencoder"] = None if encoder is None else {"key": encoder.key, "klines": data.head}
    regimes = data.regimes
    parameters["regime_features"] = None if regimes is None else {"states": list(regimes.states), "klines": data.head}
    return registry.TrainingRecord(
        fingerprint=data.fingerprint,
        trained_from_ns=int(data.t0[0]),
        trained_to_ns=int(data.t1.max()),
        parameters=parameters,
        metrics=metrics,
        trials=trials,
        notes={"rows": len(data)},
    )


def _described(estimator: Any) -> dict[str, Any]:
    """An estimator's class and settings, those that are plain values. Of a model of the user's own: the class."""
    settings = {
        name: value
        for name, value in (estimator.get_params() if hasattr(estimator, "get_params") else {}).items()
        if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and np.isfinite(value))
    }
    return {"class": f"{type(estimator).__module__}.{type(estimator).__qualname__}", "settings": settings}


def identified(bundle: Bundle, record: registry.TrainingRecord) -> registry.Loaded:
    """The model as it comes back from disk, so that what was scored is what will trade.

    A bundle with a part that cannot be data keeps living in memory only; its id says so.
    """
    DualModel(bundle=bundle)
    own = {part.name: type(part.model) for part in bundle.parts.values() if isinstance(part, OwnModel)}
    if all(storable(part) for part in bundle.parts.values()):
        with tempfile.TemporaryDirectory() as folder:
            registry.save(bundle, Path(folder) / "model", record)
            return registry.load(Path(folder) / "model", classes=own)
    content = repr((sorted(bundle.parts), record)).encode() + np.float64(bundle.settings["prior"]).tobytes()
    manifest = registry.Manifest(
        model_id=sha256_bytes(content), kind="backtest_only", spec=None, record=record, code_version=""
    )
    return registry.Loaded(model=bundle, manifest=manifest)
