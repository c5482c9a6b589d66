"""Conformance kits: prove that a part of your own keeps what the rest of ares counts on."""

from ares._lazy import lazy

__all__ = ["Report", "check_exchange", "check_model", "check_stage"]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Report": "ares.testing.report",
        "check_exchange": "ares.testing.exchange",
        "check_model": "ares.testing.model",
        "check_stage": "ares.testing.stage",
    },
)
