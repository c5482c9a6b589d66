"""Fitting calibrators and lower bounds, on predictions that were made without the outcome."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ares.errors import InvalidInput, TooShort
from ares.models.abstention import LowerBound
from ares.models.calibrators import Calibrator
from ares.training.out_of_fold import OutOfFold

__all__ = ["fit_beta", "fit_calibrator", "fit_isotonic", "fit_lower_bound", "fit_sigmoid", "fit_temperature"]

Floats = NDArray[np.float64]
_LEAST = 1e-12
_SMALL = 1000  # predictions below which a step function would follow noise
_METHODS = ("auto", "sigmoid", "isotonic", "beta", "temperature")


def fit_calibrator(
    predictions: OutOfFold,
    y: ArrayLike,
    *,
    method: str = "auto",
    sample_weight: ArrayLike | None = None,
    prior_ratio: ArrayLike | None = None,
    walk_forward_only: bool = True,
) -> Calibrator:
    """Fit a calibrator to out-of-fold predictions.

    y: (n,) classes, one a row of `predictions`. sample_weight: (n,), for instance the labels' uniqueness.
    method: auto is sigmoid below 1,000 predictions of two classes and isotonic above, and temperature for more classes.
    prior_ratio: (k,) each class's true share over its share in training, when training was re-weighted; None: it was
    not.
    walk_forward_only: refuse predictions of models that saw labels later than what they predicted.
    Raises: InvalidInput, TooShort.
    """
    if method not in _METHODS:
        raise InvalidInput(f"unknown method {method!r}; valid: {', '.join(_METHODS)}", method=method)
    if walk_forward_only and not predictions.strictly_before:
        raise InvalidInput("these predictions come from models trained on later labels; use WalkForward")
    k = len(predictions.classes)
    rows = predictions.tested & np.isfinite(predictions.proba).all(axis=1)
    target = np.asarray(y)
    if target.shape != rows.shape:
        raise InvalidInput(f"y has shape {target.shape}, the predictions have {rows.size} rows")
    if rows.sum() < 2 * k or k < 2:
        raise TooShort(f"{int(rows.sum())} predictions of {k} classes are too few to calibrate", rows=int(rows.sum()))
    known = np.isin(target[rows], predictions.classes)
    if not known.all():
        raise InvalidInput(f"{int((~known).sum())} outcomes are none of the classes {predictions.classes}")
    weight = _weights(sample_weight, rows)
    ratio = np.ones(k) if prior_ratio is None else np.array(prior_ratio, dtype=np.float64)
    if ratio.shape != (k,) or not (np.isfinite(ratio) & (ratio > 0)).all():
        raise InvalidInput(f"prior_ratio needs {k} values > 0, not {ratio}")
    proba = predictions.proba[rows] * ratio
    proba /= proba.sum(axis=1, keepdims=True)
    hit = target[rows][:, None] == np.array(predictions.classes)[None, :]
    if method == "auto":
        method = "temperature" if k > 2 else ("sigmoid" if rows.sum() < _SMALL else "isotonic")
    if method == "temperature":
        params = np.array([[1.0 / fit_temperature(proba, hit.argmax(axis=1), weight), 0.0, 0.0]])
        return _calibrator(method, ratio, params, [])
    fitted: list[Any] = []
    for c in [1] if k == 2 else range(k):
        p, z = proba[:, c], hit[:, c].astype(np.float64)
        if method == "sigmoid":
            fitted.append((*fit_sigmoid(p, z, weight), 0.0))
        elif method == "beta":
            fitted.append(fit_beta(p, z, weight))
        else:
            fitted.append(fit_isotonic(p, z, weight))
    if method == "isotonic":
        edge = 1.0 / (rows.sum() + 2.0)
        return _calibrator(method, ratio, np.tile([edge, 1.0 - edge, 0.0], (len(fitted), 1)), fitted)
    return _calibrator(method, ratio, np.array(fitted, dtype=np.float64), [])


def _weights(sample_weight: ArrayLike | None, rows: NDArray[np.bool_]) -> Floats:
    if sample_weight is None:
        return np.ones(int(rows.sum()))
    given = np.asarray(sample_weight, dtype=np.float64)
    if given.shape != rows.shape:
        raise InvalidInput(f"sample_weight has shape {given.shape}, there are {rows.size} rows")
    chosen = given[rows]
    if not (np.isfinite(chosen) & (chosen >= 0)).all() or chosen.sum() <= 0:
        raise InvalidInput("sample weights must be finite, not negative, and not all zero")
    weight: Floats = chosen / chosen.mean()
    return weight


def _calibrator(method: str, ratio: Floats, params: Floats, knots: list[tuple[Floats, Floats]]) -> Calibrator:
    sizes = [x.size for x, _ in knots] if knots else [0] * len(params)
    return Calibrator(
        method=method,
        ratio=ratio,
        params=params,
        knot_x=np.concatenate([x for x, _ in knots]) if knots else np.empty(0),
        knot_y=np.concatenate([y for _, y in knots]) if knots else np.empty(0),
        offset=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
    )


def _log_odds(p: Floats) -> Floats:
    q = np.clip(p, _LEAST, 1.0 - _LEAST)
    odds: Floats = np.log(q) - np.log1p(-q)
    return odds


def fit_sigmoid(p: Floats, z: Floats, weight: Floats) -> tuple[float, float]:
    """Slope and intercept of the log-odds, by Newton's method on Platt's targets.

    The targets are (N+ + 1) / (N+ + 2) and 1 / (N- + 2) instead of 1 and 0, so that no finite sample is taken as proof.
    Source: Platt 1999; Lin, Lin and Weng 2007.
    """
    f = _log_odds(p)
    plus, minus = float(weight[z > 0].sum()), float(weight[z <= 0].sum())
    target = np.where(z > 0, (plus + 1.0) / (plus + 2.0), 1.0 / (minus + 2.0))

    def loss(slope: float, intercept: float) -> float:
        s = slope * f + intercept
        return float(weight @ (np.logaddexp(0.0, s) - target * s))

    slope, intercept = 0.0, float(np.log((plus + 1.0) / (minus + 1.0)))
    now = loss(slope, intercept)
    for _ in range(100):
        q = 1.0 / (1.0 + np.exp(-np.clip(slope * f + intercept, -500, 500)))
        gap, curve = weight * (q - target), weight * q * (1.0 - q) + 1e-14
        g0, g1 = float(gap @ f), float(gap.sum())
        h00, h01, h11 = float(curve @ (f * f)) + 1e-12, float(curve @ f), float(curve.sum())
        det = h00 * h11 - h01 * h01
        if max(abs(g0), abs(g1)) < 1e-9 * weight.sum() or det <= 0:
            break
        d0, d1 = -(h11 * g0 - h01 * g1) / det, -(h00 * g1 - h01 * g0) / det
        step = 1.0
        while step > 1e-10 and loss(slope + step * d0, intercept + step * d1) > now + 1e-4 * step * (g0 * d0 + g1 * d1):
            step /= 2.0
        if step <= 1e-10:
            break
        slope, intercept = slope + step * d0, intercept + step * d1
        now = loss(slope, intercept)
    return slope, intercept


def fit_isotonic(p: Floats, z: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Knots of the non-decreasing function nearest to the outcomes, in weighted squares. Source: Zadrozny and Elkan
    2002.
    """
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(out_of_bounds="clip").fit(p, z, sample_weight=weight)
    return fitted.X_thresholds_.astype(np.float64), fitted.y_thresholds_.astype(np.float64)


