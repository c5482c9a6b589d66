"""The compiler of every kernel: numba without fastmath, with a cache that knows all kernel sources.

numba's own `cache=True` stamps a cache entry with the one file that holds the function. A kernel that calls a rule in
another file would go on running the old rule after that file was edited. Here the stamp is a digest of every file in
`ares/kernels` and of the function's own file, so any edit recompiles. The stamp is also inside each entry, so
that one which a process with other sources has just put there is not taken; nor is one for arguments of other types,
which two processes leave that add an entry at once. An entry that cannot be read is made again.

A folder that cannot be written, or is full, costs the next start its time and nothing else: the kernel is compiled for
this process, and one warning says so. What lies beside the sources and may only be read, such as what `ares warm` left
there when a container was made, is read.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, overload

import llvmlite
import numba
from numba.core import config as numba_config
from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile, _CacheLocator
from numba.core.registry import CPUDispatcher
from numba.core.sigutils import normalize_signature

__all__ = ["inner", "is_compiled", "jit", "loaded_from_cache", "source_digest", "unkept", "woven"]

F = TypeVar("F", bound=Callable[..., Any])
config: Any = numba_config
njit: Any = numba.njit
index_file: Any = IndexDataCacheFile
KERNELS = Path(__file__).resolve().parent
_unkept: list[str] = []


@cache
def source_digest(names: tuple[str, ...] = ()) -> str:
    """SHA-256 over the name and the bytes of kernel files, in name order. Read once a process.

    names: file names in `ares/kernels`; none means all of them.
    """
    digest = hashlib.sha256()
    for path in sorted(KERNELS / name for name in names) if names else sorted(KERNELS.glob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


class _Locator(_CacheLocator):
    """Where a kernel's machine code lies, and the stamp that says whether it is still the right one."""

    def __init__(self, py_file: str, line: int) -> None:
        self._py_file = py_file
        self._line = line
        self._path = _writable_folder(py_file)

    def get_cache_path(self) -> str:
        return self._path

    def get_source_stamp(self) -> tuple[str, ...]:
        own = Path(self._py_file)
        apart = own.resolve().parent != KERNELS and own.exists()
        return (
            source_digest(),
            hashlib.sha256(own.read_bytes()).hexdigest() if apart else "",
            numba.__version__,
            llvmlite.__version__,
            f"{config.OPT}{config.BOUNDSCHECK}",
        )

    def get_disambiguator(self) -> str:
        return str(self._line)


result_cache: Any = CompileResultCacheImpl
function_cache: Any = FunctionCache
parts_of: Any = normalize_signature


class _CacheImpl(result_cache):  # type: ignore[misc]
    def __init__(self, function: Callable[..., Any]) -> None:
        source = inspect.getfile(function)
        self._lineno = function.__code__.co_firstlineno
        self._locator = _Locator(source, self._lineno)
        name = f"{Path(source).stem}.{function.__qualname__}"
        base: Any = self.get_filename_base
        self._filename_base = base(name, getattr(sys, "abiflags", ""))

    def reduce(self, result: Any) -> Any:
        return self._locator.get_source_stamp(), super().reduce(result)

    def rebuild(self, context: Any, entry: Any) -> Any:
        """The kernel of an entry; None, which compiles it, for an entry of other sources."""
        stamp, kernel = entry
        return super().rebuild(context, kernel) if stamp == self._locator.get_source_stamp() else None


class _KernelCache(function_cache):  # type: ignore[misc]
    _impl_class = _CacheImpl

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        near = _beside(inspect.getfile(function))
        self._prepared: Any = None  # what lies beside the sources, when it can be read and not written
        if not config.CACHE_DIR and self._cache_path != str(near) and near.is_dir():
            self._prepared = index_file(
                cache_path=str(near),
                filename_base=self._impl.filename_base,
                source_stamp=self._impl.locator.get_source_stamp(),
            )

    def _load_overload(self, signature: Any, context: Any) -> Any:
        wanted, _ = parts_of(signature)
        for file in (self._cache_file, self._prepared):
            try:
                data = file.load(self._index_key(signature, context.codegen())) if file is not None else None
                found = self._impl.rebuild(context, data) if data is not None else None
            except Exception:  # a half-written entry raises whatever its bytes happen to mean
                with suppress(OSError):
                    file.flush()
                continue
            if found is not None and tuple(found.signature.args) == tuple(wanted):
                return found
        return None

    def save_overload(self, signature: Any, data: Any) -> None:
        """Keep the machine code; where the machine refuses that, this process has it and one warning says so."""
        try:
            super().save_overload(signature, data)
        except OSError as error:
            if not _unkept:
                _unkept.append(
                    f"compiled kernels cannot be kept in {self._cache_path} ({error.strerror or error}), so each start "
                    "compiles anew: give the right to write or make room, or name another folder by NUMBA_CACHE_DIR"
                )
                warnings.warn(_unkept[0], UserWarning, stacklevel=2)

    def holds_something(self) -> bool:
        """True when there is an entry of these sources."""
        try:
            return any(file is not None and bool(file._load_index()) for file in (self._cache_file, self._prepared))
        except Exception:  # as above
            return False


