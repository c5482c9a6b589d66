"""The local venue: accounts over one market. It knows no requests and no sockets: `front` and `app` bring those."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from hashlib import sha256
from typing import Any, Protocol

import msgspec
from attrs import evolve

from ares.clock import Clock, SystemClock
from ares.exchange.wire.numbers import MS
from ares.instruments import Instrument, Side
from ares.orders import OrderRequest, OrderType
from ares.secret import Secret
from ares.simulation.faults import FaultPlan
from ares.simulation.server.frames import Wants, market_frames, steady_frames
from ares.simulation.server.limits import RequestLimits
from ares.simulation.server.market import Market, Pace, SymbolState
from ares.simulation.server.tickers import ticker_frames
from ares.simulation.server.trader import Trader
from ares.simulation.server.walk import Tick
from ares.simulation.session import instruments_of
from ares.simulation.tape import Tape
from ares.simulation.venue import Venue, VenueConfig

__all__ = ["LocalVenue", "Subscriber"]

_LISTEN_NS = 3_600_000_000_000


class Subscriber(Protocol):
    """Who takes frames: `names` are the streams that it wants now."""

    names: set[str]

    def take(self, stream: str, frame: bytes) -> None: ...


class LocalVenue:
    """A venue with one market and any number of accounts.

    Subscribers of frames are called with (stream name, frame bytes); a private stream's name is "private:" and the
    listen key. One that was not entered by `subscribe` gets every stream.
    """

    def __init__(
        self,
        tape: Tape,
        *,
        accounts: Mapping[str, tuple[Secret, Decimal]],
        clock: Clock | None = None,
        pace: Pace | None = None,
        history: int | None = None,
        faults: FaultPlan | None = None,
        limits: RequestLimits | None = None,
        config: VenueConfig | None = None,
    ) -> None:
        """accounts: API key to its secret (or PEM private key) and balance. clock: None is the machine's.

        history: bars of the tape that are past at the start; None: up to 1000, at most half.
        """
        self.clock: Clock = clock or SystemClock()
        self.config = config or VenueConfig()
        self.instruments: dict[str, Instrument] = {i.symbol: i for i in instruments_of(tape)}
        self.market = Market(tape, self.instruments, self.clock.now_ns(), pace or Pace(), history)
        self.faults = faults or FaultPlan()
        self.limits = limits or RequestLimits()
        self.subscribers: dict[object, Callable[[str, bytes], None]] = {}
        self._names: dict[object, Collection[str]] = {}  # the streams that a subscriber wants
        self.traders: dict[str, Trader] = {}
        self.orders_taken = 0
        self.drift_ns = 0  # of a fault: how far the venue's clock is ahead
        self.closed_until_ns = 0  # maintenance
        self._busy = False
        self._second = 0  # when the steady frames were told last
        for key, (secret, balance) in accounts.items():
            self._add(key, secret, balance)
        self.market.on_tick = self._tick

    def warm(self) -> None:
        """Trade once on a venue that is thrown away, so that no client waits for a kernel to be compiled."""
        symbol, state = next(iter(self.market.symbols.items()))
        instrument = self.instruments[symbol]
        trial = Venue([instrument], evolve(self.config, start_balance=Decimal(10) ** 9))
        trial.trade(symbol, state.last)
        size = instrument.quantity(Decimal(1000) / Decimal(repr(state.last)) + instrument.min_quantity)
        stop = instrument.stop_price(state.last * 0.99, Side.SELL)
        trial.submit(OrderRequest(symbol=symbol, side=Side.BUY, order_type=OrderType.MARKET, quantity=size))
        trial.submit(
            OrderRequest(
                symbol=symbol,
                side=Side.SELL,
                order_type=OrderType.STOP_MARKET,
                quantity=size,
                stop_price=stop,
                reduce_only=True,
            )
        )
        trial.trade(symbol, state.last * 0.98)
        trial.account()

    # ------------------------------------------------------------ time

    def now_ns(self) -> int:
        """The venue's time: the clock, and the drift of a fault."""
        return self.clock.now_ns() + self.drift_ns

    def play(self) -> None:
        """Bring the market to the present. Frames and fills come out on the way."""
        if not self._busy:
            self._busy = True
            try:
                self.market.play(self.clock.now_ns())
                now = self.clock.now_ns()
                for trader in self.traders.values():
                    trader.venue.now_ns = self.now_ns()
                    trader.expire(self.now_ns())
                    trader.count_down(now)
                    if trader.listen_key and now > trader.listen_until_ns:
                        self.end_listen_key(trader)
                self._beat()
            finally:
                self._busy = False

    # ------------------------------------------------------------ listen keys

    def listen_key(self, trader: Trader) -> str:
        """The account's key for its private stream, made or extended."""
        now = self.clock.now_ns()
        if not trader.listen_key or now > trader.listen_until_ns:
            trader.listen_keys += 1
            trader.listen_key = sha256(f"{trader.key} {trader.listen_keys}".encode()).hexdigest()
        trader.listen_until_ns = now + _LISTEN_NS
        return trader.listen_key

    def end_listen_key(self, trader: Trader) -> None:
        """Its private stream tells so and then nothing more."""
        key, ms = trader.listen_key, self.now_ns() // MS
        self._publish(f"private:{key}", msgspec.json.encode({"e": "listenKeyExpired", "E": ms, "listenKey": key}))
        trader.listen_key = ""

    def owner_of(self, listen_key: str) -> Trader | None:
        """Whose private stream a key opens; None when it is unknown or has expired."""
        now = self.clock.now_ns()
        for trader in self.traders.values():
            if trader.listen_key and trader.listen_key == listen_key and now <= trader.listen_until_ns:
                return trader
        return None

    # ------------------------------------------------------------ subscribers

    def subscribe(self, subscriber: Subscriber) -> None:
        """Tell frames to this one from now on."""
        self.subscribers[subscriber] = subscriber.take
        self._names[subscriber] = subscriber.names

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """And no more."""
        self.subscribers.pop(subscriber, None)
        self._names.pop(subscriber, None)

    def _wants(self) -> Wants:
        """Which streams anybody wants: others need not be made."""
        if any(who not in self._names for who in self.subscribers):
            return lambda stream: True
        return set().union(*self._names.values()).__contains__

    # ------------------------------------------------------------ what happens

    def _beat(self) -> None:
        """Once a second what does not wait for the market is told: mark prices, forming bars, tickers."""
        second = self.clock.now_ns() // 1_000_000_000
        if second == self._second or not self.subscribers:
            return
        self._second = second
        wants, now = self._wants(), self.now_ns()
        for symbol, state in self.market.symbols.items():
            for stream, frame in steady_frames(self.market, symbol, state, now, wants):
                self._publish(stream, frame)
        for stream, frame in ticker_frames(self.market, self.config.slippage, now, wants):
            self._publish(stream, frame)

    def _add(self, key: str, secret: Secret, balance: Decimal) -> None:
        venue = Venue(self.instruments.values(), evolve(self.config, start_balance=balance))
        venue.depth = self.market.depth

        def tell(frame: bytes) -> None:
            if trader.listen_key:
                self._publish(f"private:{trader.listen_key}", frame)

        trader = Trader.open(key, secret, venue, tell)
        trader.shout = self._forced
        self.traders[key] = trader
        for symbol, state in self.market.symbols.items():
            venue.now_ns = self.now_ns()
            venue.trade(symbol, state.last, state.mark)
        venue.events.clear()

    def _tick(self, tick: Tick, state: SymbolState) -> None:
        now = self.now_ns()
        step = self.instruments[tick.symbol].lot_step
        lots = None if tick.quantity is None else int(Decimal(repr(tick.quantity)) // step)
        taker = None if tick.quantity is None else Side.SELL if tick.buyer_makes else Side.BUY
        for trader in self.traders.values():
            venue = trader.venue
            venue.now_ns = now
            if tick.kind == "funding":
                _, rate, mark = self.market.settled(state)[-1]
                paid = venue.fund(tick.symbol, rate, mark if mark > 0 else state.mark)
                if paid is not None:
                    trader.funded(tick.symbol, paid)
            else:
                trader.expire(min(self.market.clock_ns(tick.market_ns), self.clock.now_ns()) + self.drift_ns)
                venue.trade(tick.symbol, state.last, state.mark, lots=lots, taker=taker)
            trader.moved(tick.symbol)
        if self.subscribers:
            for stream, frame in market_frames(self.market, self.config.slippage, now, tick, state, self._wants()):
                self._publish(stream, frame)

    def _forced(self, order: dict[str, Any]) -> None:
        """Tell everybody of a liquidation."""
        event = self.now_ns() // MS
        told = {"s": "symbol", "S": "side", "o": "type", "f": "timeInForce", "q": "origQty", "p": "price",
                "ap": "avgPrice", "X": "status", "l": "executedQty", "z": "executedQty"}  # fmt: skip
        body = {**{letter: order[name] for letter, name in told.items()}, "T": event}
        frame = msgspec.json.encode({"e": "forceOrder", "E": event, "st": 1, "ps": order["symbol"], "o": body})
        for stream in (f"{order['symbol'].lower()}@forceOrder", "!forceOrder@arr"):
            self._publish(stream, frame)

    def _publish(self, stream: str, frame: bytes) -> None:
        for take in list(self.subscribers.values()):
            take(stream, frame)
