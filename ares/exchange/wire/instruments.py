"""Contracts: the venue's filters and margin brackets as one `Instrument`."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from ares.errors import DataError, InvalidInput
from ares.exchange.wire.market import Filter, SymbolInfo
from ares.exchange.wire.numbers import Number, optional
from ares.instruments import Instrument, MarginTier

__all__ = ["Bracket", "CommissionRate", "LeverageBrackets", "instrument_of", "tiers_of"]


class Bracket(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One margin bracket. The venue sends numbers here, not text."""

    bracket: int
    initial_leverage: int
    notional_cap: Decimal
    notional_floor: Decimal
    maint_margin_ratio: Decimal
    cum: Decimal = Decimal(0)


class LeverageBrackets(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """GET /fapi/v1/leverageBracket, one symbol."""

    symbol: str
    brackets: list[Bracket]
    notional_coef: Decimal = Decimal(1)


class CommissionRate(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """GET /fapi/v1/commissionRate."""

    symbol: str
    maker_commission_rate: Number
    taker_commission_rate: Number
    rpi_commission_rate: str = "0"


def tiers_of(brackets: Sequence[Bracket]) -> tuple[MarginTier, ...]:
    """Margin tiers, from the smallest notional up. Raises DataError when they do not adjoin."""
    try:
        return tuple(
            MarginTier(
                floor=b.notional_floor,
                cap=b.notional_cap,
                rate=b.maint_margin_ratio,
                cum=b.cum,
                max_leverage=b.initial_leverage,
            )
            for b in sorted(brackets, key=lambda b: b.bracket)
        )
    except (ValueError, ArithmeticError) as error:
        raise DataError(f"margin brackets that cannot be: {error}") from None


def instrument_of(
    info: SymbolInfo, tiers: tuple[MarginTier, ...] = (), commission: CommissionRate | None = None
) -> Instrument:
    """The contract with all its filters. commission: None takes the venue's public standard rates.

    Raises: DataError when a filter that orders depend on is missing or contradicts itself.
    """
    filters = {f.filter_type: f for f in info.filters}

    def needed(kind: str, name: str) -> Decimal:
        found = filters.get(kind)
        value = optional(getattr(found, name)) if found is not None else None
        if value is None or not value.is_finite() or value < 0:
            raise DataError(f"{info.symbol}: filter {kind} lacks {name}", symbol=info.symbol, filter=kind)
        return value

    blank = Filter(filter_type="")
    price, lot = filters.get("PRICE_FILTER", blank), filters.get("LOT_SIZE", blank)
    band = filters.get("PERCENT_PRICE", blank)
    try:
        return Instrument(
            symbol=info.symbol,
            base_asset=info.base_asset,
            quote_asset=info.quote_asset,
            tick_size=needed("PRICE_FILTER", "tick_size"),
            min_price=optional(price.min_price) or Decimal(0),
            max_price=optional(price.max_price),
            lot_step=needed("LOT_SIZE", "step_size"),
            min_quantity=optional(lot.min_qty) or Decimal(0),
            max_quantity=needed("LOT_SIZE", "max_qty"),
            max_market_quantity=min(needed("MARKET_LOT_SIZE", "max_qty"), needed("LOT_SIZE", "max_qty")),
            min_notional=needed("MIN_NOTIONAL", "notional"),
            band_up=optional(band.multiplier_up) or Decimal("1.05"),
            band_down=optional(band.multiplier_down) or Decimal("0.95"),
            liquidation_fee=optional(info.liquidation_fee) or Decimal("0.0125"),
            maker_fee=Decimal(commission.maker_commission_rate) if commission else Decimal("0.0002"),
            taker_fee=Decimal(commission.taker_commission_rate) if commission else Decimal("0.0005"),
            tiers=tiers,
            trading=info.status == "TRADING",
        )
    except InvalidInput as error:
        raise DataError(f"{info.symbol}: filters that cannot be: {error}", symbol=info.symbol) from None
