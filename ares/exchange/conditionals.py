"""Which orders of the matching engine were made by the trigger of a conditional order of ours.

The algo service has ids of its own. When a conditional order triggers, the engine gets a new order, and the two are
tied by the engine's id in the algo report, perhaps also by an equal client id: the venue does not say, so both count.
"""

from __future__ import annotations

from attrs import define, evolve, field

from ares.orders import Order

__all__ = ["Conditionals"]

_REMEMBERED = 4_000  # when there are more, the oldest that have ended are forgotten


@define
class Conditionals:
    """Conditional orders by client id, and by the engine's order id once they have triggered."""

    _orders: dict[str, Order] = field(factory=dict)
    _by_engine_id: dict[str, str] = field(factory=dict)

    def saw(self, order: Order, engine_id: str = "") -> None:
        """Remember a conditional order; engine_id: of the order that its trigger made, "" before."""
        known = self._orders.get(order.client_order_id)
        if known is None or known.status.open:
            self._orders[order.client_order_id] = order
        if known is None and len(self._orders) > _REMEMBERED:
            self._forget_half()
        if engine_id not in ("", "0"):
            self._by_engine_id[engine_id] = order.client_order_id

    def _forget_half(self) -> None:
        """Forget the older half of the orders that have ended; their trades were told long ago."""
        ended = [client_id for client_id, order in self._orders.items() if not order.status.open]
        for client_id in ended[: len(ended) // 2]:
            del self._orders[client_id]
        self._by_engine_id = {e: client_id for e, client_id in self._by_engine_id.items() if client_id in self._orders}

    def owns(self, client_id: str) -> bool:
        """True when this client id is that of a conditional order."""
        return client_id in self._orders

    def waiting(self, symbol: str) -> bool:
        """True while a conditional order of the symbol may trigger."""
        return any(o.symbol == symbol and o.status.open for o in self._orders.values())

    def open_of(self, symbol: str) -> list[Order]:
        """The conditional orders of the symbol that were open when last seen."""
        return [o for o in self._orders.values() if o.symbol == symbol and o.status.open]

    def behind(self, engine_id: str, client_id: str) -> Order | None:
        """The conditional order behind an order of the engine; None when there is none."""
        return self._orders.get(self._by_engine_id.get(engine_id, client_id))

    def joined(self, conditional: Order, engine: Order) -> Order:
        """The conditional order in the state that the engine's order gives it."""
        quantity = engine.quantity if engine.quantity > 0 else conditional.quantity
        order = evolve(
            conditional,
            status=engine.status,
            quantity=quantity,
            filled=engine.filled,
            average_price=engine.average_price,
            updated_ns=max(conditional.updated_ns, engine.updated_ns),
            reason=engine.reason,
        )
        self.saw(order)
        return order
