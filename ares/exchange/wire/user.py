"""The private stream: what the venue reports about our orders and our money, as events.

A fill is exactly an execution of type TRADE with a quantity; its identity is (symbol, trade id). It is never dropped:
when the rest of its report cannot be understood, the fill still comes out, together with the problem.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec
from attrs import define, evolve, field
from msgspec import UNSET, UnsetType

from ares.errors import DataError
from ares.exchange.wire.numbers import Number, NumberOrBlank, optional, to_ns
from ares.exchange.wire.trade import AlgoReport, OrderReport, order_of, order_of_algo, side_of
from ares.orders import Fill, Order

__all__ = [
    "AccountBody",
    "AccountUpdate",
    "AlgoBody",
    "AlgoUpdate",
    "Balance",
    "ConfigUpdate",
    "Decoded",
    "ListenKeyExpired",
    "MarginCall",
    "MarginCallPosition",
    "OrderTradeUpdate",
    "OrderUpdateBody",
    "PositionUpdate",
    "TradeLite",
    "TriggerReject",
    "TriggerRejectBody",
    "UserFrame",
    "commission_of",
    "decode_user",
    "fill_of",
    "order_of_update",
]

_VENUE_ORDERS = ("autoclose-", "adl_autoclose", "settlement_autoclose-")


class OrderUpdateBody(msgspec.Struct, frozen=True, kw_only=True):
    """`o` of ORDER_TRADE_UPDATE, by the wire's letters."""

    s: str  # symbol
    c: str  # client order id
    S: str  # side
    o: str  # type
    f: str = "GTC"
    q: Number
    p: NumberOrBlank = "0"
    ap: NumberOrBlank = "0"  # average price
    sp: NumberOrBlank = "0"  # trigger
    x: str  # execution type
    X: str  # status
    i: int  # order id
    l: Number  # noqa: E741  quantity of this fill
    z: Number  # quantity filled so far
    L: NumberOrBlank = "0"  # price of this fill
    N: str | None = None  # asset of the commission
    n: NumberOrBlank | None = None  # commission
    T: int  # ms
    t: int = 0  # trade id
    b: NumberOrBlank = "0"
    a: NumberOrBlank = "0"
    m: bool = False  # maker
    R: bool = False  # reduce-only
    wt: str = "CONTRACT_PRICE"
    ot: str = ""  # original type
    ps: str = "BOTH"
    cp: bool = False
    rp: NumberOrBlank = "0"  # realised profit
    protect: bool = msgspec.field(name="pP", default=False)
    si: int = 0
    ss: int = 0
    V: str = "EXPIRE_MAKER"
    pm: str = "NONE"
    gtd: int = 0
    er: str = "0"  # why it expired
    AP: NumberOrBlank | UnsetType = UNSET  # from where a trailing stop follows
    cr: NumberOrBlank | UnsetType = UNSET  # its callback, percent


class OrderTradeUpdate(msgspec.Struct, frozen=True, kw_only=True, tag_field="e", tag="ORDER_TRADE_UPDATE"):
    """One step of one order."""

    E: int
    T: int
    o: OrderUpdateBody


class TradeLite(msgspec.Struct, frozen=True, kw_only=True, tag_field="e", tag="TRADE_LITE"):
    """A fill, earlier and with less: the full report follows and is the one that is booked."""

    E: int
    T: int
    s: str
    t: int
    l: Number  # noqa: E741
    L: Number
    S: str
    i: int
    m: bool
    q: NumberOrBlank = "0"
    p: NumberOrBlank = "0"
    c: str = ""


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """One asset of ACCOUNT_UPDATE."""

    a: str
    wb: Number  # wallet
    cw: NumberOrBlank = "0"
    bc: NumberOrBlank = "0"  # change other than profit and commission


class PositionUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """One position of ACCOUNT_UPDATE."""

    s: str
    pa: Number  # signed amount
    ep: NumberOrBlank = "0"
    bep: NumberOrBlank = "0"
    cr: NumberOrBlank = "0"
    up: NumberOrBlank = "0"
    mt: str = "isolated"
    iw: NumberOrBlank = "0"
    ps: str = "BOTH"


