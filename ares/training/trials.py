"""The ledger of everything that was tried: append-only, so that a report can discount the best of many.

Each row carries the digest of the row before it. The ledger lives in memory unless it is given a path.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from attrs import frozen
from numpy.typing import NDArray

from ares.errors import DataError, InvalidInput
from ares.storage import sha256_bytes, sqlite_tables, write_ahead

__all__ = ["TrialLedger", "TrialSummary", "effective_trials", "family_of", "session_ledger"]

Floats = NDArray[np.float64]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS trials (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    recorded_ns INTEGER NOT NULL,
    family TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    parameters TEXT NOT NULL,
    metrics TEXT NOT NULL,
    times BLOB,
    returns BLOB,
    digest TEXT NOT NULL
) STRICT;
CREATE TRIGGER IF NOT EXISTS trials_keep_their_values BEFORE UPDATE ON trials
BEGIN SELECT RAISE(ABORT, 'the trial ledger is append-only'); END;
CREATE TRIGGER IF NOT EXISTS trials_stay BEFORE DELETE ON trials
BEGIN SELECT RAISE(ABORT, 'the trial ledger is append-only'); END;
"""
_COLUMNS = ("recorded_ns", "family", "kind", "name", "parameters", "metrics", "times", "returns")
_LEAST_SHARED = 30  # periods that trials must have in common before their returns can be called alike


def family_of(symbols: Sequence[str], interval: str, *, made_up: bool = False) -> str:
    """The family of everything tried on one market: trainings, backtests and paper sessions count together.

    made_up: the market was not recorded but invented, such as the built-in one. What is tried there chooses nothing
    among what was tried on a real market of that name, and is a family of its own.
    """
    return f"{','.join(symbols)} {interval}{' made up' if made_up else ''}"


@frozen(kw_only=True, eq=False)
class TrialSummary:
    """What a report needs to discount a Sharpe ratio: how many tries, how many really different, how far apart."""

    count: int  # all trials of the family
    kinds: Mapping[str, int]  # the same by kind, such as backtest and train
    effective: int  # groups of trials whose returns move together; what cannot be compared is different
    sharpe: Floats  # (trials with returns,) per period, not annualised
    sharpe_variance: float  # across those trials; NaN with fewer than two
    period_ns: int | None  # length of the period; None when no trial has returns

    def variance_per(self, period_ns: int) -> float:
        """`sharpe_variance` for another length of period: a Sharpe ratio grows with the root of time. NaN likewise."""
        return self.sharpe_variance * period_ns / self.period_ns if self.period_ns else float("nan")

    def apart(self, period_ns: int, periods: int) -> float:
        """The variance of Sharpe ratios that one over so many periods is deflated by: 0 for the only trial.

        Where fewer than two trials have returns to tell it, it is that of luck alone over as many periods.
        """
        if self.effective < 2:
            return 0.0
        seen = self.variance_per(period_ns)
        return 1.0 / max(periods - 1, 1) if np.isnan(seen) else seen


