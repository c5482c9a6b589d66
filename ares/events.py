"""The desk's two alphabets: what it is told (`Event`) and what it answers (`Command`).

Every event has `ts_event` (the venue's time), `ts_seen` (ours: the desk's now) and `seq` (the order in which the desk
saw it; -1 until the shell numbers it). Both alphabets are tagged and versioned; the journal stores them as msgpack.
"""

from __future__ import annotations

from decimal import Decimal
from enum import Enum
from typing import Any

import msgspec
import numpy as np

from ares.account import Account
from ares.errors import DataError, InvalidInput
from ares.instruments import Instrument
from ares.market import AggTrade, Candle
from ares.orders import Fill, Order, OrderRequest
from ares.values import AnalysisInput, AnalysisResult, TacticsInput, TacticsResult

__all__ = [
    "ALPHABET_VERSION",
    "AggTrades",
    "Alert",
    "BookTop",
    "Cancel",
    "CandleClosed",
    "Command",
    "Event",
    "FillBooked",
    "Funding",
    "FuturesStatistics",
    "Intent",
    "LinkChanged",
    "MarkPrice",
    "ModelActivated",
    "OperatorOrder",
    "OrderUpdate",
    "Purpose",
    "RunStage",
    "SetLeverage",
    "StageDone",
    "Submit",
    "VenueSnapshot",
    "Wake",
    "WakeAt",
    "decode_command",
    "decode_event",
    "encode",
]

ALPHABET_VERSION = 1
"""Raised when a record changes its meaning; a journal of another version is migrated or refused, never guessed at."""


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    ts_event: int  # ns UTC, the venue's time
    ts_seen: int  # ns UTC, ours
    seq: int = -1


class CandleClosed(_Event, frozen=True, kw_only=True, tag=True):
    """A kline ended. `history`: it ended before the session began; it warms features and decides nothing."""

    candle: Candle
    history: bool = False


class MarkPrice(_Event, frozen=True, kw_only=True, tag=True):
    """The price that liquidation and unrealised profit look at."""

    symbol: str
    price: float  # quote per base
    index: float | None = None


class BookTop(_Event, frozen=True, kw_only=True, tag=True):
    """Best bid and ask changed."""

    symbol: str
    bid: float
    bid_quantity: float
    ask: float
    ask_quantity: float


class AggTrades(_Event, frozen=True, kw_only=True, tag=True):
    """Aggregate trades since the last such event, oldest first."""

    symbol: str
    trades: tuple[AggTrade, ...]


class Funding(_Event, frozen=True, kw_only=True, tag=True):
    """Funding settled. `amount`: what our account received (negative: paid), quote; None when we held nothing."""

    symbol: str
    rate: Decimal  # fraction of notional; positive: longs pay shorts
    mark_price: float
    amount: Decimal | None = None


class FuturesStatistics(_Event, frozen=True, kw_only=True, tag=True):
    """The venue published statistics at `ts_event`. values: by the names of `ares.market.FUTURES_STATISTICS`."""

    symbol: str
    values: dict[str, float]


class OrderUpdate(_Event, frozen=True, kw_only=True, tag=True):
    """The state of one of our orders as the venue reports it."""

    order: Order


class FillBooked(_Event, frozen=True, kw_only=True, tag=True):
    """One of our orders traded."""

    fill: Fill


class VenueSnapshot(_Event, frozen=True, kw_only=True, tag=True):
    """Venue truth at one moment: at start, after a reconnect, and at every audit."""

    account: Account
    open_orders: tuple[Order, ...]
    instruments: tuple[Instrument, ...] = ()


class StageDone(_Event, frozen=True, kw_only=True, tag=True):
    """A stage that runs outside the desk has answered `RunStage` number `request`."""

    symbol: str
    request: str
    analysis: AnalysisResult | None = None
    tactics: TacticsResult | None = None
    error: str = ""  # why there is no answer; empty when there is one


class Wake(_Event, frozen=True, kw_only=True, tag=True):
    """A moment the desk asked for with `WakeAt` has come."""

    key: str


class ModelActivated(_Event, frozen=True, kw_only=True, tag=True):
    """From this event on the model with this checksum decides."""

    sha256: str


class LinkChanged(_Event, frozen=True, kw_only=True, tag=True):
    """A connection to the venue went down or came back."""

    link: str  # "market", "account", "clock": ours is too far off, or "modes": the account works otherwise than it did
    up: bool


