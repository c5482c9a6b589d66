"""Small markets written by hand, for the tests of this room."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pandas as pd

from ares.simulation.tape import Tape

HOUR = 3_600_000_000_000
T0 = 1_704_067_200_000_000_000  # 2024-01-01, a funding time

Bar = tuple[float, float, float, float]  # open, high, low, close


def frame(bars: Sequence[Bar], *, skip: Sequence[int] = (), start_ns: int = T0) -> pd.DataFrame:
    """Hourly klines; the bars at the positions `skip` are left out."""
    keep = [i for i in range(len(bars)) if i not in set(skip)]
    opens = pd.DatetimeIndex([start_ns + i * HOUR for i in keep], tz="UTC", name="open_time")
    made = pd.DataFrame([bars[i] for i in keep], columns=["open", "high", "low", "close"], index=opens, dtype=float)
    return made.assign(volume=10.0)


def tape(
    bars: Sequence[Bar], *, symbol: str = "ETHUSDT", funding: dict[int, float] | None = None, **more: object
) -> Tape:
    """A tape of hand-written bars; funding: hour -> rate."""
    rates = None
    if funding is not None:
        times = pd.to_datetime([T0 + hour * HOUR for hour in funding], utc=True)
        rates = pd.DataFrame({"funding_time": times, "funding_rate": list(funding.values())})
    klines = frame(bars, **more)  # type: ignore[arg-type]
    return Tape.from_frame(klines, symbol=symbol, interval="1h", funding=rates)


def random_bars(seed: int, count: int, price: float = 2000.0, swing: float = 0.01) -> list[Bar]:
    """A random walk with gaps and wicks, on the cent grid."""
    rng = np.random.default_rng(seed)
    bars: list[Bar] = []
    for _ in range(count):
        begin = price * float(np.exp(swing * rng.normal() * 0.3))
        path = begin * np.exp(np.cumsum(rng.normal(0, swing / 4, 16)))
        close = float(path[-1])
        bars.append(
            tuple(  # type: ignore[arg-type]
                float(round(v, 2)) for v in (begin, max(begin, path.max()), min(begin, path.min()), close)
            )
        )
        price = close
    return bars


def flat(price: float, count: int) -> list[Bar]:
    """Bars in which nothing happens."""
    return [(price, price, price, price)] * count


D = Decimal