kernel_cache: Any = _KernelCache


def _beside(py_file: str) -> Path:
    return Path(py_file).resolve().parent / "__pycache__"


def _writable_folder(py_file: str) -> str:
    """NUMBA_CACHE_DIR when set, else `__pycache__` beside the source, else the user's cache folder.

    For a user without a home it is the one beside the source, though it cannot be written.
    """
    near = _beside(py_file)
    beside = near.parent
    own = f"{beside.name}_{hashlib.sha256(str(beside).encode()).hexdigest()[:16]}"
    if config.CACHE_DIR:
        return str(Path(config.CACHE_DIR) / own)
    try:
        near.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=near):
            return str(near)
    except OSError:
        home = os.environ.get("XDG_CACHE_HOME")
        with suppress(RuntimeError):  # a user without a home
            return str((Path(home) if home else Path.home() / ".cache") / "ares" / own)
        return str(near)


@overload
def jit(function: F) -> F: ...
@overload
def jit(*, cached: bool = True, allocates: bool = True) -> Callable[[F], F]: ...
def jit(function: F | None = None, *, cached: bool = True, allocates: bool = True) -> F | Callable[[F], F]:
    """Compile a kernel: no Python objects, GIL released, IEEE arithmetic in the written order, division by zero is inf.

    cached: keep the machine code on disk, stamped with all kernel sources. allocates: False for a kernel that makes no
    arrays of its own: its views are then not counted, which is most of the cost of a call that does little.
    Compilation happens at the first call. A kernel that cannot be compiled raises numba's own error there.
    """

    def compile_(f: F) -> F:
        dispatcher: Any = njit(nogil=True, error_model="numpy", fastmath=False, _nrt=allocates)(f)
        if cached:
            dispatcher._cache = kernel_cache(f)
        return dispatcher  # type: ignore[no-any-return]

    return compile_ if function is None else compile_(function)


dispatcher_class: Any = CPUDispatcher


class _Inner(dispatcher_class):  # type: ignore[misc]
    """A kernel without an entry for Python: calling it would jump to an address that does not exist."""

    def __call__(self, *args: object, **kwargs: object) -> object:
        raise TypeError(f"{self.__name__} is a part of other kernels; from Python call {self.__name__}.py_func")


def inner(function: F) -> F:
    """Compile a kernel that only other kernels call: it becomes part of them and has no cache entry of its own.

    It must not make arrays; views of the arrays it was given are free. Calling it from Python raises TypeError.
    """
    options = {"no_cfunc_wrapper": True, "no_cpython_wrapper": True, "_nrt": False}
    dispatcher: Any = njit(nogil=True, error_model="numpy", fastmath=False, **options)(function)
    if isinstance(dispatcher, dispatcher_class):  # with NUMBA_DISABLE_JIT it is the function itself
        dispatcher.__class__ = _Inner
    return dispatcher  # type: ignore[no-any-return]


def woven(function: F) -> F:
    """A piece of a kernel, set into its callers before they are compiled.

    Each level of calls between compiled functions optimises everything below it once more; a woven level does not.
    """
    dispatcher: Any = njit(nogil=True, error_model="numpy", fastmath=False, inline="always", _nrt=False)(function)
    return dispatcher  # type: ignore[no-any-return]


def unkept() -> str | None:
    """Why machine code that this process has compiled was not kept on disk; None when all of it was."""
    return _unkept[0] if _unkept else None


def is_compiled(function: Callable[..., Any]) -> bool:
    """True when the first call will not have to compile: the machine code is in this process or on disk."""
    kernel: Any = function
    return bool(kernel.signatures) or kernel._cache.holds_something()


def loaded_from_cache(function: Callable[..., Any]) -> bool:
    """True when this process has read the kernel's machine code from disk and compiled nothing for it."""
    stats: Any = getattr(function, "stats", None)
    if stats is None:
        return False
    return bool(stats.cache_hits) and not stats.cache_misses
