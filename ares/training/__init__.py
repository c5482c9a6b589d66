"""From recorded bars to a model one may trust: labels, purged splits, out-of-fold predictions, calibration, trials.

Nothing here runs in a live bot: training writes models, `ares.models` evaluates them.
"""

from ares._lazy import lazy

__all__ = [
    "BarrierConfig",
    "CombinatorialPurgedCV",
    "Costs",
    "Labels",
    "OutOfFold",
    "PurgedKFold",
    "TrainConfig",
    "TrainedModel",
    "TrialLedger",
    "WalkForward",
    "cusum",
    "fit_calibrator",
    "fit_lower_bound",
    "fit_regimes",
    "meta_labels",
    "out_of_fold",
    "reliability",
    "train",
    "triple_barrier",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "BarrierConfig": "ares.training.labels",
        "CombinatorialPurgedCV": "ares.training.splits",
        "Costs": "ares.training.labels",
        "Labels": "ares.training.labels",
        "OutOfFold": "ares.training.out_of_fold",
        "PurgedKFold": "ares.training.splits",
        "TrainConfig": "ares.training.dataset",
        "TrainedModel": "ares.training.trainer",
        "TrialLedger": "ares.training.trials",
        "WalkForward": "ares.training.splits",
        "cusum": "ares.training.labels",
        "fit_calibrator": "ares.training.calibration",
        "fit_lower_bound": "ares.training.calibration",
        "fit_regimes": "ares.training.regime",
        "meta_labels": "ares.training.out_of_fold",
        "out_of_fold": "ares.training.out_of_fold",
        "reliability": "ares.training.reliability",
        "train": "ares.training.trainer",
        "triple_barrier": "ares.training.labels",
    },
)
