"""A depth frame scanned as it came, in one pass over its bytes: forty levels are eighty numbers, most of a feed's work.

Only the compact JSON that the venue writes is taken. Anything else, whether unusual or broken, is left to a full JSON
decoder, so that nothing is guessed here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ares.kernels.jit import inner, jit

__all__ = ["scan_depth"]

_BEGIN = np.frombuffer(b'{"stream":"', np.uint8)
_MIDDLE = np.frombuffer(b',"data":{"', np.uint8)
_KIND = np.frombuffer(b'"depthUpdate"', np.uint8)
_TENS = np.array([float(f"1e{i}") for i in range(19)])  # exact powers of ten
_EXACT = 9_007_199_254_740_992  # 2**53: an integer up to it, divided by an exact power of ten, rounds as text does
_DIGITS = 18  # so many fit an int64
_QUOTE, _COMMA, _POINT, _COLON, _OPEN, _CLOSE, _END, _ESCAPE = 34, 44, 46, 58, 91, 93, 125, 92
_ZERO, _NINE = 48, 57
_P, _T, _U, _LOW_A, _LOW_B, _LOW_E, _LOW_P, _LOW_S, _LOW_U = 80, 84, 85, 97, 98, 101, 112, 115, 117
_READ = (_T, _U, _LOW_A, _LOW_B, _LOW_E, _LOW_S, _LOW_U)
_ALL = 255  # a bit each for e, s, T, U, u, pu, b, a


@inner
def _matches(data: bytes, at: int, wanted: NDArray[np.uint8]) -> bool:
    if at + wanted.size > len(data):
        return False
    for i in range(wanted.size):
        if data[at + i] != wanted[i]:
            return False
    return True


@inner
def _behind_text(data: bytes, at: int) -> int:
    """Where plain ASCII text that began at `at` has ended, behind its quote; -1 for any other text."""
    while at < len(data):
        byte = data[at]
        at += 1
        if byte == _QUOTE:
            return at
        if byte < 32 or byte > 126 or byte == _ESCAPE:
            return -1
    return -1


@inner
def _integer(data: bytes, at: int) -> tuple[int, int]:
    """Where a whole number without a sign has ended, and its value; -1 for anything else."""
    begin, value = at, 0
    while at < len(data) and _ZERO <= data[at] <= _NINE:
        value = value * 10 + (data[at] - _ZERO)
        at += 1
    digits = at - begin
    if digits == 0 or digits > _DIGITS or (digits > 1 and data[begin] == _ZERO):
        return -1, 0
    return at, value


@inner
def _number(data: bytes, at: int) -> tuple[int, float]:
    """Where a number without sign and exponent has ended, and the float nearest to it; -1 for anything else."""
    end, begin, mantissa, point = len(data), at, 0, 0
    while at < end and _ZERO <= data[at] <= _NINE:
        mantissa = mantissa * 10 + (data[at] - _ZERO)
        at += 1
    digits, places = at - begin, 0
    if at < end and data[at] == _POINT:
        at += 1
        point = at
        while at < end and _ZERO <= data[at] <= _NINE:
            mantissa = mantissa * 10 + (data[at] - _ZERO)
            at += 1
        places = at - point
    if digits == 0 or (digits > 1 and data[begin] == _ZERO) or (point and places == 0):
        return -1, 0.0
    if digits + places > _DIGITS or mantissa > _EXACT:
        return -1, 0.0
    return at, mantissa / _TENS[places]


@inner
def _levels(data: bytes, at: int, levels: NDArray[np.float64], n: int) -> tuple[int, int]:
    """Read `["price","quantity"],...]` into `levels` from `n`: where it has ended, or -1, and how many levels."""
    end, first = len(data), n
    if at < end and data[at] == _CLOSE:
        return at + 1, 0
    while at + 2 < end and n + 2 <= levels.size and data[at] == _OPEN and data[at + 1] == _QUOTE:
        at, levels[n] = _number(data, at + 2)
        if at < 0 or at + 2 >= end or data[at] != _QUOTE or data[at + 1] != _COMMA or data[at + 2] != _QUOTE:
            return -1, 0
        at, levels[n + 1] = _number(data, at + 3)
        if at < 0 or at + 2 >= end or data[at] != _QUOTE or data[at + 1] != _CLOSE:
            return -1, 0
        n += 2
        after = data[at + 2]
        at += 3
        if after == _CLOSE:
            return at, (n - first) >> 1
        if after != _COMMA:
            return -1, 0
    return -1, 0


@inner
def _name(data: bytes, begin: int, end: int) -> int:
    """The letter of a field that is read, P for `pu`; 0 for any other name."""
    if end - begin == 1 and data[begin] in _READ:
        return int(data[begin])
    if end - begin == 2 and data[begin] == _LOW_P and data[begin + 1] == _LOW_U:
        return _P
    return 0


@jit(allocates=False)
def scan_depth(data: bytes, levels: NDArray[np.float64]) -> tuple[int, int, int, int, int, int, int, int]:
    """Read a combined-stream depth frame. levels: (n,) gets price, quantity, price, ... of bids, then of asks.

    Returns: number of bids, -1 when the frame is not in the venue's usual form; number of asks; first, last and
    previous update id; time in ms; begin and end of the symbol in `data`. A number becomes the float nearest to its
    text; a sign, an exponent, leading zeros or more digits than that holds for make the frame unusual.
    """
    unusual = (-1, 0, 0, 0, 0, 0, 0, 0)
    bids = asks = first = last = before = time = symbol = symbol_end = seen = 0
    at = _behind_text(data, _BEGIN.size) if _matches(data, 0, _BEGIN) else -1
    if at < 0 or not _matches(data, at, _MIDDLE):
        return unusual
    at += _MIDDLE.size
    while True:
        begin = at
        at = _behind_text(data, at)
        if at < 0 or at + 1 >= len(data) or data[at] != _COLON:
            return unusual
        name = _name(data, begin, at - 1)
        at += 1
        bit = value = 0
        if data[at] == _OPEN and name == _LOW_B and not seen & 128:  # bids come before asks
            bit = 64
            at, bids = _levels(data, at + 1, levels, 0)
        elif data[at] == _OPEN and name == _LOW_A:
            bit = 128
            at, asks = _levels(data, at + 1, levels, 2 * bids)
        elif data[at] == _QUOTE and name == _LOW_E:
            bit = 1
            at = at + _KIND.size if _matches(data, at, _KIND) else -1
        elif data[at] == _QUOTE:
            begin = at + 1
            at = _behind_text(data, begin)
            if name == _LOW_S:
                bit, symbol, symbol_end = 2, begin, at - 1
        else:
            at, value = _integer(data, at)
            if name == _T:
                bit, time = 4, value
            elif name == _U:
                bit, first = 8, value
            elif name == _LOW_U:
                bit, last = 16, value
            elif name == _P:
                bit, before = 32, value
        if at < 0 or at + 1 >= len(data) or seen & bit or (name and not bit):
            return unusual
        seen |= bit
        if data[at] == _END:
            break
        if data[at] != _COMMA or data[at + 1] != _QUOTE:
            return unusual
        at += 2
    if seen != _ALL or data[at + 1] != _END or at + 2 != len(data):
        return unusual
    return bids, asks, first, last, before, time, symbol, symbol_end
