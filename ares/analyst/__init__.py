"""Opinions: what a feature row has been worth in the past, and what that says about the next bars."""

from typing import TYPE_CHECKING

from ares._lazy import lazy

if TYPE_CHECKING:
    from ares.analyst.analyst import Analyst
    from ares.analyst.config import AnalystConfig, RuleConfig
    from ares.analyst.rules import RuleAnalyst

__all__ = ["Analyst", "AnalystConfig", "RuleAnalyst", "RuleConfig"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "Analyst": "ares.analyst.analyst",
            "AnalystConfig": "ares.analyst.config",
            "RuleAnalyst": "ares.analyst.rules",
            "RuleConfig": "ares.analyst.config",
        },
    )