class AccountBody(msgspec.Struct, frozen=True, kw_only=True):
    """`a` of ACCOUNT_UPDATE."""

    m: str  # reason
    B: list[Balance] = []
    P: list[PositionUpdate] = []


class AccountUpdate(msgspec.Struct, frozen=True, kw_only=True, tag_field="e", tag="ACCOUNT_UPDATE"):
    """Balances and positions that changed."""

    E: int
    T: int
    a: AccountBody


class AlgoBody(msgspec.Struct, frozen=True, kw_only=True):
    """`o` of ALGO_UPDATE."""

    caid: str
    aid: int
    s: str
    S: str
    o: str
    X: str
    q: NumberOrBlank
    tp: NumberOrBlank
    at: str = "CONDITIONAL"
    ps: str = "BOTH"
    f: str = "GTC"
    p: NumberOrBlank = "0"
    ai: str = ""  # id of the order its trigger made
    ap: NumberOrBlank = ""
    aq: NumberOrBlank = ""
    act: str = ""
    V: str = "NONE"
    wt: str = "CONTRACT_PRICE"
    pm: str = "NONE"
    cp: bool = False
    protect: bool = msgspec.field(name="pP", default=False)
    R: bool = False
    tt: int = 0
    gtd: int = 0
    rm: str = ""  # why it was rejected


class AlgoUpdate(msgspec.Struct, frozen=True, kw_only=True, tag_field="e", tag="ALGO_UPDATE"):
    """One step of one conditional order."""

    E: int
    T: int
    o: AlgoBody

    def order(self) -> Order:
        """The conditional order as this update says. Raises DataError."""
        body = self.o
        report = AlgoReport(
            algo_id=body.aid,
            client_algo_id=body.caid,
            symbol=body.s,
            side=body.S,
            order_type=body.o,
            quantity=body.q,
            algo_status=body.X,
            trigger_price=body.tp,
            price=body.p,
            actual_order_id=body.ai,
            actual_price=body.ap,
            actual_qty=body.aq,
            time_in_force=body.f,
            reduce_only=body.R,
            close_position=body.cp,
            create_time=0,
            update_time=self.T,
        )
        order = order_of_algo(report)
        return evolve(order, reason=body.rm) if body.rm else order


class TriggerRejectBody(msgspec.Struct, frozen=True, kw_only=True):
    """`or` of CONDITIONAL_ORDER_TRIGGER_REJECT."""

    s: str
    i: int
    r: str = ""  # why


class TriggerReject(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="e", tag="CONDITIONAL_ORDER_TRIGGER_REJECT"
):
    """A conditional order triggered and was refused."""

    E: int
    T: int
    rejected: TriggerRejectBody | UnsetType = msgspec.field(name="or", default=UNSET)


class MarginCallPosition(msgspec.Struct, frozen=True, kw_only=True):
    """One position of MARGIN_CALL."""

    s: str
    pa: Number  # signed amount
    ps: str = "BOTH"
    mt: str = "ISOLATED"
    iw: NumberOrBlank = "0"  # isolated wallet
    mp: NumberOrBlank = "0"  # mark price
    up: NumberOrBlank = "0"  # unrealised profit
    mm: NumberOrBlank = "0"  # maintenance margin


class MarginCall(msgspec.Struct, frozen=True, kw_only=True, tag_field="e", tag="MARGIN_CALL"):
    """A position nears its liquidation."""

    E: int
    cw: NumberOrBlank | UnsetType = UNSET  # wallet of cross margin, told for cross positions only
    p: list[MarginCallPosition] = []


class ConfigUpdate(msgspec.Struct, frozen=True, kw_only=True, tag_field="e", tag="ACCOUNT_CONFIG_UPDATE"):
    """Leverage or asset mode changed."""

    E: int
    T: int