def fit_beta(p: Floats, z: Floats, weight: Floats) -> tuple[float, float, float]:
    """a, b >= 0 and c of `a ln p - b ln(1 - p) + c`, by maximum likelihood. Source: Kull, Silva Filho and Flach
    2017.
    """
    from scipy.optimize import minimize

    q = np.clip(p, _LEAST, 1.0 - _LEAST)
    x = np.stack([np.log(q), -np.log1p(-q), np.ones_like(q)])

    def loss(theta: Floats) -> tuple[float, Floats]:
        s = theta @ x
        slope = weight * (1.0 / (1.0 + np.exp(-np.clip(s, -500, 500))) - z)
        return float(weight @ (np.logaddexp(0.0, s) - z * s)) / z.size, x @ slope / z.size

    bounds = [(0.0, None), (0.0, None), (None, None)]
    options = {"maxiter": 1000, "ftol": 1e-15, "gtol": 1e-10}
    found = minimize(loss, np.array([1.0, 1.0, 0.0]), jac=True, bounds=bounds, method="L-BFGS-B", options=options)
    a, b, c = found.x
    return float(a), float(b), float(c)


def fit_temperature(proba: Floats, outcome: NDArray[np.int64], weight: Floats) -> float:
    """The temperature T whose `softmax(ln p / T)` has the least weighted log loss. outcome: (n,) class positions."""
    from scipy.optimize import minimize_scalar

    log_p = np.log(np.maximum(proba, _LEAST))
    at = np.arange(outcome.size)

    def loss(log_beta: float) -> float:
        s = np.exp(log_beta) * log_p
        top = s.max(axis=1)
        return float(weight @ (top + np.log(np.exp(s - top[:, None]).sum(axis=1)) - s[at, outcome]))

    found = minimize_scalar(loss, bounds=(-5.0, 5.0), method="bounded", options={"xatol": 1e-10})
    return float(np.exp(-found.x))


