"""The dual model: which way, whether now, and whether the bet pays; pooled and calibrated to one probability.

| part | question | answers |
|---|---|---|
| side | which barrier comes first: target up, target down, or neither | three probabilities |
| timing | does the next move go the bet's way, so that waiting gains nothing | one, on the base timeframe's columns |
| meta | does this bet end with a profit after costs | one |

With a side timeframe, side and meta read its columns only, so that their answers stand from one of its closes to the
next, and timing is asked on the base bars in between.

The parts' probabilities are pooled by a named rule, and the pooled score is mapped to the chance that a bet ends at its
target where the price goes the target's distance to either side, by a calibrator fitted on walk-forward out-of-fold
predictions. Times the chance that it does, which the side model knows best, it is the confidence: a row with a likely
timeout has little chance of its target. Training and trading call the same `judge`; a row alone and the same row in a
batch give the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import asdict, field, frozen
from attrs.validators import ge
from numpy.typing import NDArray

from ares.errors import InvalidInput, ModelError, unknown_name
from ares.kernels.jit import jit
from ares.kernels.sizing import appraise
from ares.models.abstention import LowerBound
from ares.models.bundle import Bundle
from ares.models.calibrators import Calibrator
from ares.models.model import matrix

__all__ = [
    "AGGREGATORS",
    "CALIBRATED",
    "SIDES",
    "DualModel",
    "Judgement",
    "Late",
    "chances",
    "lean_of",
    "meta_columns",
    "needed_confidence",
    "pool",
    "settings_of",
    "side_probabilities",
    "toward",
]

Floats = NDArray[np.float64]

AGGREGATORS = {"log_odds": 0, "product": 1}
SIDES = (-1, 0, 1)  # classes of the side model: target down, neither, target up
CALIBRATED = "share of touched barriers"  # what the confidence calibrator maps a score to, of how many are targets
_OPINION = ("model.p_down", "model.p_timeout", "model.p_up")  # what the meta model reads beside the features


def meta_columns(columns: tuple[str, ...]) -> tuple[str, ...]:
    """What a meta model reads: the features, then the side model's three probabilities."""
    return (*columns, *_OPINION)


@jit
def _pool(parts: Floats, base: Floats, weight: Floats, prior: float, rule: int, out: Floats) -> None:
    for i in range(parts.shape[0]):
        if rule == 1:
            score = parts[i, 0]
            if not math.isnan(base[1]):
                score *= parts[i, 1] * parts[i, 1]
            if not math.isnan(base[2]):
                score *= parts[i, 2]
            out[i] = score
            continue
        total = 0.0
        summed = 0.0
        for k in range(3):
            if not math.isnan(base[k]):
                p = min(max(parts[i, k], 1e-6), 1.0 - 1e-6)
                summed += weight[k] * (math.log(p / (1.0 - p)) - math.log(base[k] / (1.0 - base[k])))
                total += weight[k]
        z = math.log(prior / (1.0 - prior)) + summed / total
        out[i] = 1.0 / (1.0 + math.exp(-z)) if not math.isnan(parts[i, 0]) else math.nan


def pool(parts: Floats, base: Floats, weight: Floats, prior: float, aggregator: str = "log_odds") -> Floats:
    """One score of the parts' probabilities, (n,).

    parts: (n, 3) side, timing, meta. base: (3,) what each part says without knowledge; NaN: the part is absent.
    weight: (3,). prior: the score without knowledge.
    log_odds: weighted mean of each part's log-odds over its base, added to the prior's log-odds (a logarithmic opinion
    pool). product: `a * t**2`, the side's probability by the timing's squared, and by the meta's when there is one.
    Raises: InvalidInput. Source: Genest and Zidek 1986 for the logarithmic pool.
    """
    if aggregator not in AGGREGATORS:
        raise unknown_name("aggregator", aggregator, AGGREGATORS)
    if parts.ndim != 2 or parts.shape[1] != 3 or base.shape != (3,) or weight.shape != (3,) or math.isnan(base[0]):
        raise InvalidInput("pooling needs parts of shape (n, 3), a base and a weight each, and a side")
    out = np.empty(parts.shape[0])
    _pool(np.ascontiguousarray(parts), base, weight, prior, AGGREGATORS[aggregator], out)
    return out


