"""Models: adapt, save, load, verify, evaluate. Nothing here trains, and nothing on disk is code."""

from ares._lazy import lazy

__all__ = ["Model", "ModelSpec", "Registry", "Succession", "TrainingRecord", "adapt", "load", "save"]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Model": "ares.models.model",
        "ModelSpec": "ares.models.model",
        "Registry": "ares.models.registry",
        "Succession": "ares.models.succession",
        "TrainingRecord": "ares.models.registry",
        "adapt": "ares.models.adapters",
        "load": "ares.models.registry",
        "save": "ares.models.registry",
    },
)