class TrialLedger:
    """Every training and backtest run, in the order they were made.

    path: an SQLite file, made when absent; None: memory.
    Raises: DataError when the file is no ledger, InvalidInput when it cannot be opened.
    """

    def __init__(self, path: Path | str | None = None) -> None:
        if path is not None:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            _refuse_foreign(Path(path))
        self._path = path
        try:
            self._connection = sqlite3.connect(":memory:" if path is None else path, timeout=30.0, isolation_level=None)
        except sqlite3.OperationalError as error:
            raise self._unusable("opened", error) from error
        try:
            if path is not None:
                write_ahead(self._connection)
            self._connection.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            self._connection.close()
            if isinstance(error, sqlite3.OperationalError):
                raise self._unusable("opened", error) from error
            raise DataError(f"{path} is no trial ledger: {error}", path=str(path)) from error

    def __enter__(self) -> TrialLedger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the file back; a ledger in memory is gone."""
        self._connection.close()

    def __len__(self) -> int:
        return int(self._connection.execute("SELECT COUNT(*) FROM trials").fetchone()[0])

    def record(
        self,
        *,
        kind: str,
        name: str,
        recorded_ns: int,
        parameters: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        returns: pd.Series | None = None,
        family: str = "default",
    ) -> int:
        """Append one trial; returns its number.

        kind: such as train, backtest, paper or sweep. recorded_ns: the caller's clock.
        parameters: JSON values that tell it apart.
        metrics: finite numbers. returns: per period, fractions, indexed by time; None: not known.
        family: trials that answer one question, such as a symbol and a strategy; only they are counted together.
        Raises: InvalidInput for values that cannot be written down, and when the file cannot be written.
        """
        try:
            told = json.dumps(dict(parameters or {}), sort_keys=True, allow_nan=False)
            scores = json.dumps({k: float(v) for k, v in (metrics or {}).items()}, sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InvalidInput(f"parameters must be JSON values and metrics finite numbers: {error}") from error
        times, values = _packed(returns)
        row = (int(recorded_ns), family, kind, name, told, scores, times, values)
        try:
            return self._append(row)
        except sqlite3.OperationalError as error:
            raise self._unusable("written", error) from error

    def _unusable(self, verb: str, error: sqlite3.OperationalError) -> InvalidInput:
        """The error for a file that the machine refuses; nothing of it was changed."""
        told = f"the trial ledger {self._path} cannot be {verb} ({error}): make room or name another place"
        return InvalidInput(told, path=str(self._path))

    def _append(self, row: tuple[Any, ...]) -> int:
        """One more row with the digest of all before it; its number."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            last = self._connection.execute("SELECT digest FROM trials ORDER BY number DESC LIMIT 1").fetchone()
            digest = _digest(last[0] if last else "", row)
            names = ", ".join(_COLUMNS)
            statement = f"INSERT INTO trials ({names}, digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
            number = self._connection.execute(statement, (*row, digest)).lastrowid
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # a full disk has ended it already
                self._connection.execute("ROLLBACK")
            raise
        return int(number or 0)

    def verify(self) -> None:
        """Raises: DataError at the first row that was altered, or after which one is missing."""
        previous, expected = "", 1
        names = ", ".join(_COLUMNS)
        for number, digest, *row in self._connection.execute(
            f"SELECT number, digest, {names} FROM trials ORDER BY number"  # noqa: S608
        ):
            if number != expected or digest != _digest(previous, tuple(row)):
                raise DataError(f"trial {number} was altered or the one before it is missing", row=number)
            previous, expected = digest, number + 1
        made = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'trials'").fetchone()
        if made is not None and made[0] != expected - 1:
            raise DataError(f"the last {made[0] - expected + 1} trials are missing", row=expected)

    def trials(self, family: str | None = None) -> pd.DataFrame:
        """One row a trial, indexed by number: recorded, family, kind, name, parameters and metrics (dicts), periods."""
        rows = [
            (number, recorded, fam, kind, name, json.loads(told), json.loads(scores), len(times or b"") // 8)
            for number, recorded, fam, kind, name, told, scores, times, _ in self._rows(family)
        ]
        columns = ["number", "recorded", "family", "kind", "name", "parameters", "metrics", "periods"]
        table = pd.DataFrame(rows, columns=columns).set_index("number")
        table["recorded"] = pd.to_datetime(table["recorded"], unit="ns", utc=True)
        return table

    def returns(self, family: str | None = None, period_ns: int | None = None) -> pd.DataFrame:
        """Returns of the trials that have them, (periods, trials), columns by number; only periods that all share.

        period_ns: only of trials whose periods are so long; None: of all.
        """
        series = {
            number: pd.Series(
                np.frombuffer(values, dtype="<f8"),
                index=pd.to_datetime(np.frombuffer(times, dtype="<i8"), unit="ns", utc=True),
            )
            for number, *_, times, values in self._rows(family)
            if times is not None and (period_ns is None or _period(times) == period_ns)
        }
        return pd.concat(series, axis=1, join="inner") if series else pd.DataFrame()

    def summary(self, family: str | None = None, *, alike: float = 0.5) -> TrialSummary:
        """Counts and spread for the deflated Sharpe ratio. `alike`: correlation from which trials count as one."""
        steps: list[int] = []
        sharpe: list[float] = []
        kinds: Counter[str] = Counter()
        for _, _, _, kind, *_, times, values in self._rows(family):
            kinds[kind] += 1
            period = _period(times)
            if period is None:
                continue
            moved = np.frombuffer(values, dtype="<f8")
            spread = float(moved.std(ddof=1))
            steps.append(period)
            sharpe.append(float(moved.mean()) / spread if spread > 0 else 0.0)
        period = int(np.median(steps)) if steps else None
        scaled = (
            np.array([s * np.sqrt(period / step) for s, step in zip(sharpe, steps, strict=True)])
            if period
            else np.empty(0)
        )
        effective = kinds.total() - len(steps)
        for each in set(steps):
            together = self.returns(family, each)
            comparable = len(together) >= _LEAST_SHARED
            effective += effective_trials(together.to_numpy(), alike=alike) if comparable else together.shape[1]
        return TrialSummary(
            count=kinds.total(),
            kinds=dict(kinds),
            effective=effective,
            sharpe=scaled,
            sharpe_variance=float(scaled.var(ddof=1)) if scaled.size > 1 else float("nan"),
            period_ns=period,
        )

    def _rows(self, family: str | None) -> list[tuple[Any, ...]]:
        names = ", ".join(_COLUMNS)
        where, given = ("", ()) if family is None else ("WHERE family = ?", (family,))
        statement = f"SELECT number, {names} FROM trials {where} ORDER BY number"  # noqa: S608
        return self._connection.execute(statement, given).fetchall()


def _refuse_foreign(path: Path) -> None:
    """Raises: DataError for a file that is no ledger, before a byte of it is written."""
    try:
        found = sqlite_tables(path)
    except sqlite3.DatabaseError as error:
        raise DataError(f"{path} is no trial ledger: {error}", path=str(path)) from error
    if found and found.get("trials") != ("number", *_COLUMNS, "digest"):
        raise DataError(f"{path} is no trial ledger: it holds {', '.join(found)}", path=str(path))


@cache
def session_ledger() -> TrialLedger:
    """The ledger in memory that this process shares when none is named."""
    return TrialLedger()


def effective_trials(returns: Floats, *, alike: float = 0.5) -> int:
    """How many really different trials there are: groups by average linkage of the correlation of returns.

    returns: (periods, trials). alike: groups whose mean correlation reaches this are one. Trials that never move are
    one group.
    Source: Lopez de Prado and Lewis 2019, with a fixed threshold in place of their search.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    if not 0.0 < alike <= 1.0:
        raise InvalidInput(f"alike must lie in (0, 1], not {alike}", alike=alike)
    moving = returns.std(axis=0) > 0 if returns.shape[0] > 1 else np.zeros(returns.shape[1], dtype=bool)
    still = 0 if moving.all() else 1
    if moving.sum() < 2:
        return int(moving.sum()) + still
    correlation = np.corrcoef(returns[:, moving], rowvar=False)
    apart = np.clip(1.0 - correlation, 0.0, 2.0)
    np.fill_diagonal(apart, 0.0)
    groups = fcluster(linkage(squareform(apart, checks=False), "average"), 1.0 - alike + 1e-12, "distance")
    return int(groups.max()) + still


def _period(times: bytes | None) -> int | None:
    """Length of the periods that end at these times, ns; None with fewer than two."""
    if times is None or len(times) < 16:
        return None
    return int(np.median(np.diff(np.frombuffer(times, dtype="<i8"))))


def _packed(returns: pd.Series | None) -> tuple[bytes | None, bytes | None]:
    if returns is None:
        return None, None
    if not isinstance(returns.index, pd.DatetimeIndex) or not returns.index.is_monotonic_increasing:
        raise InvalidInput("returns need an increasing DatetimeIndex")
    values = returns.to_numpy(dtype=np.float64)
    if not np.isfinite(values).all():
        raise InvalidInput("returns must be finite; a period without a position returned 0")
    times = np.asarray(returns.index.as_unit("ns").asi8)
    return times.astype("<i8").tobytes(), values.astype("<f8").tobytes()


def _digest(previous: str, row: tuple[Any, ...]) -> str:
    parts = [value.hex() if isinstance(value, bytes) else value for value in row]
    return sha256_bytes(json.dumps([previous, *parts]).encode())