def _share(_: object, attribute: Any, value: Any) -> None:
    if not isinstance(value, float) or not 0.0 <= value <= 1.0:
        raise ValueError(f"{attribute.name} must be a share in [0, 1], not {value!r}")


@frozen(kw_only=True)
class Late:
    """Bets that the time barrier ends. The defaults hold when target and stop are equally wide.

    Where the stop is the wider one, a timeout loses if the target's distance was touched: on the stop's side, and the
    price has not come back far enough since. Where nothing was touched, a timeout gains as often as it loses.
    """

    untouched: float = field(default=1.0, validator=_share)  # share of bets, where neither target (up, down) is touched
    touched: float = field(default=0.0, validator=_share)  # the same where one is
    touched_loss: float = field(default=0.0, validator=ge(0.0))  # mean of the latter before costs, in target widths


@frozen(kw_only=True, eq=False)
class Judgement:
    """What a dual model says of each row. Arrays are (n,); a row it cannot judge is NaN, with side 0."""

    p_down: Floats  # that the bet's barrier below comes first; calibrated, the three sum to 1
    p_timeout: Floats
    timeout_loss: Floats  # mean loss of a timeout before costs, in widths of the target
    p_up: Floats  # that the bet's barrier above comes first; without a side these are of two targets
    side: NDArray[np.int64]  # +1, -1; 0: neither is likelier
    lean: Floats  # the side's share of the two targets, raw
    timing: Floats  # NaN: there is no timing model
    meta: Floats  # NaN: there is no meta model
    score: Floats  # pooled; calibrated, the chance of the target if its distance is touched on either side
    confidence: Floats  # chance that the side's target comes before its stop and the time barrier
    low: Floats  # lower bound of the confidence


