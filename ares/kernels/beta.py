"""The beta distribution: how sure one can be of a chance after so many successes and failures.

Source: Press et al., Numerical Recipes, 3rd ed., section 6.4 (continued fraction by the modified Lentz method).
"""

from __future__ import annotations

from math import exp, lgamma, log

from ares.kernels.jit import jit

__all__ = ["beta_cdf", "beta_quantile"]

_TINY = 1e-300
_TERMS = 500
_STEPS = 200


@jit
def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of the incomplete beta function, for x below (a + 1) / (a + b + 2)."""
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (d if abs(d) > _TINY else _TINY)
    h = d
    for m in range(1, _TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        change = 1.0
        for term in (even, odd):
            d = 1.0 + term * d
            d = 1.0 / (d if abs(d) > _TINY else _TINY)
            c = 1.0 + term / c
            c = c if abs(c) > _TINY else _TINY
            change = c * d
            h *= change
        if abs(change - 1.0) < 1e-16:
            break
    return h


@jit
def beta_cdf(x: float, a: float, b: float) -> float:
    """Chance that a Beta(a, b) variable is at most `x`; a, b > 0."""
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log(1.0 - x))
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _fraction(x, a, b) / a
    return 1.0 - front * _fraction(1.0 - x, b, a) / b


@jit
def beta_quantile(q: float, a: float, b: float) -> float:
    """The `x` with `beta_cdf(x, a, b) = q`, 0 < q < 1, by Newton's steps inside a shrinking bracket."""
    low, high = 0.0, 1.0
    x = a / (a + b)
    scale = lgamma(a + b) - lgamma(a) - lgamma(b)
    for _ in range(_STEPS):
        error = beta_cdf(x, a, b) - q
        if error > 0.0:
            high = x
        else:
            low = x
        step = error / exp(scale + (a - 1.0) * log(x) + (b - 1.0) * log(1.0 - x))
        new = x - step
        if not low < new < high:
            new = 0.5 * (low + high)
        if abs(new - x) <= 1e-15 * x or high - low <= 1e-15 * high:
            return new
        x = new
    return x
