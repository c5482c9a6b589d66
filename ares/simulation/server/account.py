"""The account at the local venue: balances, positions, modes, income and listen keys."""

from __future__ import annotations

from typing import Any

import msgspec

from ares.errors import Rejected
from ares.exchange.wire.account import AccountConfig, KeyRights, LeverageAnswer, Reply
from ares.exchange.wire.instruments import CommissionRate
from ares.exchange.wire.market import RateLimit
from ares.exchange.wire.numbers import MS
from ares.simulation.server.asked import chosen, is_true, limit_of, symbol_of
from ares.simulation.server.calls import Call
from ares.simulation.server.local_venue import LocalVenue

_FLAGS = {"feeTier": 0, "feeBurn": True, "canTrade": True, "canDeposit": True, "canWithdraw": False, "tradeGroupId": -1}
_ACTIVE = (
    "symbol", "positionSide", "positionAmt", "unrealizedProfit", "isolatedMargin", "notional", "isolatedWallet",
    "initialMargin", "maintMargin", "updateTime",
)  # fmt: skip
_EVERY = (
    "symbol", "initialMargin", "maintMargin", "unrealizedProfit", "positionInitialMargin", "openOrderInitialMargin",
    "entryPrice", "breakEvenPrice", "bidNotional", "askNotional", "positionSide", "positionAmt", "updateTime",
)  # fmt: skip


def account(venue: LocalVenue, call: Call) -> Any:
    """The third version: flags live elsewhere, positions are those that are held or have orders."""
    rows = [{name: row[name] for name in _ACTIVE} for row in _positions(call)]
    return {**msgspec.to_builtins(call.account.account()), "positions": rows}


