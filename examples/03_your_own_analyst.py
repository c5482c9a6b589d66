"""An analyst of your own: any function of a feature row, or any class with the one verb `execute_analysis`.

`RuleAnalyst(fn)` learns what the function's signals were worth from their own matured outcomes, and abstains until
the lower bound of that probability pays for the costs.
"""

import asyncio

import numpy as np

from ares import AnalysisInput, AnalysisResult, Backtester, FeatureRow, RuleAnalyst, Side, Tape
from ares.protocols import Reason
from ares.testing import check_stage

HOUR_NS = 3_600_000_000_000


def breakout(row: FeatureRow) -> float | None:
    """Follow a close outside the Bollinger bands; None abstains."""
    deviations = row["trend.bollinger_z_20"]
    return 1.0 if deviations > 2.0 else -1.0 if deviations < -2.0 else None


class CoinFlip:
    """The least an analyst must do. This one claims no edge, so the tactician never lets it trade."""

    async def execute_analysis(self, given: AnalysisInput) -> AnalysisResult:
        complete = given.row.ready and not np.isnan(given.row.values).any()
        heads = complete and (given.row.open_ns // HOUR_NS) % 2 == 0
        return AnalysisResult(
            symbol=given.symbol,
            now_ns=given.now_ns,
            p_up=0.5,
            p_down=0.5,
            p_timeout=0.0,
            side=Side.BUY if heads else None,
            confidence=0.5 if heads else 0.0,
            horizon=24,
            horizon_ns=24 * HOUR_NS,
            stop_width=0.02,
            target_width=0.02,
            valid_until_ns=given.now_ns + HOUR_NS,
            model_id="coin",
            reasons=(Reason(code="coin.heads" if heads else "coin.tails" if complete else "row.not_complete"),),
        )


async def main() -> None:
    for analyst in (RuleAnalyst(breakout), CoinFlip()):
        report = await check_stage(analyst)
        print(report)
        report.raise_for_failures()


asyncio.run(main())

tape = Tape.synthetic("ETHUSDT", "1h", bars=6_000, seed=3, predictability=0.1)
for analyst in (RuleAnalyst(breakout), CoinFlip()):
    result = Backtester(analyst=analyst).run(tape)
    said = result.decisions["side"].notna().sum()
    earned = result.summary()["net_return"]
    print(f"\n{type(analyst).__name__}: {said} opinions, {len(result.trades)} trades, {earned:+.2%}")
    print(result.decisions["refused_by"].value_counts().head(3).to_string(header=False))
