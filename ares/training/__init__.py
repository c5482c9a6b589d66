"""From recorded bars to a model one may trust: labels, purged splits, out-of-fold predictions, calibration, trials.

Nothing here runs in a live bot: training writes models, `ares.models` evaluates them.
"""

from ares._lazy import lazy

__all__ = [
    "BarrierConfig",
    "Costs",
    "Labels",
    "cusum",
    "triple_barrier",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "BarrierConfig": "ares.training.labels",
        "Costs": "ares.training.labels",
        "Labels": "ares.training.labels",
        "cusum": "ares.training.labels",
        "triple_barrier": "ares.training.labels",
    },
)
