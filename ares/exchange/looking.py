"""Looks at the venue that keep nobody waiting: what is heard meanwhile comes first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

__all__ = ["look_unless"]

_PATIENCE, _MOST = 1.0, 4.0  # seconds that a report waits for a look, which takes less when all is well
_STEP = 0.02  # seconds between two glances at whether something has come


async def look_unless(heard: Callable[[], bool], look: Coroutine[None, None, None], put_off: int = 0) -> bool:
    """Look, but give it up when something was heard and has waited for a second. True: it was done to its end.

    put_off: how often in a row it was given up before. Each time it is granted twice as long, up to four seconds, so
    that it comes to its end where all is slow. A look must be such that it can end anywhere and be made again.
    Raises what it raises.
    """
    loop = asyncio.get_running_loop()
    looking = asyncio.ensure_future(look)
    patience = min(_MOST, _PATIENCE * 2.0 ** min(put_off, 8))
    since: float | None = None  # when it was first seen that something waits
    try:
        while not looking.done():
            await asyncio.wait((looking,), timeout=_STEP)
            if heard():
                since = loop.time() if since is None else since
                if loop.time() - since >= patience and not looking.done():
                    return False
        looking.result()
        return True
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
