"""Every other feature against its written definition, in pandas or in plain Python, on real klines."""

from __future__ import annotations

from collections.abc import Callable
from math import log

import numpy as np
import pandas as pd
import pytest
from scipy.stats import linregress

from ares.errors import InvalidInput
from ares.features.config import FeatureConfig
from ares.features.orchestrator import FeatureOrchestrator

WARM = 1_500
DETECTORS = (
    "continuation", "exhaustion", "reversion", "breakout", "failed_breakout", "expansion", "climax", "pullback"
)  # fmt: skip


@pytest.fixture(scope="module")
def bars(klines: Callable[..., pd.DataFrame]) -> pd.DataFrame:
    return klines("spot_ETHUSDT_1h_full")


@pytest.fixture(scope="module")
def got(bars: pd.DataFrame) -> pd.DataFrame:
    return FeatureOrchestrator(FeatureConfig()).compute(bars)


def ewma_of(r: pd.Series) -> pd.Series:
    return np.sqrt((r * r).ewm(alpha=2 / 33, adjust=False).mean())


def z(x: pd.Series, n: int) -> pd.Series:
    return (x - x.rolling(n).mean()) / x.rolling(n).std()


def definitions(bars: pd.DataFrame) -> dict[str, pd.Series]:
    o, h, low, c, v = (bars[x] for x in ("open", "high", "low", "close", "volume"))
    r = np.log(c).diff()
    sigma = ewma_of(r)
    u, d, body = np.log(h / o), np.log(low / o), np.log(c / o)
    reach = u - d
    rs = u * (u - body) + d * (d - body)
    k = 0.34 / (1.34 + 25 / 23)
    jump = np.log(o / c.shift())
    cost = r.abs() / (c * v)
    located = (2 * c - h - low) / (h - low) * v
    found = {f"returns.log_{n}": np.log(c).diff(n) for n in (1, 4, 24)}
    found |= {f"returns.scaled_{n}": np.log(c).diff(n) / sigma for n in (1, 8, 48)}
    found |= {
        "returns.skew_64": r.rolling(64).skew(),
        "returns.kurtosis_64": r.rolling(64).kurt(),
        "returns.autocorrelation_48": r.rolling(48).corr(r.shift()),
        "volatility.ewma_32": sigma,
        "volatility.ewma_128": np.sqrt((r * r).ewm(alpha=2 / 129, adjust=False).mean()),
        "volatility.realized_24": np.sqrt((r * r).rolling(24).mean()),
        "volatility.parkinson_24": np.sqrt((reach**2).rolling(24).mean() / (4 * log(2))),
        "volatility.garman_klass_24": np.sqrt((0.5 * reach**2 - (2 * log(2) - 1) * body**2).rolling(24).mean()),
        "volatility.rogers_satchell_24": np.sqrt(rs.rolling(24).mean()),
        "volatility.yang_zhang_24": np.sqrt(
            jump.rolling(24).var() + k * body.rolling(24).var() + (1 - k) * rs.rolling(24).mean()
        ),
        "volatility.of_volatility_64": sigma.rolling(64).std() / sigma.rolling(64).mean(),
        "volatility.ratio_8_64": np.log((r * r).rolling(8).mean() / (r * r).rolling(64).mean()) / 2,
        "volume.z_48": z(v, 48),
        "volume.relative_24": np.log(v / v.rolling(24).mean()),
        "volume.taker_ratio_1": bars.taker_buy_volume / v,
        "volume.taker_ratio_24": bars.taker_buy_volume.rolling(24).sum() / v.rolling(24).sum(),
        "volume.taker_z_48": z(bars.taker_buy_volume / v, 48),
        "volume.cmf_20": located.rolling(20).sum() / v.rolling(20).sum(),
        "volume.trade_size_48": np.log(v / bars.trades / (v.rolling(48).mean() / bars.trades.rolling(48).mean())),
        "volume.amihud_24_168": np.log(cost.rolling(24).mean() / cost.rolling(168).mean()),
        "volume.roll_spread_48": 2 * np.sqrt((-r.rolling(48).cov(r.shift(), ddof=0)).clip(lower=0)),
    }
    return found


