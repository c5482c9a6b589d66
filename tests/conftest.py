"""What every test may use: the folder of recorded market data, and hypothesis profiles."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

_ROOT = Path(__file__).resolve().parent.parent

settings.register_profile("ares", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("ares"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "ares")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of recorded market data: ARES_REAL_DATA, else `../shared/data` beside the repository.

    Example: `real_data / "market" / "um_ETHUSDT_1h.parquet"`. The test is skipped when there is none.
    """
    named = os.environ.get("ARES_REAL_DATA")
    folder = Path(named) if named else _ROOT.parent / "shared" / "data"
    if not (folder / "market").is_dir():
        pytest.skip(f"no recorded market data in {folder}; name their folder in ARES_REAL_DATA")
    return folder
