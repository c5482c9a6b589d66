"""Two instructions of the processor that Python has no word for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic as numba_intrinsic

from ares.kernels.jit import inner

any_types: Any = types

LANES = 8  # float64 in a cache line
LINE = 64  # bytes


def intrinsic(function: Callable[..., Any]) -> Any:
    """Compile each call into what the function emits for the types it is given; Python cannot call it."""
    made: Any = numba_intrinsic
    return made(function)


@intrinsic
def fused(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c, rounded once: half the wait of a product and a sum in a recursion, and the same bits everywhere."""
    number = any_types.float64

    def emit(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.fma(*given)

    return number(number, number, number), emit


@intrinsic
def address(typing: Any, x: Any) -> Any:
    """Where an array's first element lies in memory."""

    def emit(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, given[0])
        return builder.ptrtoint(array.data, ir.IntType(64))

    return any_types.int64(x), emit


@intrinsic
def move_line(typing: Any, y: Any, i: Any, x: Any, j: Any) -> Any:
    """y[i : i + 8] = x[j : j + 8], not kept in the cache; the target must begin a cache line."""

    def emit(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        line = ir.VectorType(ir.DoubleType(), LANES).as_pointer()
        to, since = (
            builder.bitcast(builder.gep(context.make_array(kind)(context, builder, array).data, [at]), line)
            for kind, array, at in (
                (signature.args[0], given[0], given[1]),
                (signature.args[2], given[2], given[3]),
            )
        )
        store = builder.store(builder.load(since, align=8), to, align=LINE)
        store.set_metadata("nontemporal", builder.module.add_metadata([ir.IntType(32)(1)]))
        return context.get_dummy_value()

    return any_types.void(y, any_types.intp, x, any_types.intp), emit


@intrinsic
def publish(typing: Any) -> Any:
    """What was stored past the cache is there for other threads before anything that comes later."""

    def emit(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return any_types.void(), emit


@inner
def copy_past_cache(y: Any, x: Any, n: int) -> None:
    """y[:n] = x[:n], straight to memory: rows that are not read soon need not be fetched, nor push others out.

    Whoever hands `y` to another thread calls `publish` first.
    """
    head = min(n, (-address(y)) % LINE >> 3)
    for i in range(head):
        y[i] = x[i]
    i = head
    while i + LANES <= n:
        move_line(y, i, x, i)
        i += LANES
    while i < n:
        y[i] = x[i]
        i += 1
