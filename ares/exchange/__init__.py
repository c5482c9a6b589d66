"""Binance USDS-M futures over the wire: codec, signatures, limits, order book, REST and streams."""