def test_features_are_their_definitions(bars: pd.DataFrame, got: pd.DataFrame) -> None:
    for name, expected in definitions(bars).items():
        a, b = got[name].to_numpy()[WARM:], expected.to_numpy()[WARM:]
        assert np.isfinite(a).all(), name
        worst = np.abs(a - b).max() / np.abs(b).mean()
        assert worst < 3e-7, f"{name}: {worst:.3g}"


def test_line_through_log_closes(bars: pd.DataFrame, got: pd.DataFrame) -> None:
    x = np.log(bars.close.to_numpy())
    sigma = got["volatility.ewma_32"].to_numpy()
    for n in (24, 96):
        for i in range(WARM, len(bars), 397):
            line = linregress(np.arange(n), x[i - n + 1 : i + 1])
            assert got[f"trend.slope_{n}"].iloc[i] == pytest.approx(line.slope / sigma[i], rel=1e-7)
            assert got[f"trend.r_squared_{n}"].iloc[i] == pytest.approx(line.rvalue**2, rel=1e-7, abs=1e-12)


def test_supertrend_by_its_rule(bars: pd.DataFrame, got: pd.DataFrame) -> None:
    h, low, c = (bars[x].to_numpy() for x in ("high", "low", "close"))
    before = np.concatenate([[np.nan], c[:-1]])
    tr = pd.Series(np.fmax(h, before) - np.fmin(low, before))
    atr = tr[1:].ewm(alpha=0.1, adjust=False).mean().reindex(tr.index).to_numpy()
    upper, lower, side = np.inf, -np.inf, 1.0
    expected = np.full(len(c), np.nan)
    for i in range(20, len(c)):
        above, below = (h[i] + low[i]) / 2 + 3 * atr[i], (h[i] + low[i]) / 2 - 3 * atr[i]
        upper = above if above < upper or c[i - 1] > upper else upper
        lower = below if below > lower or c[i - 1] < lower else lower
        if side > 0 and c[i] < lower:
            side = -1.0
        elif side < 0 and c[i] > upper:
            side = 1.0
        expected[i] = (c[i] - (lower if side > 0 else upper)) / atr[i]
    a = got["trend.supertrend_10_3"].to_numpy()
    agree = np.isclose(a[WARM:], expected[WARM:], rtol=1e-5, atol=1e-6)
    assert agree.all()


def test_corwin_schultz_by_its_formula(bars: pd.DataFrame, got: pd.DataFrame) -> None:
    h, low, c = (bars[x].to_numpy() for x in ("high", "low", "close"))
    spread = np.full(len(c), np.nan)
    k = 3 - 2 * np.sqrt(2)
    for i in range(1, len(c)):
        gap = max(c[i - 1] - h[i], 0) + min(c[i - 1] - low[i], 0)  # only one of them is not zero
        hi, lo = h[i] + gap, low[i] + gap
        beta = np.log(h[i - 1] / low[i - 1]) ** 2 + np.log(hi / lo) ** 2
        gamma = np.log(max(h[i - 1], hi) / min(low[i - 1], lo)) ** 2
        alpha = (np.sqrt(2 * beta) - np.sqrt(beta)) / k - np.sqrt(gamma / k)
        spread[i] = max(2 * (np.exp(alpha) - 1) / (1 + np.exp(alpha)), 0)
    expected = pd.Series(spread).rolling(24).mean().to_numpy()
    np.testing.assert_allclose(got["volume.corwin_schultz_24"].to_numpy()[30:], expected[30:], rtol=1e-9, atol=1e-12)


def test_calendar_is_the_calendar_at_the_close(bars: pd.DataFrame, got: pd.DataFrame) -> None:
    close = bars.index + pd.Timedelta("1h")
    hour = close.hour + close.minute / 60
    week = close.day_of_week + hour / 24
    expected = {
        "hour_sin": np.sin(2 * np.pi * hour / 24),
        "hour_cos": np.cos(2 * np.pi * hour / 24),
        "week_sin": np.sin(2 * np.pi * week / 7),
        "week_cos": np.cos(2 * np.pi * week / 7),
        "weekend": (close.day_of_week >= 5) * 1.0,
        "asia": (hour < 8) * 1.0,
        "europe": ((hour >= 7) & (hour < 16)) * 1.0,
        "america": ((hour >= 13) & (hour < 22)) * 1.0,
    }
    for name, values in expected.items():
        np.testing.assert_allclose(got[f"calendar.{name}"], values, atol=1e-12)


