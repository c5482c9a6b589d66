"""Fitting a Gaussian hidden Markov model to the past: Baum-Welch with restarts, a choice of K, and names that stay
put.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from attrs import evolve, field, frozen
from attrs.validators import ge, gt, in_, lt
from numpy.typing import ArrayLike, NDArray

from ares.errors import InvalidInput, TooShort
from ares.kernels.hmm import filter_batch, smooth_batch
from ares.models.model import ModelSpec
from ares.models.regime import RegimeModel

__all__ = ["RegimeConfig", "RegimeFit", "choose_states", "fit_regimes"]

Floats = NDArray[np.float64]
_NAMES = {1: ("all",), 2: ("calm", "stressed"), 3: ("calm", "normal", "stressed")}


@frozen(kw_only=True)
class RegimeConfig:
    """How regimes are fitted and followed."""

    states: int = field(default=3, validator=[ge(1), lt(9)])
    covariance: str = field(default="full", validator=in_({"diag", "full"}))
    restarts: int = field(default=10, validator=ge(1))
    iterations: int = field(default=200, validator=ge(1))
    tolerance: float = field(default=1e-4, validator=gt(0.0))  # gain in log likelihood per row below which EM stops
    sticky: float = field(
        default=10.0, validator=ge(0.0)
    )  # moves to itself that each state is credited with beforehand
    least_variance: float = field(default=1e-3, validator=gt(0.0))  # of the scaled observation, added to each state's
    winsor: float = field(default=0.005, validator=[ge(0.0), lt(0.5)])  # share cut at either end of each column
    held_out: float = field(default=0.2, validator=[gt(0.0), lt(1.0)])  # last share, on which restarts are compared
    order_by: int = 0  # column that orders the states when there is no earlier model: put volatility there
    least_share: float = field(default=0.02, validator=ge(0.0))  # of the rows, for a state to count as one
    least_stay: float = field(default=12.0, validator=ge(1.0))  # bars, mean stay for a state to count as one
    enter: float = 0.7
    leave: float = 0.4
    dwell: int = 12
    seed: int = 0


@frozen(kw_only=True, eq=False)
class RegimeFit:
    """A fitted model and how well it fits. Log likelihoods are per row of the scaled observation."""

    model: RegimeModel
    log_likelihood: float  # of all rows
    held_out: float  # of the last rows, under the parameters fitted without them
    bic: float
    share: Floats  # (k,) of the rows spent in each state, smoothed
    stay: Floats  # (k,) mean bars in a state: 1 / (1 - chance of staying)
    converged: bool
    history: tuple[float, ...]  # log likelihood after each step of EM on all rows
    moved: Floats  # (k,) distance of each state from the earlier model's of the same name; empty without one

    def admissible(self, config: RegimeConfig) -> bool:
        """Each state is visited often enough and long enough to be one."""
        return bool((self.share >= config.least_share).all() and (self.stay >= config.least_stay).all())


@frozen(kw_only=True, eq=False)
class _Chain:
    """Parameters during EM."""

    start: Floats
    move: Floats
    mean: Floats
    covariance: Floats  # (k, d, d)

    def kernel(self) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        root = np.linalg.cholesky(self.covariance)
        identity = np.broadcast_to(np.eye(root.shape[1]), root.shape)
        whiten = np.ascontiguousarray(np.tril(np.linalg.solve(root, identity)))
        log_det = np.log(np.einsum("kii->ki", whiten)).sum(axis=1)
        with np.errstate(divide="ignore"):
            return np.log(self.start), np.log(self.move), self.mean, whiten, log_det


def fit_regimes(
    X: Any,
    *,
    columns: Sequence[str] | None = None,
    config: RegimeConfig | None = None,
    previous: RegimeModel | None = None,
    timeframe: str | None = None,
) -> RegimeFit:
    """Fit a regime model to one history, all of it known at training time.

    X: (n, d) observations in time order, array or frame; a row with a missing value observes nothing.
    columns: names of X's columns; None: the frame's. previous: the model in use, whose states keep their names;
    None: states are named in the order of `config.order_by`.
    Raises: InvalidInput, TooShort.
    """
    config = config or RegimeConfig()
    names = tuple(X.columns) if columns is None and hasattr(X, "columns") else tuple(columns or ())
    rows = np.array(X, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != len(names) or not 0 <= config.order_by < max(len(names), 1):
        raise InvalidInput(f"X has shape {rows.shape}, {len(names)} columns are named, order_by is {config.order_by}")
    seen = np.isfinite(rows).all(axis=1)
    if seen.sum() < 50 * config.states:
        raise TooShort(f"{int(seen.sum())} whole rows are too few for {config.states} states", rows=int(seen.sum()))
    low, high = np.quantile(rows[seen], [config.winsor, 1.0 - config.winsor], axis=0)
    cut = np.clip(rows, low, high)
    shift, scale = cut[seen].mean(axis=0), cut[seen].std(axis=0)
    if not (scale > 0).all():
        raise InvalidInput(f"column {names[int(np.argmin(scale))]!r} does not vary")
    scaled = np.ascontiguousarray((cut - shift) / scale)
    chain, held_out = _best_restart(scaled, config)
    chain, history, converged = _fit(scaled, chain, config)
    order = np.argsort(chain.mean[:, config.order_by], kind="stable")
    moved = np.empty(0)
    if previous is not None and len(previous.states) == config.states and previous.spec.columns == names:
        order, moved = _match(chain, shift, scale, previous)
    chain = evolve(
        chain,
        start=chain.start[order],
        move=np.ascontiguousarray(chain.move[np.ix_(order, order)]),
        mean=np.ascontiguousarray(chain.mean[order]),
        covariance=chain.covariance[order],
    )
    gamma, _, total = _smooth(scaled, chain)
    _, log_move, mean, whiten, log_det = chain.kernel()
    states = _NAMES.get(config.states, tuple(f"state{i}" for i in range(config.states)))
    if moved.size and previous is not None:
        states = previous.states
    model = RegimeModel(
        spec=ModelSpec(columns=names, timeframe=timeframe, classes=states),
        low=low,
        high=high,
        shift=shift,
        scale=scale,
        log_start=np.log(_long_run(chain.move)),
        log_move=log_move,
        mean=mean,
        whiten=whiten,
        log_det=log_det,
        enter=config.enter,
        leave=config.leave,
        dwell=config.dwell,
    )
    stays = np.diag(chain.move)
    return RegimeFit(
        model=model,
        log_likelihood=total / seen.sum(),
        held_out=held_out,
        bic=-2.0 * total + _free(config, len(names)) * np.log(seen.sum()),
        share=gamma[seen].mean(axis=0),
        stay=1.0 / np.maximum(1.0 - stays, 1e-12),
        converged=converged,
        history=tuple(history),
        moved=moved,
    )


def choose_states(
    X: Any,
    candidates: Sequence[int] = (2, 3, 4),
    *,
    columns: Sequence[str] | None = None,
    config: RegimeConfig | None = None,
    by: str = "held_out",
) -> tuple[RegimeFit, pd.DataFrame]:
    """Fit each number of states and take the best of those whose states are visited often and long enough.

    by: held_out (greatest log likelihood of rows not fitted) or bic (least). When none is admissible, the fewest
    states are taken.
    Returns: the chosen fit and a table with one row a candidate.
    """
    config = config or RegimeConfig()
    if by not in {"held_out", "bic"} or not candidates:
        raise InvalidInput(f"by must be held_out or bic, not {by!r}, and candidates not empty")
    fits = {k: fit_regimes(X, columns=columns, config=evolve(config, states=k)) for k in sorted(set(candidates))}
    table = pd.DataFrame(
        {
            "held_out": {k: fit.held_out for k, fit in fits.items()},
            "bic": {k: fit.bic for k, fit in fits.items()},
            "least_share": {k: float(fit.share.min()) for k, fit in fits.items()},
            "least_stay": {k: float(fit.stay.min()) for k, fit in fits.items()},
            "admissible": {k: fit.admissible(config) for k, fit in fits.items()},
        }
    ).rename_axis("states")
    allowed = table[table["admissible"]]
    if allowed.empty:
        return fits[min(fits)], table
    place = int(allowed["held_out"].argmax() if by == "held_out" else allowed["bic"].argmin())
    return fits[int(allowed.index.to_numpy()[place])], table


def _best_restart(scaled: Floats, config: RegimeConfig) -> tuple[_Chain, float]:
    """The restart whose parameters, fitted to the first rows, make the last ones likeliest."""
    edge = round(scaled.shape[0] * (1.0 - config.held_out))
    rng = np.random.default_rng(config.seed)
    best: tuple[float, _Chain] | None = None
    unseen = int(np.isfinite(scaled[edge:]).all(axis=1).sum())
    for _ in range(config.restarts if config.states > 1 else 1):
        chain, _, _ = _fit(scaled[:edge], _guess(scaled[:edge], config, rng), config)
        parameters = chain.kernel()
        room = np.empty((scaled.shape[0], config.states))
        total = filter_batch(scaled, *parameters, room)
        total -= filter_batch(scaled[:edge], *parameters, room)
        score = total / max(unseen, 1)
        if best is None or score > best[0]:
            best = (score, chain)
    assert best is not None
    return best[1], best[0]


def _guess(scaled: Floats, config: RegimeConfig, rng: np.random.Generator) -> _Chain:
    """States around random rows far from each other, staying put most of the time."""
    k = config.states
    rows = scaled[np.isfinite(scaled).all(axis=1)]
    centres = [rows[rng.integers(len(rows))]]
    for _ in range(k - 1):
        near = np.min([((rows - c) ** 2).sum(axis=1) for c in centres], axis=0)
        centres.append(rows[rng.choice(len(rows), p=near / near.sum())])
    move = np.full((k, k), 0.05 / max(k - 1, 1))
    np.fill_diagonal(move, 0.95 if k > 1 else 1.0)
    spread = np.diag(rows.var(axis=0)) + config.least_variance * np.eye(rows.shape[1])
    return _Chain(
        start=np.full(k, 1.0 / k), move=move, mean=np.array(centres), covariance=np.tile(spread / k, (k, 1, 1))
    )


def _smooth(scaled: Floats, chain: _Chain) -> tuple[Floats, Floats, float]:
    n, k = scaled.shape[0], chain.start.size
    gamma, moves = np.empty((n, k)), np.empty((k, k))
    total = smooth_batch(scaled, *chain.kernel(), np.empty((n, k)), gamma, moves)
    return gamma, moves, float(total)


def _fit(scaled: Floats, chain: _Chain, config: RegimeConfig) -> tuple[_Chain, list[float], bool]:
    """Baum-Welch until the log likelihood per row gains less than the tolerance."""
    seen = np.isfinite(scaled).all(axis=1)
    rows = scaled[seen]
    history: list[float] = []
    for _ in range(config.iterations):
        gamma, moves, total = _smooth(scaled, chain)
        history.append(total / len(rows))
        if len(history) > 1 and abs(history[-1] - history[-2]) < config.tolerance:
            return chain, history, True
        chain = _maximise(rows, gamma[seen], gamma[0], moves, config)
    return chain, history, False


def _maximise(rows: Floats, gamma: Floats, first: Floats, moves: Floats, config: RegimeConfig) -> _Chain:
    k, d = gamma.shape[1], rows.shape[1]
    mass = gamma.sum(axis=0) + 1e-10
    mean = (gamma.T @ rows) / mass[:, None]
    covariance = np.empty((k, d, d))
    for s in range(k):
        apart = rows - mean[s]
        full = (gamma[:, s, None] * apart).T @ apart / mass[s]
        kept = full if config.covariance == "full" else np.diag(np.diag(full))
        covariance[s] = kept + config.least_variance * np.eye(d)
    counts = moves + config.sticky * np.eye(k) + 1e-6
    return _Chain(
        start=first / first.sum(),
        move=counts / counts.sum(axis=1, keepdims=True),
        mean=np.ascontiguousarray(mean),
        covariance=covariance,
    )


def _free(config: RegimeConfig, d: int) -> int:
    """Number of free parameters."""
    k = config.states
    return (k - 1) + k * (k - 1) + k * d + k * (d if config.covariance == "diag" else d * (d + 1) // 2)


def _long_run(move: Floats) -> Floats:
    """Shares of time in each state in the long run."""
    k = move.shape[0]
    system = np.vstack([move.T - np.eye(k), np.ones(k)])
    share = np.linalg.lstsq(system, np.r_[np.zeros(k), 1.0], rcond=None)[0]
    positive: Floats = np.maximum(share, 1e-12)
    positive /= positive.sum()
    return positive


def _match(chain: _Chain, shift: Floats, scale: Floats, previous: RegimeModel) -> tuple[NDArray[np.int64], Floats]:
    """The order in which the new states take the old ones' places, nearest first overall, and the distances."""
    from scipy.optimize import linear_sum_assignment

    old_root = np.linalg.inv(previous.whiten)
    old_mean = previous.shift + previous.scale * previous.mean
    old_cov = previous.scale[:, None] * (old_root @ old_root.transpose(0, 2, 1)) * previous.scale
    new_mean = shift + scale * chain.mean
    new_cov = scale[:, None] * chain.covariance * scale
    k = len(previous.states)
    distance = np.array(
        [[_bhattacharyya(old_mean[i], old_cov[i], new_mean[j], new_cov[j]) for j in range(k)] for i in range(k)]
    )
    rows, order = linear_sum_assignment(distance)
    return order.astype(np.int64), distance[rows, order]


def _bhattacharyya(mean: ArrayLike, cov: Floats, other_mean: ArrayLike, other_cov: Floats) -> float:
    """Distance of two normal distributions; 0 when they are the same."""
    apart = np.asarray(mean) - np.asarray(other_mean)
    middle = (cov + other_cov) / 2.0
    logs = [np.linalg.slogdet(m)[1] for m in (middle, cov, other_cov)]
    return float(apart @ np.linalg.solve(middle, apart) / 8.0 + (logs[0] - (logs[1] + logs[2]) / 2.0) / 2.0)
