"""Depth frames: bytes to update ids and float levels, scanned by a kernel, and by the JSON decoder when unusual."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from ares.kernels.depth import scan_depth

__all__ = ["DepthFrame", "decode_depth"]


class DepthFrame(msgspec.Struct, frozen=True, eq=False, gc=False):
    """<symbol>@depth: absolute quantities by price, 0 removes the level."""

    s: str
    U: int  # first update id
    u: int  # last update id
    pu: int  # last update id of the frame before
    T: int  # ms
    levels: NDArray[np.float64]  # price, quantity, price, ...: bids, then asks; more may lie behind, without meaning
    bids: int  # how many levels
    asks: int

    @classmethod
    def of(
        cls,
        s: str,
        ids: tuple[int, int, int],
        bids: Sequence[tuple[float, float]],
        asks: Sequence[tuple[float, float]],
        T: int,
    ) -> DepthFrame:
        """A frame of pairs of price and quantity. ids: first, last, and last of the frame before."""
        count = len(bids) + len(asks)
        levels = np.fromiter(chain.from_iterable(chain(bids, asks)), np.float64, 2 * count)
        return cls(s, *ids, T, levels, len(bids), len(asks))

    @property
    def b(self) -> NDArray[np.float64]:
        """Bids, (n, 2) of price and quantity."""
        return self.levels[: 2 * self.bids].reshape(-1, 2)

    @property
    def a(self) -> NDArray[np.float64]:
        """Asks, (n, 2) of price and quantity."""
        return self.levels[2 * self.bids : 2 * (self.bids + self.asks)].reshape(-1, 2)


class _Body(msgspec.Struct, frozen=True, gc=False):
    e: Literal["depthUpdate"]
    T: int
    s: str
    U: int
    u: int
    pu: int
    b: list[tuple[float, float]]
    a: list[tuple[float, float]]


class _Envelope(msgspec.Struct, frozen=True, gc=False):
    data: _Body


_decode = msgspec.json.Decoder(_Envelope, strict=False).decode
_empty = np.empty


def decode_depth(data: bytes) -> DepthFrame:
    """A frame of a combined depth stream; every number is the float nearest to its text.

    Raises: msgspec.MsgspecError or UnicodeDecodeError for anything else.
    """
    levels = _empty(len(data) // 5 + 2)  # a level takes ten bytes at least
    bids, asks, first, last, before, time, begin, end = scan_depth(data, levels)
    if bids < 0:
        body = _decode(data).data
        return DepthFrame.of(body.s, (body.U, body.u, body.pu), body.b, body.a, body.T)
    return DepthFrame(data[begin:end].decode(), first, last, before, time, levels, bids, asks)
