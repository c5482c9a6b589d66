"""The model in use: a loaded bundle, what it was trained for, and where its columns stand in a feature row."""

from __future__ import annotations

from types import NoneType
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ares.analyst.adoption import VOLATILITY, as_bundle, refusal_of
from ares.analyst.config import AnalystConfig
from ares.analyst.dual_model import DualModel
from ares.analyst.health import HEALTH_COLUMNS
from ares.analyst.technical import TECHNICAL_COLUMNS
from ares.errors import InvalidInput, ModelError, unknown_name
from ares.instruments import Interval
from ares.models import registry
from ares.models.autoencoder import Autoencoder
from ares.models.regime import RegimeModel
from ares.models.regime_columns import OBSERVED, regime_names
from ares.values import FeatureRow

__all__ = ["ActiveModel", "Places", "bars_since_close", "places_of"]

Floats = NDArray[np.float64]
_MONDAY_NS = 4 * 86_400 * 10**9  # the epoch was a Thursday; weeks begin on Mondays


@frozen(kw_only=True, eq=False)
class ActiveModel:
    """A dual model with the bet that its probabilities are about."""

    model_id: str
    dual: DualModel
    manifest: registry.Manifest
    horizon: int
    target: float
    stop: float
    cost: float
    volatility: str
    interval: str | None  # of its rows; None: it is not tied to one
    time_to_live: int
    expires_ns: int | None
    side_timeframe_ns: int | None  # sides are decided at closes of this timeframe; None: at each bar
    refusal: str | None  # why it must not trade real money; None: it may

    def age(self, row: FeatureRow) -> int | None:
        """Bars since the side was decided, at the row's close; None when each bar decides."""
        if self.side_timeframe_ns is None:
            return None
        return int(bars_since_close(row.open_ns, row.known_ns - row.open_ns, self.side_timeframe_ns))

    @property
    def regimes(self) -> RegimeModel | None:
        """What makes the model's own regime columns; None: it has none."""
        found: RegimeModel | None = self.dual.bundle.get("regime_features")
        return found

    @classmethod
    def of(cls, loaded: registry.Loaded, config: AnalystConfig | None = None) -> ActiveModel:
        """Read what was loaded. config: names the bet of a model that does not. Raises ModelError when it is no dual
        model.
        """
        dual = DualModel(bundle=as_bundle(loaded.model, config if config is not None else AnalystConfig()))
        expires, higher = (dual.bundle.settings.get(name) for name in ("expires_ns", "side_timeframe"))
        _check_ranges(dual)
        _check_regimes(dual, loaded.manifest.model_id)
        return cls(
            model_id=loaded.manifest.model_id,
            dual=dual,
            manifest=loaded.manifest,
            horizon=dual.setting("horizon", int),
            target=float(dual.setting("target", (int, float))),
            stop=float(dual.setting("stop", (int, float))),
            cost=float(dual.setting("cost", (int, float))),
            volatility=dual.setting("volatility", str),
            interval=dual.setting("interval", (str, NoneType)),
            time_to_live=dual.setting("time_to_live", int),
            expires_ns=None if expires is None else int(expires),
            side_timeframe_ns=None if higher is None else Interval.parse(str(higher)).ns,
            refusal=refusal_of(dual, loaded.manifest),
        )


def _check_ranges(dual: DualModel) -> None:
    """Refuse settings that describe no bet, however well they are signed. Raises ModelError."""
    number = (int, float)
    least = {"horizon": (int, 1), "time_to_live": (int, 1), "cost": (number, 0.0), "target": (number, 0.0)}
    least["stop"] = (number, 0.0)
    for name, (kind, bound) in least.items():
        value = dual.setting(name, kind)  # type: ignore[arg-type]
        fits = value > bound if name in ("target", "stop") else value >= bound
        if isinstance(value, bool) or not fits or value == float("inf"):
            raise ModelError(f"setting {name!r} of a dual model is {value!r}, which no bet can have", setting=name)
    for name in ("interval", "side_timeframe"):
        value = dual.bundle.settings.get(name)
        if value is not None:
            try:
                Interval.parse(str(value))
            except InvalidInput as error:
                raise ModelError(f"setting {name!r} of a dual model: {error}", setting=name) from error
    expires = dual.bundle.settings.get("expires_ns")
    if expires is not None and (not isinstance(expires, int) or isinstance(expires, bool) or expires <= 0):
        raise ModelError(f"setting 'expires_ns' of a dual model is {expires!r}, no time in ns", setting="expires_ns")


