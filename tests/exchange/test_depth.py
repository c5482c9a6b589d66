"""The scanner of depth frames against `float` and against the JSON decoder: equal, or it stands aside."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ares.exchange.wire import depth
from ares.exchange.wire.depth import DepthFrame, decode_depth
from ares.kernels.depth import scan_depth

DIGITS = st.text("0123456789", min_size=1, max_size=25)
PLAIN = st.one_of(DIGITS, st.tuples(DIGITS, DIGITS).map(".".join))
PRICES = st.one_of(
    PLAIN,
    st.tuples(PLAIN, st.integers(-30, 30)).map(lambda x: f"{x[0]}e{x[1]}"),
    st.floats(allow_nan=False).map(repr),
    st.text("0123456789.-+eE_ nift", max_size=8),
)


def body(bids: list[list[str]], asks: list[list[str]], **more: Any) -> dict[str, Any]:
    return {
        "e": "depthUpdate", "E": 1700000000009, "T": 1700000000007, "s": "ETHUSDT", "ps": "ETHUSDT",
        "U": 9007199254740995, "u": 9007199254740999, "pu": 9007199254740994, "b": bids, "a": asks, **more,
    }  # fmt: skip


def compact(data: dict[str, Any]) -> bytes:
    return json.dumps({"stream": "ethusdt@depth@100ms", "data": data}, separators=(",", ":")).encode()


def by_json(data: bytes) -> DepthFrame:
    """The same frame without the scanner."""
    found = depth._decode(data).data
    return DepthFrame.of(found.s, (found.U, found.u, found.pu), found.b, found.a, found.T)


def shown(frame: DepthFrame) -> tuple[Any, ...]:
    return frame.s, frame.U, frame.u, frame.pu, frame.T, frame.b.tolist(), frame.a.tolist()


def scanned(data: bytes) -> bool:
    return scan_depth(data, np.empty(len(data)))[0] >= 0


@settings(max_examples=600, deadline=None)
@given(st.lists(st.tuples(PRICES, PRICES), max_size=6))
@example([("0", "0.0"), ("00.50", "007"), ("9007199254740993", "0.1"), ("1e22", "1E-7"), ("1.", ".5")])
def test_a_number_is_the_float_nearest_to_its_text_or_refused(levels: list[tuple[str, str]]) -> None:
    for price, size in levels:
        try:
            found = decode_depth(compact(body([[price, size]], [])))
        except msgspec.MsgspecError:
            continue
        np.testing.assert_array_equal(found.b, [[float(price), float(size)]])


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2**53), st.integers(0, 17), st.integers(0, 2**53), st.integers(0, 17))
def test_plain_numbers_are_scanned_exactly(a: int, a_places: int, b: int, b_places: int) -> None:
    texts = [f"{n:0{p + 1}d}" for n, p in ((a, a_places), (b, b_places))]
    texts = [f"{t[:-p]}.{t[-p:]}" if p else t for t, p in zip(texts, (a_places, b_places), strict=True)]
    data = compact(body([texts], [texts[::-1]]))
    assert scanned(data) is all(len(t.replace(".", "")) <= 18 for t in texts)
    assert decode_depth(data).b.tolist() == [[float(t) for t in texts]]


@pytest.mark.parametrize("bids", [[], [["1", "2"]], [["3.5", "0.000"], ["3.4", "12"]]])
def test_fields_may_come_in_any_order_and_be_new(bids: list[list[str]]) -> None:
    rng = random.Random(1)
    given_ = body(bids, [["4", "1"]], st=1, note="new")
    want = by_json(compact(given_))
    quick = 0
    for _ in range(50):
        names = list(given_)
        rng.shuffle(names)
        data = compact({name: given_[name] for name in names})
        quick += scanned(data)
        assert shown(decode_depth(data)) == shown(want)
    assert quick > 10  # bids before asks is all it asks for


@pytest.mark.parametrize("name", ["e", "s", "T", "U", "u", "pu", "b", "a"])
def test_a_missing_field_is_refused(name: str) -> None:
    data = body([["1", "2"]], [])
    del data[name]
    with pytest.raises(msgspec.MsgspecError):
        decode_depth(compact(data))


def test_other_frames_spaces_and_foreign_names_are_left_to_the_json_decoder() -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode_depth(compact({**body([], []), "e": "aggTrade"}))
    spaced = json.dumps({"stream": "x", "data": body([["1", "2"]], [])}).encode()
    assert not scanned(spaced) and decode_depth(spaced).b.tolist() == [[1.0, 2.0]]
    foreign = compact(body([], [])).replace(b'"s":"ETHUSDT"', '"s":"币安USDT"'.encode())
    assert not scanned(foreign) and decode_depth(foreign).s == "币安USDT"


def test_a_broken_frame_is_read_as_the_json_decoder_reads_it() -> None:
    """20,000 frames changed, cut or doubled: the scanner takes none that JSON refuses or reads otherwise."""
    rng = random.Random(3)
    whole = compact(body([["2003.33", "1.500"], ["2003.3", "0"]], [["2003.35", "7"]], st=1))
    likely = b'0123456789.",:[]{}eE-+ abupTUs\\'
    agreed = refused = 0
    for _ in range(20_000):
        at = rng.randrange(len(whole))
        action = rng.randrange(8)
        changed = bytearray(whole)
        if action == 0:
            del changed[at:]
        elif action == 1:
            changed[at:at] = whole[at : at + rng.randrange(20)]
        elif action == 2:
            del changed[at : at + rng.randrange(1, 8)]
        else:
            for _ in range(rng.randrange(1, 3)):
                changed[rng.randrange(len(changed))] = rng.choice(likely) if action < 7 else rng.randrange(256)
        data = bytes(changed)
        try:
            want = shown(by_json(data))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            refused += 1
            assert not scanned(data), data
            with pytest.raises((msgspec.MsgspecError, UnicodeDecodeError)):
                decode_depth(data)
        else:
            agreed += 1
            assert repr(shown(decode_depth(data))) == repr(want), data
    assert agreed > 2_000 and refused > 10_000


def test_recorded_frames_are_scanned_and_equal_the_json_decoder(real_data: Path) -> None:
    raw = real_data / "market" / "raw" / "um_BTCUSDT_20240808.stream.gz"
    if not raw.is_file():
        pytest.skip(f"no recording {raw.name}")
    seen = 0
    with gzip.open(raw, "rb") as lines:
        for line in lines:
            if b"@depth" in line:
                data = line.split(b" ", 1)[1].rstrip()
                assert scanned(data) and shown(decode_depth(data)) == shown(by_json(data))
                seen += 1
                if seen == 1_000:
                    break
    assert seen == 1_000
