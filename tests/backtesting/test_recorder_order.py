"""The equity curve of a session whose bars were told late and out of order."""

from __future__ import annotations

from ares.backtesting.recorder import Recorder
from ares.events import CandleClosed
from ares.market import Candle
from tests.pipeline.desk_bench import HOUR, SYMBOL, Bench


def test_a_bar_that_is_told_late_does_not_turn_time_back() -> None:
    """A venue may send a bar long after its close; the bar read after a restart bears its close as time."""
    bench = Bench()
    recorder = Recorder(bench.desk)
    for row, told in ((1, 5 * HOUR), (2, 2 * HOUR), (3, 3 * HOUR)):
        bar = Candle(
            symbol=SYMBOL, interval="1h", open_ns=(row - 1) * HOUR, close_ns=row * HOUR, open=1.0, high=1.0, low=1.0,
            close=1.0, volume=1.0,
        )  # fmt: skip
        recorder(CandleClosed(ts_event=told, ts_seen=6 * HOUR, candle=bar), [])
    assert recorder.times_ns == [HOUR, 2 * HOUR, 3 * HOUR]
