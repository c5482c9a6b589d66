"""The kit must catch what leaks and pass what does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import pywt

from ares.errors import InvalidInput, TooShort
from ares.features.config import FeatureConfig, WaveletConfig
from ares.features.nodes import FeatureNode
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


def ahead_on_friday_midnights(frame: pd.DataFrame) -> pd.Series:
    friday = (frame.index.day_of_week == 4) & (frame.index.hour == 0)
    return frame["close"].shift(-1).where(friday).ffill()


def ahead_when_busy(frame: pd.DataFrame) -> pd.Series:
    busy = frame["volume"] > frame["volume"].expanding(100).quantile(0.98)
    return (frame["close"].shift(-1) - frame["close"]).where(busy, 0.0)


def ahead_before_a_gap(frame: pd.DataFrame) -> pd.Series:
    step = frame.index.to_series().diff()
    return frame["close"].where(step.shift(-1) > pd.Timedelta("1h"), 0.0)


def standardised_over_everything(frame: pd.DataFrame) -> pd.Series:
    return (frame["close"] - frame["close"].mean()) / frame["close"].std()


def centred_window(frame: pd.DataFrame) -> pd.Series:
    return frame["close"].rolling(5, center=True).mean()


def straight_between_known_points(frame: pd.DataFrame) -> pd.Series:
    return frame["close"].where(frame["volume"] > 6).interpolate(limit_direction="both")


def ranked_over_everything(frame: pd.DataFrame) -> pd.Series:
    return frame["volume"].rank(pct=True)


def extreme_marked_where_it_was(frame: pd.DataFrame) -> pd.Series:
    high = frame["high"]
    return ((high > high.shift(1)) & (high > high.shift(-1))).astype(float)


def aligned_stationary_wavelet(frame: pd.DataFrame) -> np.ndarray:
    n = len(frame) // 8 * 8
    returns = np.log(frame["close"].to_numpy()[:n] / frame["open"].to_numpy()[:n])
    detail = pywt.swt(returns, "db2", level=3, trim_approx=True, norm=True)[-1]
    return np.concatenate([detail, np.full(len(frame) - n, np.nan)])


@pytest.mark.parametrize(
    "leaky",
    [
        whole_series_wavelet, back_filled, unclosed, one_bar_ahead, standardised_over_everything, centred_window,
        straight_between_known_points, ranked_over_everything, extreme_marked_where_it_was, aligned_stationary_wavelet,
    ],
)  # fmt: skip
def test_catches_the_future(klines: pd.DataFrame, leaky: object) -> None:
    report = check_causality(leaky, klines)
    assert not report.passed
    assert {leak.experiment for leak in report.leaks} <= {"prefix", "future"}
    leak = report.leaks[0]
    assert klines.index[leak.row] == leak.timestamp and leak.size > 0
    with pytest.raises(NotCausal, match=leak.feature):
        report.raise_for_leaks()


def test_a_planted_leak_is_told_by_feature_place_and_size(klines: pd.DataFrame) -> None:
    seen: list[int] = []

    def planted(frame: pd.DataFrame) -> pd.DataFrame:
        """Honest but in `tainted`, whose rows are 0.25 too high as soon as two later rows are there."""
        seen.append(len(frame))
        late = frame["close"].shift(-2).notna()
        return pd.DataFrame({"honest": frame["close"].diff(), "tainted": frame["volume"] + 0.25 * late})

    report = check_causality(planted, klines)
    first_cut = min(n for n in seen if n >= 10)
    (leak,) = report.leaks
    assert (leak.feature, leak.experiment, leak.rows) == ("tainted", "prefix", 2)
    assert leak.row == first_cut - 2 and leak.timestamp == klines.index[first_cut - 2]
    assert leak.size == pytest.approx(0.25, abs=1e-12)
    assert "tainted: prefix, first at 2024" in str(report) and "honest" not in str(report)
    assert check_causality(planted, klines, tolerance=0.3).passed


def test_another_frame_may_not_be_read_ahead(klines: pd.DataFrame) -> None:
    published = pd.DataFrame({"rate": np.arange(300.0)}, index=klines.index[::3] + pd.Timedelta("90min"))

    def in_time(frame: pd.DataFrame, rates: pd.DataFrame) -> pd.Series:
        known = rates["rate"].reindex(frame.index + pd.Timedelta("1h"), method="ffill")
        return pd.Series(known.to_numpy(), frame.index, name="rate")

    def by_nearest(frame: pd.DataFrame, rates: pd.DataFrame) -> pd.Series:
        known = rates["rate"].reindex(frame.index + pd.Timedelta("1h"), method="nearest")
        return pd.Series(known.to_numpy(), frame.index, name="rate")

    assert check_causality(in_time, klines, also={"rates": published}).passed
    report = check_causality(by_nearest, klines, also={"rates": published}, cuts=12)
    assert not report.passed and report.leaks[0].feature == "rate"


def test_honest_transforms_pass(klines: pd.DataFrame) -> None:
    def honest(frame: pd.DataFrame) -> pd.DataFrame:
        close = frame["close"]
        higher = close.resample("4h").last().shift(1)  # the bar before the one that is forming
        return pd.DataFrame({
            "mean": close.rolling(20).apply(np.mean, raw=True),
            "rank": frame["volume"].rolling(30).rank(pct=True),
            "filled": close.where(frame["volume"] > 6).ffill(limit=5),
            "higher": higher.reindex(frame.index, method="ffill"),
        })  # fmt: skip

    check_causality(honest, klines, settle=40).raise_for_leaks()


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
    stage = FeatureOrchestrator(FeatureConfig(wavelets=WaveletConfig(window=128, exact=True)))
    report = check_causality(stage, klines, cuts=3)
    assert report.features > 100
    report.raise_for_leaks()
    assert "start" in report.experiments


def test_the_data_are_not_changed(klines: pd.DataFrame) -> None:
    before = klines.copy()

    def rude(frame: pd.DataFrame) -> pd.Series:
        frame["close"] = 0.0
        return frame["close"]

    check_causality(rude, klines, cuts=2)
    pd.testing.assert_frame_equal(klines, before)


class OnlyAsync:
    """A stage of somebody else's, with the async verb alone."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    async def generate_all_features(self, klines_df: pd.DataFrame, **others: Any) -> pd.DataFrame:
        return klines_df[["close"]].shift(self.rows)


