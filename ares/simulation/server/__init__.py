"""A Binance of our own: the venue's wire over our matching and ledger, for tests, rehearsals and other clients.

It needs the extra `ares[serve]`.
"""

from ares._lazy import lazy

__all__ = ["LocalVenue", "Pace", "serve"]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "LocalVenue": "ares.simulation.server.local_venue",
        "Pace": "ares.simulation.server.market",
        "serve": "ares.simulation.server.serving",
    },
)
