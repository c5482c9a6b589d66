"""What the pipeline counts on in an exchange that takes orders."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

from ares.account import Account
from ares.errors import AresError, InvalidInput, Rejected
from ares.events import Event, FillBooked, OrderUpdate, VenueSnapshot
from ares.instruments import Instrument
from ares.orders import NEXT_STATUS, Order, OrderStatus
from ares.testing.trial import Trial, expect

__all__ = ["check_trading"]

_CENT = Decimal("1e-6")  # quote; money that an exchange reports in pieces may differ by rounding


async def check_trading(trial: Trial, exchange: Any, symbol: str) -> None:
    """Account, leverage, filters, the life of orders, protection, and the account stream that tells of all this."""
    ready = False
    with trial.check("the account is flat in the symbol, without orders, before the trial"):
        expect(await exchange.get_positions(symbol) == (), "there is a position")
        expect(await exchange.get_open_orders(symbol) == (), "there are open orders")
        ready = True
    if not ready:
        return
    told: list[Event] = []
    listener: asyncio.Task[None] | None = None
    with trial.check("the account stream begins with a VenueSnapshot"):
        stream = exchange.stream_account()
        first = await anext(stream)
        expect(isinstance(first, VenueSnapshot), f"it begins with {type(first).__name__}")
        listener = asyncio.create_task(_listen(stream, told))
    instrument: Instrument = await exchange.get_instrument(symbol)
    try:
        await _check_account(trial, exchange)
        await _check_leverage(trial, exchange, symbol)
        await _check_refusals(trial, exchange, instrument)
        await _check_resting(trial, exchange, instrument)
        await _check_round_trip(trial, exchange, instrument)
    finally:
        await _clean_up(trial, exchange, symbol)
    if listener is not None:
        await _check_told(trial, told)
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)


async def _listen(stream: Any, told: list[Event]) -> None:
    async for event in stream:
        told.append(event)


def _conserved(account: Account) -> None:
    """Cash = start + realised - fees + funding, to a millionth of the quote."""
    booked = account.start + account.realised - account.fees + account.funding
    expect(abs(account.wallet - booked) <= _CENT, f"wallet {account.wallet}, but the parts add up to {booked}")


async def _size(exchange: Any, instrument: Instrument) -> tuple[Decimal, Decimal]:
    """A small quantity that the filters accept also 10 % lower, and the present price."""
    ticker = await exchange.get_ticker(instrument.symbol)
    price = Decimal(repr(float(ticker.last)))
    wanted = max(instrument.min_notional * 3 / price, instrument.min_quantity * 4, instrument.lot_step * 4)
    size = instrument.order_quantity(wanted, price)
    expect(size > 0, f"no acceptable quantity at {price}")
    return size, price


async def _refused(call: Any, *kinds: type[AresError]) -> None:
    """The call must raise one of these errors."""
    try:
        await call
    except kinds:
        return
    expect(False, f"it was accepted; expected {' or '.join(k.__name__ for k in kinds)}")


async def _check_account(trial: Trial, exchange: Any) -> None:
    with trial.check("the account adds up"):
        account = await exchange.get_account()
        expect(isinstance(account, Account), f"it is a {type(account).__name__}")
        _conserved(account)
        expect(account.margin >= 0 and account.available >= 0, "margin or available is negative")
        expect(account.equity == account.wallet + account.unrealised, "equity differs")


async def _check_leverage(trial: Trial, exchange: Any, symbol: str) -> None:
    with trial.check("leverage is set and read back; a mad one is refused"):
        expect(await exchange.set_leverage(symbol, 2) == 2, "leverage 2 was not confirmed")
        await _refused(exchange.set_leverage(symbol, 100_000), Rejected, InvalidInput)
    with trial.check("isolated margin is confirmed, an unknown mode refused"):
        expect(str(await exchange.set_margin_mode(symbol, "isolated")).lower() == "isolated", "not confirmed")
        await _refused(exchange.set_margin_mode(symbol, "borrowed"), Rejected, InvalidInput)


async def _check_refusals(trial: Trial, exchange: Any, instrument: Instrument) -> None:
    """An order that breaks a rule is refused by a typed error and leaves nothing behind."""
    symbol = instrument.symbol
    size, price = await _size(exchange, instrument)
    far = instrument.price(price * Decimal("0.97"), "down")
    create = exchange.create_order
    with trial.check("a quantity off the lot grid is refused"):
        await _refused(create(symbol, "BUY", "MARKET", size + instrument.lot_step / 2), Rejected, InvalidInput)
    with trial.check("a price off the tick grid is refused"):
        off = far + instrument.tick_size / 2
        await _refused(create(symbol, "BUY", "LIMIT", size, price=off), Rejected, InvalidInput)
    with trial.check("less than the least order is refused"):
        await _refused(create(symbol, "BUY", "MARKET", instrument.lot_step / 4), Rejected, InvalidInput)
    with trial.check("reduce-only is refused while flat"):
        await _refused(create(symbol, "SELL", "MARKET", size, reduce_only=True), Rejected)
    with trial.check("a stop beyond the price is refused"):
        stop = instrument.price(price * Decimal("1.02"), "up")
        await _refused(create(symbol, "SELL", "STOP_MARKET", size, stop_price=stop), Rejected)
    with trial.check("a limit order without a price, a wrong side and a wrong type are refused"):
        await _refused(create(symbol, "BUY", "LIMIT", size), Rejected, InvalidInput)
        await _refused(create(symbol, "UPWARDS", "MARKET", size), Rejected, InvalidInput)
        await _refused(create(symbol, "BUY", "PERHAPS", size), Rejected, InvalidInput)
    with trial.check("an order nobody sent is unknown"):
        await _refused(exchange.get_order(symbol, client_order_id="ares-check-none"), Rejected)
        await _refused(exchange.cancel_order(symbol, client_order_id="ares-check-none"), Rejected)
    with trial.check("what was refused left nothing behind"):
        expect(await exchange.get_open_orders(symbol) == (), "there are open orders")
        expect(await exchange.get_positions(symbol) == (), "there is a position")


async def _check_resting(trial: Trial, exchange: Any, instrument: Instrument) -> None:
    """A limit order far from the price rests, is found, and is cancelled once."""
    symbol = instrument.symbol
    size, price = await _size(exchange, instrument)
    placed: list[Order] = []
    with trial.check("a limit order far from the price rests and is found by either id"):
        made: Order = await exchange.create_order(
            symbol, "BUY", "LIMIT", float(size), price=float(price) * 0.97, client_order_id="ares-check-limit"
        )
        expect(isinstance(made, Order), f"create_order gave a {type(made).__name__}")
        expect(made.status is OrderStatus.NEW, f"its status is {made.status.value}")
        expect(made.client_order_id == "ares-check-limit", f"its client id is {made.client_order_id}")
        price_fits = made.price is not None and made.price % instrument.tick_size == 0
        expect(price_fits and made.quantity % instrument.lot_step == 0, "a float was not rounded to the grid")
        ids = [o.order_id for o in await exchange.get_open_orders(symbol)]
        expect(ids == [made.order_id], f"open orders are {ids}")
        by_id = await exchange.get_order(symbol, made.order_id)
        by_client = await exchange.get_order(symbol, client_order_id="ares-check-limit")
        expect(by_id.order_id == by_client.order_id == made.order_id, "another order was found")
        placed.append(made)
    if not placed:
        return
    order = placed[0]
    with trial.check("a client id is unique among open orders"):
        again = exchange.create_order(
            symbol, "BUY", "LIMIT", order.quantity, price=order.price, client_order_id="ares-check-limit"
        )
        await _refused(again, Rejected)
    with trial.check("cancelling works once, then it is refused"):
        cancelled = await exchange.cancel_order(symbol, order.order_id)
        expect(cancelled.status is OrderStatus.CANCELED, f"its status is {cancelled.status.value}")
        expect(await exchange.get_open_orders(symbol) == (), "it is still open")
        await _refused(exchange.cancel_order(symbol, order.order_id), Rejected)
        final = await exchange.get_order(symbol, order.order_id)
        expect(final.status is OrderStatus.CANCELED, f"afterwards it is {final.status.value}")


async def _check_round_trip(trial: Trial, exchange: Any, instrument: Instrument) -> None:
    """Enter at market, protect with a stop that rests, leave; money adds up all the way."""
    symbol = instrument.symbol
    size, price = await _size(exchange, instrument)
    before: Account = await exchange.get_account()
    entered = False
    with trial.check("a market order fills and wait_filled gives the position"):
        order = await exchange.create_order(symbol, "BUY", "MARKET", size)
        position = await exchange.wait_filled(order, None)
        expect(position.quantity == size, f"ordered {size}, hold {position.quantity}")
        done = await exchange.get_order(symbol, order.order_id)
        expect(done.status is OrderStatus.FILLED and done.filled == size, f"the order is {done.status.value}")
        expect(done.average_price is not None and done.average_price > 0, "it has no average price")
        held = await exchange.get_positions(symbol)
        expect(len(held) == 1 and held[0].quantity == size, f"positions are {held}")
        entered = True
    if not entered:
        return
    with trial.check("a reduce-only stop rests at the exchange, as sent"):
        ticker = await exchange.get_ticker(symbol)
        wanted = instrument.price(float(ticker.last) * 0.8, "down")
        stop = await exchange.create_order(symbol, "SELL", "STOP_MARKET", size, stop_price=wanted, reduce_only=True)
        resting = [o for o in await exchange.get_open_orders(symbol) if o.order_id == stop.order_id]
        expect(len(resting) == 1, "it is not among the open orders")
        expect(resting[0].stop_price == wanted and resting[0].reduce_only, f"it rests as {resting[0]}")
    with trial.check("the account adds up with an open position"):
        account = await exchange.get_account()
        _conserved(account)
        expect(account.fees >= before.fees and account.margin > 0, "no margin is set aside")
        expect(account.position(symbol) is not None, "the account does not show the position")
    with trial.check("reduce-only in the wrong direction is refused"):
        await _refused(exchange.create_order(symbol, "BUY", "MARKET", size, reduce_only=True), Rejected)
    with trial.check("a reduce-only market order leaves the position, and the account adds up"):
        out = await exchange.create_order(symbol, "SELL", "MARKET", size, reduce_only=True)
        position = await exchange.wait_filled(out, None)
        expect(position.quantity == 0, f"{position.quantity} is left")
        expect(await exchange.get_positions(symbol) == (), "a flat position is listed")
        account = await exchange.get_account()
        _conserved(account)
        expect(account.position(symbol) is None, "the account still shows the position")


async def _clean_up(trial: Trial, exchange: Any, symbol: str) -> None:
    """Leave the account as it was found."""
    with trial.check("after the trial the account is flat again"):
        for order in await exchange.get_open_orders(symbol):
            try:
                await exchange.cancel_order(symbol, order.order_id)
            except Rejected:
                continue  # it ended by itself
        for position in await exchange.get_positions(symbol):
            side = "SELL" if position.quantity > 0 else "BUY"
            out = await exchange.create_order(symbol, side, "MARKET", abs(position.quantity), reduce_only=True)
            await exchange.wait_filled(out)
        expect(await exchange.get_positions(symbol) == (), "a position is left")
        expect(await exchange.get_open_orders(symbol) == (), "orders are left")


async def _check_told(trial: Trial, told: list[Event]) -> None:
    """The account stream told of each order and fill, in an order that makes sense."""
    for _ in range(500):  # real exchanges take a moment; a simulated one has told already
        if sum(isinstance(e, FillBooked) for e in told) >= 2:
            break
        await asyncio.sleep(0.01)
    with trial.check("the account stream told of every fill once"):
        fills = [e.fill for e in told if isinstance(e, FillBooked)]
        expect(len(fills) >= 2, f"{len(fills)} fills were told")
        ids = [(f.symbol, f.trade_id) for f in fills]
        expect(len(ids) == len(set(ids)), "a fill was told twice")
        net = sum((f.side.sign * f.quantity for f in fills), Decimal(0))
        expect(net == 0, f"the fills add up to {net}, the account is flat")
    with trial.check("order states only move forward"):
        last: dict[str, OrderStatus] = {}
        for event in told:
            if isinstance(event, OrderUpdate):
                order = event.order
                known = last.get(order.order_id, order.status)
                forward = order.status is known or order.status in NEXT_STATUS[known]
                expect(forward, f"order {order.order_id} went from {known.value} to {order.status.value}")
                last[order.order_id] = order.status
        expect(OrderStatus.CANCELED in last.values(), "no cancelled order was told")
        expect(OrderStatus.FILLED in last.values(), "no filled order was told")
