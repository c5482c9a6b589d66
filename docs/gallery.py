"""Draws `docs/features/wavelets_week.png`: the wavelet features over a recorded week.

    python docs/gallery.py FOLDER      FOLDER holds um_ETHUSDT_15m.parquet: quarter-hour klines, column `open_time`

Needs matplotlib. The week is that of 5 August 2024, when ether lost a quarter of its price in hours.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import pandas as pd

from ares.features.config import FeatureConfig, WaveletConfig
from ares.features.orchestrator import FeatureOrchestrator

mpl.use("Agg")
import matplotlib.dates as mdates
import matplotlib.pyplot as plt

BEGIN, END = pd.Timestamp("2024-08-02", tz="UTC"), pd.Timestamp("2024-08-09", tz="UTC")
HISTORY = pd.Timedelta(days=40)  # more than the features' settle
LEVELS = 5
BLUES = ("#08306b", "#2171b5", "#4eb3d3", "#a8ddb5", "#fee391", "#fe9929")
OUT = Path(__file__).resolve().parent / "features" / "wavelets_week.png"


def features(klines: pd.DataFrame) -> pd.DataFrame:
    """The wavelet features over a day's window, Haar, five levels."""
    wavelets = WaveletConfig(families=("haar",), levels=LEVELS, window=96)
    config = FeatureConfig(groups=("wavelet",), wavelets=wavelets, timeframes=())
    got = FeatureOrchestrator(config).compute(klines)
    got.columns = [name.removeprefix("wavelet.haar_") for name in got.columns]
    return got


def draw(close: pd.Series, got: pd.DataFrame) -> None:
    plt.rcParams.update({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False})
    figure, rows = plt.subplots(4, 1, figsize=(8.2, 7.2), sharex=True, height_ratios=(2, 3, 2, 2), layout="constrained")
    price, shares, order, slope = rows
    price.plot(close.index, close, color="black", lw=0.9)
    price.set_title("ETHUSDT perpetual, 15 minutes", loc="left", fontweight="bold")
    price.set_ylabel("USDT")

    bands = [got[f"energy_{j}"] for j in range(1, LEVELS + 1)] + [got["smooth_energy"]]
    hours = [2**j * 0.25 for j in range(1, LEVELS + 1)]
    labels = [f"{h:g} to {2 * h:g} h" for h in hours] + ["slower"]
    shares.stackplot(got.index, bands, labels=labels, colors=BLUES, lw=0)
    shares.set_ylim(0, 1)
    shares.set_title("Shares of energy, by the length of the swings", loc="left")
    handles, names = shares.get_legend_handles_labels()
    shares.legend(handles[::-1], names[::-1], loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)

    order.plot(got.index, got["entropy"], color=BLUES[0], lw=1, label="entropy")
    order.plot(got.index, got["hurst"], color=BLUES[5], lw=1, label="Hurst")
    order.axhline(0.5, color="grey", lw=0.6, ls=":")
    order.set_title("How evenly energy is spread, and how it grows with scale (0.5: a random walk)", loc="left")
    order.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)

    slope.fill_between(got.index, got["slope"].clip(lower=0), color="#2171b5", lw=0)
    slope.fill_between(got.index, got["slope"].clip(upper=0), color="#cb181d", lw=0)
    slope.axhline(0.0, color="grey", lw=0.6)
    slope.set_title("Smoothed return per bar, in one-bar volatilities", loc="left")
    slope.xaxis.set_major_locator(mdates.DayLocator())
    slope.xaxis.set_major_formatter(mdates.DateFormatter("%d %b"))
    slope.set_xlim(BEGIN, END)
    figure.savefig(OUT, dpi=110, metadata={"Software": None})


def main() -> None:
    klines = pd.read_parquet(Path(sys.argv[1]) / "um_ETHUSDT_15m.parquet").set_index("open_time")
    klines.index = pd.DatetimeIndex(klines.index).as_unit("ns")
    got = features(klines.loc[BEGIN - HISTORY : END])
    draw(klines["close"].loc[BEGIN:END], got.loc[BEGIN:END])


if __name__ == "__main__":
    main()
