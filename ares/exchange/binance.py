"""Binance USDS-M futures as an `Exchange`: one-way mode, one quote asset, conditional orders by the algo service."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING

from ares.account import Account, Position
from ares.clock import Clock, SystemClock
from ares.errors import InvalidInput, NotAuthorized, Rejected, Retryable, settings_or_default
from ares.events import Command, Event, FuturesStatistics, OrderUpdate, Submit, VenueSnapshot
from ares.exchange.account_reads import AccountReads
from ares.exchange.account_stream import AccountStream
from ares.exchange.amending import amend
from ares.exchange.book_stream import BookStream
from ares.exchange.conditionals import Conditionals
from ares.exchange.config import BinanceConfig
from ares.exchange.contracts import Contracts
from ares.exchange.filled import until_filled
from ares.exchange.http import HttpxWire, LeanWire, Wire
from ares.exchange.link import Connect, open_socket
from ares.exchange.modes import ModeDifference, Modes
from ares.exchange.past import Past
from ares.exchange.patience import within
from ares.exchange.reads import MarketReads
from ares.exchange.rest import RestClient
from ares.exchange.rights import Rights
from ares.exchange.sent import Sent
from ares.exchange.statistics import StatisticsReads
from ares.exchange.streams import MarketStream
from ares.exchange.sweep import Sweep
from ares.exchange.wire import requests
from ares.exchange.wire.account import AccountConfig, KeyRights
from ares.exchange.wire.market import Depth
from ares.exchange.wire.refusals import NO_SUCH_ORDER
from ares.exchange.wire.requests import read
from ares.exchange.wire.trade import AlgoAck, AlgoReport, OrderReport, algo_id_of, order_of, order_of_algo
from ares.exchange.wishes import Number, check, wish
from ares.instruments import Instrument, Interval, Side
from ares.market import AggTrade, FuturesData, OrderBook, Ticker
from ares.orders import Order, OrderRequest, OrderType, TimeInForce
from ares.protocols import Capabilities

if TYPE_CHECKING:
    import httpx
    import pandas as pd

__all__ = ["BinanceExchange"]

_MANY = 20  # above so many symbols one read of all open orders is cheaper


class BinanceExchange:
    """A client of Binance's USDS-M futures. Without keys it reads public data, which is enough for paper trading.

    Use it as an async context manager: entering measures the clock, reads the contracts and, with keys, refuses an
    account in hedge mode, with multi-asset margin, or with a position in another margin mode. An order is sent exactly
    once; `OutcomeUnknown` says that its fate must be asked for.
    """

    def __init__(
        self,
        config: BinanceConfig | None = None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        connect: Connect | None = None,
        clock: Clock | None = None,
    ) -> None:
        """transport: None speaks HTTP over own kept connections. connect: None opens WebSockets itself.

        clock: None is the machine's.
        """
        self.config = settings_or_default(config, BinanceConfig)
        self.clock: Clock = clock or SystemClock()
        wire: Wire = LeanWire(self.config.rest) if transport is None else HttpxWire(self.config.rest, transport)
        self._rest = RestClient(self.config, wire, self.clock)
        spot: Wire | None = None
        if (base := self.config.rights_base) != self.config.rest:
            spot = LeanWire(base) if transport is None else HttpxWire(base, transport)
        self._rights = Rights(self.config, self._rest, spot, self.clock)
        self._contracts = Contracts(self._rest, self.clock)
        self._reads = MarketReads(self._rest, self.clock)
        self._statistics = StatisticsReads(self._rest, self.clock)
        self._account = AccountReads(self._rest, self.clock, self.config.quote_asset)
        self.modes = Modes(self._rest, self._account, self.config.margin_mode)
        self._connect: Connect = connect or open_socket
        self._sweep = Sweep(self._rest, self.clock)
        self._conditionals = Conditionals()
        self._past = Past()
        self._ours: set[str] = set()  # client ids we have sent
        self._sent = Sent(self.clock)
        self._algo_ids: set[str] = set()  # those of conditional orders
        self._newest: dict[tuple[str, str], int] = {}  # open of the newest closed bar that was read, ns
        self._symbols: set[str] = set()  # those that streams and orders use
        self._made = 0
        self._streams: list[MarketStream | AccountStream | BookStream] = []
        self._entered = self._closed = False

    # ------------------------------------------------------------ life

    async def __aenter__(self) -> BinanceExchange:
        if self._entered:
            return self
        await self._rest.sync_time()
        await self._contracts.load()
        if self._rest.has_keys:
            await self.modes.refuse_others()
            if self.config.real_money and not self.config.allow_withdrawal_key:
                await self._rights.refuse_withdrawal()
        self._entered = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End all streams and connections. Orders at the venue stay."""
        self._closed = True
        await asyncio.gather(*(stream.aclose() for stream in self._streams))
        await self._rest.close()
        await self._rights.close()

    @property
    def capabilities(self) -> Capabilities:
        """What can be done with the keys and streams that were configured."""
        return Capabilities(
            name="BINANCE",
            trading=self._rest.has_keys,
            stop_orders=self._rest.has_keys,
            streams=frozenset({*self.config.streams, *(("account", "funding") if self._rest.has_keys else ())}),
            on_request=frozenset({"agg_trades", "book_top", "futures"}),
            real_money=self.config.real_money and self._rest.has_keys,
            verbs=frozenset({"amend_order", "cancel_all_orders", "cancel_all_after"} if self._rest.has_keys else ()),
        )

    def get_exchange_status(self) -> Mapping[str, object]:
        """What is used, what is up, what went wrong; never a key."""
        now = self.clock.now_ns()
        return {
            "name": "BINANCE",
            "environment": self.config.where.name,
            "rest": self.config.rest,
            "signed": self._rest.has_keys,
            "clock_offset_ms": self._rest.time.offset_ms,
            "last_answer_ns": self._rest.last_ok_ns,
            "limits": self._rest.limits.status(now),
            "errors": dict(self._rest.errors),
            "throttled": self._rest.throttled,
            "gate": self._rest.gate.status(),
            "countdowns": self._sweep.countdowns(now),
            "unknown_fields": dict(self._rest.unknown.counts),
            "contracts": len(self._contracts.symbols),
            "streams": [{"kind": type(s).__name__, **s.status()} for s in self._streams],
        }

    # ------------------------------------------------------------ market data

    async def get_klines(
        self,
        symbol: str,
        interval: str,
        limit: int = 500,
        *,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
        closed_only: bool = True,
    ) -> pd.DataFrame:
        """The last `limit` klines, or the first from `start`, oldest first; the forming one only if asked for."""
        await self.get_instrument(symbol)
        frame = await self._reads.klines(symbol, Interval.parse(interval), limit, start, end, closed_only)
        if closed_only and end is None and len(frame):
            self._newest[symbol, interval] = int(frame.index[-1].value)
        return frame

    async def get_ticker(self, symbol: str) -> Ticker:
        """Best quotes and the last price, read together."""
        await self.get_instrument(symbol)
        return await self._reads.ticker(symbol)

    async def get_order_book(self, symbol: str, limit: int = 20) -> OrderBook:
        """The best `limit` levels, at most 1000."""
        await self.get_instrument(symbol)
        return await self._reads.order_book(symbol, limit)

    async def get_agg_trades(
        self, symbol: str, limit: int = 500, *, start: dt.datetime | None = None, end: dt.datetime | None = None
    ) -> tuple[AggTrade, ...]:
        """Aggregate trades, oldest first: the newest, or the first from `start`. The venue keeps two days."""
        await self.get_instrument(symbol)
        return await self._reads.agg_trades(symbol, limit, start, end)

    async def get_futures_data(self, symbol: str, limit: int = 100) -> FuturesData:
        """Settled funding, mark and index price, open interest."""
        await self.get_instrument(symbol)
        return await self._reads.futures_data(symbol, limit)

    async def get_futures_statistics(self, symbol: str, start: dt.datetime | int) -> tuple[FuturesStatistics, ...]:
        """Funding, open interest and ratios published after `start` (ns UTC, or a datetime), at most a month old."""
        await self.get_instrument(symbol)
        return await self._statistics.published(symbol, start)

    async def get_instrument(self, symbol: str) -> Instrument:
        """The contract with its filters, margin tiers and our fees."""
        return await self._contracts.get(symbol)

    # ------------------------------------------------------------ orders

    async def create_order(
        self,
        symbol: str,
        side: Side | str,
        order_type: OrderType | str,
        quantity: Number,
        *,
        price: Number | None = None,
        stop_price: Number | None = None,
        reduce_only: bool = False,
        time_in_force: TimeInForce | str | None = None,
        client_order_id: str | None = None,
    ) -> Order:
        """Check and send an order, once. The answer is an acknowledgement: fills come by the stream or `get_order`.

        Floats are rounded to the grid, decimals and text are taken as they stand.
        Raises: Rejected when it was certainly not executed; Retryable when it never left or the venue asks to wait;
        OutcomeUnknown when nobody can say: ask by its client order id, never send it again. A client id that is open
        already is Rejected with -4116: the first order lives.
        """
        instrument = await self.get_instrument(symbol)
        client_id = client_order_id or self._new_id()
        request = wish(
            instrument,
            side,
            order_type,
            quantity,
            price=price,
            stop_price=stop_price,
            reduce_only=reduce_only,
            time_in_force=time_in_force,
            client_order_id=client_id,
        )
        async with within(self.config.order_patience, f"{symbol}: not sent, mark price and margin mode not read"):
            if not reduce_only:
                await self.modes.prepare(symbol)  # first: it is done once, so that a slow venue is ready the next time
            check(request, instrument, None if reduce_only else await self._account.mark(symbol))
        self._symbols.add(symbol)
        self._ours.add(client_id)
        self._sent.add(symbol, client_id)
        try:
            return await self._place(request, client_id)
        except (Rejected, Retryable):
            self._sent.heard(client_id)
            raise

    async def cancel_order(
        self, symbol: str, order_id: str | None = None, *, client_order_id: str | None = None
    ) -> Order:
        """Cancel an open order of either kind; its last state. Raises Rejected -2011 when it is not open (any more)."""
        engine, algo, client_id = self._which(order_id, client_order_id)
        if engine:
            try:
                number = int(order_id) if order_id is not None else None
                report = await self._rest.call(requests.cancel_order(symbol, number, client_id), OrderReport)
                return order_of(report)
            except Rejected as error:
                if error.code not in NO_SUCH_ORDER or not algo:
                    raise
        number = algo_id_of(order_id) if order_id is not None else None
        await self._rest.call(requests.cancel_algo(number, client_id), AlgoAck)
        async with within(self.config.order_patience, f"{symbol}: cancelled, its last state not read"):
            return await self._get_algo(number, client_id)

    async def get_order(
        self, symbol: str, order_id: str | None = None, *, client_order_id: str | None = None
    ) -> Order:
        """An order of either kind in its present state. Raises Rejected -2013 when the venue knows none (now)."""
        engine, algo, client_id = self._which(order_id, client_order_id)
        if engine:
            try:
                number = int(order_id) if order_id is not None else None
                return order_of(await self._rest.read(requests.query_order(symbol, number, client_id), OrderReport))
            except Rejected as error:
                if error.code not in NO_SUCH_ORDER or not algo:
                    raise
        return await self._get_algo(algo_id_of(order_id) if order_id is not None else None, client_id)

    async def wait_filled(self, order: Order, timeout: float | None = None) -> Position:
        """Wait until the order has filled; the position it left.

        Raises: Rejected when it ends unfilled; Retryable when `timeout` seconds pass before.
        """
        await until_filled(order, timeout, lambda o: self.get_order(o.symbol, o.order_id))
        return await self._account.position(order.symbol)

    async def amend_order(
        self, order: Order, *, quantity: Number | None = None, price: Number | None = None
    ) -> Order:
        """Change a resting limit order's quantity (the whole, with what has filled) or price; it queues anew.

        A quantity of no more than what has filled ends the order. Raises as `create_order` does.
        """
        instrument = await self.get_instrument(order.symbol)
        mark = None if order.reduce_only else await self._account.mark(order.symbol)
        return await amend(self._rest, instrument, mark, order, quantity, price)

    async def cancel_all_orders(self, symbol: str, *, conditional: bool = False) -> None:
        """Cancel every normal order of the symbol in one request; with `conditional` its stops too."""
        await self._sweep.cancel_all(symbol, conditional=conditional)

    async def cancel_all_after(self, symbol: str, seconds: float) -> None:
        """A dead man's switch: the venue cancels the symbol's orders in `seconds` unless this is called again before.

        0 ends it. It is not confirmed whether the venue would cancel stops too: arm it only while the symbol is flat.
        """
        await self._sweep.after(symbol, seconds)

    async def get_open_orders(self, symbol: str | None = None) -> tuple[Order, ...]:
        """Normal and conditional orders, oldest first."""
        engine = read("/fapi/v1/openOrders", signed=True, protective=True, symbol=symbol)
        service = read("/fapi/v1/openAlgoOrders", signed=True, protective=True, symbol=symbol)
        normal, algo = await asyncio.gather(
            self._rest.read(engine, list[OrderReport]), self._rest.read(service, list[AlgoReport])
        )
        found = [order_of(r) for r in normal]
        for report in algo:
            order = order_of_algo(report)
            self._conditionals.saw(order, report.actual_order_id)
            self._algo_ids.add(order.client_order_id)
            found.append(order)
        return tuple(sorted(found, key=lambda o: (o.created_ns, o.order_id)))

    # ------------------------------------------------------------ account

    async def get_account(self) -> Account:
        """Money and open positions in the quote asset, as the venue sees them."""
        return await self._account.account()

    async def get_positions(self, symbol: str | None = None) -> tuple[Position, ...]:
        """Positions that are not flat."""
        return await self._account.positions(symbol)

    async def set_leverage(self, symbol: str, leverage: int) -> int:
        """Set the symbol's leverage; what the venue confirms. Raises Rejected."""
        return await self.modes.set_leverage(symbol, leverage)

    async def set_margin_mode(self, symbol: str, mode: str) -> str:
        """Set "isolated" or "cross"; having it already is no error. Raises Rejected while orders or positions exist."""
        return await self.modes.set_margin(symbol, mode)

    async def account_config(self) -> AccountConfig:
        """What the key and the account may do: trade, withdraw, hedge mode."""
        return await self._account.config()

    async def mode_differences(self) -> tuple[ModeDifference, ...]:
        """What of position, assets and margin modes and of leverage is not as ares reckons or has set it."""
        return await self.modes.differences()

    async def key_rights(self) -> KeyRights:
        """What the key itself may do, as the spot interface tells. Raises Rejected where a test network does not."""
        return await self._rights.ask()

    # ------------------------------------------------------------ streams

    def stream_market(self, symbols: Sequence[str], interval: str, kinds: Collection[str] = ()) -> MarketStream:
        """Closed candles, mark prices and what else `config.streams` names, and the `kinds` that features need.

        Candles continue after the newest bar that `get_klines` has given for the symbol, else from now on, so that
        history and stream join without a gap and without a repetition.
        """
        self._symbols.update(symbols)
        stream = MarketStream(
            tuple(symbols),
            Interval.parse(interval),
            frozenset(self.config.streams),
            asked=frozenset(kinds),
            statistics=self.get_futures_statistics,
            base=self.config.stream_base,
            connect=self._connect,
            clock=self.clock,
            klines=self.get_klines,
            newest=lambda symbol: self._newest.get((symbol, interval)),
        )
        self._streams.append(stream)
        return stream

    def stream_order_book(self, symbol: str, levels: int = 20) -> BookStream:
        """Order books kept exact by the venue's chain of changes, the best `levels` of each side."""

        async def snapshot(name: str) -> Depth:
            return await self._rest.read(requests.depth(name, 1000), Depth)

        stream = BookStream(
            symbol,
            levels,
            base=self.config.stream_base,
            connect=self._connect,
            clock=self.clock,
            snapshot=snapshot,
        )
        self._streams.append(stream)
        return stream

    def stream_account(self) -> AccountStream:
        """Venue truth first, then every report and fill of the account. Raises NotAuthorized without keys."""
        if not self._rest.has_keys:
            raise NotAuthorized("the account stream needs an API key and its secret")
        stream = AccountStream(
            self,
            self._rest,
            self._conditionals,
            self._ours,
            self._past,
            self._sent,
            quote=self.config.quote_asset,
            base=self.config.stream_base,
            connect=self._connect,
            clock=self.clock,
        )
        self._streams.append(stream)
        return stream

    async def adopt(self, records: Iterable[tuple[Event, Sequence[Command]]]) -> None:
        """Go on after an earlier session: what its journal has not heard of is told after the first snapshot."""
        for event, commands in records:
            self._past.read(event, self._conditionals)
            self._past.symbols.update(c.intent.request.symbol for c in commands if isinstance(c, Submit))
            if isinstance(event, OrderUpdate):
                self._ours.add(event.order.client_order_id)
                if event.order.order_type.conditional:
                    self._algo_ids.add(event.order.client_order_id)

    async def venue_snapshot(self) -> VenueSnapshot:
        """Venue truth now: account, open orders of both kinds, instruments of the symbols in use."""
        await self._contracts.refresh()
        account, orders = await asyncio.gather(self.get_account(), self._all_open_orders())
        symbols = {*self._symbols, *(p.symbol for p in account.positions)}
        now = self.clock.now_ns()
        return VenueSnapshot(
            ts_event=account.updated_ns,
            ts_seen=now,
            account=account,
            open_orders=orders,
            instruments=await self._contracts.get_all(sorted(symbols)),
        )

    async def fee_in_quote(self, asset: str, amount: Decimal) -> Decimal:
        """A commission valued in the quote asset, at a mark price not older than a minute. Raises Retryable."""
        return await self._account.in_quote(asset, amount)

    # ------------------------------------------------------------ inside

    async def _place(self, request: OrderRequest, client_id: str) -> Order:
        if not request.order_type.conditional:
            return order_of(await self._rest.call(requests.new_order(request, client_id), OrderReport))
        trigger = None if self.config.stop_trigger == "CONTRACT_PRICE" else self.config.stop_trigger
        self._algo_ids.add(client_id)
        report = await self._rest.call(requests.algo_order(request, client_id, trigger), AlgoReport)
        order = order_of_algo(report)
        self._conditionals.saw(order, report.actual_order_id)
        return order

    def _which(self, order_id: str | None, client_id: str | None) -> tuple[bool, bool, str | None]:
        """Whether to ask the engine, whether to ask the algo service, and the client id when it decides."""
        if order_id is not None:
            algo = algo_id_of(order_id) is not None
            if not algo and not order_id.isdigit():
                raise InvalidInput(f"{order_id!r} is no order id of this venue")
            return not algo, algo, None
        if client_id is None:
            raise InvalidInput("say which order: by order_id or by client_order_id")
        if client_id in self._algo_ids:
            return False, True, client_id
        return True, client_id not in self._ours, client_id

    async def _get_algo(self, algo_id: int | None, client_id: str | None) -> Order:
        report = await self._rest.read(requests.query_algo(algo_id, client_id), AlgoReport)
        actual = None
        if report.actual_order_id not in ("", "0") and report.actual_order_id.isdigit():
            query = requests.query_order(report.symbol, int(report.actual_order_id), None)
            actual = order_of(await self._rest.read(query, OrderReport))
        order = order_of_algo(report, actual)
        self._conditionals.saw(order, report.actual_order_id)
        return order

    async def _all_open_orders(self) -> tuple[Order, ...]:
        if not self._symbols or len(self._symbols) > _MANY:
            return await self.get_open_orders()
        each = await asyncio.gather(*(self.get_open_orders(symbol) for symbol in sorted(self._symbols)))
        return tuple(order for orders in each for order in orders)

    def _new_id(self) -> str:
        """A client order id that does not repeat: the time and a count."""
        self._made += 1
        return f"ares-{self.clock.now_ns() // 1_000_000:x}-{self._made:x}"
