"""Computed features kept between runs: Parquet segments that grow at the end, checked by content.

An entry belongs to one fingerprint and one beginning of the data. It holds the features of the first n bars, the
digest of those bars' input columns and the engine's state after them, so that new bars are computed from there on and
appended: the same bits as computing everything. Anything that does not match is computed again: the manifest carries
a digest of itself and a checksum of every file. Of two histories that begin alike the longer is kept. An entry that
alone is larger than the bound is not kept, and a folder that cannot be used is warned about once and passed over.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

from ares.errors import InvalidInput, Retryable
from ares.features.plan import Engine, Plan
from ares.storage import FileLock, atomic_path, atomic_write, sha256_bytes, sha256_file

__all__ = ["Cached", "FeatureCache"]

Array = NDArray[np.float64]

_FORMAT = 2
_MANIFEST = "manifest.json"
_ENTRY_NAME = re.compile("[0-9a-f]{40}")  # of our folders; others are not ours to remove


@frozen(eq=False)
class Cached:
    """What an entry gave: rows already computed, and the engine as it stood after them."""

    rows: int
    engine: Engine


@define
class FeatureCache:
    """A folder of entries, bounded in size; safe for several processes, because files are replaced whole."""

    folder: Path
    max_bytes: int
    hits: int = field(default=0, init=False)  # reads that found at least some rows
    misses: int = field(default=0, init=False)
    extended: int = field(default=0, init=False)  # hits to which new bars were added
    damaged: int = field(default=0, init=False)  # entries that failed their checksum
    trouble: str | None = field(default=None, init=False)  # why nothing is kept; None: nothing is wrong

    def read(
        self, fingerprint: str, plan: Plan, inputs: Array, open_ns: NDArray[np.int64], out: Array
    ) -> Cached | None:
        """Fill the leading rows of `out` (features, n) from the entry, if there is a sound one for these bars.

        inputs: (columns, n). None when there is nothing to use; a damaged entry is warned about and removed, one that
        another process is changing is passed over.
        """
        asked = self._entry(fingerprint, inputs, open_ns), plan, inputs, open_ns, out
        try:
            found = self._read(*asked)
        except (OSError, ValueError, KeyError):
            found = self._read_again(*asked)
        if found is None:
            self.misses += 1
        else:
            self.hits += 1
            self.extended += found.rows < open_ns.size
        return found

    def _read_again(
        self, folder: Path, plan: Plan, inputs: Array, open_ns: NDArray[np.int64], out: Array
    ) -> Cached | None:
        """Read an entry while nobody may change it: what fails now is damaged, and is warned about and removed."""
        try:
            with self._lock(folder):
                try:
                    return self._read(folder, plan, inputs, open_ns, out)
                except (OSError, ValueError, KeyError) as error:
                    _remove(folder)
                    self.damaged += 1
                    lost = error.filename if isinstance(error, FileNotFoundError) else None
                    why = f"{Path(lost).name} is missing" if lost else str(error)
        except Retryable:
            return None  # another process is replacing or removing it
        except (OSError, InvalidInput) as error:
            self._give_up(error)
            return None
        text = f"feature cache entry {folder.name[:12]} is damaged and is computed again: {why}"
        warnings.warn(text, stacklevel=4)
        return None

    def write(
        self,
        fingerprint: str,
        inputs: Array,
        open_ns: NDArray[np.int64],
        out: Array,
        cached: int,
        engine: Engine,
        total: int | None = None,
    ) -> None:
        """Append rows [cached, n) of `out`, with the engine as it stands after them. Skipped while another writes.

        total: rows that the run will reach in the end; an entry with more is left as it is. None: n.
        """
        folder = self._entry(fingerprint, inputs, open_ns)
        try:
            with self._lock(folder):
                self._write(folder, inputs, open_ns, out, cached, engine, total or open_ns.size)
                self._shrink(newest=folder)
        except Retryable:
            return
        except FileNotFoundError as error:
            if not self.folder.exists():
                self._tell(f"the feature cache folder {self.folder} is gone, features are not kept: {error}")
            return  # another process has made room by removing what was being written
        except (OSError, InvalidInput) as error:
            self._give_up(error)

    def _lock(self, folder: Path) -> FileLock:
        """What a process holds while it changes an entry."""
        return FileLock(self.folder / f"{folder.name}.lock")

    def _give_up(self, error: Exception) -> None:
        self._tell(f"the feature cache in {self.folder} cannot be used, features are not kept: {error}")

    def _tell(self, why: str) -> None:
        if self.trouble is None:
            self.trouble = why
            warnings.warn(why, stacklevel=4)

    def _entry(self, fingerprint: str, inputs: Array, open_ns: NDArray[np.int64]) -> Path:
        head = min(64, open_ns.size)
        begin = np.ascontiguousarray(inputs[:, :head]).tobytes() + open_ns[:head].tobytes()
        return self.folder / sha256_bytes(fingerprint.encode() + begin)[:40]

    def _read(
        self, folder: Path, plan: Plan, inputs: Array, open_ns: NDArray[np.int64], out: Array
    ) -> Cached | None:
        import pyarrow.parquet as pq

        if not (folder / _MANIFEST).exists():
            return None
        manifest = _manifest(folder)
        if manifest is None:
            return None
        rows = int(manifest["rows"])
        if rows > open_ns.size or _digest(inputs, open_ns, rows) != manifest["inputs"]:
            return None
        for name, expected in manifest["files"].items():
            if sha256_file(folder / name) != expected:
                raise ValueError(f"checksum of {name} differs")
        at = 0
        for name in manifest["segments"]:
            table = pq.read_table(folder / name)
            if table.num_columns != out.shape[0]:
                raise ValueError(f"{name} has {table.num_columns} columns, not {out.shape[0]}")
            for j in range(out.shape[0]):
                out[j, at : at + table.num_rows] = table.column(j).to_numpy()
            at += table.num_rows
        if at != rows:
            raise ValueError(f"segments hold {at} rows, not {rows}")
        with np.load(folder / manifest["engine"], allow_pickle=False) as stored:
            engine = Engine(stored["memory"], plan.table, stored["state"], stored["inputs"])
        with contextlib.suppress(OSError):  # removed meanwhile, or somebody else's: its rows are read all the same
            os.utime(folder / _MANIFEST)  # recently used
        return Cached(rows, engine)

    def _write(
        self,
        folder: Path,
        inputs: Array,
        open_ns: NDArray[np.int64],
        out: Array,
        cached: int,
        engine: Engine,
        total: int,
    ) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        n = open_ns.size
        manifest: dict[str, Any] = {"segments": [], "files": {}}
        try:
            held = _manifest(folder)
        except (OSError, ValueError, KeyError):
            held = None  # none, or one that is to be replaced
        if cached:
            if held is None or held["rows"] != cached or held["inputs"] != _digest(inputs, open_ns, cached):
                return  # another process has gone further meanwhile, or the entry was too large to keep
            manifest = held
        elif held is not None and held["rows"] > total:
            return
        digest = _digest(inputs, open_ns, n)
        name = f"rows_{cached}_{n}_{digest[:16]}.parquet"
        state = f"engine_{n}_{digest[:16]}.npz"  # a name never gets another content: readers need no lock
        table = pa.table({f"c{j}": out[j, cached:n] for j in range(out.shape[0])})
        with atomic_path(folder / name) as path:
            pq.write_table(table, path, compression="zstd", compression_level=1, use_dictionary=False)
        with atomic_path(folder / state) as path, path.open("wb") as stream:
            np.savez(stream, allow_pickle=False, memory=engine.memory, state=engine.state, inputs=engine.inputs)
        manifest["segments"].append(name)
        manifest["files"].pop(manifest.get("engine"), None)
        manifest["files"] |= {name: sha256_file(folder / name), state: sha256_file(folder / state)}
        manifest |= {"format": _FORMAT, "rows": n, "inputs": digest, "engine": state}
        manifest["digest"] = _seal(manifest)
        atomic_write(folder / _MANIFEST, json.dumps(manifest).encode())
        for path in folder.iterdir():
            if path.name != _MANIFEST and path.name not in manifest["files"]:
                path.unlink(missing_ok=True)

    def _shrink(self, newest: Path) -> None:
        """Remove the least recently used entries until the folder is within its bound; the newest goes last.

        What killed runs left without a manifest goes too. What another process is writing now stays: that process makes
        room itself when it is done.
        """
        entries = []
        for folder in self.folder.iterdir():
            if not (_ENTRY_NAME.fullmatch(folder.name) and folder.is_dir()):
                continue
            try:
                used_ns = (folder / _MANIFEST).stat().st_mtime_ns
            except FileNotFoundError:
                self._remove_leftover(folder)
                continue
            entries.append((folder == newest, used_ns, _bytes_in(folder), folder))
        total = sum(size for _, _, size, _ in entries)
        for last, _, size, folder in sorted(entries):
            if total <= self.max_bytes:
                return
            if not last:
                with contextlib.suppress(Retryable), self._lock(folder):
                    _remove(folder)
                    total -= size
            elif size > self.max_bytes:
                _remove(folder)
                self._tell(
                    f"features of {size / (1 << 20):.0f} MB are not kept: the cache's max_megabytes is "
                    f"{self.max_bytes >> 20}"
                )

    def _remove_leftover(self, folder: Path) -> None:
        """Remove a folder without a manifest, unless another process is writing it now."""
        with contextlib.suppress(Retryable), self._lock(folder):
            if not (folder / _MANIFEST).exists():
                _remove(folder)


def _bytes_in(folder: Path) -> int:
    """Size of an entry's files. What another process is still writing, or removes meanwhile, counts nothing."""
    total = 0
    with contextlib.suppress(FileNotFoundError):
        for path in folder.iterdir():
            if path.suffix != ".tmp":
                with contextlib.suppress(FileNotFoundError):
                    total += path.stat().st_size
    return total


