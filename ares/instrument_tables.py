"""Built-in instruments for simulation, so that everything runs without a venue.

An unofficial, dated snapshot (about October 2024) of the filters of common USDS-M perpetuals: good enough for a
simulated venue to be strict, not a source of truth. Where a live venue answers, its own table always wins.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal

from ares.errors import InvalidInput, unknown_name
from ares.instruments import Instrument, MarginTier

__all__ = ["DEFAULT_SYMBOLS", "DEFAULT_TIERS", "default_instrument", "symbol_in"]

_TIERS = (  # notional up to, maintenance rate, deduction, greatest leverage
    ("50000", "0.004", "0", 125),
    ("600000", "0.005", "50", 100),
    ("3000000", "0.0065", "950", 75),
    ("12000000", "0.01", "11450", 50),
    ("70000000", "0.02", "131450", 25),
)


def _tiers(most: int) -> tuple[MarginTier, ...]:
    """The table above with its leverage capped at `most`."""
    floor, tiers = Decimal(0), []
    for cap, rate, cum, leverage in _TIERS:
        tiers.append(
            MarginTier(
                floor=floor, cap=Decimal(cap), rate=Decimal(rate), cum=Decimal(cum), max_leverage=min(leverage, most)
            )
        )
        floor = Decimal(cap)
    return tuple(tiers)


DEFAULT_TIERS = _tiers(125)
"""Margin tiers of BTCUSDT in the snapshot; the other symbols use them too, with lower leverage."""

# symbol: tick, lot, greatest limit and market quantity, least notional, greatest leverage
_TABLE: dict[str, tuple[str, str, str, str, str, int]] = {
    "BTCUSDT": ("0.10", "0.001", "1000", "120", "100", 125),
    "ETHUSDT": ("0.01", "0.001", "10000", "2000", "20", 100),
    "BNBUSDT": ("0.010", "0.01", "100000", "2000", "5", 75),
    "SOLUSDT": ("0.0100", "1", "1000000", "80000", "5", 75),
    "XRPUSDT": ("0.0001", "0.1", "10000000", "2000000", "5", 75),
    "ADAUSDT": ("0.00010", "1", "20000000", "2000000", "5", 75),
    "DOGEUSDT": ("0.000010", "1", "50000000", "30000000", "5", 75),
    "LTCUSDT": ("0.01", "0.001", "10000", "5000", "20", 75),
    "LINKUSDT": ("0.001", "0.01", "200000", "20000", "20", 75),
    "DOTUSDT": ("0.001", "0.1", "1000000", "500000", "5", 75),
    "AVAXUSDT": ("0.0010", "1", "1000000", "50000", "5", 75),
    "TRXUSDT": ("0.00001", "1", "10000000", "5000000", "5", 75),
    "BCHUSDT": ("0.01", "0.001", "10000", "850", "20", 75),
    "ETCUSDT": ("0.001", "0.01", "200000", "50000", "20", 75),
    "UNIUSDT": ("0.0010", "1", "1000000", "40000", "5", 50),
    "ATOMUSDT": ("0.001", "0.01", "1000000", "50000", "5", 50),
    "FILUSDT": ("0.001", "0.1", "10000000", "100000", "5", 50),
    "NEARUSDT": ("0.0010", "1", "5000000", "100000", "5", 50),
    "ALGOUSDT": ("0.0001", "0.1", "10000000", "2000000", "5", 50),
    "APEUSDT": ("0.0001", "1", "1000000", "150000", "5", 50),
    "MATICUSDT": ("0.0001", "1", "10000000", "1000000", "5", 50),
    "APTUSDT": ("0.00100", "0.1", "1000000", "50000", "5", 50),
    "ARBUSDT": ("0.000100", "0.1", "20000000", "1000000", "5", 50),
    "OPUSDT": ("0.0001000", "0.1", "10000000", "500000", "5", 50),
    "SUIUSDT": ("0.000100", "0.1", "10000000", "500000", "5", 50),
    "BTCUSDC": ("0.1", "0.001", "1000", "120", "100", 125),
    "ETHUSDC": ("0.01", "0.001", "10000", "2000", "20", 100),
    "SOLUSDC": ("0.0100", "0.01", "1000000", "80000", "5", 75),
}

DEFAULT_SYMBOLS = tuple(_TABLE)
"""Symbols with built-in filters."""

_NAMED = re.compile(r"(?:^|[^A-Za-z0-9])([A-Z0-9]{2,20}USD[TC])(?:[^A-Za-z0-9]|$)")
_WELL_FORMED = re.compile(r"([A-Z0-9]{1,20})(USDT|USDC)")


def symbol_in(file_name: str) -> str | None:
    """The symbol that a file is named after; None when it is not.

    >>> symbol_in("um_BTCUSDT_1h.parquet")
    'BTCUSDT'
    """
    found = _NAMED.search(file_name)
    return found[1] if found is not None else None


def default_instrument(symbol: str, reference_price: float | None = None) -> Instrument:
    """The simulated filters, margin tiers and fees of `symbol`.

    reference_price: quote per base. A well-formed USDT or USDC symbol outside the snapshot derives its filters from
    it: the tick is the power of ten that gives the price five digits, the lot the one worth between 0.1 and 1 quote,
    the least notional 5, limit orders up to 50 million quote and market orders up to 5 million.
    Raises: InvalidInput for an ill-formed symbol, or an unknown one without a reference price, naming the nearest.
    """
    known = _TABLE.get(symbol)
    match = _WELL_FORMED.fullmatch(str(symbol))
    if match is None or (known is None and reference_price is None):
        raise unknown_name("symbol", symbol, _TABLE)
    base, quote = match.groups()
    if known is None:
        known = _derived(symbol, reference_price or 0.0)
    tick, lot, most, most_market, notional, leverage = known
    return Instrument(
        symbol=symbol,
        base_asset=base,
        quote_asset=quote,
        tick_size=Decimal(tick),
        lot_step=Decimal(lot),
        min_quantity=Decimal(lot),
        max_quantity=Decimal(most),
        max_market_quantity=Decimal(most_market),
        min_notional=Decimal(notional),
        tiers=_tiers(leverage),
    )


def _derived(symbol: str, price: float) -> tuple[str, str, str, str, str, int]:
    """Filters of a symbol that the snapshot lacks, by the rule in `default_instrument`."""
    if not (math.isfinite(price) and 1e-7 <= price <= 1e8):
        raise InvalidInput(
            f"{symbol}: a reference price must lie between 1e-7 and 1e8, not {price}", symbol=symbol, price=price
        )
    magnitude = math.floor(math.log10(price))
    lot = Decimal(10) ** -(magnitude + 1)
    most = (Decimal(50_000_000) / Decimal(10) ** magnitude // lot) * lot
    return str(Decimal(10) ** (magnitude - 4)), str(lot), str(most), str(most // (10 * lot) * lot), "5", 50
