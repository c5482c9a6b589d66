"""The account's live events: venue truth first, then every report and every fill once, whatever the connection does.

Nothing private is ever dropped or merged. After a broken connection, an expired key, or an audit that finds a position
our fills do not explain, the trades in between are read by REST and told as if they had been heard.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Coroutine
from decimal import Decimal
from typing import Protocol

from attrs import evolve

from ares.account import Account
from ares.clock import Clock
from ares.errors import AresError, DataError, Rejected, Retryable
from ares.events import Event, FillBooked, LinkChanged, OrderUpdate, VenueSnapshot
from ares.exchange.conditionals import Conditionals
from ares.exchange.fees import Fees
from ares.exchange.link import Connect, Link
from ares.exchange.looking import look_unless
from ares.exchange.mode_watch import ModeWatch
from ares.exchange.modes import ModeDifference
from ares.exchange.past import Past
from ares.exchange.payments import Payments
from ares.exchange.rest import RestClient
from ares.exchange.sent import Sent
from ares.exchange.trades import Trades
from ares.exchange.wire.account import ListenKey
from ares.exchange.wire.requests import listen_key
from ares.exchange.wire.trade import UserTrade, fill_of_trade
from ares.exchange.wire.user import (
    AccountUpdate,
    AlgoUpdate,
    ConfigUpdate,
    ListenKeyExpired,
    OrderTradeUpdate,
    commission_of,
    decode_user,
    fill_of,
    order_of_update,
)
from ares.log import get_logger
from ares.orders import Fill, Order, OrderStatus

__all__ = ["AccountStream", "Venue"]

_log = get_logger("ares.exchange")
_RENEW = 25 * 60.0  # seconds between two extensions of the listen key, which lasts 60 minutes
_AUDIT_EXPOSED, _AUDIT_FLAT = 10.0, 60.0  # seconds between two looks at venue truth
_AUDIT_UNHEARD = 3.0  # while an order was sent and nothing was heard of it
_SOON = 0.5  # seconds until the venue is read after a report that could not be handled
_SLOWEST = 30.0  # seconds between two looks at venue truth when each ends in a failure
_PARKED = 2.0  # seconds that an order of unknown origin waits for the algo report that explains it
_MOST_DRIFT_NS = 500_000_000  # a clock further off than this is not trusted with new risk
_MOST_WAITING = 20_000  # events a reader may leave lying before the account counts as unheard
_State = tuple[int, int, Decimal]  # time, rank of the status, quantity filled: a report's age
_Terms = tuple[Decimal, Decimal | None]  # quantity, price
_RANK = {
    OrderStatus.PENDING: 0,
    OrderStatus.UNKNOWN: 0,
    OrderStatus.NEW: 1,
    OrderStatus.PARTIALLY_FILLED: 2,
}


class Venue(Protocol):
    """What this stream asks of the exchange it belongs to."""

    async def venue_snapshot(self) -> VenueSnapshot: ...
    async def get_order(
        self, symbol: str, order_id: str | None = None, *, client_order_id: str | None = None
    ) -> Order: ...
    async def fee_in_quote(self, asset: str, amount: Decimal) -> Decimal: ...
    async def mode_differences(self) -> tuple[ModeDifference, ...]: ...


class AccountStream(AsyncIterator[Event]):
    """Private events, in order. The first is a `VenueSnapshot`."""

    def __init__(
        self,
        venue: Venue,
        rest: RestClient,
        conditionals: Conditionals,
        ours: set[str],
        past: Past,
        sent: Sent,
        *,
        quote: str,
        base: str,
        connect: Connect,
        clock: Clock,
    ) -> None:
        """ours: client ids of the orders that this exchange has placed; sent: those of them of which nothing was heard;
        both are shared with it. past: of an earlier session. quote: the asset that money is counted in.
        """
        self._venue, self._rest, self._clock, self._quote = venue, rest, clock, quote
        self._conditionals, self._ours, self._base = conditionals, ours, base
        self._events: deque[Event] = deque()
        self._there = asyncio.Event()
        self._frames: asyncio.Queue[bytes | None] = asyncio.Queue()  # None: the connection came back
        self._past, self._sent = past, sent
        sent.wake = lambda: self._frames.put_nowait(None)  # so that the next look is brought forward
        self._told: set[tuple[str, str]] = set(past.told)  # fills by (symbol, trade id)
        self._trades = Trades(rest, clock, past.confirmed())
        self._payments = Payments(rest, clock, past.funded, past.paid_ns)
        self._fees = Fees(venue.fee_in_quote)
        self._modes = ModeWatch(venue.mode_differences, clock, self._put)
        self._states: dict[str, tuple[_State, _Terms]] = {}  # of the newest report told, by client id
        self._open: dict[str, Order] = {}  # orders that may still trade, by client id
        self._held: dict[str, Decimal] = {}  # position by our fills
        self._parked: list[tuple[float, OrderTradeUpdate]] = []
        self._since_ms = 0  # fills before this are not ours to tell
        self._broken = False  # the link was down since the last snapshot
        self._begun = False  # the first snapshot was told
        self._behind = True  # what happened since the session before was not told yet
        self._drifted = False  # our clock is too far off
        self._unheard = False  # the reader has left too much lying
        self._audit_at = 0.0  # of the loop's clock
        self._failures = 0  # reports and audits that could not be handled, since an audit without any before it
        self._failed = False  # one of them after the last audit
        self._put_off: Counter[str] = Counter()  # looks in a row that gave way to reports, by what was looked at
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False
        self._failure: AresError | None = None
        self.bad: Counter[str] = Counter()
        self.link = Link(
            "private",
            self._url,
            self._frames.put_nowait,
            connect=connect,
            clock=clock,
            changed=self._changed,
            up_when_open=True,
            stall=None,  # a quiet account is no stall: the audit looks after it
        )

    def __aiter__(self) -> AccountStream:
        return self

    async def __anext__(self) -> Event:
        if not self._tasks and not self._closed:
            now_ms = self._rest.time.venue_ms(self._clock.now_ns())
            self._since_ms = self._past.since_ns // 1_000_000 or now_ms
            self.link.start()
            self._tasks = [asyncio.ensure_future(self._work()), asyncio.ensure_future(self._keep_key())]
        while not self._events:
            if self._failure is not None:
                raise self._failure
            if self._closed:
                raise StopAsyncIteration
            self._there.clear()
            await self._there.wait()
        self._unheard = self._unheard and len(self._events) > 1
        return self._events.popleft()

    async def aclose(self) -> None:
        """End the stream; a pending read ends too."""
        self._closed = True
        self._there.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, self.link.close(), return_exceptions=True)

    def status(self) -> dict[str, object]:
        """For people."""
        return {
            "link": self.link.status(),
            "unusable_frames": dict(self.bad),
            "waiting": len(self._events),
            "fees_assumed": self._fees.assumed,
        }

    # ------------------------------------------------------------ the connection

    async def _url(self) -> str:
        key = await self._rest.read(listen_key("POST"), ListenKey)
        return f"{self._base}/private/ws?listenKey={key.listen_key}"

    def _changed(self, up: bool) -> None:
        if up:
            self._frames.put_nowait(None)
        else:
            self._broken = True
            self._say("account", False)

    def _say(self, link: str, up: bool) -> None:
        if self._begun:
            now = self._clock.now_ns()
            self._put(LinkChanged(ts_event=now, ts_seen=now, link=link, up=up))

    async def _keep_key(self) -> None:
        """Extend the listen key; two failures in a row, or an unknown key, make a new connection with a new one."""
        failures = 0
        while True:
            await asyncio.sleep(_RENEW if failures == 0 else 30.0)
            try:
                await self._rest.send(listen_key("PUT"))
                failures = 0
            except Rejected:
                failures = 2
            except AresError:
                failures += 1
            except Exception as error:  # whatever it is, the key must go on being extended
                _log.error("listen_key.failed", error=f"{type(error).__name__}: {error}")
                failures += 1
            if failures >= 2:
                failures = 0
                self.link.renew()

    # ------------------------------------------------------------ the worker: one after the other

    async def _work(self) -> None:
        """Venue truth, then frames as they come; looks at the venue in between. Once begun, no failure ends it."""
        loop = asyncio.get_running_loop()
        try:
            await self._connected()
            self._audit_at = loop.time() + self._audit_every()
            await self._look("truth", self._truth(first=True))
        except Exception as error:
            if not self._begun:
                unforeseen = DataError(f"the private stream cannot begin: {type(error).__name__}: {error}")
                self._failure = error if isinstance(error, AresError) else unforeseen
                self._there.set()
                return
            self._not_handled(error)
        while True:
            try:
                await self._next(loop)
            except Exception as error:
                self._not_handled(error)

    async def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        """Handle one frame, or what is due."""
        self._audit_at = min(self._audit_at, loop.time() + self._audit_every())
        wait = min(self._audit_at, min((t for t, _ in self._parked), default=self._audit_at)) - loop.time()
        try:
            async with asyncio.timeout(max(0.0, wait)):
                frame = await self._frames.get()
        except TimeoutError:
            await self._unpark(loop.time())
            if loop.time() >= self._audit_at:
                await self._look("truth", self._audit(loop))
                await self._look("modes", self._modes.look())
            return
        if frame is not None:
            await self._frame(frame)
        elif self._broken:
            await self._look("truth", self._truth())

    async def _look(self, what: str, look: Coroutine[None, None, None]) -> None:
        """Look at the venue; reports that come meanwhile do not wait long, and then it is looked again soon."""
        if await look_unless(lambda: self._begun and not self._frames.empty(), look, self._put_off[what]):
            self._put_off[what] = 0
        else:
            self._put_off[what] += 1
            self._audit_at = min(self._audit_at, asyncio.get_running_loop().time() + _SOON)

    def _not_handled(self, error: Exception) -> None:
        """What was not understood is read instead, soon, and later each time that it happens again.

        After a failure that nobody foresaw the account counts as unheard until that look has succeeded.
        """
        name = type(error).__name__
        self.bad[name] += 1
        if isinstance(error, AresError):
            _log.warning("private.not_handled", error=str(error))
        else:
            _log.error("private.failed", error=f"{name}: {error}")
            if not self._broken:
                self._broken = True
                self._say("account", False)
        self._failures, self._failed = self._failures + 1, True
        later = min(_SLOWEST, _SOON * 2.0 ** min(self._failures - 1, 6))
        self._audit_at = min(self._audit_at, asyncio.get_running_loop().time() + later)

    async def _connected(self) -> None:
        """Wait for the link before the first look, so that nothing falls between the look and the stream."""
        for _ in range(3000):
            if self.link.connects:
                return
            await asyncio.sleep(0.01)
        raise DataError("the private stream cannot be opened: see the log for why")

    def _audit_every(self) -> float:
        if self._sent.waiting():
            return _AUDIT_UNHEARD
        exposed = bool(self._open) or any(self._held.values())
        return _AUDIT_EXPOSED if exposed else _AUDIT_FLAT

    async def _audit(self, loop: asyncio.AbstractEventLoop) -> None:
        self._audit_at = loop.time() + self._audit_every()
        await self._truth()
        self._failures = self._failures if self._failed else 0
        self._failed = False

    async def _truth(self, *, first: bool = False) -> None:
        """Read the venue; tell the trades and orders that were missed, then the snapshot."""
        snapshot = await self._venue.venue_snapshot()
        if not first:
            if self._behind:
                await self._since_then(snapshot.account)
            told = len(self._told)
            await self._catch_up(snapshot.account)
            if len(self._told) > told:  # of an order sent while the venue was read, perhaps: then the look is older
                snapshot = await self._venue.venue_snapshot()
        self._open = {o.client_order_id: o for o in snapshot.open_orders}
        self._ours.update(self._open)
        missed = self._broken
        if first:  # nothing is told before it
            self._put(snapshot)
            self._begun = True
            if self._broken and not self.link.up:
                self._say("account", False)
        if self._broken and self.link.up:
            self._broken = False
            self._say("account", True)
        drifted = abs(self._rest.time.offset_ns) > _MOST_DRIFT_NS
        if drifted is not self._drifted:
            self._drifted = drifted
            self._say("clock", not drifted)
        if not first:
            self._put(snapshot)
        else:
            await self._since_then(snapshot.account)
        await self._payments.audit(self._put, missed=missed)

    async def _since_then(self, account: Account) -> None:
        """After a restart: what became of the orders of the session before, and what they traded meanwhile."""
        self._held = {p.symbol: p.quantity for p in account.positions}
        for symbol in sorted(self._past.symbols):
            for order in self._conditionals.open_of(symbol):
                try:
                    await self._venue.get_order(symbol, client_order_id=order.client_order_id)
                except Rejected as error:
                    _log.warning("order.not_found", symbol=symbol, error=str(error))
            await self._trades.missed(symbol, self._since_ms, self._take)
        self._held = {p.symbol: p.quantity for p in account.positions}  # with all of these trades
        self._behind = False

    async def _catch_up(self, account: Account) -> None:
        """Trades of every symbol whose position our fills do not explain, or that may have been missed."""
        venue = {p.symbol: p.quantity for p in account.positions}
        differing = {s for s in {*venue, *self._held} if venue.get(s, Decimal(0)) != self._held.get(s, Decimal(0))}
        symbols = differing | ({o.symbol for o in self._open.values()} | set(self._held) if self._broken else set())
        for symbol in sorted(symbols):
            await self._trades.missed(symbol, self._since_ms, self._take)
        if self._broken or differing:
            for order in list(self._open.values()):
                try:
                    fresh = await self._venue.get_order(order.symbol, client_order_id=order.client_order_id)
                except Rejected as error:  # the venue forgets what ended long ago; whoever sent it asks for its end
                    _log.warning("order.not_found", symbol=order.symbol, error=str(error))
                    self._open.pop(order.client_order_id, None)
                    continue
                self._tell_order(fresh)
        for symbol, client_id in self._sent.waiting():
            try:
                order = await self._venue.get_order(symbol, client_order_id=client_id)
            except Rejected:
                continue  # it may yet come to be
            if order.filled:
                await self._trades.missed(symbol, self._since_ms, self._take)
            self._tell_order(order)

    async def _take(self, row: UserTrade) -> None:
        """Tell a trade that was read, unless it was told already."""
        if (row.symbol, str(row.id)) in self._told:
            return
        order = await self._order_behind(row)
        notional = Decimal(row.price) * Decimal(row.qty)
        fee = await self._fees.of(row.commission_asset, Decimal(row.commission), notional, maker=row.maker)
        fill = fill_of_trade(row, order.order_id, order.client_order_id, fee)
        self._tell_fill(evolve(fill, fee_asset=self._other(row.commission_asset)))
        self._tell_order(order)

    async def _order_behind(self, row: UserTrade) -> Order:
        engine = await self._venue.get_order(row.symbol, str(row.order_id))
        conditional = self._conditionals.behind(engine.order_id, engine.client_order_id)
        return engine if conditional is None else self._conditionals.joined(conditional, engine)

    # ------------------------------------------------------------ frames

    async def _frame(self, data: bytes) -> None:
        try:
            found = decode_user(data)
        except DataError:
            self.bad["frame"] += 1
            _log.warning("private.unreadable", size=len(data))
            await self._look("truth", self._truth())
            return
        frame = found.frame
        if found.fill_only is not None:
            await self._fill(fill_of(found.fill_only, Decimal(0)), *commission_of(found.fill_only))
            await self._look("truth", self._truth())
        elif isinstance(frame, OrderTradeUpdate):
            await self._order_frame(frame)
        elif isinstance(frame, AlgoUpdate):
            order = frame.order()
            self._conditionals.saw(order, frame.o.ai)
            if frame.o.X != "FINISHED":  # its fills come with the order that the trigger made
                self._tell_order(order)
            await self._unpark(float("inf"))
        elif isinstance(frame, AccountUpdate) and frame.a.m == "FUNDING_FEE":
            await self._look("payments", self._payments.announced(self._put))
        elif isinstance(frame, ConfigUpdate):
            self._modes.look_soon()
        elif isinstance(frame, ListenKeyExpired):
            self.link.renew()

    async def _order_frame(self, frame: OrderTradeUpdate) -> None:
        body = frame.o
        known = body.c in self._ours or self._conditionals.behind(str(body.i), body.c) is not None
        if not known and self._conditionals.waiting(body.s):
            self._parked.append((asyncio.get_running_loop().time() + _PARKED, frame))
            return
        await self._tell_frame(frame)

    async def _unpark(self, now: float) -> None:
        """Tell parked reports that are explained now, or have waited long enough."""
        for parked in self._parked.copy():
            until, frame = parked
            explained = self._conditionals.behind(str(frame.o.i), frame.o.c) is not None
            if not explained and (now < until or now == float("inf")):
                continue
            try:
                await self._tell_frame(frame)
            except Retryable as error:
                self._not_handled(error)
                self._parked.append((asyncio.get_running_loop().time() + _PARKED, frame))
            except Exception as error:  # it can never be told: the audit reads it instead
                self._not_handled(error)
            self._parked.remove(parked)

    async def _tell_frame(self, frame: OrderTradeUpdate) -> None:
        """First the fill, which is never lost, then the order's state."""
        await self._fill(fill_of(frame.o, Decimal(0)), *commission_of(frame.o))
        order = order_of_update(frame)
        conditional = self._conditionals.behind(order.order_id, order.client_order_id)
        self._tell_order(order if conditional is None else self._conditionals.joined(conditional, order))

    async def _fill(self, fill: Fill | None, asset: str, amount: Decimal) -> None:
        """Tell the fill of a report, if it is one, with what its commission is worth."""
        if fill is not None:
            fee = await self._fees.of(asset, amount, fill.price * fill.quantity, maker=fill.maker)
            self._tell_fill(self._renamed(evolve(fill, fee=fee, fee_asset=self._other(asset))))

    def _other(self, asset: str) -> str:
        """The asset of a commission, nothing for the quote asset."""
        return "" if asset == self._quote else asset

    def _renamed(self, fill: Fill) -> Fill:
        conditional = self._conditionals.behind(fill.order_id, fill.client_order_id)
        if conditional is None:
            return fill
        return evolve(fill, order_id=conditional.order_id, client_order_id=conditional.client_order_id)

    # ------------------------------------------------------------ telling, once and in order

    def _tell_fill(self, fill: Fill) -> None:
        identity = (fill.symbol, fill.trade_id)
        if identity in self._told:
            return
        self._told.add(identity)
        self._held[fill.symbol] = self._held.get(fill.symbol, Decimal(0)) + fill.side.sign * fill.quantity
        self._put(FillBooked(ts_event=fill.ts_ns, ts_seen=self._clock.now_ns(), fill=fill))

    def _tell_order(self, order: Order) -> None:
        """Tell a state that is newer than the one told before; older never overwrites newer.

        Within one millisecond an order may fill in parts, each of which has filled more, and may be amended.
        """
        self._sent.heard(order.client_order_id)
        state = (order.updated_ns, _RANK.get(order.status, 3), order.filled)
        terms = (order.quantity, order.price)
        before, told = self._states.get(order.client_order_id, (None, terms))
        if before is not None and (before[1] == 3 or state < before or (state == before and terms == told)):
            return
        self._states[order.client_order_id] = (state, terms)
        if order.status.open:
            self._open[order.client_order_id] = order
        else:
            self._open.pop(order.client_order_id, None)
        self._put(OrderUpdate(ts_event=order.updated_ns, ts_seen=self._clock.now_ns(), order=order))

    def _put(self, event: Event) -> None:
        """Nothing is dropped; a reader who has stopped listening is told so before anything else he reads."""
        self._events.append(event)
        if len(self._events) > _MOST_WAITING and not self._unheard:
            self._unheard = True
            now = self._clock.now_ns()
            self._events.appendleft(LinkChanged(ts_event=now, ts_seen=now, link="account", up=False))
            self._broken = True  # the next audit reads what the reader may have missed, and lets go
        self._there.set()