def _check_regimes(dual: DualModel, model_id: str) -> None:
    """Raises ModelError when the states behind the model's regime columns are not those that it was trained with."""
    regimes = dual.bundle.get("regime_features")
    if regimes is not None and not isinstance(regimes, RegimeModel):
        raise ModelError(f"part regime_features of model {model_id} is a {type(regimes).__name__}, no RegimeModel")
    found, told = ([], OBSERVED) if regimes is None else (list(regimes.states), regimes.spec.columns)
    wanted = dual.bundle.settings.get("regimes", [])
    if wanted != found or tuple(told) != OBSERVED:
        raise ModelError(
            f"model {model_id} reads regimes {wanted} told by {', '.join(OBSERVED)}, its part regime_features "
            f"has {found} told by {', '.join(map(str, told))}; train it again",
            expected=wanted,
            found=found,
        )


@frozen(kw_only=True, eq=False)
class Places:
    """Where the columns stand in rows of one schema."""

    volatility: int
    model: NDArray[np.int64]  # among the row's values and, after them, the autoencoder's columns and the regimes'
    required: NDArray[np.int64]  # positions in the model's row
    regime: NDArray[np.int64] | None
    health: tuple[tuple[str, int], ...]
    technical: tuple[tuple[str, int], ...]
    autoencoder: Autoencoder | None = None  # the model's own
    encoded: NDArray[np.int64] | None = None  # the autoencoder's inputs
    observed: NDArray[np.int64] | None = None  # what regimes are told by; None: the row lacks some of it

    def of(self, values: Floats, regimes: Floats) -> Floats:
        """What the model reads of a row's values, (columns,). regimes: the probabilities of its own; empty: none."""
        if self.autoencoder is None and not regimes.size:
            return np.asarray(values[self.model])
        codes = () if self.autoencoder is None else (self.autoencoder.of_row(values[self.encoded]),)
        return np.asarray(np.concatenate([values, *codes, regimes])[self.model])


def bars_since_close(open_ns: Any, step_ns: int, timeframe_ns: int) -> Any:
    """How many bars ago the last bar of a higher timeframe closed, seen from a bar's close; 0: the two close together.

    open_ns: of the bars, an int or an array. step_ns: their length. timeframe_ns: a multiple of it.
    """
    return ((open_ns - _MONDAY_NS) // step_ns + 1) % (timeframe_ns // step_ns)


def places_of(model: ActiveModel | None, row: FeatureRow) -> Places:
    """Where everything stands in rows of this schema.

    Raises: ModelError when the model was trained on other features; InvalidInput when the volatility is missing.
    """
    index = {name: i for i, name in enumerate(row.names)}
    columns: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    encoder: Autoencoder | None = None
    if model is not None:
        wanted = model.manifest.record.fingerprint
        named = bool(row.schema_id) and not row.schema_id.startswith("frame:")
        foreign = wanted is not None and named and row.schema_id != wanted
        columns, required = model.dual.columns, model.dual.required
        encoder = model.dual.bundle.get("autoencoder")
        inputs = (*(encoder.inputs if encoder is not None else ()), *(OBSERVED if model.regimes is not None else ()))
        missing = [name for name in inputs if name not in index]
        made = () if model.regimes is None else regime_names(model.regimes)
        own = (*(encoder.names if encoder is not None else ()), *made)
        index |= {name: len(row.names) + i for i, name in enumerate(own)}
        missing += [name for name in columns if name not in index]
        if foreign or missing or model.interval not in (None, row.interval):
            raise ModelError(
                f"model {model.model_id} reads {model.interval or 'any'} features {wanted}, this row is of "
                f"{row.interval} features {row.schema_id} and lacks {len(missing)} columns; train it again",
                expected=wanted,
                found=row.schema_id,
                missing=missing[:5],
            )
    name = model.volatility if model is not None else VOLATILITY
    if name not in index:
        raise unknown_name("feature", name, row.names)
    places = {column: i for i, column in enumerate(columns)}
    regime = model.dual.bundle.get("regime") if model is not None else None
    return Places(
        volatility=index[name],
        model=np.array([index[c] for c in columns], dtype=np.int64),
        required=np.array([places[c] for c in required], dtype=np.int64),
        regime=None if regime is None else np.array([index[c] for c in regime.spec.columns], dtype=np.int64),
        health=tuple((c, index[c]) for c in HEALTH_COLUMNS if c in index),
        technical=tuple((c, index[c]) for c in TECHNICAL_COLUMNS if c in index),
        autoencoder=encoder,
        encoded=None if encoder is None else np.array([index[c] for c in encoder.inputs], dtype=np.int64),
        observed=np.array([index[c] for c in OBSERVED], dtype=np.int64) if set(OBSERVED) <= set(index) else None,
    )
