"""From recorded bars to a model one may trust: labels, purged splits, out-of-fold predictions, calibration, trials.

Nothing here runs in a live bot: training writes models, `ares.models` evaluates them.
"""

from ares._lazy import lazy

__all__ = [
    "BarrierConfig",
    "CombinatorialPurgedCV",
    "Costs",
    "Labels",
    "PurgedKFold",
    "WalkForward",
    "cusum",
    "triple_barrier",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "BarrierConfig": "ares.training.labels",
        "CombinatorialPurgedCV": "ares.training.splits",
        "Costs": "ares.training.labels",
        "Labels": "ares.training.labels",
        "PurgedKFold": "ares.training.splits",
        "WalkForward": "ares.training.splits",
        "cusum": "ares.training.labels",
        "triple_barrier": "ares.training.labels",
    },
)