def account_v2(venue: LocalVenue, call: Call) -> Any:
    """The second version: with the account's flags, and every symbol among the positions."""
    trader = call.account
    body = msgspec.to_builtins(trader.account())
    for asset in body["assets"]:
        asset["marginAvailable"] = True
    rows = []
    for row in _positions(call, every=True):
        config = trader.symbol_config(row["symbol"])
        more = {"leverage": str(config.leverage), "isolated": config.margin_type == "ISOLATED"}
        rows.append({**{name: row[name] for name in _EVERY}, **more, "maxNotional": config.max_notional_value})
    more = {"multiAssetsMargin": trader.multi_assets, "updateTime": call.now_ns // MS}
    return {**body, "positions": rows, **_FLAGS, **more}


def _positions(call: Call, *, every: bool = False) -> list[dict[str, Any]]:
    """Positions as the account names their fields."""
    rows = [msgspec.to_builtins(p) for p in call.account.positions(None, every=every)]
    for row in rows:
        row["unrealizedProfit"] = row.pop("unRealizedProfit")
    return rows


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
    rows = [msgspec.to_builtins(p) for p in call.account.positions(call.params.get("symbol") or None, every=True)]
    for row in rows:
        config = call.account.symbol_config(row["symbol"])
        mode = "isolated" if config.margin_type == "ISOLATED" else "cross"
        row.update(leverage=str(config.leverage), marginType=mode, maxNotionalValue=config.max_notional_value)
        row["isAutoAddMargin"] = "false"
    return rows


def account_config(venue: LocalVenue, call: Call) -> AccountConfig:
    return AccountConfig(
        can_trade=True,
        can_withdraw=False,
        can_deposit=True,
        dual_side_position=call.account.hedge,
        multi_assets_margin=call.account.multi_assets,
        update_time=call.now_ns // MS,
    )


def key_rights(venue: LocalVenue, call: Call) -> KeyRights:
    return KeyRights(enable_withdrawals=call.account.may_withdraw, enable_futures=True, ip_restrict=True)


def symbol_config(venue: LocalVenue, call: Call) -> Any:
    return [call.account.symbol_config(s) for s in chosen(venue, call)[0]]


def dual_side(venue: LocalVenue, call: Call) -> Any:
    return {"dualSidePosition": call.account.hedge}


def set_dual_side(venue: LocalVenue, call: Call) -> Reply:
    """Hedge mode is remembered and told; orders are refused in it."""
    trader, wanted = call.account, _flag(call, "dualSidePosition")
    if wanted is trader.hedge:
        raise Rejected("No need to change position side.", code=-4059)
    if trader.busy():
        raise Rejected("Position side cannot be changed if there exists open orders.", code=-4067)
    if trader.venue.account().positions:
        raise Rejected("Position side cannot be changed if there exists position.", code=-4068)
    trader.hedge = wanted
    return Reply(code=200, msg="success")


def multi_assets(venue: LocalVenue, call: Call) -> Any:
    return {"multiAssetsMargin": call.account.multi_assets}


def set_multi_assets(venue: LocalVenue, call: Call) -> Reply:
    """Multi-assets mode is remembered and told; it needs every symbol in cross margin, in which orders are refused."""
    trader, wanted = call.account, _flag(call, "multiAssetsMargin")
    if wanted is trader.multi_assets:
        raise Rejected("No need to change Multi-Assets mode.", code=-4171)
    if wanted and any(trader.symbol_config(s).margin_type == "ISOLATED" for s in venue.instruments):
        raise Rejected("Unable to adjust to Multi-Assets mode with symbols of isolated-margin mode.", code=-4168)
    trader.multi_assets = wanted
    trader.tell_config({"ai": {"j": wanted}})
    return Reply(code=200, msg="success")


def _flag(call: Call, name: str) -> bool:
    if call.need(name).lower() not in ("true", "false"):
        raise Rejected(f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.", code=-1102)
    return is_true(call, name)


def set_leverage(venue: LocalVenue, call: Call) -> LeverageAnswer:
    symbol, leverage = symbol_of(venue, call), call.number("leverage")
    if leverage is None:
        raise Rejected("Mandatory parameter 'leverage' was not sent, was empty/null, or malformed.", code=-1102)
    call.account.venue.set_leverage(symbol, leverage)
    call.account.tell_config({"ac": {"s": symbol, "l": leverage}})
    most = call.account.symbol_config(symbol).max_notional_value
    return LeverageAnswer(symbol=symbol, leverage=leverage, max_notional_value=most)


def set_margin_type(venue: LocalVenue, call: Call) -> Reply:
    """The margin mode is remembered and told; a symbol in cross margin takes no orders that open."""
    symbol, mode, trader = symbol_of(venue, call), call.need("marginType").upper(), call.account
    if mode not in ("ISOLATED", "CROSSED"):
        raise Rejected("Invalid marginType.", code=-1130)
    if mode == trader.symbol_config(symbol).margin_type:
        raise Rejected("No need to change margin type.", code=-4046)
    if trader.busy(symbol):
        raise Rejected("Margin type cannot be changed if there exists open orders.", code=-4047)
    if trader.venue.position(symbol).quantity:
        raise Rejected("Margin type cannot be changed if there exists position.", code=-4048)
    if mode == "ISOLATED" and trader.multi_assets:
        raise Rejected("Unable to adjust to isolated-margin mode under the Multi-Assets mode.", code=-4167)
    trader.margin_type[symbol] = mode
    return Reply(code=200, msg="success")


def leverage_bracket(venue: LocalVenue, call: Call) -> Any:
    return [
        {"symbol": s, "notionalCoef": 1.0, "brackets": [
            {"bracket": n, "initialLeverage": t.max_leverage, "notionalCap": int(t.cap),
             "notionalFloor": int(t.floor), "maintMarginRatio": float(t.rate), "cum": float(t.cum)}
            for n, t in enumerate(venue.instruments[s].tiers, 1)
        ]}
        for s in chosen(venue, call)[0]
    ]  # fmt: skip


def position_margin(venue: LocalVenue, call: Call) -> Any:
    """No margin can be moved: a position keeps what it was opened with."""
    if not call.account.venue.position(symbol_of(venue, call)).quantity:
        raise Rejected("Isolated position is not existed for this symbol and side.", code=-4054)
    raise Rejected("The local venue moves no margin between wallet and position.", code=-1130)


def position_margin_history(venue: LocalVenue, call: Call) -> Any:
    symbol_of(venue, call)
    return []


def order_limits(venue: LocalVenue, call: Call) -> Any:
    return [
        RateLimit(rate_limit_type="ORDERS", interval=unit, interval_num=number, limit=limit)
        for unit, number, limit in (
            ("SECOND", 10, venue.limits.orders_per_10s),
            ("MINUTE", 1, venue.limits.orders_per_minute),
        )
    ]


def adl_quantile(venue: LocalVenue, call: Call) -> Any:
    """Nobody is deleveraged here."""
    held = [p.symbol for p in call.account.positions(call.params.get("symbol") or None)]
    return [{"symbol": s, "adlQuantile": {"LONG": 0, "SHORT": 0, "BOTH": 0}} for s in held]


def trading_status(venue: LocalVenue, call: Call) -> Any:
    """No account is held back for its trading here."""
    return {"indicators": {}, "updateTime": call.now_ns // MS}


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
    limit = limit_of(call, 100)
    return rows[:limit] if start is not None else rows[-limit:]


def listen_key(venue: LocalVenue, call: Call) -> Any:
    if call.method == "DELETE":
        call.account.listen_key = ""
        return {}
    if call.method == "PUT" and not call.account.listen_key:
        raise Rejected("This listenKey does not exist.", code=-1125)
    return {"listenKey": venue.listen_key(call.account)}
