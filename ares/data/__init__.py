"""Recorded and made-up markets: validate klines, read and write them, simulate a seeded market.

Everything here speaks the klines frame: index `open_time` (datetime64[ns, UTC]), float64 prices and volumes,
`close_time` exclusive. What enters is checked once, at the border; every other room may trust it.
"""

from ares._lazy import lazy

__all__ = [
    "QualityReport",
    "SyntheticConfig",
    "SyntheticMarket",
    "load_agg_trades",
    "load_funding",
    "load_klines",
    "load_quotes",
    "load_statistics",
    "save_klines",
    "synthetic_market",
    "validate_klines",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "QualityReport": "ares.data.quality",
        "validate_klines": "ares.data.quality",
        "load_agg_trades": "ares.data.recorded",
        "load_quotes": "ares.data.recorded",
        "load_statistics": "ares.data.recorded",
        "load_funding": "ares.data.store",
        "load_klines": "ares.data.store",
        "save_klines": "ares.data.store",
        "SyntheticConfig": "ares.data.synthetic",
        "SyntheticMarket": "ares.data.synthetic",
        "synthetic_market": "ares.data.synthetic",
    },
)
