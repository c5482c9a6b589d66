"""A fitted bottleneck as data: codes of a feature row, and how unusual the row is. Fitted by `ares.features`."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from ares.errors import ModelError
from ares.kernels.encoder import encode
from ares.models import registry
from ares.models.model import ModelSpec, Stored

__all__ = ["Autoencoder"]

Array = NDArray[np.float64]


@frozen(eq=False, kw_only=True)
class Autoencoder:
    """A fitted bottleneck; it adds `autoencoder.code_1` .. , `.error` and `.novelty` to a row. It has no memory.

    A part of a trained model's bundle, or a tail of a feature orchestrator.
    """

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
        self.batch(x.reshape(-1, 1), _NO_TIMES, out.reshape(-1, 1))

    def of_row(self, x: Array) -> Array:
        """The columns `names` of one row, (codes + 2,), from its inputs; all NaN when an input is."""
        out = np.empty(len(self.names))
        self.step(x, 0, _NO_STATE, out)
        return out

    def of_rows(self, x: Array) -> Array:
        """The columns `names` of many rows, (n, codes + 2), from their inputs (n, inputs): the bits of `of_row`."""
        out = np.empty((len(self.names), x.shape[0]))
        self.batch(x.T, _NO_TIMES, out)
        return np.ascontiguousarray(out.T)

    def save(self, directory: Path | str) -> str:
        """Write it as data into a new directory; returns its id."""
        return registry.save(self, directory)

    @classmethod
    def load(cls, directory: Path | str) -> Autoencoder:
        """Read what `save` wrote. Raises ModelError when it is missing, damaged or something else."""
        return registry.load_as(cls, directory)

    def stored(self) -> Stored:
        """The autoencoder as data."""
        return Stored(
            kind="autoencoder",
            spec=ModelSpec(columns=self.inputs),
            meta={name: getattr(self, name) for name in ("bottleneck", "error_mean", "error_spread", "rows")},
            arrays={name: getattr(self, name) for name in ("center", "scale", "widths", "weights", "biases")},
        )

    @classmethod
    def restored(cls, stored: Stored) -> Autoencoder:
        """The autoencoder from data. Raises ModelError when its arrays do not fit together."""
        inputs = stored.reads().columns
        made = cls(
            inputs=inputs,
            center=stored.array("center", "<f8", (len(inputs),)),
            scale=stored.array("scale", "<f8", (len(inputs),)),
            widths=stored.array("widths", "<i8", (None,)),
            weights=stored.array("weights", "<f8", (None,)),
            biases=stored.array("biases", "<f8", (None,)),
            bottleneck=stored.value("bottleneck", int),
            error_mean=float(stored.value("error_mean", (int, float))),
            error_spread=float(stored.value("error_spread", (int, float))),
            rows=stored.value("rows", int),
        )
        widths = made.widths
        sound = (
            widths.size >= 3
            and bool((widths > 0).all() and (widths < 2**20).all())
            and int(widths[0]) == int(widths[-1]) == len(inputs)
            and 0 < made.bottleneck < widths.size - 1
            and made.weights.size == int((widths[1:] * widths[:-1]).sum())
            and made.biases.size == int(widths[1:].sum())
            and all(bool(np.isfinite(a).all()) for a in (made.center, made.scale, made.weights, made.biases))
            and bool((made.scale != 0).all())
            and made.error_spread > 0.0
        )
        if not sound:
            raise ModelError("the arrays of this autoencoder do not fit together", kind="autoencoder")
        return made


_NO_TIMES = np.empty(0, np.int64)
_NO_STATE = np.empty(0)
