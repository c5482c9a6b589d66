"""`ares warm`: compile everything once, ahead of time, so that no trade waits for a compiler."""

from __future__ import annotations

from ares.cli import options
from ares.cli.exits import ends_with_exit_code

__all__ = ["warm"]

_BARS = 900  # of the synthetic market: enough for features to be warm and a few trades


@ends_with_exit_code
def warm(json: options.JsonOut = False, progress: options.Progress = None) -> None:
    """Compile every kernel for this machine and keep the result; later starts load it from disk."""
    from ares.analyst.config import AnalystConfig, RuleConfig
    from ares.analyst.rules import RuleAnalyst
    from ares.backtesting.backtester import Backtester
    from ares.cli.screen import note, print_json, progress_bar
    from ares.clock import SystemClock
    from ares.exchange.book_stream import warm as warm_books
    from ares.features.warm import warm as warm_features
    from ares.simulation.tape import Tape

    clock = SystemClock()
    began = clock.now_ns()
    with progress_bar("compiling", 2, progress) as advance:
        warm_features()
        warm_books()
        advance(1)
        eager = AnalystConfig(rules=RuleConfig(min_matured=0, prior_win=0.9))  # trades, so that every rule is called
        analyst = RuleAnalyst(lambda row: 1.0 if row["returns.log_1"] < 0 else -1.0, config=eager)
        Backtester(analyst=analyst).run(Tape.synthetic("ETHUSDT", "1h", bars=_BARS, seed=1))
        advance(2)
    seconds = (clock.now_ns() - began) / 1e9
    if json:
        print_json({"seconds": seconds})
    else:
        note(f"everything is compiled: {seconds:.1f} s")
