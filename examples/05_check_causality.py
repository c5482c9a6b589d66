"""Catch features that know the future: three mistakes found in many notebooks, and the same ideas done honestly.

`check_causality` computes a function on prefixes of the data, on data whose future was changed, and on data that begin
later, and compares the rows bit for bit.
"""

import numpy as np
import pandas as pd
import pywt

from ares import FeatureOrchestrator, Tape, check_causality

klines = Tape.synthetic("ETHUSDT", "1h", bars=1_500, seed=3).frame()


def denoised(frame: pd.DataFrame) -> pd.Series:
    """Decompose the whole series, drop the finest details, put it together again: smoothed with future bars."""
    parts = pywt.wavedec(frame["close"].to_numpy(copy=True), "db4", level=4)
    parts[-1][:] = 0.0
    parts[-2][:] = 0.0
    return pd.Series(pywt.waverec(parts, "db4")[: len(frame)], frame.index, name="denoised")


def filled_back(frame: pd.DataFrame) -> pd.Series:
    """A filter that is NaN most of the time, with its holes filled from later bars."""
    quiet = frame["close"].where(frame["volume"] > frame["volume"].rolling(24).mean())
    return quiet.bfill().rename("filled_back")


def unclosed_bar(frame: pd.DataFrame) -> pd.Series:
    """The four-hour close joined on its opening time: seen up to three hours before it has happened."""
    higher = frame["close"].resample("4h").last()
    return higher.reindex(frame.index, method="ffill").rename("unclosed_bar")


def closed_bar(frame: pd.DataFrame) -> pd.Series:
    """The four-hour close from the bar that ends with it on; the last hour of a four-hour bar is the first to know."""
    higher = frame["close"].resample("4h").last()
    higher.index = higher.index + pd.Timedelta("3h")
    return higher.reindex(frame.index, method="ffill").rename("closed_bar")


def momentum(frame: pd.DataFrame) -> pd.Series:
    """A plain trailing return forgets everything older than a day, and says so with `settle`."""
    return np.log(frame["close"]).diff(24).rename("momentum")


for leaky in (denoised, filled_back, unclosed_bar):
    report = check_causality(leaky, klines)
    print(report, end="\n\n")
    assert not report.passed

for honest, settle in ((closed_bar, 4), (momentum, 24)):
    report = check_causality(honest, klines, settle=settle)
    print(report)
    report.raise_for_leaks()

print(check_causality(FeatureOrchestrator(), klines))