class ListenKeyExpired(msgspec.Struct, frozen=True, kw_only=True, tag_field="e", tag="listenKeyExpired"):
    """The private stream has ended; a new key is needed."""

    E: int = 0


UserFrame = (
    OrderTradeUpdate
    | TradeLite
    | AccountUpdate
    | AlgoUpdate
    | TriggerReject
    | MarginCall
    | ConfigUpdate
    | ListenKeyExpired
)


class _FillBody(msgspec.Struct, frozen=True, kw_only=True):
    """What a fill cannot do without."""

    s: str
    c: str
    S: str
    i: int
    x: str
    l: Number  # noqa: E741
    L: Number
    T: int
    t: int
    N: str | None = None
    n: NumberOrBlank | None = None
    m: bool = False


class _FillOnly(msgspec.Struct, frozen=True, kw_only=True, tag_field="e", tag="ORDER_TRADE_UPDATE"):
    o: _FillBody


_decoder: msgspec.json.Decoder[UserFrame] = msgspec.json.Decoder(UserFrame)
_fills: msgspec.json.Decoder[_FillOnly] = msgspec.json.Decoder(_FillOnly)


@define
class Decoded:
    """A private frame. When the whole could not be understood, `frame` is None and `fill_only` may hold its fill."""

    frame: UserFrame | None
    fill_only: _FillBody | None = None
    problem: str = field(default="")


def decode_user(data: bytes) -> Decoded:
    """One frame of the private stream. Raises DataError when it is unknown or broken and holds no fill."""
    try:
        return Decoded(_decoder.decode(data))
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        problem = str(error)
    try:
        rest = _fills.decode(data).o
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise DataError(f"a private frame that cannot be read: {problem}", size=len(data)) from None
    if rest.x != "TRADE" or Decimal(rest.l) <= 0:
        raise DataError(f"a private frame that cannot be read: {problem}", size=len(data))
    return Decoded(None, rest, problem)


def commission_of(body: OrderUpdateBody | _FillBody) -> tuple[str, Decimal]:
    """Asset and amount of the commission; ("", 0) when none was taken."""
    amount = optional(body.n) if body.n else None
    return (body.N or "", amount) if amount is not None else ("", Decimal(0))


def fill_of(body: OrderUpdateBody | _FillBody, fee: Decimal) -> Fill | None:
    """The fill of a report, None when it is none. fee: the commission in the quote asset.

    Liquidation and deleveraging by the venue come as fills too, marked so: they change the position.
    Raises: DataError when side, price or time cannot be.
    """
    venue_made = body.c.startswith(_VENUE_ORDERS)
    quantity = Decimal(body.l)
    if quantity <= 0 or not (body.x == "TRADE" or (body.x == "CALCULATED" and venue_made)):
        return None
    price = optional(body.L or "")
    if price is None or price < 0:
        raise DataError(f"fill {body.t} of {body.s} has no price", symbol=body.s, trade_id=body.t)
    return Fill(
        symbol=body.s,
        trade_id=str(body.t),
        order_id=str(body.i),
        client_order_id=body.c,
        side=side_of(body.S),
        price=price,
        quantity=quantity,
        fee=fee,
        maker=body.m,
        ts_ns=to_ns(body.T),
        liquidation=venue_made,
    )


def order_of_update(update: OrderTradeUpdate) -> Order:
    """The order as this update says. Raises DataError for a status or a type that this version does not know."""
    body = update.o
    order = order_of(
        OrderReport(
            order_id=body.i,
            client_order_id=body.c,
            symbol=body.s,
            side=body.S,
            type=body.o,
            status=body.X,
            orig_qty=body.q,
            executed_qty=body.z,
            price=body.p,
            avg_price=body.ap,
            time_in_force=body.f,
            reduce_only=body.R,
            close_position=body.cp,
            stop_price=body.sp,
            time=0,  # when it was made is not said
            update_time=update.T,
        )
    )
    expired = body.er if body.er not in ("", "0") else ""
    return evolve(order, reason=" ".join(part for part in (order.reason, expired) if part))
