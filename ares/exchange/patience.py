"""What an order needs besides its own request may take no longer than that: whoever sends it waits for nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from ares.errors import Retryable

__all__ = ["within"]


@asynccontextmanager
async def within(seconds: float, otherwise: str) -> AsyncGenerator[None, None]:
    """Give up the body after so many seconds. Raises: Retryable, which says `otherwise`."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise Retryable(f"{otherwise} in {seconds:g} s", seconds=seconds) from None