@frozen(kw_only=True, eq=False)
class DualModel:
    """A bundle read as side, timing and meta models with their calibration. Raises ModelError when it is none."""

    bundle: Bundle
    columns: tuple[str, ...] = field(init=False)  # features, in the order that `judge` takes them
    required: tuple[str, ...] = field(init=False)  # those that must not be missing
    base: Floats = field(init=False)
    weight: Floats = field(init=False)
    prior: float = field(init=False)
    late: Late = field(init=False)
    _side_at: NDArray[np.int64] | None = field(init=False)  # None: the side model reads all columns
    _timing_at: NDArray[np.int64] = field(init=False)

    def __attrs_post_init__(self) -> None:
        settings = self.bundle.settings
        if settings.get("kind") != "dual_model" or "side" not in self.bundle:
            raise ModelError("this bundle is no dual model: it has no side", kind=settings.get("kind"))
        if set(self.side.spec.classes) - set(SIDES):
            raise ModelError(f"a side model knows the classes {SIDES}, not {self.side.spec.classes}")
        set_ = object.__setattr__
        reads = self.bundle.settings.get("columns")
        set_(self, "columns", self.side.spec.columns if reads is None else tuple(reads))
        set_(self, "required", tuple(self.setting("required", list)))
        set_(self, "base", _numbers(self.setting("base", list)))
        set_(self, "weight", _numbers(self.setting("weight", list)))
        set_(self, "prior", float(self.setting("prior", float)))
        set_(self, "late", self._late())
        places = {name: i for i, name in enumerate(self.columns)}
        side, timing = self.side.spec.columns, self.timing.spec.columns if self.timing is not None else ()
        if missing := (set(side) | set(timing) | set(self.required)) - places.keys():
            raise ModelError(f"the parts read columns that the model does not: {sorted(missing)[:5]}")
        if "confidence_calibrator" in self.bundle and settings.get("calibrated") != CALIBRATED:
            raise ModelError(
                f"this model's confidence is calibrated to {settings.get('calibrated')!r}, not to {CALIBRATED!r}, as "
                "models of earlier versions are; train it again",
                expected=CALIBRATED,
                found=settings.get("calibrated"),
            )
        if self.meta is not None and self.meta.spec.columns != meta_columns(side):
            raise ModelError("the meta model does not read the side model's columns and its probabilities")
        at = np.array([places[name] for name in side], dtype=np.int64)
        set_(self, "_side_at", None if side == self.columns else at)
        set_(self, "_timing_at", np.array([places[name] for name in timing], dtype=np.int64))

    def setting(self, name: str, kind: type | tuple[type, ...]) -> Any:
        """One of the bundle's settings, checked for its type. Raises ModelError."""
        found = self.bundle.settings.get(name)
        if not isinstance(found, kind):
            raise ModelError(f"setting {name!r} of a dual model is {found!r}", setting=name)
        return found

    def _late(self) -> Late:
        given = self.bundle.settings.get("late", asdict(Late()))
        try:
            return Late(**given)
        except (TypeError, ValueError) as error:
            told = f"setting 'late' of a dual model is {given!r} ({error}); train it again"
            raise ModelError(told, setting="late") from error

    @property
    def side(self) -> Any:
        """The side model."""
        return self.bundle["side"]

    @property
    def timing(self) -> Any:
        """The timing model; None: there is none."""
        return self.bundle.get("timing")

    @property
    def meta(self) -> Any:
        """The meta model; None: there is none."""
        return self.bundle.get("meta")

    def judge(self, X: Any) -> Judgement:
        """The opinion on each row. X: (n, columns), an array or a frame that holds the columns."""
        rows = matrix(X, self.columns)
        own = rows if self._side_at is None else np.ascontiguousarray(rows[:, self._side_at])
        sides = side_probabilities(self.side, own)
        side, lean = lean_of(sides)
        timing = meta = np.full(rows.shape[0], math.nan)
        if self.timing is not None:
            p = self.timing.predict_proba(np.ascontiguousarray(rows[:, self._timing_at]))[:, 1]
            timing = toward(p, side)
        if self.meta is not None:
            meta = self.meta.predict_proba(np.ascontiguousarray(np.hstack([own, sides])))[:, 1]
        score = pool(
            np.stack([lean, timing, meta], axis=1), self.base, self.weight, self.prior, self.setting("aggregator", str)
        )
        calibrated = self._calibrated(sides, "side_calibrator")
        pair = np.stack([1.0 - score, score], axis=1)
        share = self._calibrated(pair, "confidence_calibrator")[:, 1]
        confidence, p_timeout, timeout_loss = chances(share, calibrated[:, 1], self.late)
        p_down, p_up = calibrated[:, 0], calibrated[:, 2]
        if "confidence_calibrator" in self.bundle:  # else the side model's own are taken as they are
            p_stop = 1.0 - confidence - p_timeout
            p_down, p_up = (
                np.where(side == 0, p, np.where(side == s, confidence, p_stop)) for s, p in ((-1, p_down), (1, p_up))
            )
            p_timeout = np.where(side == 0, calibrated[:, 1], p_timeout)
        bound: LowerBound | None = self.bundle.get("bound")
        return Judgement(
            p_down=p_down,
            p_timeout=p_timeout,
            timeout_loss=timeout_loss,
            p_up=p_up,
            side=side,
            lean=lean,
            timing=timing,
            meta=meta,
            score=score,
            confidence=confidence,
            low=chances(bound.apply(share), calibrated[:, 1], self.late)[0] if bound is not None else confidence,
        )

    def silent(self, judged: Judgement) -> NDArray[np.bool_]:
        """Rows that one of the parts could not judge, (n,): a model of the user's own may say so by NaN."""
        found = np.isnan(judged.lean)
        for part, chance in ((self.timing, judged.timing), (self.meta, judged.meta)):
            if part is not None:
                found |= np.isnan(chance)
        return found

    def _calibrated(self, proba: Floats, part: str) -> Floats:
        if part not in self.bundle:
            return proba
        calibrator: Calibrator = self.bundle[part]
        return calibrator.apply(proba)


