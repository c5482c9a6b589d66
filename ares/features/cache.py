"""Computed features kept between runs: Parquet segments that grow at the end, checked by content.

An entry belongs to one fingerprint and one beginning of the data. It holds the features of the first n bars, the
digest of those bars' input columns and the engine's state after them, so that new bars are computed from there on and
appended: the same bits as computing everything. Anything that does not match is computed again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

from ares.errors import Retryable
from ares.features.plan import Engine, Plan
from ares.storage import FileLock, atomic_path, atomic_write, sha256_bytes, sha256_file

__all__ = ["Cached", "FeatureCache"]

Array = NDArray[np.float64]

_FORMAT = 1
_MANIFEST = "manifest.json"


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

    def read(
        self, fingerprint: str, plan: Plan, inputs: Array, open_ns: NDArray[np.int64], out: Array
    ) -> Cached | None:
        """Fill the leading rows of `out` (features, n) from the entry, if there is a sound one for these bars.

        inputs: (columns, n). None when there is nothing to use; a damaged entry is warned about and removed.
        """
        folder = self._entry(fingerprint, inputs, open_ns)
        try:
            found = self._read(folder, plan, inputs, open_ns, out)
        except FileNotFoundError:
            found = None  # another process has replaced or removed it meanwhile
        except (OSError, ValueError, KeyError) as error:
            if folder.exists():
                self.damaged += 1
                text = f"feature cache entry {folder.name[:12]} is damaged and is computed again: {error}"
                warnings.warn(text, stacklevel=2)
                shutil.rmtree(folder, ignore_errors=True)
            found = None
        if found is None:
            self.misses += 1
        else:
            self.hits += 1
            self.extended += found.rows < open_ns.size
        return found

    def write(
        self, fingerprint: str, inputs: Array, open_ns: NDArray[np.int64], out: Array, cached: int, engine: Engine
    ) -> None:
        """Append rows [cached, n) of `out`, with the engine as it stands after them. Skipped while another writes."""
        folder = self._entry(fingerprint, inputs, open_ns)
        try:
            with FileLock(self.folder / f"{folder.name}.lock"):
                self._write(folder, inputs, open_ns, out, cached, engine)
                self._shrink(keep=folder)
        except Retryable:
            return

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
        manifest = json.loads((folder / _MANIFEST).read_bytes())
        rows = int(manifest["rows"])
        if manifest["format"] != _FORMAT or rows > open_ns.size or _digest(inputs, open_ns, rows) != manifest["inputs"]:
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
        (folder / _MANIFEST).touch()  # recently used
        return Cached(rows, engine)

    def _write(
        self, folder: Path, inputs: Array, open_ns: NDArray[np.int64], out: Array, cached: int, engine: Engine
    ) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        n = open_ns.size
        manifest: dict[str, Any] = {"segments": [], "files": {}}
        if cached:
            manifest = json.loads((folder / _MANIFEST).read_bytes())
            if manifest["rows"] != cached or manifest["inputs"] != _digest(inputs, open_ns, cached):
                return  # another process has gone further meanwhile
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
        atomic_write(folder / _MANIFEST, json.dumps(manifest).encode())
        for path in folder.iterdir():
            if path.name != _MANIFEST and path.name not in manifest["files"]:
                path.unlink(missing_ok=True)

    def _shrink(self, keep: Path) -> None:
        """Remove the least recently used entries until the folder is within its bound."""
        entries = []
        for manifest in self.folder.glob(f"*/{_MANIFEST}"):
            size = sum(p.stat().st_size for p in manifest.parent.iterdir() if p.is_file())
            entries.append((manifest.stat().st_mtime_ns, size, manifest.parent))
        total = sum(size for _, size, _ in entries)
        for _, size, folder in sorted(entries):
            if total <= self.max_bytes:
                return
            if folder != keep:
                shutil.rmtree(folder, ignore_errors=True)
                total -= size


def _digest(inputs: Array, open_ns: NDArray[np.int64], rows: int) -> str:
    """Content of the first `rows` bars."""
    digest = hashlib.sha256(open_ns[:rows].tobytes())
    for column in inputs:
        digest.update(np.ascontiguousarray(column[:rows]).tobytes())
    return digest.hexdigest()
