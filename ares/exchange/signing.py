"""Signatures: HMAC, RSA and Ed25519 over the exact bytes that go onto the wire.

The payload is the query text followed by the body text with nothing between, percent-encoded before it is signed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Protocol
from urllib.parse import quote

from ares.errors import InvalidInput
from ares.secret import Secret

__all__ = ["HmacSigner", "KeySigner", "Signer", "signer_for"]


class Signer(Protocol):
    """Turns a payload into the value of the `signature` parameter, ready for the wire."""

    def sign(self, payload: bytes) -> str: ...


class HmacSigner:
    """HMAC-SHA256 with a shared secret, in hex."""

    __slots__ = ("_begun",)

    def __init__(self, secret: Secret) -> None:
        self._begun = hmac.new(secret.reveal().encode(), digestmod=hashlib.sha256)

    def sign(self, payload: bytes) -> str:
        """64 hex digits."""
        step = self._begun.copy()
        step.update(payload)
        return step.hexdigest()

    def __repr__(self) -> str:
        return "HmacSigner()"


class KeySigner:
    """RSA (PKCS#1 v1.5 with SHA-256) or Ed25519, from a PKCS#8 PEM private key; Base64, percent-encoded.

    Raises: InvalidInput when the text is no such key, or when the package `cryptography` is not installed
    (`pip install ares-trading[keys]`).
    """

    __slots__ = ("_key", "_rsa")

    def __init__(self, pem: Secret) -> None:
        try:
            from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
            from cryptography.hazmat.primitives.serialization import load_pem_private_key
        except ImportError:
            raise InvalidInput(
                "RSA and Ed25519 keys need the package cryptography: pip install 'ares-trading[keys]'"
            ) from None
        try:
            key = load_pem_private_key(pem.reveal().encode(), password=None)
        except (ValueError, TypeError):
            raise InvalidInput("the API secret is no readable PKCS#8 private key without a password") from None
        if not isinstance(key, rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
            raise InvalidInput("the venue takes RSA and Ed25519 keys, not this kind")
        self._key = key
        self._rsa = isinstance(key, rsa.RSAPrivateKey)

    def sign(self, payload: bytes) -> str:
        """Base64 of the signature with `+ / =` percent-encoded."""
        return quote(base64.b64encode(self._raw(payload)).decode(), safe="")

    def _raw(self, payload: bytes) -> bytes:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding, rsa

        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(payload, padding.PKCS1v15(), hashes.SHA256())
        return self._key.sign(payload)

    def __repr__(self) -> str:
        return f"KeySigner({'RSA' if self._rsa else 'Ed25519'})"


def signer_for(secret: Secret) -> Signer:
    """The signer that a secret is meant for: a PEM private key signs by RSA or Ed25519, anything else is HMAC's."""
    return KeySigner(secret) if secret.reveal().startswith("-----BEGIN") else HmacSigner(secret)