def higher_bars(bars: pd.DataFrame, step: str) -> pd.DataFrame:
    rules = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    first = bars.index[0].ceil(step)
    return bars[bars.index >= first].groupby(bars.index[bars.index >= first].floor(step)).agg(rules)


def test_a_higher_timeframe_is_the_same_feature_of_the_higher_bars(bars: pd.DataFrame, got: pd.DataFrame) -> None:
    high = higher_bars(bars, "4h")
    own = FeatureOrchestrator(FeatureConfig(timeframes=())).compute(high)
    for name in [c for c in got.columns if c.endswith("@4h")]:
        plain = name.removesuffix("@4h")
        last = bars.index[-1]
        seen = [(t, v) for t, v in own[plain].items() if t + pd.Timedelta("3h") <= last][400:]
        there = got[name].reindex([t + pd.Timedelta("3h") for t, _ in seen]).to_numpy()
        expected = np.array([v for _, v in seen])
        np.testing.assert_allclose(there, expected, rtol=2e-6, atol=1e-8, err_msg=name)


def test_meta_success_counts_matured_outcomes_only(bars: pd.DataFrame, got: pd.DataFrame) -> None:
    x = np.log(bars.close.to_numpy())
    for name in DETECTORS:
        signal = got[f"meta.{name}"].to_numpy()
        rate = got[f"meta.{name}_success_12_512"].to_numpy()
        for i in range(900, len(x), 613):
            judged = [j for j in range(i - 511 - 12, i + 1 - 12) if signal[j] != 0 and not np.isnan(signal[j])]
            right = sum(signal[j] * (x[j + 12] - x[j]) > 0 for j in judged)
            assert rate[i] == (right + 1) / (len(judged) + 2)


def test_detectors_fire_by_their_rules(bars: pd.DataFrame, got: pd.DataFrame) -> None:
    top, bottom = bars.high.rolling(20).max().shift(), bars.low.rolling(20).min().shift()
    c = bars.close
    fired = {
        "breakout": np.where(c > top, 1.0, np.where(c < bottom, -1.0, 0.0)),
        "failed_breakout": np.where(
            (bars.high > top) & (c < top), -1.0, np.where((bars.low < bottom) & (c > bottom), 1.0, 0.0)
        ),
        "reversion": -np.sign(got["trend.bollinger_z_20"]) * (got["trend.bollinger_z_20"].abs() > 2),
        "exhaustion": np.where(
            (got["momentum.rsi_14"] > 0.7) & (got["returns.scaled_8"] > 2),
            -1.0,
            np.where((got["momentum.rsi_14"] < 0.3) & (got["returns.scaled_8"] < -2), 1.0, 0.0),
        ),
        "continuation": np.where(
            (got["trend.adx_14"] > 0.25) & (got["trend.ema_distance_50"] * got["trend.ema_distance_12"] > 0),
            np.sign(got["trend.ema_distance_50"]),
            0.0,
        ),
        "climax": np.where(
            (got["volume.z_48"] > 2) & ((c - bars.open).abs() > got["volatility.atr_14"] * c),
            -np.sign(c - bars.open),
            0.0,
        ),
    }
    width = got["trend.bollinger_width_20"]
    squeezed = (width / width.rolling(100).mean()).shift() < 0.8
    body = c - bars.open
    fired["expansion"] = np.where(squeezed & (body.abs() > got["volatility.atr_14"] * c), np.sign(body), 0.0)
    slow, fast, rsi = got["trend.ema_distance_50"], got["trend.ema_distance_12"], got["momentum.rsi_14"]
    up, down = (slow > 1) & (fast < 0) & (rsi < 0.5), (slow < -1) & (fast > 0) & (rsi > 0.5)
    fired["pullback"] = np.where(up, 1.0, np.where(down, -1.0, 0.0))
    assert sorted(fired) == sorted(DETECTORS)
    for name, sides in fired.items():
        mine = np.sign(got[f"meta.{name}"].to_numpy()[200:])
        assert (mine == np.asarray(sides)[200:]).mean() > 0.9999, name
        assert (mine != 0).sum() > 20, name