def _manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of an entry; None for one of another format. Raises ValueError, KeyError when it is damaged."""
    found = json.loads((folder / _MANIFEST).read_bytes())
    if not isinstance(found, dict):
        raise ValueError("the manifest holds no table")
    if found["format"] != _FORMAT:
        return None
    if found["digest"] != _seal(found):
        raise ValueError("the manifest's digest differs")
    unchecked = {*found["segments"], found["engine"]} - found["files"].keys()
    if unchecked:
        raise ValueError(f"{', '.join(sorted(unchecked))} has no checksum")
    return found


def _remove(folder: Path) -> None:
    """Remove an entry, its manifest first: what is left when this process dies half-way is no entry any more."""
    with contextlib.suppress(OSError):
        (folder / _MANIFEST).unlink()
    shutil.rmtree(folder, ignore_errors=True)


def _seal(manifest: dict[str, Any]) -> str:
    """Digest of a manifest without the digest in it."""
    rest = {name: value for name, value in manifest.items() if name != "digest"}
    return sha256_bytes(json.dumps(rest, sort_keys=True).encode())


def _digest(inputs: Array, open_ns: NDArray[np.int64], rows: int) -> str:
    """Content of the first `rows` bars."""
    digest = hashlib.sha256(open_ns[:rows].tobytes())
    for column in inputs:
        digest.update(np.ascontiguousarray(column[:rows]).tobytes())
    return digest.hexdigest()