class OperatorOrder(_Event, frozen=True, kw_only=True, tag=True):
    """A person's instruction: "pause" (no new entries), "resume", "halt" or "flatten".

    The shell itself says "end" when it ends in order, "stop" when new risk must wait until it knows more, or when time
    stands still while it is away, and "start" when it continues; an exchange says "halt" when somebody has changed the
    account so that it cannot be traded."""

    action: str
    symbol: str | None = None


Event = (
    CandleClosed
    | MarkPrice
    | BookTop
    | AggTrades
    | Funding
    | FuturesStatistics
    | OrderUpdate
    | FillBooked
    | VenueSnapshot
    | StageDone
    | Wake
    | ModelActivated
    | LinkChanged
    | OperatorOrder
)


class Purpose(str, Enum):
    """Why an order is sent. All but `ENTRY` are protective: reduce-only and harmless to send twice."""

    ENTRY = "ENTRY"
    STOP = "STOP"
    TARGET = "TARGET"
    EXIT = "EXIT"


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """The desk's decision to trade, with an id that never repeats: symbol, causing event's seq, ordinal."""

    intent_id: str
    trade_id: str  # the first intent's id of the same trade
    purpose: Purpose
    request: OrderRequest


class _Command(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    pass


class Submit(_Command, frozen=True, kw_only=True, tag=True):
    """Send this order, once."""

    intent: Intent


class Cancel(_Command, frozen=True, kw_only=True, tag=True):
    """Cancel the order of an earlier intent."""

    symbol: str
    intent_id: str


class SetLeverage(_Command, frozen=True, kw_only=True, tag=True):
    """Set the symbol's leverage before an entry."""

    symbol: str
    leverage: int


class RunStage(_Command, frozen=True, kw_only=True, tag=True):
    """Run a stage that has no plain twin; the answer comes back as `StageDone` with the same `request`.

    history: it only warms the stage; the answer decides nothing.
    """

    symbol: str
    request: str
    analysis: AnalysisInput | None = None
    tactics: TacticsInput | None = None
    history: bool = False


class WakeAt(_Command, frozen=True, kw_only=True, tag=True):
    """Send `Wake(key)` at this moment. A later `WakeAt` with the same key replaces it."""

    ts_ns: int
    key: str


class Alert(_Command, frozen=True, kw_only=True, tag=True):
    """Tell a person. `code` is `noun.past_verb`; the numbers behind it are in `facts`."""

    code: str
    symbol: str = ""
    facts: dict[str, str | float | int] = {}


Command = Submit | Cancel | SetLeverage | RunStage | WakeAt | Alert


def _to_wire(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {"dtype": value.dtype.str, "shape": value.shape, "data": value.tobytes()}
    if isinstance(value, np.float64 | np.integer | np.bool_):  # out of a frame; the same bits as the plain number
        return value.item()
    raise InvalidInput(f"{value!r} is a {type(value).__name__}, which no journal holds: give a plain number or text")


def _from_wire(kind: type, value: Any) -> Any:
    if getattr(kind, "__origin__", kind) is np.ndarray:
        array = np.frombuffer(value["data"], dtype=np.dtype(value["dtype"])).reshape(value["shape"])
        array.setflags(write=False)
        return array
    raise NotImplementedError(f"cannot read {kind} from a journal")


_encoder = msgspec.msgpack.Encoder(enc_hook=_to_wire)
_events: msgspec.msgpack.Decoder[Event] = msgspec.msgpack.Decoder(Event, dec_hook=_from_wire)
_commands: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command, dec_hook=_from_wire)


def encode(record: Event | Command) -> bytes:
    """The msgpack bytes of one event or command; equal records give equal bytes."""
    return _encoder.encode(record)


def decode_event(data: bytes) -> Event:
    """The event in `data`. Raises DataError when it is damaged or of another alphabet."""
    try:
        return _events.decode(data)
    except (msgspec.MsgspecError, ValueError, TypeError) as error:
        raise DataError(f"not an event of alphabet {ALPHABET_VERSION}: {error}") from error


def decode_command(data: bytes) -> Command:
    """The command in `data`. Raises DataError when it is damaged or of another alphabet."""
    try:
        return _commands.decode(data)
    except (msgspec.MsgspecError, ValueError, TypeError) as error:
        raise DataError(f"not a command of alphabet {ALPHABET_VERSION}: {error}") from error