def test_a_close_on_the_band_is_not_outside_of_it() -> None:
    """Four of twenty closes one tick above the others lie exactly two deviations above the mean, but for rounding."""
    rng = np.random.default_rng(4)
    close = np.full(600, 100.0)
    for begin in range(20, 580, 24):
        close[begin : begin + 4] = 100.0 + rng.integers(1, 50) / 100
    index = pd.date_range("2024-01-01", periods=close.size, freq="1h", tz="UTC", unit="ns", name="open_time")
    bars = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), close), index).assign(volume=1.0)
    got = FeatureOrchestrator().compute(bars)
    last = np.arange(20 + 24, 580, 24) + 3
    np.testing.assert_allclose(got["trend.bollinger_z_20"].iloc[last], 2.0, rtol=1e-9)
    assert (got["meta.reversion"].iloc[last] == 0.0).all()
    assert (got["meta.reversion"].iloc[last - 2] < 0.0).all()  # two of twenty lie three deviations above


def restarts(bars: pd.DataFrame, memory: int) -> tuple[int, int, int]:
    """Where the engine begins a recursion afresh, takes it over, and takes the next one over, as row positions."""
    numbers = bars.index.as_unit("ns").asi8 // 3_600_000_000_000
    lead = memory + 2
    shift = (lead - 1).bit_length()
    begun = np.flatnonzero(np.diff((numbers + lead) >> shift)) + 1
    taken = np.flatnonzero(np.diff(numbers >> shift)) + 1
    end = int(taken[taken > begun[0]][0])
    following = taken[taken > end]
    return int(begun[0]), end, int(following[0]) if following.size else len(bars)


def test_volume_profile_by_plain_python(bars: pd.DataFrame, got: pd.DataFrame) -> None:
    h, low, c, v = (bars[x].to_numpy() for x in ("high", "low", "close", "volume"))
    atr = got["volatility.atr_14"].to_numpy() * c
    begun, end, until = restarts(bars, 1024)
    width = 2.0 ** np.floor(np.log2(0.5 * atr[begun] / c[begun]))
    grow = 2 ** (1 / 128)
    cells: dict[int, tuple[int, float]] = {}  # cell to its bin and sum
    for i in range(begun, min(until, end + 400)):
        weight = grow ** (i - begun + 1)
        bins = range(int(np.floor(np.log(low[i]) / width)), int(np.floor(np.log(h[i]) / width)) + 1)
        for b in bins:
            old, total = cells.get(b % 64, (b, 0.0))
            cells[b % 64] = (b, (total if old == b else 0.0) + v[i] * weight / len(bins))
        if i < end or (i - end) % 23:
            continue
        here = np.floor(np.log(c[i]) / width)
        whole = sum(x for _, x in cells.values())
        fullest = max(cells.values(), key=lambda cell: cell[1])[0]
        above = sum(x for b, x in cells.values() if b > here) / whole
        inside = sum(x for b, x in cells.values() if b == here) / whole
        assert got["levels.volume_above_128"].iloc[i] == pytest.approx(above, rel=1e-9, abs=1e-12)
        assert got["levels.volume_here_128"].iloc[i] == pytest.approx(inside, rel=1e-9, abs=1e-12)
        middle = np.exp((fullest + 0.5) * width)
        assert got["levels.poc_distance_128"].iloc[i] == pytest.approx((middle - c[i]) / atr[i], rel=1e-9)


