"""The account by REST: balances, positions, modes, and the `Account` and `Position` they become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

import msgspec

from ares.account import Account, Position
from ares.errors import DataError
from ares.exchange.wire.numbers import Number, NumberOrBlank, optional, to_ns

__all__ = [
    "AccountConfig",
    "AccountV3",
    "AssetBalance",
    "Income",
    "KeyRights",
    "Countdown",
    "LeverageAnswer",
    "ListenKey",
    "PositionV3",
    "Reply",
    "SymbolConfig",
    "account_of",
    "position_of",
]


class _Payload(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class AssetBalance(_Payload, frozen=True, kw_only=True):
    """One asset of GET /fapi/v3/account."""

    asset: str
    wallet_balance: Number
    unrealized_profit: Number
    margin_balance: NumberOrBlank = "0"
    maint_margin: NumberOrBlank = "0"
    initial_margin: NumberOrBlank = "0"
    position_initial_margin: NumberOrBlank = "0"
    open_order_initial_margin: NumberOrBlank = "0"
    cross_wallet_balance: NumberOrBlank = "0"
    cross_un_pnl: NumberOrBlank = "0"
    available_balance: NumberOrBlank = "0"
    max_withdraw_amount: NumberOrBlank = "0"
    update_time: int = 0


class AccountV3(_Payload, frozen=True, kw_only=True):
    """GET /fapi/v3/account, without the positions: `PositionV3` says more about them."""

    total_wallet_balance: Number
    total_unrealized_profit: Number
    assets: list[AssetBalance]
    total_initial_margin: NumberOrBlank = "0"
    total_maint_margin: NumberOrBlank = "0"
    total_margin_balance: NumberOrBlank = "0"
    total_position_initial_margin: NumberOrBlank = "0"
    total_open_order_initial_margin: NumberOrBlank = "0"
    total_cross_wallet_balance: NumberOrBlank = "0"
    total_cross_un_pnl: NumberOrBlank = "0"
    available_balance: NumberOrBlank = "0"
    max_withdraw_amount: NumberOrBlank = "0"


class PositionV3(_Payload, frozen=True, kw_only=True):
    """GET /fapi/v3/positionRisk. The amount is negative for a short."""

    symbol: str
    position_amt: Number
    entry_price: Number
    mark_price: Number
    un_realized_profit: Number
    liquidation_price: NumberOrBlank = "0"
    position_side: str = "BOTH"
    break_even_price: NumberOrBlank = "0"
    isolated_margin: NumberOrBlank = "0"
    notional: NumberOrBlank = "0"
    margin_asset: str = "USDT"
    isolated_wallet: NumberOrBlank = "0"
    initial_margin: NumberOrBlank = "0"
    maint_margin: NumberOrBlank = "0"
    position_initial_margin: NumberOrBlank = "0"
    open_order_initial_margin: NumberOrBlank = "0"
    adl: int = 0
    bid_notional: NumberOrBlank = "0"
    ask_notional: NumberOrBlank = "0"
    update_time: int = 0


class SymbolConfig(_Payload, frozen=True, kw_only=True):
    """GET /fapi/v1/symbolConfig: ISOLATED or CROSSED, and the leverage."""

    symbol: str
    margin_type: str
    leverage: int
    is_auto_add_margin: bool = False
    max_notional_value: NumberOrBlank = "0"


class AccountConfig(_Payload, frozen=True, kw_only=True):
    """GET /fapi/v1/accountConfig."""

    can_trade: bool
    can_withdraw: bool
    dual_side_position: bool
    can_deposit: bool = False
    fee_tier: int = 0
    multi_assets_margin: bool = False
    trade_group_id: int = -1
    update_time: int = 0


class LeverageAnswer(_Payload, frozen=True, kw_only=True):
    """POST /fapi/v1/leverage."""

    symbol: str
    leverage: int
    max_notional_value: str = "0"


class KeyRights(_Payload, frozen=True, kw_only=True):
    """GET /sapi/v1/account/apiRestrictions, of the spot interface: what the key itself may do."""

    enable_withdrawals: bool
    ip_restrict: bool = False
    enable_futures: bool = False
    enable_internal_transfer: bool = False
    permits_universal_transfer: bool = False
    enable_reading: bool = True


class Reply(_Payload, frozen=True, kw_only=True):
    """A bare answer. A code below 0 is a refusal."""

    code: int
    msg: str = ""


class Countdown(_Payload, frozen=True, kw_only=True):
    """POST /fapi/v1/countdownCancelAll, which echoes the time as text."""

    symbol: str
    countdown_time: Number  # ms


class ListenKey(_Payload, frozen=True, kw_only=True):
    """POST /fapi/v1/listenKey."""

    listen_key: str


class Income(_Payload, frozen=True, kw_only=True):
    """One row of GET /fapi/v1/income; funding that was received is positive."""

    symbol: str
    income_type: str
    income: Number
    asset: str
    time: int
    tran_id: int = 0
    trade_id: str = ""
    info: str = ""


def position_of(row: PositionV3, leverage: int) -> Position:
    """A position. The venue does not say what it has realised, so that is 0. Raises DataError in hedge mode."""
    if row.position_side != "BOTH":
        raise DataError(f"{row.symbol}: a {row.position_side} position of hedge mode", symbol=row.symbol)
    return Position(
        symbol=row.symbol,
        quantity=Decimal(row.position_amt),
        entry_price=Decimal(row.entry_price),
        mark_price=Decimal(row.mark_price),
        leverage=leverage,
        margin=optional(row.isolated_margin) or optional(row.position_initial_margin) or Decimal(0),
        maintenance_margin=optional(row.maint_margin) or Decimal(0),
        unrealised=Decimal(row.un_realized_profit),
        realised=Decimal(0),
        liquidation_price=optional(row.liquidation_price),
        updated_ns=to_ns(row.update_time),
    )


def account_of(
    account: AccountV3, rows: Sequence[PositionV3], leverage: Mapping[str, int], asset: str, now_ns: int
) -> Account:
    """The account in one quote asset as the venue sees it now.

    The venue keeps no totals of profit, fees and funding, so `start` is the wallet and those are 0.
    Raises: DataError when the account holds nothing of `asset` but positions quoted in it.
    """
    positions = tuple(
        position_of(row, leverage.get(row.symbol, 1))
        for row in rows
        if row.margin_asset == asset and Decimal(row.position_amt) != 0
    )
    balance = next((b for b in account.assets if b.asset == asset), None)
    if balance is None and positions:
        raise DataError(f"positions are margined in {asset}, but the account lists none of it", asset=asset)
    wallet = Decimal(balance.wallet_balance) if balance else Decimal(0)
    return Account(
        asset=asset,
        wallet=wallet,
        start=wallet,
        realised=Decimal(0),
        fees=Decimal(0),
        funding=Decimal(0),
        unrealised=Decimal(balance.unrealized_profit) if balance else Decimal(0),
        margin=sum((p.margin for p in positions), Decimal(0)),
        reserved=(optional(balance.open_order_initial_margin) or Decimal(0)) if balance else Decimal(0),
        positions=positions,
        updated_ns=now_ns,
    )
