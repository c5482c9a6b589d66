"""Binance USDS-M futures over the wire: codec, signatures, limits, order book, REST and streams."""

from ares._lazy import lazy

__all__ = ["BinanceConfig", "BinanceExchange", "Environment", "LocalBook"]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "BinanceConfig": "ares.exchange.config",
        "BinanceExchange": "ares.exchange.binance",
        "Environment": "ares.exchange.config",
        "LocalBook": "ares.exchange.book",
    },
)
