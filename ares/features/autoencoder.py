"""Autoencoder features: a bottleneck fitted on training rows only, then frozen and evaluated by a kernel."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from attrs import evolve

from ares.errors import TooShort
from ares.features.config import AutoencoderConfig
from ares.features.fitting import ctrl_c_ends_it
from ares.models.autoencoder import Autoencoder

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Autoencoder", "fit_autoencoder"]

_LEAST_ROWS = 200
_TAIL = 0.2  # last share of the training rows: the fit never sees it, novelty is measured against its errors
_MISSING = 0.02  # an input missing in more than this share of rows is left out


def fit_autoencoder(features: pd.DataFrame, config: AutoencoderConfig) -> Autoencoder:
    """Fit on rows that are all training data, in order of time.

    The last fifth is kept out of the fit; the typical error there is what novelty is measured against. Features that
    do not vary or are often missing are left out, then rows with a missing value. Raises TooShort below 200 such rows.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPRegressor

    there = features.notna().to_numpy()
    begins = there.argmax(axis=0)[there.any(axis=0)]
    warm = features.iloc[int(begins.max(initial=0)) :]
    missing = warm.isna().mean()
    names = [str(c) for c in warm.columns if missing[c] <= _MISSING]
    x = warm[names].to_numpy(dtype=np.float64)
    x = x[np.isfinite(x).all(axis=1)]
    if x.shape[0] < _LEAST_ROWS:
        raise TooShort(
            f"{x.shape[0]} complete rows to fit the autoencoder on; it takes {_LEAST_ROWS}: "
            "give it longer training data, or switch enable_autoencoder_features off",
            rows=len(x),
        )
    cut = int(x.shape[0] * (1.0 - _TAIL))
    center, scale = x[:cut].mean(axis=0), x[:cut].std(axis=0)
    varies = scale > 1e-12 * np.maximum(np.abs(center), 1e-12)
    names = [name for name, keep in zip(names, varies, strict=True) if keep]
    center, scale = center[varies], scale[varies]
    z = np.clip((x[:, varies] - center) / scale, -8.0, 8.0)
    model = MLPRegressor(
        hidden_layer_sizes=(config.hidden, config.codes, config.hidden),
        activation="tanh",
        max_iter=config.max_iterations,
        random_state=config.seed,
        learning_rate_init=3e-3,
    )
    with ctrl_c_ends_it():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of passes is a setting
        model.fit(z[:cut], z[:cut])
    fitted = Autoencoder(
        inputs=tuple(names),
        center=center,
        scale=scale,
        widths=np.array([len(names), config.hidden, config.codes, config.hidden, len(names)], np.int64),
        weights=np.concatenate([w.ravel() for w in model.coefs_]),
        biases=np.concatenate(model.intercepts_),
        bottleneck=2,
        error_mean=0.0,
        error_spread=1.0,
        rows=cut,
    )
    logs = np.log(fitted.of_rows(x[cut:, varies])[:, config.codes])
    return evolve(fitted, error_mean=float(logs.mean()), error_spread=float(logs.std()))
