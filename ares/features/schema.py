"""What a row of features holds, and when it may be trusted."""

from __future__ import annotations

from functools import cached_property

from attrs import field, frozen

from ares.features.nodes import Bound
from ares.features.plan import Plan
from ares.features.registry import Feature
from ares.instruments import Interval

__all__ = ["Schema"]


@frozen(eq=False)
class Schema:
    """The features of one base interval and set of data sources: what a row holds, and when it may be trusted."""

    interval: Interval
    sources: frozenset[str]
    sr_levels: tuple[float, ...]
    features: tuple[Feature, ...] = field(repr=False)  # of the table
    plan: Plan = field(repr=False)
    tails: tuple[Bound, ...] = field(repr=False)
    names: tuple[str, ...] = field(repr=False)  # columns: of the table, precomputed, of own nodes, of the autoencoder
    fingerprint: str  # changes with names, order, parameters and kernels

    @cached_property
    def warmup(self) -> int:
        """Rows that are not complete yet at the beginning of the data."""
        return max(int(self.plan.warmup.max()), *(t.warmup for t in self.tails), 0)

    @cached_property
    def settle(self) -> int:
        """Rows after which every feature has forgotten where the data began, bit for bit."""
        return max(int(self.plan.settle.max()), *(t.settle for t in self.tails), 0)
