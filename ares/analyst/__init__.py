"""Opinions: what a feature row has been worth in the past, and what that says about the next bars."""

from typing import TYPE_CHECKING

from ares._lazy import lazy

if TYPE_CHECKING:
    from ares.analyst.config import AnalystConfig, RuleConfig
    from ares.analyst.rules import RuleAnalyst

__all__ = ["AnalystConfig", "RuleAnalyst", "RuleConfig"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "AnalystConfig": "ares.analyst.config",
            "RuleAnalyst": "ares.analyst.rules",
            "RuleConfig": "ares.analyst.config",
        },
    )
