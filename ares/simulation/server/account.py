"""The account at the local venue: balances, positions, modes, income and listen keys."""

from __future__ import annotations

from typing import Any

import msgspec

from ares.errors import Rejected
from ares.exchange.wire.account import AccountConfig, KeyRights, LeverageAnswer, Reply
from ares.exchange.wire.instruments import Bracket, CommissionRate, LeverageBrackets
from ares.simulation.server.asked import chosen, is_true, symbol_of
from ares.simulation.server.calls import Call
from ares.simulation.server.local_venue import LocalVenue


def account(venue: LocalVenue, call: Call) -> Any:
    trader = call.account
    body = msgspec.to_builtins(trader.account())
    rows = [msgspec.to_builtins(p) for p in trader.positions(None)]
    for row in rows:
        row["unrealizedProfit"] = row.pop("unRealizedProfit")
        row["leverage"] = str(trader.venue.ledger.leverage(row["symbol"]))
        row["isolated"] = True
    flags = {"feeTier": 0, "canTrade": True, "canDeposit": True, "canWithdraw": False, "multiAssetsMargin": False}
    return {**body, "positions": rows, **flags}


def balance(venue: LocalVenue, call: Call) -> Any:
    asset = call.account.account().assets[0]
    return [
        {"accountAlias": "local", "asset": asset.asset, "balance": asset.wallet_balance,
         "crossWalletBalance": asset.cross_wallet_balance, "crossUnPnl": asset.cross_un_pnl,
         "availableBalance": asset.available_balance, "maxWithdrawAmount": asset.max_withdraw_amount,
         "marginAvailable": True, "updateTime": asset.update_time}
    ]  # fmt: skip


def positions(venue: LocalVenue, call: Call) -> Any:
    return call.account.positions(call.params.get("symbol") or None)


def positions_v2(venue: LocalVenue, call: Call) -> Any:
    rows = [msgspec.to_builtins(p) for p in call.account.positions(call.params.get("symbol") or None)]
    for row in rows:
        config = call.account.symbol_config(row["symbol"])
        row.update(leverage=str(config.leverage), marginType="isolated", maxNotionalValue=config.max_notional_value)
        row["isAutoAddMargin"] = "false"
    return rows


def account_config(venue: LocalVenue, call: Call) -> AccountConfig:
    return AccountConfig(can_trade=True, can_withdraw=False, can_deposit=True, dual_side_position=False)


def key_rights(venue: LocalVenue, call: Call) -> KeyRights:
    return KeyRights(enable_withdrawals=call.account.may_withdraw, enable_futures=True, ip_restrict=True)


def symbol_config(venue: LocalVenue, call: Call) -> Any:
    return [call.account.symbol_config(s) for s in chosen(venue, call)[0]]


def dual_side(venue: LocalVenue, call: Call) -> Any:
    return {"dualSidePosition": False}


def set_dual_side(venue: LocalVenue, call: Call) -> Any:
    if is_true(call, "dualSidePosition"):
        raise Rejected("The local venue trades in one-way mode only.", code=-4059)
    raise Rejected("No need to change position side.", code=-4059)


def multi_assets(venue: LocalVenue, call: Call) -> Any:
    return {"multiAssetsMargin": False}


def set_leverage(venue: LocalVenue, call: Call) -> LeverageAnswer:
    symbol, leverage = symbol_of(venue, call), call.number("leverage")
    if leverage is None:
        raise Rejected("Mandatory parameter 'leverage' was not sent, was empty/null, or malformed.", code=-1102)
    call.account.venue.set_leverage(symbol, leverage)
    most = call.account.symbol_config(symbol).max_notional_value
    return LeverageAnswer(symbol=symbol, leverage=leverage, max_notional_value=most)


def set_margin_type(venue: LocalVenue, call: Call) -> Reply:
    symbol, mode = symbol_of(venue, call), call.need("marginType").upper()
    if mode == "ISOLATED":
        raise Rejected("No need to change margin type.", code=-4046)
    raise Rejected("The local venue keeps isolated margin only.", code=-4047, symbol=symbol)


def leverage_bracket(venue: LocalVenue, call: Call) -> Any:
    return [
        LeverageBrackets(
            symbol=s,
            brackets=[
                Bracket(
                    bracket=n,
                    initial_leverage=t.max_leverage,
                    notional_floor=t.floor,
                    notional_cap=t.cap,
                    maint_margin_ratio=t.rate,
                    cum=t.cum,
                )
                for n, t in enumerate(venue.instruments[s].tiers, 1)
            ],
        )
        for s in chosen(venue, call)[0]
    ]


def commission_rate(venue: LocalVenue, call: Call) -> CommissionRate:
    instrument = venue.instruments[symbol_of(venue, call)]
    maker = instrument.maker_fee if venue.config.maker_fee is None else venue.config.maker_fee
    taker = instrument.taker_fee if venue.config.taker_fee is None else venue.config.taker_fee
    return CommissionRate(
        symbol=instrument.symbol, maker_commission_rate=str(maker), taker_commission_rate=str(taker)
    )


def income(venue: LocalVenue, call: Call) -> Any:
    kind, symbol = call.params.get("incomeType"), call.params.get("symbol")
    start, end = call.number("startTime"), call.number("endTime")
    rows = [
        r
        for r in call.account.income
        if (not kind or r.income_type == kind)
        and (not symbol or r.symbol == symbol)
        and (start is None or r.time >= start)
        and (end is None or r.time <= end)
    ]
    return rows[-min(1000, call.number("limit", 100) or 100) :]


def listen_key(venue: LocalVenue, call: Call) -> Any:
    if call.method == "DELETE":
        call.account.listen_key = ""
        return {}
    if call.method == "PUT" and not call.account.listen_key:
        raise Rejected("This listenKey does not exist.", code=-1125)
    return {"listenKey": venue.listen_key(call.account)}
