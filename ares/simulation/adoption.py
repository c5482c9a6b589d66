"""A paper venue that has lost its memory takes it back from a journal.

A real venue remembers our orders and positions while our process is down. A simulated one lives inside the process, so
after a restart it is told again what it once reported: every fill, funding payment and order state.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

from ares.errors import DataError, Rejected
from ares.events import Command, Event, FillBooked, Funding, OrderUpdate, SetLeverage, VenueSnapshot
from ares.instruments import to_units
from ares.orders import Fill, Order, OrderStatus
from ares.simulation.resting import Resting
from ares.simulation.venue import Venue

__all__ = ["adopt"]


def adopt(venue: Venue, records: Iterable[tuple[Event, Sequence[Command]]]) -> int:
    """Bring a fresh venue to where the records end; the number of records.

    An intent that was journaled but never reported is not sent: to this venue it is unknown (-2013), as it would be
    to a real one that never received it.
    Raises: DataError when the account in the journal began with other money or another asset.
    """
    count = 0
    for event, commands in records:
        if isinstance(event, VenueSnapshot):
            _begin(venue, event, count)
        elif isinstance(event, FillBooked):
            _take_fill(venue, event.fill)
        elif isinstance(event, Funding) and event.amount is not None:
            venue.ledger.book_funding(venue.instruments[event.symbol], amount=event.amount)
        elif isinstance(event, OrderUpdate) and not event.order.order_id.startswith("none:"):
            _take_order(venue, event.order)
        for command in commands:
            if isinstance(command, SetLeverage):
                with suppress(Rejected):  # it was refused then, too
                    venue.set_leverage(command.symbol, command.leverage)
        count += 1
    _settle(venue)
    return count


def _begin(venue: Venue, snapshot: VenueSnapshot, row: int) -> None:
    for instrument in snapshot.instruments:
        venue.add(instrument)
    ours = venue.config.start_balance
    if snapshot.account.asset != venue.ledger.asset or to_units(snapshot.account.start) != to_units(ours):
        raise DataError(
            f"the journal's account began with {snapshot.account.start} {snapshot.account.asset}, "
            f"this one with {ours} {venue.ledger.asset}",
            row=row,
        )


def _take_fill(venue: Venue, fill: Fill) -> None:
    """Book a fill, and what it did to orders: the journal may end before the venue's word about them.

    Orders fill whole here, so its order has ended, and reduce-only ones with it when nothing is left to reduce.
    """
    m = venue.markets[fill.symbol]
    held = venue.ledger.lots(fill.symbol)
    venue.ledger.book_fill(m.instrument, fill)
    venue.fills_made = max(venue.fills_made, int(fill.trade_id))
    venue.orders_made = max(venue.orders_made, int(fill.order_id))
    after = venue.ledger.lots(fill.symbol)
    for r in list(m.orders):
        order = r.order
        if order.order_id == fill.order_id:
            facts = {"quantity": fill.quantity, "filled": fill.quantity, "average_price": fill.price}
            _keep(venue, order.moved(OrderStatus.FILLED, updated_ns=fill.ts_ns, **facts))
        elif fill.liquidation or (held and after * held <= 0 and r.reduce_only and after * r.sign >= 0):
            status = OrderStatus.EXPIRED if r.reduce_only else OrderStatus.CANCELED
            _keep(venue, order.moved(status, updated_ns=fill.ts_ns, reason="its position was closed"))


def _take_order(venue: Venue, order: Order) -> None:
    """Know an order in the state it was last reported in; an open one rests again, but not one that has traded."""
    known = venue.orders.get(order.order_id)
    if known is None or not known.status.terminal:
        _keep(venue, order)


def _keep(venue: Venue, order: Order) -> None:
    m = venue.markets[order.symbol]
    resting = Resting(int(order.order_id), order, m.instrument)
    resting.arriving = False
    m.orders = [r for r in m.orders if r.number != resting.number]
    if order.status.open:
        m.orders.append(resting)
    venue.orders_made = max(venue.orders_made, resting.number)
    venue.orders[order.order_id] = order
    venue.ids_by_client[(order.symbol, order.client_order_id)] = order.order_id


def _settle(venue: Venue) -> None:
    """Where liquidation lies now, and what resting entries reserve."""
    venue.reserved = 0
    for symbol, m in venue.markets.items():
        m.liquidation = venue.ledger.liquidation_ticks(symbol)
        for r in m.orders:
            at = r.trigger or m.instrument.nearest_ticks(m.last)
            r.reserved = 0 if r.reduce_only else venue.needed(m, r.sign * r.lots, at)
            venue.reserved += r.reserved
