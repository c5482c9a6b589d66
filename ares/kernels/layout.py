"""Where things lie in the three arrays that the feature engine works on.

`m` (float64) holds parameters, node states and, per timeframe, columns with a stretch of history before the new rows.
`t` (int64) is the table: what to compute. `s` (int64) is the integer state: how far each timeframe has come.
Everything is addressed by integers, so that one compilation serves every table.

Columns are NaN before anything is written, so a kernel leaves the rows alone that come before its first full window.
"""

from __future__ import annotations

# header of t
N_NODES, N_SLOTS, N_INPUTS, N_DELIVER, AT_SLOTS, AT_NODES, AT_INPUTS, AT_DELIVER, AT_SLIDE, AT_TRASH = range(10)
HEADER = 16

# one timeframe in t
S_COLUMNS, S_LENGTH, S_WIDTH, S_RATIO, S_OFFSET, S_ABS, S_SEEN, S_PARTIAL, S_SLIDE, S_HISTORY, S_STATE = range(11)
SLOT = 16

# one timeframe's integer state in s, from S_STATE on
POS, FIRST, BUCKET, FILLED, START = range(5)
SLOT_STATE = 8
LOS = 8  # s[LOS + slot]: the first new row of a timeframe in this block
MAX_SLOTS = 8
STATE_HEADER = 16
BLOCK = 1024  # base bars that go through the table together, at most
SPARE = 8  # higher bars that a timeframe has room for beyond those of a whole block

# one node in t
OP, NSLOT, KIND, PERIOD, LEAD, RUNS, OUT, N_OUT, STATE, STATE_SIZE, FLOATS, LAG, TURN, LENGTH, N_IN = range(15)
IN = 16  # inputs: offset in m where the column starts
INT = 32  # integer parameters
NODE = 48

# kinds of node
PURE = 0  # a row depends on a fixed stretch of input rows, nothing is carried
WINDOW = 1  # carries sums, and sums afresh at the first row of each 1,024 bars
RESTARTED = 2  # carries a recursion, and starts it afresh `LEAD` bars before each multiple of `PERIOD` bars
ANCHOR = 1024  # the base bars between fresh sums

# a node's integer state in s, from TURN on: the run whose values count, the newest run, the bar that changes this
OLDEST, NEWEST, DUE = range(3)
NODE_STATE = 3
NEVER = -(1 << 62)

# how an input column becomes part of a higher timeframe's bar
TAKE_FIRST, TAKE_MAX, TAKE_MIN, TAKE_LAST, TAKE_SUM = range(5)

# streaming: the first input columns, in the order of the arguments of `advance`
BAR_INPUTS = (
    "open",
    "high",
    "low",
    "close",
    "volume",
    "quote_volume",
    "taker_buy_volume",
    "taker_buy_quote_volume",
    "trades",
    "time",
)
