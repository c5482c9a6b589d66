"""How to reach Binance: which environment, with which keys, how patiently."""

from __future__ import annotations

from enum import Enum
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from attrs import field, frozen
from attrs.converters import optional
from attrs.validators import deep_iterable, ge, gt, in_, le, lt

from ares.errors import InvalidInput
from ares.secret import Secret

__all__ = ["BinanceConfig", "Environment"]


_SPOT = "https://api.binance.com"
_STREAMS = ("candles", "mark_price", "agg_trades", "book_top")


class Environment(Enum):
    """The venue's own environments: address of the REST interface, address of the streams."""

    PRODUCTION = ("https://fapi.binance.com", "wss://fstream.binance.com")
    TESTNET = ("https://testnet.binancefuture.com", "wss://fstream.binancefuture.com")
    DEMO = ("https://demo-fapi.binance.com", "wss://fstream.binancefuture.com")

    @property
    def rest(self) -> str:
        """Base URL of REST."""
        return self.value[0]

    @property
    def streams(self) -> str:
        """Base URL of the streams; the paths /market, /public and /private follow."""
        return self.value[1]


_PLAY_HOSTS = frozenset(urlsplit(e.rest).hostname for e in (Environment.TESTNET, Environment.DEMO))


def _environment(value: Environment | str | None) -> Environment | None:
    if value is None or isinstance(value, Environment):
        return value
    if value.upper() not in Environment.__members__:
        raise InvalidInput(f"unknown environment {value!r}: {', '.join(Environment.__members__)}")
    return Environment[value.upper()]


def _safe_url(_: object, attribute: object, url: str | None) -> None:
    """Encrypted addresses only; plain ones only on this machine."""
    if url is None:
        return
    parts = urlsplit(url)
    name = getattr(attribute, "name", "url")
    if parts.scheme not in ("https", "wss", "http", "ws") or not parts.hostname or parts.username or parts.query:
        raise InvalidInput(f"{name} must be an address such as https://host or wss://host, without user or query")
    if parts.scheme in ("http", "ws") and not _loopback(parts.hostname):
        raise InvalidInput(f"{name} must be encrypted (https, wss) unless it points to this machine: {parts.hostname}")


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _secret(value: Secret | str | None) -> Secret | None:
    """A key given as plain text becomes a secret at once, so that it shows nowhere."""
    if value is None or isinstance(value, Secret):
        return value
    if not isinstance(value, str):
        raise InvalidInput(f"a key must be text or a Secret, not {type(value).__name__}")
    return Secret(value)


def _host(url: str) -> str:
    """The host of an address as names are compared: lower case, without port and without the root's dot."""
    return (urlsplit(url).hostname or "").rstrip(".").lower()


@frozen(kw_only=True)
class BinanceConfig:
    """How to reach Binance. Keys come from the environment or from a file only its owner can read; None: none given.

    The addresses are those of `environment`; `rest_url` and `stream_url` replace them one by one. A key or secret given
    as text is kept as a `Secret`. Raises: InvalidInput for a key without its secret or the reverse.
    """

    api_key: Secret | None = field(default=None, converter=_secret)
    api_secret: Secret | None = field(default=None, converter=_secret)  # for HMAC, or a PEM key (RSA, Ed25519)
    use_testnet: bool = True  # when `environment` is None: DEMO, which is the test network since 2025, or PRODUCTION
    environment: Environment | None = field(default=None, converter=_environment)
    rest_url: str | None = field(default=None, validator=_safe_url)
    stream_url: str | None = field(default=None, validator=_safe_url)
    timeout: float = field(default=30.0, validator=gt(0.0))  # seconds per request
    order_timeout: float = field(default=2.5, validator=gt(0.0))  # seconds per order or cancel, `timeout` at most
    max_retries: int = field(default=3, validator=ge(0))  # of idempotent reads; an order is never sent twice
    recv_window: int = field(default=5000, validator=[gt(0), le(60_000)])  # ms a signed request stays valid
    margin_mode: str = field(default="ISOLATED", validator=in_(("ISOLATED", "CROSSED")))  # checked at start
    stop_trigger: str = field(default="CONTRACT_PRICE", validator=in_(("CONTRACT_PRICE", "MARK_PRICE")))
    quote_asset: str = "USDT"
    reserve: float = field(default=0.2, validator=[ge(0.0), lt(1.0)])  # of weight and order count, for protection
    allow_withdrawal_key: bool = False  # trade real money with a key that may also withdraw or transfer
    ban_file: Path | None = field(default=None, converter=optional(Path))  # keeps a ban over a restart; None: in memory
    streams: tuple[str, ...] = field(  # of candles, mark_price, agg_trades, book_top
        default=("candles", "mark_price"), validator=deep_iterable(in_(_STREAMS))
    )

    def __attrs_post_init__(self) -> None:
        if (self.api_key is None) is not (self.api_secret is None):
            given, missing = ("api_key", "api_secret") if self.api_secret is None else ("api_secret", "api_key")
            raise InvalidInput(f"{given} is given without {missing}: give both, or neither for public data only")

    @property
    def where(self) -> Environment:
        """The environment that is used."""
        if self.environment is not None:
            return self.environment
        return Environment.DEMO if self.use_testnet else Environment.PRODUCTION

    @property
    def order_patience(self) -> float:
        """Seconds that an order, a change of one or a cancel may take."""
        return min(self.order_timeout, self.timeout)

    @property
    def rest(self) -> str:
        """Base URL of REST that is used."""
        return (self.rest_url or self.where.rest).rstrip("/")

    @property
    def stream_base(self) -> str:
        """Base URL of the streams that is used."""
        return (self.stream_url or self.where.streams).rstrip("/")

    @property
    def rights_base(self) -> str:
        """Base URL of the interface that tells what a key may do: the spot one, or the test network itself."""
        return _SPOT if self.real_money else self.rest

    @property
    def real_money(self) -> bool:
        """True unless orders certainly go nowhere real: to this machine, or to a test network known by name.

        A mirror or proxy of production counts as production.
        """
        host = _host(self.rest)
        return not (_loopback(host) or host in _PLAY_HOSTS)