def chances(share: Floats, neither: Floats, late: Late) -> tuple[Floats, Floats, Floats]:
    """The chances of a bet's target and of its time barrier, (n,) each, and what a timeout loses on average before
    costs, in widths of the target; what is left of the chances is the stop's.

    share: of targets where one of both is touched. neither: chance that neither target, above or below, is touched.
    The likelier a touch, the more of the timeouts are those that lose.
    """
    target, turned = share * (1.0 - neither), late.touched * (1.0 - neither)
    timeouts = late.untouched * neither + turned
    loss = late.touched_loss * turned / np.where(timeouts > 0.0, timeouts, 1.0)
    return target, np.minimum(timeouts, 1.0 - target), loss


@jit
def _needed(
    side: Any, target: Floats, stop: Floats, p_timeout: Floats, cost: float, timeout_loss: Floats, out: Floats
) -> None:
    for i in range(out.size):
        out[i] = appraise(side[i], target[i], stop[i], 0.5, p_timeout[i], cost, timeout_loss[i])[2]


def needed_confidence(
    side: NDArray[np.int64],
    target: Floats,
    stop: Floats,
    p_timeout: Floats,
    cost: float,
    timeout_loss: Floats | None = None,
) -> Floats:
    """The chance of the target at which each bet pays nothing after costs, (n,); the same rule sizes positions.

    target, stop: log distances from entry. p_timeout: chance of neither barrier. cost: of the round trip, a fraction.
    timeout_loss: what a timeout loses besides its costs, in widths of the target; None: nothing.
    """
    out = np.empty(side.size)
    loss = np.zeros(side.size) if timeout_loss is None else timeout_loss * target
    _needed(side, target, stop, np.ascontiguousarray(p_timeout), float(cost), np.ascontiguousarray(loss), out)
    return out


def side_probabilities(model: Any, X: Floats) -> Floats:
    """(n, 3) in the order of `SIDES`; a class that the model never met has probability 0."""
    found = model.predict_proba(X)
    classes = tuple(model.spec.classes)
    if classes == SIDES:
        return np.ascontiguousarray(found)
    out = np.zeros((found.shape[0], 3))
    for k, label in enumerate(classes):
        out[:, SIDES.index(int(label))] = found[:, k]
    return out


def lean_of(sides: Floats) -> tuple[NDArray[np.int64], Floats]:
    """The likelier side of each row, and its share of both targets; 0 and 0.5 when they are equally likely."""
    down, up = sides[:, 0], sides[:, 2]
    side = np.where(up > down, 1, np.where(down > up, -1, 0)).astype(np.int64)
    both = np.where(up + down > 0.0, up + down, 1.0)
    lean = np.where(side == 0, 0.5, np.maximum(up, down) / both)
    return side, np.where(np.isnan(up), math.nan, lean)


def toward(p_rise: Floats, side: NDArray[np.int64]) -> Floats:
    """The chance that the next move goes the way of `side`, from the chance that it goes up."""
    return np.where(side < 0, 1.0 - p_rise, p_rise)


def _numbers(values: list[Any]) -> Floats:
    return np.array([math.nan if value is None else float(value) for value in values], dtype=np.float64)


def settings_of(base: Floats, weight: Floats, **more: Any) -> Mapping[str, Any]:
    """The settings of a dual model's bundle as JSON values."""
    return {
        "kind": "dual_model",
        "base": [None if math.isnan(b) else float(b) for b in base],
        "weight": [float(w) for w in weight],
        "calibrated": CALIBRATED,
        **more,
    }