def fit_lower_bound(
    p: ArrayLike,
    z: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    uniqueness: float = 1.0,
    level: float = 0.9,
    bins: int = 10,
    method: str = "beta",
) -> LowerBound:
    """How sure one may be of a calibrated probability: a bound per equally filled bin, from the outcomes in it.

    p: (n,) calibrated out-of-fold probabilities. z: (n,) 1 where it came true. sample_weight: (n,).
    uniqueness: mean share of its life that a label has to itself; it shrinks the count of independent outcomes.
    level: one-sided confidence. method: beta (posterior of a uniform prior) or wilson (score interval).
    Raises: InvalidInput, TooShort.
    """
    given, hit = np.asarray(p, dtype=np.float64), np.asarray(z, dtype=np.float64)
    kept = np.isfinite(given) & np.isfinite(hit)
    if given.shape != hit.shape or not 0.0 < level < 1.0 or not 0.0 < uniqueness <= 1.0 or bins < 1:
        raise InvalidInput("need p and z of one shape, level in (0, 1), uniqueness in (0, 1], bins >= 1")
    if method not in {"beta", "wilson"}:
        raise InvalidInput(f"unknown method {method!r}; valid: beta, wilson", method=method)
    if kept.sum() < 2 * bins:
        raise TooShort(f"{int(kept.sum())} outcomes are too few for {bins} bins", rows=int(kept.sum()))
    weight = _weights(sample_weight, kept)
    given, hit = given[kept], hit[kept]
    edges = np.unique(np.quantile(given, np.arange(1, bins) / bins))
    place = np.searchsorted(edges, given, side="right")
    bounds = np.empty(edges.size + 1)
    for b in range(edges.size + 1):
        w = weight[place == b]
        if w.size == 0:
            bounds[b] = 0.0
            continue
        n = float(w.sum() ** 2 / (w @ w)) * uniqueness
        share = float(w @ hit[place == b]) / float(w.sum())
        bounds[b] = _beta_bound(share, n, level) if method == "beta" else _wilson_bound(share, n, level)
    # a likelier bin never gets a lower bound: take the least of those above
    return LowerBound(edges=edges, bounds=np.minimum.accumulate(bounds[::-1])[::-1].copy(), level=float(level))


def _beta_bound(share: float, n: float, level: float) -> float:
    from scipy.stats import beta

    return float(beta.ppf(1.0 - level, share * n + 1.0, (1.0 - share) * n + 1.0))


def _wilson_bound(share: float, n: float, level: float) -> float:
    from scipy.stats import norm

    z = float(norm.ppf(level))
    middle = share + z * z / (2 * n)
    spread = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return float(max((middle - spread) / (1 + z * z / n), 0.0))
