"""Everything a bot calls, called once on a made-up market: what must be compiled is compiled before it counts."""

from __future__ import annotations

from ares.analyst.config import AnalystConfig, RuleConfig
from ares.analyst.rules import RuleAnalyst
from ares.backtesting.backtester import Backtester
from ares.exchange.book_stream import warm as warm_books
from ares.features.warm import warm as warm_features
from ares.simulation.tape import Tape

__all__ = ["rehearse"]

_BARS = 900  # enough for features to be warm and a few trades


def rehearse() -> None:
    """Compile every kernel for this machine, or load it from the compile cache; two seconds once it is there.

    Do it before streams are opened: a kernel that compiles later holds up the event loop, and streams go stale.
    """
    warm_features()
    warm_books()
    eager = AnalystConfig(rules=RuleConfig(min_matured=0, prior_win=0.9))  # trades, so that every rule is called
    analyst = RuleAnalyst(lambda row: 1.0 if row["returns.log_1"] < 0 else -1.0, config=eager)
    Backtester(analyst=analyst).run(Tape.synthetic("ETHUSDT", "1h", bars=_BARS, seed=1))
