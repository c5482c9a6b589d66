"""From chosen features to the table that the engine interprets: order, shared nodes, memory, warm-up, settling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from ares.errors import InvalidInput
from ares.features.expression import Column, Expression, Node, Output, key_of
from ares.features.operations import OPERATIONS
from ares.kernels import layout as at

__all__ = ["Engine", "Plan", "Wanted", "make_plan"]

_RULES = {"open": at.TAKE_FIRST, "time": at.TAKE_FIRST, "high": at.TAKE_MAX, "low": at.TAKE_MIN, "close": at.TAKE_LAST}
_SUMMED = {"volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume", "trades"}
_WEEK_NS = 7 * 86_400_000_000_000
_MOST_RUNS = 4  # of a restarted node in a higher timeframe, besides the one whose values count
_MONDAY_NS = 4 * 86_400_000_000_000  # the epoch was a Thursday; weeks begin on Mondays


@frozen
class Wanted:
    """One output column: its name, what it is, and how many base bars its timeframe takes (1: the base interval)."""

    name: str
    expression: Expression
    ratio: int = 1


@frozen(eq=False)
class Engine:
    """The three arrays of one run of the table (see `ares.kernels.layout`), and room for one bar's inputs."""

    memory: NDArray[np.float64]
    table: NDArray[np.int64]
    state: NDArray[np.int64]
    inputs: NDArray[np.float64]


@frozen(eq=False)
class Plan:
    """A table ready to run. `warmup`, `settle`: base bars, one a feature."""

    names: tuple[str, ...]
    inputs: tuple[str, ...]  # input columns, in the engine's order
    warmup: NDArray[np.int64]  # leading rows that are NaN, at most
    settle: NDArray[np.int64]  # rows after which a value has forgotten where history began, bit for bit
    table: NDArray[np.int64]
    memory: NDArray[np.float64] = field(repr=False)
    state: NDArray[np.int64] = field(repr=False)
    key: str = field(repr=False)  # canonical text of all features

    def start(self) -> Engine:
        """A fresh run, before its first bar."""
        return Engine(self.memory.copy(), self.table, self.state.copy(), np.full(len(self.inputs), np.nan))


class _Slot:
    """One timeframe while its table is being laid out."""

    def __init__(self, ratio: int, inputs: Sequence[str]) -> None:
        self.ratio = ratio
        self.columns: dict[Expression, int] = {Column(name): i for i, name in enumerate(inputs)}
        self.lag: list[int] = [0] * len(inputs)  # rows before the first value
        self.settle: list[int] = [0 if ratio == 1 else 2 * ratio] * len(inputs)  # base bars
        self.need: list[int] = [0] * len(inputs)  # rows of history that later rows read; 0: nothing does

    def add(self, node: Node, node_lag: int, settle: int) -> int:
        operation = OPERATIONS[node.operation]
        first = len(self.lag)
        for j in range(operation.outputs(node.ints, len(node.inputs))):
            self.columns[Output(node, j)] = first + j
            self.lag.append(node_lag + operation.lookback(node.ints, j))
            self.settle.append(settle)
            self.need.append(1)
        return first


def _nodes_of(expression: Expression, seen: dict[Node, None]) -> None:
    """Append the expression's nodes to `seen`, inputs before users."""
    if isinstance(expression, Output) and expression.node not in seen:
        for x in expression.node.inputs:
            _nodes_of(x, seen)
        seen[expression.node] = None


