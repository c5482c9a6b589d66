"""Five years of real hours, walked forward: what calibration does and how much skill there is, good or bad."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from ares.training.calibration import fit_calibrator
from ares.training.labels import BarrierConfig, bar_volatility, triple_barrier
from ares.training.out_of_fold import OutOfFold, out_of_fold
from ares.training.reliability import Interval, brier, log_loss, reliability
from ares.training.splits import WalkForward

HOURS_A_YEAR = 24 * 365
HORIZON = 24


def features(klines: pd.DataFrame) -> pd.DataFrame:
    """Returns, ranges and volume against their own past; nothing later than the row."""
    r = np.log(klines["close"]).diff()
    sigma = pd.Series(bar_volatility(klines), index=klines.index)
    volume = np.log1p(klines["volume"])
    found = {f"return_{w}": r.rolling(w).sum() / (sigma * w**0.5) for w in (1, 4, 12, 24, 72, 168)}
    found |= {f"range_{w}": np.log(klines["high"] / klines["low"]).rolling(w).mean() / sigma for w in (4, 24)}
    found |= {f"volume_{w}": (volume - volume.rolling(w).mean()) / volume.rolling(w).std() for w in (24, 168)}
    return pd.DataFrame({**found, "volatility": sigma / sigma.rolling(720).mean()})


def shown(told: Interval) -> str:
    return f"{told.value:+.4f} [{told.low:+.4f}, {told.high:+.4f}]"


@pytest.mark.parametrize("symbol", ["ETHUSDT", "BTCUSDT"])
# type: ignore[no-untyped-def]
def test_calibration_on_real_hours(symbol: str, real_data: Path, record_property) -> None:
    klines = pd.read_parquet(real_data / "market" / f"um_{symbol}_1h.parquet").set_index("open_time").iloc[2000:]
    labels = triple_barrier(klines, np.arange(900, len(klines), 4), config=BarrierConfig(horizon=HORIZON))
    labels = labels.take(labels.barrier != 0)
    X, y = features(klines).to_numpy()[labels.event], (labels.barrier == 1).astype(int)
    year = round(HOURS_A_YEAR / (labels.t0[-1] - labels.t0[0]) * 3600e9 * len(y))
    splitter = WalkForward(t1=labels.t1, t0=labels.t0, train=year, test=year // 2)
    model = HistGradientBoostingClassifier(
        max_iter=60, max_leaf_nodes=15, min_samples_leaf=60, max_bins=31, random_state=0
    )
    with threadpool_limits(1):
        found = out_of_fold(model, X, y, splitter, sample_weight=labels.uniqueness())
    assert found.strictly_before

    calibrated, base, raw, outcome, weight = [], [], [], [], []
    for fold in range(1, int(found.fold.max()) + 1):  # each half-year is judged by a calibrator of those before it
        now = found.fold == fold
        known = found.tested & (found.fold < fold) & (labels.t1 < labels.t0[now].min())
        earlier = OutOfFold(
            proba=np.where(known[:, None], found.proba, np.nan),
            fold=np.where(known, found.fold, -1),
            classes=found.classes,
            strictly_before=True,
        )
        fitted = fit_calibrator(earlier, y, method="sigmoid", sample_weight=labels.uniqueness())
        calibrated.append(fitted.apply(found.proba[now])[:, 1])
        raw.append(found.proba[now, 1])
        base.append(np.full(now.sum(), y[known].mean()))
        outcome.append(y[now])
        weight.append(labels.uniqueness()[now])
    p, q, b, z, w = map(np.concatenate, (calibrated, raw, base, outcome, weight))

    after = reliability(p, z, w, block=HORIZON, resamples=120)
    before = reliability(q, z, w, block=HORIZON, resamples=120)
    years = len(z) / year
    for name, told in (("raw", before), ("calibrated", after)):
        line = (
            f"{symbol} {name}: {told.n} bets in {years:.1f} years, base rate {told.base_rate:.3f}, "
            f"ECE {shown(told.calibration_error)}, "
            f"Brier skill {shown(told.brier_skill)}, "
            f"AUC {shown(told.auc)}"
        )
        record_property(f"{symbol}_{name}", line)
        print(line)
    assert years >= 3
    assert after.calibration_error.value < before.calibration_error.value
    assert after.calibration_error.value < 0.04
    assert brier(p, z, w) < brier(q, z, w)
    # there may be no skill in these bars, but calibrated chances must not lose to the base rate by more than a hair
    assert log_loss(p, z, w) < log_loss(b, z, w) + 0.003
    assert np.abs(p - 0.5).max() < 0.35, "nobody knows hours of this market that well"
