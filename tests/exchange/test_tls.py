"""Orders over TLS: a trusted venue is spoken to over one kept connection, any other before anything is sent is not."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest

from ares.errors import InvalidInput, NotAuthorized, OutcomeUnknown
from ares.exchange.http import LeanWire

pytest.importorskip("cryptography")

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


def self_signed(path: Path, *, host: str = "127.0.0.1", years: int = 100) -> Path:
    """A key and a certificate that nobody else vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    begin = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + dt.timedelta(days=365 * years))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(host))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + certificate.public_bytes(Encoding.PEM))
    return path


class Heard:
    """What the venue's side of the sockets saw."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.connections = 0


@asynccontextmanager
async def venue(pem: Path, answer: bytes, *, then_close: bool = False) -> AsyncIterator[tuple[str, Heard]]:
    """A TLS server that hears whole requests and gives each the same answer."""
    heard = Heard()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((int(x[15:]) for x in head.split(b"\r\n") if x.lower().startswith(b"content-length:")), 0)
                heard.requests.append(head + await reader.readexactly(length))
                writer.write(answer)
                await writer.drain()
                if then_close:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", heard


def trusting(pem: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(pem))


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-MBX-USED-WEIGHT-1M: 7\r\n\r\n" % len(body) + body


async def test_orders_go_over_one_kept_connection_and_reads_over_another(tmp_path: Path) -> None:
    pem = self_signed(tmp_path / "venue.pem")
    async with venue(pem, ok(b'{"orderId":5}')) as (address, heard):
        wire = LeanWire(address, tls=trusting(pem))
        headers = {"X-MBX-APIKEY": "k"}
        for number in range(3):
            answer = await wire.send("POST", "/fapi/v1/order", headers, b"symbol=X&n=%d" % number, 60.0)
            assert (answer.status, answer.body, answer.headers["x-mbx-used-weight-1m"]) == (200, b'{"orderId":5}', "7")
        assert (await wire.send("GET", "/fapi/v1/order?symbol=X", headers, b"", 60.0)).status == 200
        await wire.close()
    assert heard.connections == wire.opened == 2  # one of the orders, one of the reads
    assert [r.rsplit(b"\r\n", 1)[1] for r in heard.requests] == [b"symbol=X&n=0", b"symbol=X&n=1", b"symbol=X&n=2", b""]
    assert heard.requests[0].startswith(b"POST /fapi/v1/order HTTP/1.1\r\n") and b"X-MBX-APIKEY: k" in heard.requests[0]


async def test_a_body_of_many_records_arrives_whole(tmp_path: Path) -> None:
    pem = self_signed(tmp_path / "venue.pem")
    body = bytes(range(256)) * 4000  # 1 MB, far beyond one TLS record
    async with venue(pem, ok(body)) as (address, _):
        wire = LeanWire(address, tls=trusting(pem))
        assert (await wire.send("GET", "/fapi/v1/exchangeInfo", {}, b"", 60.0)).body == body
        await wire.close()


async def test_a_connection_that_the_venue_ends_is_made_anew(tmp_path: Path) -> None:
    pem = self_signed(tmp_path / "venue.pem")
    async with venue(pem, ok(b"{}"), then_close=True) as (address, heard):
        wire = LeanWire(address, tls=trusting(pem))
        for _ in range(3):
            assert (await wire.send("GET", "/x", {}, b"", 60.0)).body == b"{}"
            async with asyncio.timeout(60.0):
                while any(kept.usable for kept in wire._reads):
                    await asyncio.sleep(0.01)
        await wire.close()
    assert heard.connections == 3


async def test_an_answer_that_ends_early_is_unknown(tmp_path: Path) -> None:
    pem = self_signed(tmp_path / "venue.pem")
    cut = b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{"
    async with venue(pem, cut, then_close=True) as (address, _):
        wire = LeanWire(address, tls=trusting(pem))
        with pytest.raises(OutcomeUnknown):
            await wire.send("POST", "/fapi/v1/order", {}, b"a=1", 60.0)


@pytest.mark.parametrize("why", ["unknown issuer", "other host", "expired", "by default"])
async def test_n9_an_untrusted_certificate_ends_it_before_anything_is_sent(tmp_path: Path, why: str) -> None:
    host, years = ("127.0.0.2" if why == "other host" else "127.0.0.1"), (1 if why == "expired" else 100)
    pem = self_signed(tmp_path / "venue.pem", host=host, years=years)
    trusted = self_signed(tmp_path / "other.pem") if why == "unknown issuer" else pem
    async with venue(pem, ok(b"{}")) as (address, heard):
        wire = LeanWire(address, tls=None if why == "by default" else trusting(trusted))
        with pytest.raises(NotAuthorized, match="certificate"):
            await wire.send("POST", "/fapi/v1/order", {}, b"secret", 60.0)
        await asyncio.sleep(0.05)
    assert heard.requests == []


def test_a_context_that_verifies_less_is_refused() -> None:
    blind = ssl.create_default_context()
    blind.check_hostname = False
    for mode in (ssl.CERT_REQUIRED, ssl.CERT_NONE):
        blind.verify_mode = mode
        with pytest.raises(InvalidInput, match="must verify"):
            LeanWire("https://localhost", tls=blind)
