"""Everything a bot calls, called once on a made-up market: what must be compiled is compiled before it counts."""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from math import log, sqrt
from multiprocessing import get_context
from typing import TYPE_CHECKING

from ares.analyst.config import AnalystConfig, RuleConfig
from ares.analyst.rules import RuleAnalyst
from ares.analyst.warm import warm as warm_analyst
from ares.backtesting.backtester import Backtester
from ares.errors import Retryable
from ares.exchange.book_stream import warm as warm_books
from ares.features.warm import is_warm, warm_engine, warm_sources
from ares.market import Candle
from ares.models.warm import warm as warm_models
from ares.protocols import FeatureStage, FeatureStream
from ares.simulation.tape import Tape
from ares.simulation.warm import warm as warm_venue
from ares.values import FeatureRow

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["compile_all", "rehearse"]

_BARS = 900  # enough for features to be warm and a few trades


def rehearse(*, beside: bool = False) -> None:
    """Compile every kernel that a bot calls, or load it from the compile cache; two seconds once it is there.

    Do it before streams are opened: a kernel that compiles later holds up the event loop, and streams go stale.
    beside: compile what trades in a second process when there is a core for it; only for a program whose main module
    does nothing when it is imported. Raises Retryable when that process ends early.
    """
    with _no_collection():
        with _trading_rules_beside(beside):
            warm_engine()
        _around_the_features()
        _trade_briefly()


def compile_all() -> None:
    """Fill the compile cache with what `rehearse` would compile, for other processes: this one loads no more of it.

    It works beside itself as `rehearse` does. Raises Retryable.
    """
    with _no_collection():
        with _trading_rules_beside(True) as shared:
            warm_engine()
        if not shared:
            _around_the_features()
            _trade_briefly()


@contextmanager
def _trading_rules_beside(wanted: bool) -> Iterator[bool]:
    """While this process compiles the features, another one compiles what trades; gives whether it does.

    A compiler holds the interpreter, so a thread would not do. What was compiled lies in the cache that both share.
    """
    if not wanted or is_warm() or _cores() < 2:
        yield False
        return
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        rules = pool.submit(_compile_trading_rules)
        yield True
        try:
            rules.result()
        except BrokenProcessPool as error:
            raise Retryable(
                "the process that compiled the trading rules was ended before it was done, perhaps for want of memory:"
                " run `ares warm` again"
            ) from error


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _no_collection() -> Iterator[None]:
    """A compiler makes millions of small objects that it keeps: looking for garbage among them takes a tenth of it."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _compile_trading_rules() -> None:
    with _no_collection(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # kernels that cannot be kept: the process that waits says so
        _around_the_features()
        _trade_briefly(_Moves())


def _around_the_features() -> None:
    """Compile all but the rules of trading and the kernel of the features."""
    warm_sources()
    warm_models()
    warm_analyst()
    warm_venue()


def _trade_briefly(features: FeatureStage | None = None) -> None:
    """Follow a book and play a short backtest that trades, so that every rule is called. features: None: default."""
    warm_books()
    eager = AnalystConfig(rules=RuleConfig(min_matured=0, prior_win=0.9))
    analyst = RuleAnalyst(lambda row: 1.0 if row["returns.log_1"] < 0 else -1.0, config=eager)
    Backtester(features=features, analyst=analyst).run(Tape.synthetic("ETHUSDT", "1h", bars=_BARS, seed=1))


class _Moves:
    """A feature stage that needs no kernel: the last bar's log return and how volatile such returns have been."""

    async def generate_all_features(
        self,
        klines_df: pd.DataFrame,
        agg_trades_df: pd.DataFrame | None = None,
        futures_df: pd.DataFrame | None = None,
        sr_levels: Sequence[float] | None = None,
    ) -> pd.DataFrame:
        import pandas as pd

        stream = _MovesStream()
        rows = [stream.moved(close) for close in klines_df["close"].tolist()]
        return pd.DataFrame(rows, index=klines_df.index, columns=list(stream.feature_names))

    def stream(self, symbol: str, interval: str) -> FeatureStream:
        return _MovesStream()


class _MovesStream:
    feature_names = ("returns.log_1", "volatility.ewma_128")
    warmup = 1
    fingerprint = "moves"

    def __init__(self) -> None:
        self._close = float("nan")
        self._variance = 0.0

    def moved(self, close: float) -> tuple[float, float]:
        """The two features at the next close; NaN at the first."""
        move = log(close / self._close)
        self._close = close
        if move == move:
            self._variance += 2 / 129 * (move * move - self._variance)
        return move, sqrt(self._variance) if move == move else move

    def update(self, candle: Candle) -> FeatureRow:
        values = self.moved(candle.close)
        return FeatureRow(
            symbol=candle.symbol, interval=candle.interval, open_ns=candle.open_ns, known_ns=candle.close_ns,
            schema_id=self.fingerprint, values=values, ready=values[0] == values[0], names=self.feature_names,
        )  # fmt: skip
