"""Recordings that go with a tape: trades, quotes, futures statistics, read by features."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve, frozen

if TYPE_CHECKING:
    from ares.config import AresConfig

__all__ = ["Recorded"]


@frozen(kw_only=True)
class Recorded:
    """Files beside the klines; None: none."""

    agg_trades: Path | None = None
    quotes: Path | None = None
    futures: Path | None = None

    @property
    def given(self) -> dict[str, Path]:
        """Those that there are, by the name of their option."""
        files = {"agg_trades": self.agg_trades, "quotes": self.quotes, "futures": self.futures}
        return {name: file for name, file in files.items() if file is not None}

    def read_by(self, config: AresConfig) -> AresConfig:
        """The settings with features that read what is given, besides what they read already."""
        from ares.features.sources import kinds_of

        sources = config.features.sources
        for name in self.given:
            kind = {"quotes": "book_top"}.get(name, name)
            if kind not in kinds_of(sources):
                sources = (*sources, kind)
        return evolve(config, features=evolve(config.features, sources=sources))
