"""Where a scheduled model comes from: a key of the bars and settings behind it, by which it is found again."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from attrs import asdict, evolve, frozen
from numpy.typing import NDArray

from ares.models.registry import Loaded, Registry, TrainingRecord
from ares.storage import sha256_bytes
from ares.training.cuts import ScheduleConfig

__all__ = ["Origin", "find"]

_NOTE = "retraining"  # in the notes of a model's record


@frozen(kw_only=True, eq=False, slots=False)
class Origin:
    """What the models of one schedule are made of."""

    frame: pd.DataFrame  # klines from the history's beginning
    funding: pd.Series[float] | None  # settled rates by time; None: the assumed one
    plan: ScheduleConfig
    record: TrainingRecord  # of any of them: features, settings, estimators, trials

    @cached_property
    def opened(self) -> NDArray[np.int64]:
        """Open times of the bars, ns."""
        index = pd.DatetimeIndex(self.frame.index)
        return np.asarray(index.as_unit("ns").asi8, dtype=np.int64)

    def key(self, number: int) -> str:
        """A digest of everything that decides what the model of cut `number` is, and of nothing after the cut."""
        bars = self.plan.bars_at(number)
        head = self.frame.iloc[:bars].select_dtypes("number")
        digests = {str(name): sha256_bytes(head[name].to_numpy(dtype="<f8").tobytes()) for name in head.columns}
        times = self.opened[:bars].astype("<i8").tobytes()
        return sha256_bytes(
            json.dumps(
                {
                    "number": number,
                    "schedule": asdict(self.plan),
                    "fingerprint": self.record.fingerprint,
                    "parameters": self.record.parameters,
                    "trials": self.record.trials,
                    "bars": {**digests, "open_time": sha256_bytes(times)},
                    "funding": self._rates(int(self.opened[bars - 1])),
                },
                sort_keys=True,
            ).encode()
        )

    def signed(self, record: TrainingRecord, number: int) -> TrainingRecord:
        """The record with the key in it."""
        note: dict[str, Any] = {"key": self.key(number), "cut": number}
        return evolve(record, notes={**record.notes, _NOTE: note})

    def _rates(self, until_ns: int) -> str | None:
        """Digest of the rates that settled up to the last bar."""
        if self.funding is None:
            return None
        times = pd.DatetimeIndex(self.funding.index).as_unit("ns").asi8
        known = times <= until_ns
        rates = self.funding.to_numpy(dtype="<f8")[known]
        return sha256_bytes(times[known].astype("<i8").tobytes() + rates.tobytes())


def find(store: Registry, key: str) -> Loaded | None:
    """The model with this key; None: it was not made yet. Raises ModelError when the store is damaged."""
    if not store.root.is_dir():
        return None
    for manifest in store.manifests():
        note = manifest.record.notes.get(_NOTE)
        if isinstance(note, dict) and note.get("key") == key:
            return store.load(manifest.model_id, fingerprint=manifest.record.fingerprint)
    return None