async def ahead_later(frame: pd.DataFrame) -> pd.Series:
    return frame["close"].shift(-1)


def test_async_stages_and_functions_are_judged_too(klines: pd.DataFrame) -> None:
    assert check_causality(OnlyAsync(1), klines).passed
    assert not check_causality(OnlyAsync(-1), klines).passed
    assert not check_causality(ahead_later, klines).passed


async def test_they_are_judged_inside_a_running_loop(klines: pd.DataFrame) -> None:
    assert not check_causality(OnlyAsync(-1), klines, cuts=9).passed


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (lambda frame: {"close": 1}, "a dict came back"),
        (lambda frame: 1.0, "a float came back"),
        (lambda frame: frame.assign(name="x"), "hold no numbers: name"),
        (lambda frame: frame[["close", "close"]], "called close"),
    ],
)
def test_results_that_are_no_columns_are_refused(klines: pd.DataFrame, result: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        check_causality(result, klines)


def test_what_is_no_stage_and_no_frame_is_refused(klines: pd.DataFrame) -> None:
    with pytest.raises(InvalidInput, match="int is neither a function"):
        check_causality(5, klines)
    with pytest.raises(InvalidInput, match="data must be a frame, not list"):
        check_causality(one_bar_ahead, [1.0] * 99)  # type: ignore[arg-type]


def test_refuses_too_little_and_results_of_another_length(klines: pd.DataFrame) -> None:
    with pytest.raises(TooShort):
        check_causality(back_filled, klines.iloc[:10])
    with pytest.raises(InvalidInput, match="one a row"):
        check_causality(lambda frame: frame["close"].iloc[1:], klines)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("leaky", [ahead_on_friday_midnights, ahead_when_busy, ahead_before_a_gap])
def test_a_rare_leak_of_one_row_is_caught_whatever_the_seed(leaky: Any, seed: int, klines: pd.DataFrame) -> None:
    gappy = klines.drop(klines.index[[400, 401, 402]])
    assert not check_causality(leaky, gappy, seed=seed).passed


def test_every_row_is_tried_when_asked(klines: pd.DataFrame) -> None:
    short = klines.iloc[:60]
    report = check_causality(lambda frame: frame["close"].cumsum(), short, cuts=60)
    assert report.edges == 60 - 60 // 5 - 1  # all but the first fifth and the last, which has no future


def test_columns_given_ready_made_are_named_as_not_judged(klines: pd.DataFrame) -> None:
    leaking = klines[["close"]].shift(-5).rename(columns={"close": "mine.tomorrow"})
    stage = FeatureOrchestrator(FeatureConfig(groups=("returns",)), precomputed=leaking)
    report = check_causality(stage, klines, cuts=8)
    assert report.not_judged == ("mine.tomorrow",)
    assert "not judged" in str(report) and "mine.tomorrow" in str(report)


def since_the_top(x: Any, state: Any) -> float:
    state[0] = max(state[0], x[0])
    return float(x[0] / state[0] - 1.0)


def since_the_top_of_a_day(x: Any, state: Any) -> float:
    state[:-1] = state[1:]
    state[-1] = x[0]
    return float(x[0] / state.max() - 1.0)


def test_a_node_is_held_to_the_settling_that_it_declares(klines: pd.DataFrame) -> None:
    few = FeatureConfig(groups=("returns",))
    forgetful = FeatureNode(
        name="mine.day", step=since_the_top_of_a_day, inputs=("close",), state_size=24, warmup=23, settle=23
    )
    check_causality(FeatureOrchestrator(few, nodes=[forgetful]), klines).raise_for_leaks()
    never = FeatureNode(name="mine.ever", step=since_the_top, inputs=("close",), state_size=1)
    found = check_causality(FeatureOrchestrator(few, nodes=[never]), klines)
    assert {(leak.feature, leak.experiment) for leak in found.leaks} == {("mine.ever", "start")}


def test_what_settles_later_than_the_data_go_is_named(klines: pd.DataFrame) -> None:
    report = check_causality(FeatureOrchestrator(FeatureConfig(groups=("returns", "volatility"))), klines)
    assert "volatility.ewma_128" in report.never_settled
    assert "returns.log_1" not in report.never_settled
    assert "start" in report.experiments
    assert "settle later than the data go: returns.scaled_1, " in str(report)

    def past(frame: pd.DataFrame) -> pd.Series:
        return frame["close"].expanding().max()

    unjudged = check_causality(past, klines, settle=len(klines))
    assert unjudged.experiments == ("prefix", "future")
    assert unjudged.passed and unjudged.never_settled == ("close",)
