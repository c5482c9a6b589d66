"""Autoencoder features: a bottleneck fitted on training rows only, then frozen and evaluated by a kernel."""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from ares.errors import ModelError, TooShort
from ares.features.config import AutoencoderConfig
from ares.kernels.encoder import encode
from ares.storage import atomic_path, atomic_write, sha256_file

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Autoencoder", "fit_autoencoder"]

Array = NDArray[np.float64]

_LEAST_ROWS = 200
_TAIL = 0.2  # last share of the training rows: the fit never sees it, novelty is measured against its errors
_MISSING = 0.02  # an input missing in more than this share of rows is left out


@frozen(eq=False, kw_only=True)
class Autoencoder:
    """A fitted bottleneck; as a tail it adds `autoencoder.code_1` .. , `.error` and `.novelty`."""

    inputs: tuple[str, ...]
    center: Array = field(repr=False)
    scale: Array = field(repr=False)
    widths: NDArray[np.int64]  # neurons by layer, inputs first
    weights: Array = field(repr=False)
    biases: Array = field(repr=False)
    bottleneck: int  # layer whose output is the code
    error_mean: float  # of ln(error) on the training tail
    error_spread: float
    rows: int  # rows it was fitted on

    warmup = 0
    settle = 0
    state_size = 0

    @property
    def names(self) -> tuple[str, ...]:
        """Codes in order, then error and novelty."""
        codes = range(1, int(self.widths[self.bottleneck]) + 1)
        return (*(f"autoencoder.code_{i}" for i in codes), "autoencoder.error", "autoencoder.novelty")

    @property
    def key(self) -> str:
        """Digest of everything that decides its output."""
        digest = hashlib.sha256(",".join(self.inputs).encode())
        for array in (self.center, self.scale, self.widths, self.weights, self.biases):
            digest.update(np.ascontiguousarray(array).tobytes())
        digest.update(f"{self.bottleneck}:{self.error_mean!r}:{self.error_spread!r}".encode())
        return f"autoencoder:{digest.hexdigest()}"

    def batch(self, x: Array, open_ns: NDArray[np.int64], out: Array) -> None:
        """Fill out (codes + 2, n) from x (inputs, n)."""
        buffer = np.empty((2, int(self.widths.max())))
        encode(
            np.ascontiguousarray(x), self.center, self.scale, self.widths, self.weights, self.biases,
            self.bottleneck, self.error_mean, self.error_spread, buffer, out,
        )  # fmt: skip

    def step(self, x: Array, open_ns: int, state: Array, out: Array) -> None:
        """Fill out (codes + 2,) from x (inputs,)."""
        self.batch(x.reshape(-1, 1), np.empty(0, np.int64), out.reshape(-1, 1))

    def save(self, folder: Path) -> None:
        """Write `autoencoder.npz` and its manifest `autoencoder.json` with the checksum; data only."""
        arrays = {"center": self.center, "scale": self.scale, "widths": self.widths, "weights": self.weights}
        with atomic_path(folder / "autoencoder.npz") as path, path.open("wb") as stream:
            np.savez(stream, allow_pickle=False, biases=self.biases, **arrays)
        manifest = {
            "format": 1,
            "inputs": self.inputs,
            "bottleneck": self.bottleneck,
            "error_mean": self.error_mean,
            "error_spread": self.error_spread,
            "rows": self.rows,
            "sha256": sha256_file(folder / "autoencoder.npz"),
        }
        atomic_write(folder / "autoencoder.json", json.dumps(manifest, indent=1).encode())

    @classmethod
    def load(cls, folder: Path) -> Autoencoder:
        """Read what `save` wrote. Raises ModelError when it is missing, damaged or of another format."""
        try:
            manifest: dict[str, Any] = json.loads((folder / "autoencoder.json").read_bytes())
            found = sha256_file(folder / "autoencoder.npz")
        except (OSError, ValueError) as error:
            raise ModelError(f"no readable autoencoder in {folder}: {error}", folder=str(folder)) from error
        if manifest.get("format") != 1 or manifest.get("sha256") != found:
            raise ModelError(f"the autoencoder in {folder} is damaged or of another format", folder=str(folder))
        with np.load(folder / "autoencoder.npz", allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in ("center", "scale", "widths", "weights", "biases")}
        return cls(
            inputs=tuple(manifest["inputs"]),
            bottleneck=int(manifest["bottleneck"]),
            error_mean=float(manifest["error_mean"]),
            error_spread=float(manifest["error_spread"]),
            rows=int(manifest["rows"]),
            **arrays,
        )


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
        raise TooShort(f"{x.shape[0]} complete rows to fit the autoencoder on; it takes {_LEAST_ROWS}", rows=len(x))
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
    with warnings.catch_warnings():
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
    out = np.empty((config.codes + 2, x.shape[0] - cut))
    fitted.batch(x[cut:, varies].T, np.empty(0, np.int64), out)
    logs = np.log(out[config.codes])
    return Autoencoder(
        inputs=fitted.inputs, center=center, scale=scale, widths=fitted.widths, weights=fitted.weights,
        biases=fitted.biases, bottleneck=2, error_mean=float(logs.mean()), error_spread=float(logs.std()), rows=cut,
    )  # fmt: skip
