"""`Analyst`: a trained dual model's opinion on each closed bar, with health, risks and a technical reading."""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ares.analyst.active import ActiveModel, Places, places_of
from ares.analyst.adoption import read_model
from ares.analyst.config import AnalystConfig
from ares.analyst.dual_model import Judgement, needed_confidence
from ares.analyst.explain import Explanation, explain_row
from ares.analyst.health import health_of
from ares.analyst.liquidation import liquidation_of
from ares.analyst.memory import Memory
from ares.analyst.technical import technical_of
from ares.errors import DataError, InvalidInput, ModelError, settings_or_default
from ares.instrument_tables import default_instrument
from ares.instruments import Instrument, Side
from ares.kernels.barriers import barrier_widths
from ares.models import registry
from ares.models.regime_columns import PERIOD
from ares.values import AnalysisInput, AnalysisResult, FeatureRow, LiquidationView, Reason, RegimeView

__all__ = ["Analyst", "Library"]

_NAN = math.nan


class Library(Protocol):
    """Where models are found by their id: `ares.models.Registry`, or a schedule of trained models."""

    def load(self, model_id: str, *, fingerprint: str | None = None) -> registry.Loaded: ...


class Analyst:
    """A trained model's opinions. Without one it abstains and says so; the other parts work all the same.

    model: a directory written by `save`, what `ares.train` gave, a `Loaded` of the registry, or a fitted side model of
    your own (`ares.models.Model`). The latter bets on the settings' horizon and widths; its probabilities are taken as
    they are, each opinion says so (`calibration.none`), has no lower bound, and is not for real money.
    classes: of a directory's parts that are not ours, by the class's name. library: where `activate` finds further
    models by their id. instruments: margin tiers for the liquidation risk; None: the built-in table. fingerprint: of
    the features it will be given, to refuse a foreign model at once instead of at the first row.

    Call it once for each closed bar, in order. A row gets the same probability alone and in a batch, bit for bit. It
    abstains, with the numbers, on a missing value, a row unlike all training rows, an expired model, a lower bound of
    the confidence at or under break-even, and while an entry had better wait.
    """

    def __init__(
        self,
        config: AnalystConfig | None = None,
        *,
        model: Any = None,
        classes: Mapping[str, type] | None = None,
        library: Library | None = None,
        instruments: Sequence[Instrument] = (),
        fingerprint: str | None = None,
    ) -> None:
        self.config = settings_or_default(config, AnalystConfig)
        self._library = library
        self._fingerprint = fingerprint
        self._instruments = {instrument.symbol: instrument for instrument in instruments}
        self._model: ActiveModel | None = None
        self._loaded: dict[str, ActiveModel] = {}
        self._places: dict[str, Places] = {}
        self._symbols: dict[str, Memory] = {}
        self._results: dict[str, deque[AnalysisResult]] = {}
        self._rows: dict[str, deque[tuple[int, str, NDArray[np.float64]]]] = {}
        if model is not None:
            self._use(ActiveModel.of(read_model(model, classes), self.config))

    # ------------------------------------------------------------ the verb

    async def execute_analysis(self, given: AnalysisInput) -> AnalysisResult:
        """The opinion on the last closed bar."""
        return self.analyze(given)

    def analyze(self, given: AnalysisInput) -> AnalysisResult:
        """The opinion on the last closed bar: the plain twin of `execute_analysis`.

        Raises: DataError when the row or the candle is from the future; ModelError when the row's features are not
        those that the model was trained on.
        """
        row, candle = given.row, given.market.candle
        if row.known_ns > given.now_ns or (candle is not None and candle.close_ns > given.now_ns):
            raise DataError(f"{given.symbol}: a bar that closes after {given.now_ns} cannot be known", now=given.now_ns)
        places, symbol = self._where(row), self._symbol(given.symbol)
        known = row.ready and self.config.enable_feature_engineering
        volatility = float(row.values[places.volatility]) if known else _NAN
        new = row.open_ns > symbol.last_open_ns
        if new and row.ready and places.observed is not None:
            symbol.regime_columns.update(row.open_ns, row.known_ns - row.open_ns, row.values[places.observed])
        x = places.of(row.values, symbol.regime_columns.at(row.open_ns))
        if new:
            symbol.last_open_ns = row.open_ns
            self._move_on(given, symbol, x, volatility)
        result = self._opinion(given, symbol, places, x, volatility, new)
        limit = self.config.max_results
        self._results.setdefault(given.symbol, deque(maxlen=limit)).append(result)
        kept = (result.now_ns, result.model_id, x)
        self._rows.setdefault(given.symbol, deque(maxlen=limit)).append(kept)
        return result

    def activate(self, sha256: str) -> None:
        """Let the model with this id decide from now on. Raises ModelError when it cannot be found or does not fit."""
        found = self._loaded.get(sha256)
        if found is None:
            if self._library is None:
                raise ModelError(f"no library to find model {sha256} in", sha256=sha256)
            found = ActiveModel.of(self._library.load(sha256, fingerprint=self._fingerprint), self.config)
            if found.model_id != sha256:
                raise ModelError(f"the library gave model {found.model_id} for {sha256}", sha256=sha256)
        self._use(found)

    def explain(self, decision: AnalysisResult) -> Explanation:
        """What each feature contributed to the confidence of a recent opinion; see `ares.analyst.explain`.

        Raises: InvalidInput when the opinion is not among the last `max_results`, or no model made it.
        """
        for now_ns, model_id, x in self._rows.get(decision.symbol, ()):
            if now_ns == decision.now_ns and model_id == decision.model_id and model_id in self._loaded:
                return explain_row(self._loaded[model_id].dual, x)
        raise InvalidInput(f"no model's opinion on {decision.symbol} at {decision.now_ns} is remembered")

    # ------------------------------------------------------------ what people ask

    def get_analysis_results(self) -> Mapping[str, tuple[AnalysisResult, ...]]:
        """The recent opinions of each symbol, newest last."""
        return {symbol: tuple(results) for symbol, results in self._results.items()}

    def get_analysis_status(self) -> Mapping[str, object]:
        """The model, when it was trained and ends, and the alarms of each symbol."""
        status: dict[str, object] = {"model_id": self.model_id, "symbols": {}}
        if self._model is not None:
            record = self._model.manifest.record
            status |= {
                "trained_to_ns": record.trained_to_ns,
                "expires_ns": self._model.expires_ns,
                "fingerprint": record.fingerprint,
                "trials": record.trials,
                "storable": self._model.manifest.kind != "backtest_only",
                "parts": sorted(self._model.dual.bundle.parts),
            }
        status["symbols"] = {
            name: {
                "last_open_ns": s.last_open_ns,
                "drift": s.vigilance.drift if s.vigilance is not None else None,
                "surprise": s.vigilance.surprise if s.vigilance is not None else None,
            }
            for name, s in self._symbols.items()
        }
        return status

    @property
    def model_id(self) -> str:
        """The digest of the model that decides; "none" without one."""
        return "none" if self._model is None else self._model.model_id

    @property
    def library(self) -> Library | None:
        """Where further models come from; None: it keeps the one that it has."""
        return self._library

    @property
    def settle(self) -> int:
        """Warm bars after which what it says no longer depends on where history began, beyond the features' own."""
        reads = self._library is not None or (self._model is not None and self._model.regimes is not None)
        return 2 * PERIOD if reads else 0

    def live_refusal(self) -> str | None:
        """Why this analyst must not trade real money; None when it may."""
        if self._model is None:
            return "the analyst has no model"
        return self._model.refusal

    # ------------------------------------------------------------ state

    def save_state(self) -> dict[str, Any]:
        """Everything remembered of each symbol, as plain values and arrays; the model itself is not in it."""
        symbols = {name: memory.save_state() for name, memory in self._symbols.items()}
        return {"model_id": self.model_id, "symbols": symbols}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `save_state` gave. Raises ModelError when another model's state is given."""
        if state["model_id"] != self.model_id:
            if state["model_id"] == "none":
                raise ModelError("this state was saved by an analyst without a model", model_id="none")
            self.activate(str(state["model_id"]))
        self._symbols = {}
        for name, part in state["symbols"].items():
            self._symbol(name).load_state(part)

    def __deepcopy__(self, memo: dict[int, Any]) -> Analyst:
        """A copy with a memory of its own; models never change and are shared."""
        twin = Analyst.__new__(Analyst)
        twin.__dict__.update(self.__dict__)
        for name in ("_places", "_loaded"):
            setattr(twin, name, dict(getattr(self, name)))
        for name in ("_symbols", "_results", "_rows"):
            shared = {id(m): m for m in self._shared()}
            setattr(twin, name, copy.deepcopy(getattr(self, name), {**shared}))
        return twin

    # ------------------------------------------------------------ parts

    def _shared(self) -> list[Any]:
        found: list[Any] = []
        for model in self._loaded.values():
            found += list(model.dual.bundle.parts.values())
        return found

    def _use(self, model: ActiveModel) -> None:
        wanted = model.manifest.record.fingerprint
        if self._fingerprint is not None and wanted != self._fingerprint:
            raise ModelError(
                f"model {model.model_id} was trained on features {wanted}, these are {self._fingerprint}",
                expected=self._fingerprint,
                found=wanted,
            )
        self._loaded[model.model_id] = model
        self._model = model
        self._places.clear()
        for symbol in self._symbols.values():
            symbol.fit_out(self.config, model)

    def _symbol(self, name: str) -> Memory:
        found = self._symbols.get(name)
        if found is None:
            found = self._symbols[name] = Memory.fresh(self.config, self._model)
        return found

    def _where(self, row: FeatureRow) -> Places:
        found = self._places.get(row.schema_id)
        if found is None:
            found = self._places[row.schema_id] = places_of(self._model, row)
        return found

    def _move_on(self, given: AnalysisInput, symbol: Memory, x: NDArray[np.float64], volatility: float) -> None:
        """Take in a new closed bar."""
        row, candle = given.row, given.market.candle
        if candle is not None and candle.open_ns == row.open_ns:
            symbol.excursions.update(candle.high, candle.low, candle.close, volatility)
            if symbol.vigilance is not None:
                symbol.vigilance.bar(candle)
        if row.ready and symbol.vigilance is not None:
            symbol.vigilance.row(x)

    def _opinion(
        self,
        given: AnalysisInput,
        symbol: Memory,
        places: Places,
        x: NDArray[np.float64],
        volatility: float,
        new: bool,
    ) -> AnalysisResult:
        config, row, model = self.config, given.row, self._model
        step = row.known_ns - row.open_ns
        horizon = model.horizon if model is not None else config.horizon
        multiples = (model.target, model.stop) if model is not None else (config.target_multiple, config.stop_multiple)
        target, stop = barrier_widths(volatility, horizon, *multiples)
        regime = self._regime(row, symbol, places, new)
        judged, reasons = self._judge(given, symbol, places, x, volatility)
        side, factor = 0, 1.0
        bounded = model is not None and "bound" in model.dual.bundle
        if judged is not None and model is not None:
            side = int(judged.side[0])
            age = model.age(row)
            if new and symbol.vigilance is not None and (age is None or age <= model.time_to_live):
                symbol.vigilance.bet(side, target, stop, float(judged.confidence[0]))
            refused, factor = self._refusals(given, symbol, model, judged, target, stop)
            reasons += refused
            if any(reason.code in _REFUSALS for reason in refused):
                side = 0
        liquidation = self._liquidation(given, symbol, side, volatility, stop)
        return AnalysisResult(
            symbol=given.symbol,
            now_ns=given.now_ns,
            p_up=None if judged is None else float(judged.p_up[0]),
            p_down=None if judged is None else float(judged.p_down[0]),
            p_timeout=None if judged is None else float(judged.p_timeout[0]),
            timeout_loss=0.0 if judged is None else float(judged.timeout_loss[0]) * target,
            side=None if side == 0 else Side.BUY if side > 0 else Side.SELL,
            confidence=0.0 if side == 0 or judged is None else float(judged.confidence[0]),
            confidence_low=float(judged.low[0]) if side and judged is not None and bounded else None,
            horizon=horizon,
            horizon_ns=horizon * step,
            stop_width=stop,
            target_width=target,
            volatility=volatility if volatility > 0.0 else None,
            size_factor=factor,
            feature_age_ns=given.feature_age_ns,
            valid_until_ns=row.known_ns + config.valid_bars * step,
            model_id=self.model_id,
            regime=regime,
            health=self._health(given, places),
            liquidation=liquidation[0],
            technical=self._technical(given, places),
            alarm=symbol.vigilance.alarm() if symbol.vigilance is not None else None,
            reasons=(*liquidation[1], *reasons),
        )

    def _judge(
        self, given: AnalysisInput, symbol: Memory, places: Places, x: NDArray[np.float64], volatility: float
    ) -> tuple[Judgement | None, tuple[Reason, ...]]:
        """The model's judgement, or None and why there is none."""
        config, row, model = self.config, given.row, self._model
        if not config.enable_feature_engineering:
            return None, (Reason(code="features.off"),)
        if not config.enable_ml_predictions or not config.enable_dual_model_system:
            return None, (Reason(code="predictions.off"),)
        if model is None:
            return None, (Reason(code="model.none"),)
        if model.expires_ns is not None and row.known_ns > model.expires_ns:
            return None, (Reason(code="model.expired", numbers={"hours": (row.known_ns - model.expires_ns) / 3.6e12}),)
        if not row.ready and not np.isfinite(x[places.required]).all():
            return None, (Reason(code="row.not_ready"),)
        missing = np.flatnonzero(np.isnan(x[places.required]))
        if missing.size:
            names = [model.dual.required[i] for i in missing[:3]]
            return None, (Reason(code="row.has_nan", numbers=dict.fromkeys(names, _NAN)),)
        if not volatility > 0.0:
            return None, (Reason(code="volatility.unknown", numbers={"volatility": volatility}),)
        if symbol.vigilance is not None and (strange := symbol.vigilance.stranger(x)) is not None:
            return None, (strange,)
        judged = model.dual.judge(x.reshape(1, -1))
        if model.dual.silent(judged)[0]:
            return None, (Reason(code="row.not_judged"),)
        return judged, () if "confidence_calibrator" in model.dual.bundle else (Reason(code="calibration.none"),)

    def _refusals(
        self,
        given: AnalysisInput,
        symbol: Memory,
        model: ActiveModel,
        judged: Judgement,
        target: float,
        stop: float,
    ) -> tuple[tuple[Reason, ...], float]:
        """What speaks against the bet or for a smaller one, and the share of the usual size that is left."""
        row, candle = given.row, given.market.candle
        step = row.known_ns - row.open_ns
        cost = max(model.cost, self.config.round_trip_cost)
        widths = np.array([target]), np.array([stop])
        needed = float(needed_confidence(judged.side, *widths, judged.p_timeout, cost, judged.timeout_loss)[0])
        confidence, low, timing = float(judged.confidence[0]), float(judged.low[0]), float(judged.timing[0])
        numbers = {
            "side": float(judged.side[0]),
            "lean": float(judged.lean[0]),
            "timing": timing,
            "meta": float(judged.meta[0]),
            "confidence": confidence,
            "low": low,
            "needed": needed,
            "age_seconds": (given.now_ns - row.known_ns) / 1e9,
        }
        found = [Reason(code="model.judged", numbers={k: v for k, v in numbers.items() if not math.isnan(v)})]
        factor, alarms = symbol.vigilance.size_factor() if symbol.vigilance is not None else (1.0, ())
        found += alarms
        late = given.now_ns >= row.known_ns + self.config.valid_bars * step
        if late or (candle is not None and candle.open_ns > row.open_ns):
            found.append(Reason(code="row.stale", numbers={"seconds": (given.now_ns - row.known_ns) / 1e9}))
        if judged.side[0] == 0:
            found.append(Reason(code="opinion.tied"))
        elif not low > needed:
            found.append(Reason(code="edge.below_break_even", numbers={"low": low, "needed": needed}))
        side, wanted = int(judged.side[0]), bool(judged.side[0] != 0 and low > needed)
        wait = symbol.moment(row, model.time_to_live, side, timing, wanted=wanted, age=model.age(row))
        if wait is not None:
            found.append(wait)
        return tuple(found), factor

    def _regime(self, row: FeatureRow, symbol: Memory, places: Places, new: bool) -> RegimeView | None:
        if symbol.regime is None or places.regime is None or not row.ready or not new:
            last = self._results.get(row.symbol)
            return last[-1].regime if last and not new else None
        now = symbol.regime.update(row.open_ns, row.values[places.regime])
        if not self.config.enable_regime_classification:
            return None
        return RegimeView(state=now.regime, probabilities=now.probabilities)

    def _health(self, given: AnalysisInput, places: Places) -> Any:
        if not self.config.enable_market_health_analysis or not given.row.ready:
            return None
        return health_of(_known(given.row.values, places.health), given.market, self.config.health)

    def _technical(self, given: AnalysisInput, places: Places) -> Any:
        config = self.config
        if not (config.enable_technical_analysis and config.enable_feature_engineering) or not given.row.ready:
            return None
        return technical_of(_known(given.row.values, places.technical))

    def _liquidation(
        self, given: AnalysisInput, symbol: Memory, side: int, volatility: float, stop: float
    ) -> tuple[LiquidationView | None, tuple[Reason, ...]]:
        """Of the open position, else of a new one on the opinion's side; of a long when there is none."""
        if not self.config.enable_liquidation_risk_analysis:
            return None, ()
        price = given.market.price
        instrument = self._instruments.get(given.symbol)
        if instrument is None:
            instrument = self._instruments[given.symbol] = default_instrument(given.symbol, price)
        view, reason = liquidation_of(
            price,
            Side.SELL if side < 0 else Side.BUY,
            instrument,
            given.position,
            volatility,
            stop,
            symbol.excursions,
            self.config.liquidation,
        )
        return view, (reason,) if reason is not None else ()


_REFUSALS = frozenset(
    {
        "row.stale",
        "opinion.tied",
        "edge.below_break_even",
        "timing.wait",
        "timing.lapsed",
        "calibration.broken",
        "drift.severe",
    }
)


def _known(values: NDArray[np.float64], places: tuple[tuple[str, int], ...]) -> dict[str, float]:
    """The named values that are there."""
    return {name: value for name, i in places if (value := float(values[i])) == value}
