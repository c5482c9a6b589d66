"""The kit must catch what leaks and pass what does not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import pywt

from ares.errors import InvalidInput, TooShort
from ares.features.config import FeatureConfig
from ares.features.orchestrator import FeatureOrchestrator
from ares.testing.causality import NotCausal, check_causality


@pytest.fixture(scope="module")
def klines() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    n = 900
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, n)))
    open_ = np.concatenate([[100.0], close[:-1]])
    index = pd.date_range("2024-01-01", periods=n, freq="1h", tz="UTC", unit="ns", name="open_time")
    high = np.maximum(open_, close) * 1.002
    low = np.minimum(open_, close) * 0.998
    columns = {"open": open_, "high": high, "low": low, "close": close, "volume": rng.uniform(1, 9, n)}
    return pd.DataFrame(columns, index=index)


def whole_series_wavelet(frame: pd.DataFrame) -> np.ndarray:
    parts = pywt.wavedec(frame["close"].to_numpy(copy=True), "db4", level=3)
    parts[-1][:] = 0.0
    return pywt.waverec(parts, "db4")[: len(frame)]


def back_filled(frame: pd.DataFrame) -> pd.Series:
    return frame["close"].where(frame["volume"] > 6).bfill()


def unclosed(frame: pd.DataFrame) -> pd.DataFrame:
    higher = frame[["close"]].resample("4h").last()
    return higher.reindex(frame.index, method="ffill")


def one_bar_ahead(frame: pd.DataFrame) -> pd.Series:
    return frame["close"].shift(-1)


def standardised_over_everything(frame: pd.DataFrame) -> pd.Series:
    return (frame["close"] - frame["close"].mean()) / frame["close"].std()


@pytest.mark.parametrize(
    "leaky", [whole_series_wavelet, back_filled, unclosed, one_bar_ahead, standardised_over_everything]
)
def test_catches_the_future(klines: pd.DataFrame, leaky: object) -> None:
    report = check_causality(leaky, klines)
    assert not report.passed
    assert {leak.experiment for leak in report.leaks} <= {"prefix", "future"}
    leak = report.leaks[0]
    assert klines.index[leak.row] == leak.timestamp and leak.size > 0
    with pytest.raises(NotCausal, match=leak.feature):
        report.raise_for_leaks()


def test_passes_what_looks_backward(klines: pd.DataFrame) -> None:
    report = check_causality(lambda frame: frame["close"].diff(5), klines, settle=5)
    report.raise_for_leaks()
    assert report.experiments == ("prefix", "future", "start")
    assert report.forgets_after == 5


def test_a_function_that_never_forgets_is_told_so(klines: pd.DataFrame) -> None:
    report = check_causality(lambda frame: frame["close"].cumsum(), klines, settle=100)
    assert {leak.experiment for leak in report.leaks} == {"start"}
    assert report.forgets_after is None
    assert check_causality(lambda frame: frame["close"].cumsum(), klines).passed  # nothing was declared


def test_our_own_features_pass(klines: pd.DataFrame) -> None:
    stage = FeatureOrchestrator(FeatureConfig(groups=("momentum", "returns", "wavelet")))
    report = check_causality(stage, klines, cuts=3)
    report.raise_for_leaks()
    assert "start" in report.experiments


def test_the_data_are_not_changed(klines: pd.DataFrame) -> None:
    before = klines.copy()

    def rude(frame: pd.DataFrame) -> pd.Series:
        frame["close"] = 0.0
        return frame["close"]

    check_causality(rude, klines, cuts=2)
    pd.testing.assert_frame_equal(klines, before)


def test_refuses_too_little_and_results_of_another_length(klines: pd.DataFrame) -> None:
    with pytest.raises(TooShort):
        check_causality(back_filled, klines.iloc[:10])
    with pytest.raises(InvalidInput, match="one a row"):
        check_causality(lambda frame: frame["close"].iloc[1:], klines)
