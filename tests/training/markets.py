"""Small trained models for the tests of training and of the analyst: quick to fit, large enough to show an edge."""

from __future__ import annotations

from functools import cache
from typing import Any

from ares.data.synthetic import SyntheticConfig, SyntheticMarket, synthetic_market
from ares.features.config import FeatureConfig
from ares.features.orchestrator import FeatureOrchestrator
from ares.training.boosting import QuantileBoosting
from ares.training.dataset import TrainConfig
from ares.training.trainer import TrainedModel, train

QUICK = TrainConfig(threads=1, folds=4, resamples=60)


def small_trees(iterations: int = 25, seed: int = 0) -> QuantileBoosting:
    return QuantileBoosting(
        max_iter=iterations,
        learning_rate=0.1,
        max_leaf_nodes=8,
        min_samples_leaf=100,
        bins=31,
        random_state=seed,
    )


def orchestrator() -> FeatureOrchestrator:
    return FeatureOrchestrator(FeatureConfig(groups=("returns", "volatility", "trend", "momentum", "volume")))


@cache
def market(bars: int = 6000, predictability: float = 0.3, seed: int = 1) -> SyntheticMarket:
    return synthetic_market(seed, bars, config=SyntheticConfig(predictability=predictability))


def quick(klines: Any, config: TrainConfig = QUICK, **more: Any) -> TrainedModel:
    parts = {name: small_trees() for name in ("side", "timing", "meta")}
    return train(klines, features=orchestrator(), config=config, **{**parts, **more})


@cache
def trained() -> TrainedModel:
    """A model of the first 4,000 bars of `market()`."""
    return quick(market().klines.iloc[:4000])
