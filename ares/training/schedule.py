"""Retraining on a schedule: each model learns from outcomes known at its cut and begins at a fixed bar after it.

    cut 0        cut 1        cut 2        cut 3
    |--delay--|  |--delay--|  |--delay--|  |--delay--|
              block 0 ->   block 1 ->   block 2 ->   ...

One pass serves everything. The models of a cut are fitted once on what was known then; their opinions on their own
block are out of sample, and later cuts learn from these: meta models from block 0 on, calibrators and lower bounds from
block 1 on. So the model of cut 2 is the first that trades, and every score is of the very models that trade.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from attrs import asdict, define, evolve, field, frozen
from numpy.typing import NDArray

from ares.analyst.dual_model import (
    DualModel,
    lean_of,
    meta_columns,
    needed_confidence,
    pool,
    side_probabilities,
    toward,
)
from ares.errors import InvalidInput, ModelError, TooShort
from ares.features.orchestrator import FeatureOrchestrator
from ares.instruments import Interval
from ares.models import registry
from ares.models.bundle import Bundle
from ares.models.regime import RegimeModel
from ares.training.cuts import FIRST_TRADING, ScheduleConfig
from ares.training.dataset import Dataset, TrainConfig, klines_of, limited, make_dataset, recorded_of
from ares.training.drift import reference_of
from ares.training.folds import Estimators, OutOfSample, Progress, bases, calibrators, horizon_cost, late_bets
from ares.training.given import rates
from ares.training.noting import family_for, note_training
from ares.training.origin import Origin, find
from ares.training.out_of_fold import OutOfFold, fit_fresh
from ares.training.scores import Scores, score
from ares.training.trainer import adapted, identified, record_of, regime_of, settings_for
from ares.training.trials import TrialLedger

__all__ = ["ModelSchedule", "ScheduleConfig", "ScheduledModel", "schedule_models", "train_cut"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@frozen(kw_only=True, eq=False)
class ScheduledModel:
    """One model of a schedule."""

    cut_ns: int  # it has learned from outcomes known by then
    activate_ns: int  # the first bar that it decides on closes then or later
    loaded: registry.Loaded

    @property
    def model_id(self) -> str:
        """The digest that names the model."""
        return self.loaded.manifest.model_id


@frozen(kw_only=True, eq=False)
class ModelSchedule:
    """Models in the order they begin; also the library that `Analyst.activate` finds them in.

    Play it by `Backtester(analyst=Analyst(library=schedule)).run(klines, models=schedule)`.
    """

    models: tuple[ScheduledModel, ...]
    data: Dataset
    out_of_sample: OutOfSample
    scores: Scores  # of these models, each on its own block

    @property
    def activations(self) -> tuple[tuple[int, str], ...]:
        """(when, id) of each model, oldest first."""
        return tuple((model.activate_ns, model.model_id) for model in self.models)

    def due(self, close_ns: int, current: str) -> str | None:
        """The model that decides on the bar closing at `close_ns`; None: `current` goes on."""
        begun = [model.model_id for model in self.models if model.activate_ns <= close_ns]
        return begun[-1] if begun and begun[-1] != current else None

    @property
    def predictions(self) -> pd.DataFrame:
        """What each model said on its own block; see `OutOfSample.frame`."""
        return self.out_of_sample.frame(self.data)

    def load(self, model_id: str, *, fingerprint: str | None = None) -> registry.Loaded:
        """A model by its id. Raises ModelError when it is not of this schedule or was trained on other features."""
        for model in self.models:
            if model.model_id == model_id:
                found = model.loaded.manifest.record.fingerprint
                if fingerprint is not None and found != fingerprint:
                    raise ModelError(f"model {model_id} was trained on features {found}, not {fingerprint}")
                return model.loaded
        raise ModelError(f"model {model_id} is not of this schedule", model_id=model_id)

    def save(self, store: registry.Registry) -> tuple[str, ...]:
        """Write all models into a registry; returns their ids. Raises ModelError for one that cannot be data."""
        return tuple(store.add(m.loaded.model, m.loaded.manifest.record) for m in self.models)


def schedule_models(
    klines: Any,
    *,
    schedule: ScheduleConfig | None = None,
    config: TrainConfig | None = None,
    features: FeatureOrchestrator | None = None,
    estimators: Estimators | None = None,
    symbol: str | None = None,
    interval: Interval | str | None = None,
    funding: pd.Series | pd.DataFrame | None = None,
    trials: int = 1,
    ledger: TrialLedger | None = None,
    progress: Progress | None = None,
    store: registry.Registry | None = None,
) -> ModelSchedule:
    """Train a model at every cut of `klines`; arguments as for `train`. The whole schedule is one trial.

    store: a registry that models are written to as they are made; one that was made before from the same bars and
    settings is read from it instead of being trained again. None: models live in memory.
    `first_share`, `folds` and `window` of the training settings do not apply: the schedule says when.
    Raises: TooShort when there is no room for three blocks; InvalidInput, DataError.
    """
    frame = klines_of(klines, symbol)
    orchestrator = features if features is not None else FeatureOrchestrator()
    recorded = recorded_of(klines, symbol, orchestrator)
    if recorded and store is not None:
        raise InvalidInput(f"models that learn from {', '.join(recorded)} are kept in memory, in no store")
    pass_ = _begin(frame, schedule, config, orchestrator, estimators, interval, funding, trials, store, recorded)
    plan = pass_.plan
    count = plan.begun(pass_.origin.opened, pass_.data.interval.ns) + 1
    if count <= FIRST_TRADING:
        raise TooShort(
            f"{len(frame)} bars leave {count} cuts, {FIRST_TRADING + 1} are needed: the first model would begin after "
            f"{plan.needed} bars (first {plan.first}, every {plan.every}, delay {plan.delay})",
            rows=len(frame),
        )
    models: list[ScheduledModel] = []
    with limited(pass_.config.threads):
        for number in range(count):
            if progress is not None:
                progress("models", number, count)
            made = pass_.cut(number, last=number + 1 == count)
            if made is not None:
                models.append(made)
    if progress is not None:
        progress("models", count, count)
    found = pass_.found()
    scores = score(pass_.data, found, pass_.config)
    made_by = models[-1].loaded.manifest.record.parameters
    note_training(
        ledger,
        family=family_for(klines, symbol, pass_.data.interval.name),
        name="schedule",
        parameters={"model_ids": [model.model_id for model in models], "schedule": asdict(pass_.plan), **made_by},
        data=pass_.data,
        found=found,
        scores=scores,
    )
    return ModelSchedule(models=tuple(models), data=pass_.data, out_of_sample=found, scores=scores)


def train_cut(
    klines: Any,
    number: int,
    *,
    schedule: ScheduleConfig,
    config: TrainConfig | None = None,
    features: FeatureOrchestrator | None = None,
    estimators: Estimators | None = None,
    symbol: str | None = None,
    interval: Interval | str | None = None,
    funding: pd.Series | pd.DataFrame | None = None,
    trials: int = 1,
    store: registry.Registry | None = None,
) -> ScheduledModel:
    """The model of one cut, the very one that `schedule_models` makes there from a longer history.

    klines: from the history's beginning; what lies after the cut is not looked at. The cuts before it are walked as
    well, because their models' opinions on later bars are what this one's calibration learns from.
    Raises: TooShort when the cut has not been reached; InvalidInput, DataError, ModelError.
    """
    frame = klines_of(klines, symbol)
    bars = schedule.bars_at(number)
    if number < FIRST_TRADING or len(frame) < bars:
        least = max(bars, schedule.bars_at(FIRST_TRADING))
        raise TooShort(f"cut {number} of {len(frame)} bars has no model: it needs {least}", rows=len(frame))
    pass_ = _begin(frame.iloc[:bars], schedule, config, features, estimators, interval, funding, trials, store)
    made: ScheduledModel | None = None
    with limited(pass_.config.threads):
        for each in range(number + 1):
            made = pass_.cut(each, last=each == number)
    assert made is not None, "every cut from FIRST_TRADING on makes a model"
    return made


def _begin(
    frame: pd.DataFrame,
    schedule: ScheduleConfig | None,
    config: TrainConfig | None,
    features: FeatureOrchestrator | None,
    estimators: Estimators | None,
    interval: Interval | str | None,
    funding: pd.Series | pd.DataFrame | None,
    trials: int,
    store: registry.Registry | None,
    recorded: Mapping[str, pd.DataFrame] | None = None,
) -> _Pass:
    plan, chosen = schedule or ScheduleConfig(), config or TrainConfig()
    orchestrator = features if features is not None else FeatureOrchestrator()
    settled = None if funding is None else rates(funding)
    data = make_dataset(
        frame, chosen, orchestrator, interval=interval, funding=settled, head=plan.first, recorded=recorded
    )
    usual = estimators if estimators is not None else Estimators.default(chosen.seed)
    parts = evolve(
        usual, timing=usual.timing if chosen.timing else None, meta=usual.meta if chosen.meta else None
    )
    origin = Origin(frame=frame, funding=settled, plan=plan, record=record_of(data, chosen, parts, {}, trials))
    return _Pass(
        data=data, plan=plan, config=chosen, estimators=parts, trials=trials, store=store, origin=origin
    )


@define(eq=False)
class _Pass:
    """What one walk through the cuts has gathered so far."""

    data: Dataset
    plan: ScheduleConfig
    config: TrainConfig
    estimators: Estimators
    trials: int
    origin: Origin
    store: registry.Registry | None = None
    _sides: Floats = field(init=False)
    _columns: dict[str, Floats] = field(init=False)
    _side: Ints = field(init=False)
    _fold: Ints = field(init=False)
    _taken: NDArray[np.bool_] = field(init=False)
    _regime: RegimeModel | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        n = len(self.data)
        self._sides = np.full((n, 3), np.nan)
        names = ("lean", *_KEPT)
        self._columns = {name: np.full(n, np.nan) for name in names}
        self._side, self._fold = np.zeros(n, np.int64), np.full(n, -1, np.int64)
        self._taken = np.zeros(n, np.bool_)

    def cut(self, number: int, *, last: bool) -> ScheduledModel | None:
        """Fit what is known at a cut, and let it speak on the decisions from its start to before the next one's.

        last: there is no next one. None while there is nothing yet to calibrate on.
        """
        data, columns = self.data, self._columns
        cut_ns, start_ns = self._times(number)
        test = np.flatnonzero((data.t0 >= start_ns) & (last | (data.t0 < self._times(number + 1, last=last)[1])))
        rows = self._known(number, cut_ns)
        seen = np.flatnonzero((self._fold >= 0) & (self._side != 0) & (data.t1 <= cut_ns))
        made = self._made_before(number)
        parts = self._fit(rows) if made is None else dict(made.model.parts)
        meta = parts.get("meta") if made is not None else self._fit_meta(seen) if number >= 1 else None
        if meta is not None:
            parts["meta"] = meta
        self._speak(number, parts, test)
        base, prior = bases(data, self._side, seen, "timing" in parts, "meta" in parts)
        if number >= 1 and test.size:
            voices = np.stack([columns["lean"], columns["timing"], columns["meta"]], axis=1)[test]
            columns["score"][test] = pool(voices, base, np.ones(3), prior, self.config.aggregator)
        if number < FIRST_TRADING:
            return None
        if made is None:
            made = self._finished(number, parts, rows, seen, base, prior, start_ns)
        self._regime = made.model.get("regime")
        self._trade(DualModel(bundle=made.model), test)
        return ScheduledModel(cut_ns=cut_ns, activate_ns=start_ns, loaded=made)

    def _times(self, number: int, *, last: bool = False) -> tuple[int, int]:
        """When a cut's last bar closes, and when its model begins, ns. last: there is no such cut."""
        if last:
            return (1 << 62), (1 << 62)
        step = self.data.interval.ns
        start_ns = self.plan.begins(number, self.origin.opened, step)
        return start_ns - self.plan.delay * step, start_ns

    def _known(self, number: int, cut_ns: int) -> Ints:
        """Rows to learn from at a cut: their outcomes are known, and they lie in its window."""
        data = self.data
        known = data.t1 <= cut_ns
        if self.plan.window is not None:
            known &= data.t0 > cut_ns - self.plan.window * data.interval.ns
        rows = np.flatnonzero(known)
        if rows.size < 100:
            raise TooShort(f"{rows.size} decisions are known at cut {number}, too few to train on", rows=rows.size)
        return rows

    def _made_before(self, number: int) -> registry.Loaded | None:
        """The finished model of a cut out of the store; None: it has to be made."""
        if self.store is None or number < FIRST_TRADING:
            return None
        return find(self.store, self.origin.key(number))

    def _finished(
        self, number: int, parts: dict[str, Any], rows: Ints, seen: Ints, base: Floats, prior: float, start_ns: int
    ) -> registry.Loaded:
        """The calibrated model of these parts, as it comes back from disk."""
        data, plan = self.data, self.plan
        scored = seen[np.isfinite(self._columns["score"][seen])]
        first, second, bound = calibrators(data, self.config, scored, self._sides, self._side, self._columns["score"])
        if first is not None:
            parts["side_calibrator"] = first
        own = data.take(rows)
        parts |= {"confidence_calibrator": second, "bound": bound, "reference": reference_of(own.X)}
        regime = regime_of(own, self.config, self._regime)
        if regime is not None:
            parts["regime"] = regime
        if data.autoencoder is not None:
            parts["autoencoder"] = data.autoencoder
        if data.regimes is not None:
            parts["regime_features"] = data.regimes
        lifetime = plan.lifetime if plan.lifetime is not None else 2 * plan.every
        settings = settings_for(own, self.config, base, prior, late_bets(data, self.config, self._side, scored))
        settings["expires_ns"] = start_ns + lifetime * data.interval.ns
        bundle = Bundle(parts=parts, settings=settings)
        record = self.origin.signed(record_of(own, self.config, self.estimators, {}, self.trials), number)
        made = identified(bundle, record)
        if self.store is not None:
            self.store.add(made.model, record)
        return made

    def found(self) -> OutOfSample:
        """All opinions, each of the model whose block the row lies in."""
        proba = OutOfFold(proba=self._sides, fold=self._fold, classes=(-1, 0, 1), strictly_before=True)
        return OutOfSample(
            side_fold=proba,
            sides=self._sides,
            side=self._side,
            fold=self._fold,
            taken=self._taken,
            **{name: self._columns[name] for name in _KEPT},
        )

    def _fit(self, rows: Ints) -> dict[str, Any]:
        data, learnt = self.data, rows[self.data.decided[rows]]
        spec: dict[str, Any] = {"timeframe": data.interval.name, "horizon": self.config.barriers.horizon}
        X = data.X[learnt][:, data.side_at]
        side = fit_fresh(self.estimators.side, X, data.y[learnt], data.weights(learnt), data.side_columns)
        parts = {"side": adapted(side, columns=data.side_columns, **spec)}
        if self.estimators.timing is not None and data.timing_columns:
            X = data.X[rows][:, data.timing_at]
            timing = fit_fresh(self.estimators.timing, X, data.rises[rows], data.weights(rows), data.timing_columns)
            parts["timing"] = adapted(timing, columns=data.timing_columns, **spec)
        return parts

    def _fit_meta(self, seen: Ints) -> Any:
        """The meta model on out-of-sample bets; None when it is switched off or all bets ended alike."""
        data = self.data
        seen = seen[data.decided[seen]]
        pays = (data.bets(self._side).net > 0).astype(np.int64)[seen]
        if self.estimators.meta is None or np.unique(pays).size < 2:
            return None
        X = np.hstack([data.X[seen][:, data.side_at], self._sides[seen]])
        columns, horizon = meta_columns(data.side_columns), self.config.barriers.horizon
        meta = fit_fresh(self.estimators.meta, X, pays, data.weights(seen), columns)
        return adapted(meta, columns=columns, timeframe=data.interval.name, horizon=horizon)

    def _speak(self, number: int, parts: dict[str, Any], test: Ints) -> None:
        """The parts' raw opinions on the block."""
        if test.size == 0:
            return
        data, X = self.data, np.ascontiguousarray(self.data.X[test])
        own = np.ascontiguousarray(X[:, data.side_at])
        sides = side_probabilities(parts["side"], own)
        side, lean = lean_of(sides)
        self._sides[test], self._side[test], self._fold[test] = sides, side, number
        self._columns["lean"][test] = lean
        if "timing" in parts:
            early = parts["timing"].predict_proba(np.ascontiguousarray(X[:, data.timing_at]))[:, 1]
            self._columns["timing"][test] = toward(early, side)
        if "meta" in parts:
            self._columns["meta"][test] = parts["meta"].predict_proba(np.hstack([own, sides]))[:, 1]

    def _trade(self, model: DualModel, test: Ints) -> None:
        """What the finished model says of its block, and which bets it would take."""
        if test.size == 0:
            return
        data, judged = self.data, model.judge(np.ascontiguousarray(self.data.X[test]))
        cost = horizon_cost(self.config, data.interval.ns)
        widths = data.target_width[test], data.stop_width[test]
        needed = needed_confidence(judged.side, *widths, judged.p_timeout, cost, judged.timeout_loss)
        for name in ("confidence", "p_timeout", "timeout_loss", "low"):
            self._columns[name][test] = getattr(judged, name)
        self._columns["needed"][test] = needed
        self._taken[test] = (judged.low > needed) & (judged.side != 0) & ~(judged.timing < 0.5)


_KEPT = ("timing", "meta", "score", "confidence", "p_timeout", "timeout_loss", "low", "needed")
