"""What the pipeline counts on in a feature stage."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from ares.errors import AresError
from ares.instruments import Interval
from ares.market import Candle
from ares.testing.trial import Trial, expect

__all__ = ["candles_of", "check_features", "same_bits"]

_CUT = 0.8  # share of the history that is kept when the future is changed
_AMOUNTS = ["volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume", "trades"]


async def check_features(
    trial: Trial, make: Callable[[], object], klines: pd.DataFrame, symbol: str, interval: str
) -> None:
    """Shape, determinism, no knowledge of the future, and bar by bar the same numbers as all at once."""
    given = klines.copy(deep=True)
    frame = pd.DataFrame()
    with trial.check("the verb is async and gives a frame with one row a kline"):
        stage: Any = make()
        expect(inspect.iscoroutinefunction(stage.generate_all_features), "generate_all_features is not async")
        frame = await stage.generate_all_features(klines_df=given)
        expect(isinstance(frame, pd.DataFrame), f"it gave a {type(frame).__name__}")
        expect(frame.index.equals(klines.index), "the index is not that of the klines")
    if frame.empty:
        return
    with trial.check("columns have names of their own and hold float64"):
        expect(frame.columns.is_unique, "a name occurs twice")
        wrong = [str(c) for c in frame.columns if frame[c].dtype != np.float64]
        expect(not wrong, f"not float64: {', '.join(wrong[:5])}")
    with trial.check("the klines are not changed"):
        pd.testing.assert_frame_equal(given, klines)
    with trial.check("the same klines give the same bits"):
        again = await _fresh(make).generate_all_features(klines_df=klines.copy())
        _expect_same(frame, again)
    with trial.check("the future changes no earlier row"):
        cut = int(len(klines) * _CUT)
        changed = await _fresh(make).generate_all_features(klines_df=_other_future(klines, cut))
        head = frame.iloc[:cut]
        _expect_same(head, changed.iloc[:cut])
    if hasattr(_fresh(make), "compute"):
        with trial.check("the plain twin agrees with the verb"):
            twin = _fresh(make).compute(klines_df=klines.copy())
            _expect_same(frame, twin)
    _check_stream(trial, make, klines, frame, symbol, interval)


def _check_stream(
    trial: Trial, make: Callable[[], object], klines: pd.DataFrame, frame: pd.DataFrame, symbol: str, interval: str
) -> None:
    candles = list(candles_of(klines, symbol, interval))
    rows: list[Any] = []
    with trial.check("bar by bar it gives the same bits as all at once"):
        stream = _fresh(make).stream(symbol, interval)
        expect(tuple(stream.feature_names) == tuple(frame.columns), "the stream has other columns than the frame")
        rows = [stream.update(candle) for candle in candles]
        values = pd.DataFrame(np.array([row.values for row in rows]), index=frame.index, columns=frame.columns)
        _expect_same(frame, values)
    if not rows:
        return
    with trial.check("a row is known at its bar's close, read-only, and says who it is"):
        for row, candle in zip(rows, candles, strict=True):
            expect(row.open_ns == candle.open_ns, f"open_ns {row.open_ns} at the bar of {candle.open_ns}")
            expect(row.known_ns == candle.close_ns, f"known_ns {row.known_ns} at a close of {candle.close_ns}")
            expect(row.symbol == symbol and row.interval == interval, f"a row of {row.symbol} {row.interval}")
            expect(row.schema_id == rows[-1].schema_id, "the schema changes from row to row")
        expect(not rows[-1].values.flags.writeable, "its values can be written to")
    with trial.check("a ready row is complete, and rows become ready"):
        expect(rows[-1].ready, "the last row is not ready")
        late = [i for i, row in enumerate(rows) if row.ready and i < stream.warmup]
        expect(not late, f"row {late[:1]} is ready before the warm-up of {stream.warmup} rows is over")
    with trial.check("a bar that is not newer is refused"):
        try:
            stream.update(candles[-1])
        except AresError:
            pass
        else:
            expect(False, "it took the same bar twice")


def candles_of(klines: pd.DataFrame, symbol: str, interval: str) -> Iterator[Candle]:
    """The bars of a klines frame."""
    step = Interval.parse(interval).ns
    times = pd.DatetimeIndex(klines.index).as_unit("ns").asi8.tolist()
    offered = [c for c in klines.columns if c not in ("close_time", "trades") and c in Candle.__annotations__]
    counts = klines["trades"].tolist() if "trades" in klines.columns else [-1] * len(klines)
    for open_ns, values, trades in zip(times, klines[offered].to_numpy(dtype=float).tolist(), counts, strict=True):
        yield Candle(
            symbol=symbol,
            interval=interval,
            open_ns=open_ns,
            close_ns=open_ns + step,
            trades=int(trades),
            **dict(zip(offered, values, strict=True)),
        )


def same_bits(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """True when both frames hold the same columns and the same float64 bits; all NaNs count as one."""
    if list(one.columns) != list(other.columns) or len(one) != len(other):
        return False
    a, b = one.to_numpy(dtype=np.float64), other.to_numpy(dtype=np.float64)
    unequal = a.view(np.int64) != b.view(np.int64)
    return not bool((unequal & ~(np.isnan(a) & np.isnan(b))).any())


def _expect_same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    if same_bits(one, other):
        return
    expect(list(one.columns) == list(other.columns) and len(one) == len(other), "columns or number of rows differ")
    a, b = one.to_numpy(dtype=np.float64), other.to_numpy(dtype=np.float64)
    row, column = np.argwhere((a.view(np.int64) != b.view(np.int64)) & ~(np.isnan(a) & np.isnan(b)))[0]
    expect(False, f"{one.columns[column]} in row {row} of {len(one)}: {a[row, column]!r}, then {b[row, column]!r}")


def _other_future(klines: pd.DataFrame, cut: int) -> pd.DataFrame:
    """The same history up to row `cut`, and prices and amounts turned upside down after it."""
    changed = klines.copy()
    prices = ["open", "high", "low", "close"]
    pivot = float(changed["close"].iloc[cut - 1])
    mirrored = pivot * pivot / changed[prices].iloc[cut:]
    mirrored[["high", "low"]] = mirrored[["low", "high"]].to_numpy()
    changed.loc[changed.index[cut:], prices] = mirrored
    for name in changed.columns.intersection(_AMOUNTS):  # together: takers buy no more than was traded
        changed.loc[changed.index[cut:], name] = changed[name].iloc[cut:].to_numpy()[::-1]
    return changed


def _fresh(make: Callable[[], object]) -> Any:
    return make()
