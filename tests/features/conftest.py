"""Real klines in several shapes: with gaps, without, with taker flow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.features.real import read_klines


@pytest.fixture(scope="session")
def klines(real_data: Path) -> Callable[..., pd.DataFrame]:
    """`klines("um_ETHUSDT_1h", rows)` gives the first rows of a recorded file."""

    def load(name: str, rows: int | None = None) -> pd.DataFrame:
        return read_klines(real_data / "market" / f"{name}.parquet").iloc[:rows]

    return load
