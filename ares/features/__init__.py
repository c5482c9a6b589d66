"""Features: what an analyst may know at the close of a bar, computed once for research and for live trading."""

from ares._lazy import lazy

__all__ = ["FeatureConfig", "FeatureNode", "FeatureOrchestrator", "LiveSources", "warm"]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "FeatureConfig": "ares.features.config",
        "FeatureNode": "ares.features.nodes",
        "FeatureOrchestrator": "ares.features.orchestrator",
        "LiveSources": "ares.features.live_sources",
        "warm": "ares.features.warm",
    },
)
