"""Calibrators against scikit-learn, their definitions, and forecasts whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import check_grad
from scipy.special import expit, logit
from scipy.stats import binom
from sklearn.calibration import _sigmoid_calibration
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from ares.errors import InvalidInput, TooShort
from ares.models import adapt, load, save
from ares.models.calibrators import CalibratedModel
from ares.training.calibration import (
    fit_beta,
    fit_calibrator,
    fit_isotonic,
    fit_lower_bound,
    fit_sigmoid,
    fit_temperature,
)
from ares.training.out_of_fold import OutOfFold
from ares.training.reliability import calibration_error, log_loss


def forecasts(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """True chance, an overconfident and shifted forecast of it, the outcome, and weights."""
    rng = np.random.default_rng(seed)
    truth = rng.beta(4, 4, n)
    told = expit(2.5 * logit(truth) + 0.4)
    return truth, told, (rng.random(n) < truth).astype(float), rng.uniform(0.2, 2.0, n)


def oof(proba: np.ndarray, classes: tuple[int, ...] = (0, 1), *, before: bool = True) -> OutOfFold:
    columns = np.stack([1 - proba, proba], axis=1) if proba.ndim == 1 else proba
    fold = np.where(np.isfinite(columns).all(axis=1), 0, -1)
    return OutOfFold(proba=columns, fold=fold, classes=classes, strictly_before=before)


def test_the_sigmoid_is_platts() -> None:
    _, told, y, weight = forecasts(800)
    weight = weight / weight.mean()
    slope, intercept = fit_sigmoid(told, y, weight)
    a, b = _sigmoid_calibration(logit(told), y, weight)
    assert (slope, intercept) == pytest.approx((-a, -b), rel=1e-4)
    few = fit_sigmoid(np.array([0.2, 0.4, 0.6, 0.8]), np.array([0.0, 0.0, 1.0, 1.0]), np.ones(4))
    assert np.isfinite(few).all(), "separable outcomes must not run to infinity"


def test_isotonic_steps_are_scikit_learns_and_clipped_away_from_certainty() -> None:
    _, told, y, weight = forecasts(1500)
    fitted = fit_calibrator(oof(told), y, method="isotonic", sample_weight=weight)
    peer = IsotonicRegression(out_of_bounds="clip").fit(told, y, sample_weight=weight / weight.mean())
    asked = np.concatenate([told, np.linspace(0, 1, 501)])
    expected = np.clip(peer.predict(asked), 1 / 1502, 1 - 1 / 1502)
    got = fitted.apply(np.stack([1 - asked, asked], axis=1))
    np.testing.assert_allclose(got[:, 1], expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(got.sum(axis=1), 1.0, rtol=1e-12)
    assert got.min() >= 1 / 1502 * (1 - 1e-12)
    knots, _ = fit_isotonic(told, y, weight)
    assert (np.diff(knots) > 0).all()


def test_beta_is_at_its_optimum_and_contains_the_identity() -> None:
    _, told, y, weight = forecasts(3000)
    a, b, c = fit_beta(told, y, weight)
    x = np.stack([np.log(told), -np.log1p(-told), np.ones_like(told)])

    def loss(theta: np.ndarray) -> float:
        s = theta @ x
        return float(weight @ (np.logaddexp(0, s) - y * s)) / y.size

    def slope(theta: np.ndarray) -> np.ndarray:
        return x @ (weight * (expit(theta @ x) - y)) / y.size

    assert check_grad(loss, slope, np.array([a, b, c])) < 1e-5
    assert np.abs(slope(np.array([a, b, c]))).max() < 1e-4
    rng = np.random.default_rng(1)
    truth = rng.uniform(0.02, 0.98, 200_000)
    honest = (rng.random(truth.size) < truth).astype(float)
    np.testing.assert_allclose(fit_beta(truth, honest, np.ones(truth.size)), (1, 1, 0), atol=0.05)


def test_temperature_finds_the_one_that_was_applied() -> None:
    rng = np.random.default_rng(2)
    scores = rng.normal(size=(100_000, 3)) * 1.5
    chance = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    outcome = (rng.random(len(scores))[:, None] > np.cumsum(chance, axis=1)).sum(axis=1)
    hot = chance**2.0 / (chance**2.0).sum(axis=1, keepdims=True)
    assert fit_temperature(hot, outcome, np.ones(len(hot))) == pytest.approx(2.0, rel=0.02)
    cool = fit_calibrator(oof(hot, (-1, 0, 1)), outcome - 1)
    assert cool.method == "temperature"
    np.testing.assert_allclose(cool.apply(hot[:1000]), chance[:1000], atol=0.01)


@pytest.mark.parametrize("method", ["sigmoid", "isotonic", "beta", "temperature"])
def test_calibrating_makes_told_chances_true(method: str) -> None:
    truth, told, y, _ = forecasts(40_000)
    train, test = slice(0, 20_000), slice(20_000, None)
    fitted = fit_calibrator(oof(told[train]), y[train], method=method)
    after = fitted.apply(np.stack([1 - told, told], axis=1))[test, 1]
    error = calibration_error(after, y[test])
    assert error < calibration_error(told[test], y[test]) / 2
    assert log_loss(after, y[test]) < log_loss(told[test], y[test])
    if method != "temperature":  # which cannot undo a shift
        assert np.abs(after - truth[test]).mean() < 0.015
        assert error < 0.02


@pytest.mark.parametrize("method", ["sigmoid", "isotonic", "beta", "temperature"])
@pytest.mark.parametrize("classes", [2, 3])
def test_a_row_alone_has_the_bits_of_the_batch_and_nan_stays_nan(method: str, classes: int) -> None:
    rng = np.random.default_rng(3)
    proba = rng.dirichlet(np.ones(classes), 2000)
    y = np.array([rng.choice(classes, p=row) for row in proba])
    fitted = fit_calibrator(oof(proba, tuple(range(classes))), y, method=method)
    proba[5] = np.nan
    proba[6] = np.eye(classes)[0]
    proba[7] = np.eye(classes)[-1]
    batch = fitted.apply(proba)
    alone = np.concatenate([fitted.apply(row[None]) for row in proba])
    assert np.array_equal(batch, alone, equal_nan=True)
    assert np.isnan(batch[5]).all()
    assert np.isfinite(np.delete(batch, 5, axis=0)).all()
    np.testing.assert_allclose(np.delete(batch, 5, axis=0).sum(axis=1), 1.0, rtol=1e-12)


def test_a_shifted_prior_is_put_right() -> None:
    """Training on half the losses doubles their odds; the known ratio takes it back, p r / (p r + 1 - p)."""
    truth, _, y, _ = forecasts(60_000)
    odds = truth / (1 - truth) * 2.0
    told = odds / (1 + odds)
    fitted = fit_calibrator(oof(told), y, method="sigmoid", prior_ratio=[1.0, 0.5])
    given = told[:2000]
    expected = given * 0.5 / (given * 0.5 + 1 - given)
    np.testing.assert_allclose(expected, truth[:2000], rtol=1e-12)
    np.testing.assert_allclose(fitted.apply(np.stack([1 - given, given], axis=1))[:, 1], expected, atol=0.02)


def test_calibrators_want_predictions_from_the_past() -> None:
    _, told, y, _ = forecasts(100)
    with pytest.raises(InvalidInput, match="later labels"):
        fit_calibrator(oof(told, before=False), y)
    assert fit_calibrator(oof(told, before=False), y, walk_forward_only=False).method == "sigmoid"
    with pytest.raises(TooShort):
        fit_calibrator(oof(np.full(100, np.nan)), y)
    with pytest.raises(InvalidInput, match="none of the classes"):
        fit_calibrator(oof(told), y + 5)
    with pytest.raises(InvalidInput, match="unknown method"):
        fit_calibrator(oof(told), y, method="magic")
    with pytest.raises(InvalidInput, match="prior_ratio"):
        fit_calibrator(oof(told), y, prior_ratio=[1.0])


@pytest.mark.parametrize("method", ["sigmoid", "isotonic", "temperature"])
def test_a_calibrated_model_survives_the_disk(method: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(4)
    X = rng.normal(size=(600, 3))
    y = np.digitize(X[:, 0] + rng.normal(size=600), [-0.5, 0.5])
    model = adapt(LogisticRegression().fit(X, y), columns=["a", "b", "c"])
    whole = CalibratedModel(
        model=model, calibrator=fit_calibrator(oof(model.predict_proba(X), (0, 1, 2)), y, method=method)
    )
    save(whole, tmp_path / "m")
    again = load(tmp_path / "m").model
    assert isinstance(again, CalibratedModel)
    assert np.array_equal(again.predict_proba(X), whole.predict_proba(X))
    assert again.spec == whole.spec


@pytest.mark.parametrize("method", ["beta", "wilson"])
def test_the_lower_bound_holds_as_often_as_it_says(method: str) -> None:
    """One bin, known chance: in `level` of all samples the bound lies under it."""
    rng = np.random.default_rng(5)
    chance, n, level = 0.55, 400, 0.9
    below = [
        fit_lower_bound(np.full(n, chance), rng.random(n) < chance, bins=1, level=level, method=method).bounds[0]
        < chance
        for _ in range(400)
    ]
    assert binom.cdf(sum(below), 400, level) > 0.001
    assert binom.sf(sum(below), 400, level) > 0.001


def test_lower_bounds_rise_with_p_and_widen_with_overlap() -> None:
    truth, _, y, _ = forecasts(5000)
    bound = fit_lower_bound(truth, y)
    asked = np.linspace(0, 1, 101)
    low = bound.apply(asked)
    assert (low <= asked).all()
    assert (np.diff(bound.bounds) >= 0).all()
    inside = (asked > 0.3) & (asked < 0.7)
    assert (asked - low)[inside].max() < 0.15
    overlapping = fit_lower_bound(truth, y, uniqueness=0.1)
    assert (overlapping.bounds <= bound.bounds).all()
    assert np.isnan(bound.apply([np.nan])[0])
    with pytest.raises(TooShort):
        fit_lower_bound(truth[:10], y[:10])
