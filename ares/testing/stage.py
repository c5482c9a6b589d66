"""`check_stage`: does a stage of your own keep what the pipeline counts on?

    report = await check_stage(MyAnalyst)
    print(report)
    report.raise_for_failures()
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ares.data.synthetic import synthetic_market
from ares.errors import InvalidInput
from ares.testing.analysis_checks import check_analysis
from ares.testing.feature_checks import check_features
from ares.testing.monitoring_checks import check_monitoring
from ares.testing.report import Report
from ares.testing.tactics_checks import check_tactics
from ares.testing.trial import Trial, maker_of

if TYPE_CHECKING:
    import pandas as pd

    from ares.protocols import FeatureStage

__all__ = ["check_stage"]

_VERBS = ("generate_all_features", "execute_analysis", "execute_tactics", "assess_position")
_BARS = 900
_LEAST_BARS = 100
_SEED = 7


async def check_stage(
    stage: object,
    *,
    klines: pd.DataFrame | None = None,
    features: FeatureStage | None = None,
    symbol: str = "ETHUSDT",
    interval: str = "1h",
) -> Report:
    """Try a feature, analysis, tactics or monitoring stage; which one it is, its verb tells.

    stage: a class or a function that makes one, or an instance; the kit needs several fresh ones, so an instance is
    copied deeply. klines: a klines frame to try it on; None: 900 bars of the synthetic market.
    features: the stage whose rows an analyst reads; None: the default ones.
    Raises: InvalidInput when it has no stage's verb, or the klines are fewer than 100.
    """
    verb, name, make = maker_of(stage, _VERBS)
    trial = Trial(f"{name}.{verb}")
    if verb == "execute_tactics":
        await check_tactics(trial, make)
    elif verb == "assess_position":
        check_monitoring(trial, make)
    else:
        frame = synthetic_market(_SEED, _BARS, interval).klines if klines is None else klines
        if len(frame) < _LEAST_BARS:
            raise InvalidInput(f"{len(frame)} klines are too few to try a stage on; give at least {_LEAST_BARS}")
        if verb == "generate_all_features":
            await check_features(trial, make, frame, symbol, interval)
        else:
            await check_analysis(trial, make, frame, features, symbol, interval)
    return trial.report()
