"""Signatures against published and independently computed vectors."""

from __future__ import annotations

import json
import traceback
from pathlib import Path
from urllib.parse import quote, unquote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares.errors import InvalidInput
from ares.exchange.signing import HmacSigner, signer_for
from ares.exchange.wire.requests import encode_params
from ares.secret import Secret

KEY = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"


def test_the_documented_hmac_vector() -> None:
    params = (
        ("symbol", "BTCUSDT"), ("side", "BUY"), ("type", "LIMIT"), ("quantity", "1"), ("price", "9000"),
        ("timeInForce", "GTC"), ("recvWindow", "5000"), ("timestamp", "1591702613943"),
    )  # fmt: skip
    found = HmacSigner(Secret(KEY)).sign(encode_params(params).encode())
    assert found == "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9"


def test_every_recorded_vector(real_data: Path) -> None:
    path = real_data / "binance-fixtures" / "signing_vectors.json"
    if not path.is_file():
        pytest.skip(f"no signing vectors in {path}")
    pytest.importorskip("cryptography")
    seen = set()
    secret = ""
    for vector in json.loads(path.read_text()):  # one without a key of its own uses the key before it
        secret = vector.get("key") or vector.get("private_key_pem") or secret
        signature = signer_for(Secret(secret)).sign(vector["payload"].encode())
        assert unquote(signature) == vector["signature"], vector["name"]
        seen.add(vector["alg"])
    assert len(seen) == 3


def test_symbols_beyond_ascii_are_encoded_before_they_are_signed() -> None:
    encoded = encode_params((("symbol", "币安USDT"), ("id", "a/b+c d")))
    assert encoded == "symbol=%E5%B8%81%E5%AE%89USDT&id=a%2Fb%2Bc%20d"


@given(st.lists(st.tuples(st.sampled_from(["symbol", "id"]), st.text()), max_size=4))
def test_every_value_is_encoded_as_the_standard_library_does(params: list[tuple[str, str]]) -> None:
    try:
        want = urlencode(params, safe="-_.~", quote_via=quote)
    except UnicodeEncodeError:
        return  # half a surrogate pair is no text
    assert encode_params(tuple(params)) == want


def test_a_secret_shows_nowhere() -> None:
    canary = "canary-secret-5f3a9c"
    signer = signer_for(Secret(canary))
    broken = "-----BEGIN PRIVATE KEY-----\ncanary-secret-5f3a9c\n-----END PRIVATE KEY-----"
    pytest.importorskip("cryptography")
    try:
        signer_for(Secret(broken))
    except InvalidInput as error:
        shown = "".join(traceback.format_exception(error)) + str(error.facts)
    assert canary not in repr(signer) + str(signer) + shown