def test_levels_by_plain_python(bars: pd.DataFrame, got: pd.DataFrame) -> None:
    """Pivots, gathered by hand from where the engine last began afresh."""
    h, low, c = (bars[x].to_numpy() for x in ("high", "low", "close"))
    atr = got["volatility.atr_14"].to_numpy() * c
    begun, end, following = restarts(bars, 1024)
    until = min(end + 900, following)
    levels: list[list[float]] = []  # price, strength, touches, weight at the last touch
    grow = 2 ** (1 / 256)
    for i in range(begun, until):
        w, p = grow ** (i - begun + 1), i - 5
        around = [j for j in range(p - 5, p + 6) if j != p]
        peak = all(h[j] < h[p] if j < p else h[j] <= h[p] for j in around)
        trough = all(low[j] > low[p] if j < p else low[j] >= low[p] for j in around)
        for is_pivot, price in ((peak, h[p]), (trough, low[p])):
            if not is_pivot:
                continue
            near = [v for v in levels if abs(v[0] - price) <= 0.5 * atr[i]]
            if near:
                v = min(near, key=lambda v: abs(v[0] - price))
                v[1] += w
                v[0] += (price - v[0]) * (w / v[1])
                v[2:] = [v[2] + 1, w]
            elif len(levels) < 12:
                levels.append([price, w, 1.0, w])
            else:
                v = min(levels, key=lambda v: v[1])
                v[:] = [price, w, 1.0, w]
        if i < end or (i - end) % 37:
            continue
        above = min((v for v in levels if v[0] >= c[i]), key=lambda v: v[0], default=None)
        below = max((v for v in levels if v[0] < c[i]), key=lambda v: v[0], default=None)
        for side, v, none in (("resistance", above, 10.0), ("support", below, -10.0)):
            gap = (v[0] - c[i]) / atr[i] if v else none
            far = v is None or abs(gap) > 10
            distance = got[f"levels.{side}_distance_5_256"].iloc[i]
            assert distance == pytest.approx(none if far else gap, rel=1e-7, abs=1e-9)
            touches = 0.0 if far or v is None else v[2]
            assert got[f"levels.{side}_touches_5_256"].iloc[i] == touches
            strength = 0.0 if far or v is None else v[1] / w
            assert got[f"levels.{side}_strength_5_256"].iloc[i] == pytest.approx(strength, rel=1e-9)
            fresh = 0.0 if far or v is None else v[3] / w
            assert got[f"levels.{side}_freshness_5_256"].iloc[i] == pytest.approx(fresh, rel=1e-9)


def test_a_pivot_is_not_known_before_its_confirmation() -> None:
    n = 400
    rng = np.random.default_rng(3)
    c = 100 + np.cumsum(rng.normal(0, 0.05, n))
    c[300] += 4.0  # one spike
    index = pd.date_range("2024-01-01", periods=n, freq="1h", tz="UTC", unit="ns")
    frame = pd.DataFrame({"open": c, "high": c + 0.05, "low": c - 0.05, "close": c, "volume": 1.0}, index=index)
    got = FeatureOrchestrator(FeatureConfig(groups=("levels",), timeframes=())).compute(frame)
    distance = got["levels.resistance_distance_5_256"]
    spike = frame.high.iloc[300]
    true_range = np.maximum(frame.high, frame.close.shift()) - np.minimum(frame.low, frame.close.shift())
    atr = true_range.iloc[1:].ewm(alpha=1 / 14, adjust=False).mean()
    level = frame.close + distance * atr.reindex(index)
    assert not (abs(level.iloc[301:305] - spike) < 0.2).any()
    strengths = got["levels.resistance_strength_5_256"].iloc[305:310]
    assert np.isfinite(strengths).all()


def test_given_levels_are_honoured(bars: pd.DataFrame, got: pd.DataFrame) -> None:
    levels = [2500.0, 3000.0, 3500.0]
    own = FeatureOrchestrator(FeatureConfig(groups=("levels",))).compute(bars, sr_levels=levels)
    c, atr = bars.close.to_numpy(), (got["volatility.atr_14"] * bars.close).to_numpy()
    for i in range(100, len(c), 371):
        gaps = [(v - c[i]) / atr[i] for v in levels]
        above = min([g for g in gaps if 0 <= g <= 10], default=10.0)
        below = max([g for g in gaps if -10 <= g < 0], default=-10.0)
        assert own["levels.given_above"].iloc[i] == pytest.approx(above, rel=1e-12)
        assert own["levels.given_below"].iloc[i] == pytest.approx(below, rel=1e-12)


def test_given_levels_must_be_prices(bars: pd.DataFrame) -> None:
    with pytest.raises(InvalidInput, match="positive"):
        FeatureOrchestrator().compute(bars.iloc[:50], sr_levels=[2500.0, -1.0])


def test_volume_profile_shares(got: pd.DataFrame) -> None:
    above, here = got["levels.volume_above_128"].iloc[WARM:], got["levels.volume_here_128"].iloc[WARM:]
    assert ((above >= 0) & (above <= 1) & (here >= 0) & (here <= 1) & (above + here <= 1 + 1e-12)).all()
    high = got["levels.poc_distance_128"].iloc[WARM:]
    assert np.corrcoef(high, above)[0, 1] > 0.5  # much volume above means that the fullest price is above