def _settle(node: Node, ratio: int, inputs: int) -> tuple[int, int, int]:
    """Base bars until the node has settled, and its restart's period and lead, given when its inputs have.

    Shorter periods settle sooner and keep more runs going side by side. On the base interval the period is a power of
    two no shorter than the lead, so that there are at most two. A higher timeframe has few rows, which can bear more.
    """
    operation = OPERATIONS[node.operation]
    outputs = range(operation.outputs(node.ints, len(node.inputs)))
    longest = max(operation.lookback(node.ints, j) for j in outputs)
    reach = operation.reach(node.ints) if operation.reach else longest
    if operation.kind == at.PURE:
        return inputs + reach * ratio, 1, 0
    if operation.kind == at.WINDOW:
        return inputs + (reach + 2) * ratio + at.ANCHOR, 1, 0
    lead = (operation.memory(node.ints, node.floats) + 2) * ratio
    if ratio == 1:
        period = max(at.ANCHOR, 1 << (lead - 1).bit_length())
    else:
        period = max(at.ANCHOR, -(-lead // min(_MOST_RUNS, max(1, ratio // 2))))
    return inputs + period + lead + 2 * ratio, period, lead


def make_plan(wanted: Sequence[Wanted], inputs: Sequence[str], interval_ns: int) -> Plan:
    """Lay out the table for `wanted`.

    inputs: names of the input columns, `layout.BAR_INPUTS` first. interval_ns: the base bar's length.
    Raises InvalidInput for an unknown input column or more timeframes than the engine has room for.
    """
    ratios = sorted({1, *(w.ratio for w in wanted)})
    if len(ratios) > at.MAX_SLOTS:
        raise InvalidInput(f"{len(ratios)} timeframes; the engine takes {at.MAX_SLOTS}", timeframes=ratios)
    slots = [_Slot(ratio, inputs) for ratio in ratios]
    rows: list[dict[str, Any]] = []
    for index, slot in enumerate(slots):
        nodes: dict[Node, None] = {}
        for w in wanted:
            if w.ratio == slot.ratio:
                _nodes_of(w.expression, nodes)
        for node in nodes:
            rows.append(_place(node, index, slot))
    deliver = []
    for i, w in enumerate(wanted):
        index = ratios.index(w.ratio)
        deliver.append((i, index, _column(slots[index], w.expression)))
    warmup = [_in_base(slots[s].lag[c], ratios[s]) for _, s, c in deliver]
    settle = [slots[s].settle[c] for _, s, c in deliver]
    for _, s, c in deliver:
        slots[s].need[c] = max(slots[s].need[c], 1)
    for slot in slots[1:]:  # a higher timeframe is gathered from the base's columns
        for c in range(len(inputs)):
            slots[0].need[c] = max(slots[0].need[c], min(slot.need[c], 1))
    table, memory, state = _lay_out(slots, rows, deliver, inputs, interval_ns)
    key = ";".join(f"{w.name}={key_of(w.expression)}@{w.ratio}" for w in wanted)
    return Plan(
        tuple(w.name for w in wanted), tuple(inputs), np.array(warmup, np.int64), np.array(settle, np.int64),
        table, memory, state, key,
    )  # fmt: skip


def _in_base(lag: int, ratio: int) -> int:
    return lag if ratio == 1 else ratio * (lag + 2) - 2


def _column(slot: _Slot, x: Expression) -> int:
    try:
        return slot.columns[x]
    except KeyError:
        raise InvalidInput(f"the data have no column {key_of(x)!r}", column=key_of(x)) from None


def _place(node: Node, index: int, slot: _Slot) -> dict[str, Any]:
    operation = OPERATIONS[node.operation]
    columns = [_column(slot, x) for x in node.inputs]
    outputs = range(operation.outputs(node.ints, len(node.inputs)))
    reach = operation.reach(node.ints) if operation.reach else max(operation.lookback(node.ints, j) for j in outputs)
    for c in columns:
        slot.need[c] = max(slot.need[c], reach, 1)
    lag = max(slot.lag[c] for c in columns)
    settle, period, lead = _settle(node, slot.ratio, max(slot.settle[c] for c in columns))
    out = slot.add(node, lag, settle)
    return {
        "node": node, "slot": index, "columns": columns, "out": out, "lag": lag,
        "period": period, "lead": lead, "runs": -(-lead // period) + 1,
    }  # fmt: skip


def _lay_out(
    slots: list[_Slot], rows: list[dict[str, Any]], deliver: list[tuple[int, int, int]],
    inputs: Sequence[str], interval_ns: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:  # fmt: skip
    """The three arrays: table, memory with parameters filled in, state."""
    n_inputs = len(inputs)
    widths = [len(slot.need) for slot in slots]
    at_slots = at.HEADER
    at_nodes = at_slots + len(slots) * at.SLOT
    at_inputs = at_nodes + len(rows) * at.NODE
    at_deliver = at_inputs + n_inputs
    at_slide = at_deliver + 3 * len(deliver)
    table = np.zeros(at_slide + sum(widths), np.int64)
    header = [len(rows), len(slots), n_inputs, len(deliver), at_slots, at_nodes, at_inputs, at_deliver, at_slide]
    table[: len(header)] = header
    table[at_inputs:at_deliver] = [_rule(name) for name in inputs]

    params: list[float] = []
    state_cells = at.STATE_HEADER + len(slots) * at.SLOT_STATE + len(rows) * at.NODE_STATE
    lengths = []
    for slot in slots:
        history = max(slot.need)
        lengths.append(history + (at.BLOCK if slot.ratio == 1 else at.BLOCK // slot.ratio + at.SPARE))
    for row in rows:
        floats = list(row["node"].floats)
        row["floats"] = len(params)
        params += floats + [0.0] * (2 - len(floats))
    cursor = len(params)
    for row in rows:
        operation = OPERATIONS[row["node"].operation]
        row["state"] = cursor
        cursor += operation.cells(row["node"].ints) * row["runs"]
    table[at.AT_TRASH] = cursor
    cursor += max((row["n_out"] for row in map(_with_outputs, rows)), default=1) * max(lengths)
    bases = []
    slide = 0
    for i, slot in enumerate(slots):
        r = at_slots + i * at.SLOT
        partial, base = cursor, cursor + n_inputs
        cursor = base + widths[i] * lengths[i]
        bases.append(base)
        table[r + at.S_COLUMNS], table[r + at.S_LENGTH], table[r + at.S_WIDTH] = base, lengths[i], widths[i]
        table[r + at.S_RATIO], table[r + at.S_PARTIAL], table[r + at.S_SLIDE] = slot.ratio, partial, slide
        table[r + at.S_HISTORY] = max(slot.need)
        table[r + at.S_STATE] = at.STATE_HEADER + i * at.SLOT_STATE
        table[r + at.S_ABS] = state_cells
        table[r + at.S_SEEN] = state_cells + lengths[i]
        state_cells += 2 * lengths[i]
        if slot.ratio * interval_ns % _WEEK_NS == 0:
            table[r + at.S_OFFSET] = -(_MONDAY_NS // interval_ns) if slot.ratio > 1 else 0
        table[at_slide + slide : at_slide + slide + widths[i]] = slot.need
        slide += widths[i]
    for j, row in enumerate(rows):
        _write_node(table, at_nodes + j * at.NODE, row, bases, lengths, j, len(slots))
    for d, (feature, s, c) in enumerate(deliver):
        table[at_deliver + 3 * d : at_deliver + 3 * d + 3] = feature, s, bases[s] + c * lengths[s]
    memory = np.full(cursor, np.nan)
    memory[: table[at.AT_TRASH]] = 0.0
    memory[: len(params)] = params
    state = np.zeros(state_cells, np.int64)
    for j in range(len(rows)):
        state[table[at_nodes + j * at.NODE + at.TURN] + at.DUE] = at.NEVER
    return table, memory, state


def _with_outputs(row: dict[str, Any]) -> dict[str, Any]:
    node = row["node"]
    row["n_out"] = OPERATIONS[node.operation].outputs(node.ints, len(node.inputs))
    return row


def _rule(name: str) -> int:
    """How an input column becomes part of a higher bar: flows are summed, levels keep their last value."""
    if name in _SUMMED or name.startswith("flow_"):
        return at.TAKE_SUM
    return _RULES.get(name, at.TAKE_LAST)


def _write_node(
    table: NDArray[np.int64], k: int, row: dict[str, Any], bases: list[int], lengths: list[int], j: int, n_slots: int
) -> None:
    node: Node = row["node"]
    operation = OPERATIONS[node.operation]
    s = row["slot"]
    if len(node.inputs) > at.INT - at.IN or len(node.ints) > at.NODE - at.INT:
        raise InvalidInput(f"{node.operation} takes at most {at.INT - at.IN} inputs", inputs=len(node.inputs))
    table[k + at.OP], table[k + at.NSLOT], table[k + at.KIND] = operation.number, s, operation.kind
    table[k + at.PERIOD], table[k + at.LEAD], table[k + at.LAG] = row["period"], row["lead"], row["lag"]
    table[k + at.RUNS] = row["runs"]
    table[k + at.OUT], table[k + at.N_OUT] = bases[s] + row["out"] * lengths[s], row["n_out"]
    table[k + at.STATE], table[k + at.FLOATS] = row["state"], row["floats"]
    table[k + at.STATE_SIZE] = operation.cells(node.ints)
    table[k + at.TURN] = at.STATE_HEADER + n_slots * at.SLOT_STATE + j * at.NODE_STATE
    table[k + at.LENGTH], table[k + at.N_IN] = lengths[s], len(node.inputs)
    for i, c in enumerate(row["columns"]):
        table[k + at.IN + i] = bases[s] + c * lengths[s]
    table[k + at.INT : k + at.INT + len(node.ints)] = node.ints
