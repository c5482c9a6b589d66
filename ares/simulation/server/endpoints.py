"""Which request is answered by whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ares.simulation.server import account, algo_orders, orders, public
from ares.simulation.server.calls import Call
from ares.simulation.server.local_venue import LocalVenue
from ares.simulation.server.statistics import STATISTICS

__all__ = ["ROUTES"]

_Handler = Callable[[LocalVenue, Call], Any]
_PUBLIC: dict[str, _Handler] = {
    "/fapi/v1/ping": public.ping,
    "/fapi/v1/time": public.time,
    "/fapi/v1/exchangeInfo": public.exchange_info,
    "/fapi/v1/klines": public.klines,
    "/fapi/v1/continuousKlines": public.continuous_klines,
    "/fapi/v1/markPriceKlines": public.mark_klines,
    "/fapi/v1/indexPriceKlines": public.index_klines,
    "/fapi/v1/premiumIndexKlines": public.premium_klines,
    "/fapi/v1/depth": public.depth,
    "/fapi/v1/rpiDepth": public.depth,
    "/fapi/v1/aggTrades": public.agg_trades,
    "/fapi/v1/trades": public.trades,
    "/fapi/v1/premiumIndex": public.premium_index,
    "/fapi/v1/fundingRate": public.funding_rate,
    "/fapi/v1/fundingInfo": public.funding_info,
    "/fapi/v1/openInterest": public.open_interest,
    "/fapi/v1/ticker/bookTicker": public.book_ticker,
    "/fapi/v1/ticker/price": public.price_ticker,
    "/fapi/v2/ticker/price": public.price_ticker,
    "/fapi/v1/ticker/24hr": public.day_ticker,
    "/fapi/v1/indexInfo": public.no_rows,
    "/fapi/v1/assetIndex": public.no_rows,
    "/fapi/v1/constituents": public.constituents,
    "/fapi/v1/symbolAdlRisk": public.adl_risk,
    **STATISTICS,
}
_SIGNED: dict[tuple[str, str], _Handler] = {
    ("POST", "/fapi/v1/order"): orders.new_order,
    ("POST", "/fapi/v1/order/test"): orders.test_order,
    ("GET", "/fapi/v1/order"): orders.get_order,
    ("GET", "/fapi/v1/openOrder"): orders.open_order,
    ("DELETE", "/fapi/v1/order"): orders.cancel_order,
    ("PUT", "/fapi/v1/order"): orders.amend_order,
    ("POST", "/fapi/v1/batchOrders"): orders.batch_orders,
    ("PUT", "/fapi/v1/batchOrders"): orders.amend_batch,
    ("DELETE", "/fapi/v1/batchOrders"): orders.cancel_batch,
    ("DELETE", "/fapi/v1/allOpenOrders"): orders.cancel_all,
    ("POST", "/fapi/v1/countdownCancelAll"): orders.countdown_cancel_all,
    ("GET", "/fapi/v1/openOrders"): orders.open_orders,
    ("GET", "/fapi/v1/allOrders"): orders.all_orders,
    ("POST", "/fapi/v1/algoOrder"): algo_orders.algo_order,
    ("GET", "/fapi/v1/algoOrder"): algo_orders.get_algo,
    ("DELETE", "/fapi/v1/algoOrder"): algo_orders.cancel_algo,
    ("DELETE", "/fapi/v1/algoOpenOrders"): algo_orders.cancel_all_algo,
    ("GET", "/fapi/v1/openAlgoOrders"): algo_orders.open_algo_orders,
    ("GET", "/fapi/v1/allAlgoOrders"): algo_orders.all_algo_orders,
    ("GET", "/fapi/v1/userTrades"): orders.user_trades,
    ("GET", "/fapi/v1/orderAmendment"): orders.amendments,
    ("GET", "/fapi/v1/forceOrders"): orders.force_orders,
    ("GET", "/fapi/v2/account"): account.account_v2,
    ("GET", "/fapi/v3/account"): account.account,
    ("GET", "/fapi/v2/balance"): account.balance,
    ("GET", "/fapi/v3/balance"): account.balance,
    ("GET", "/fapi/v2/positionRisk"): account.positions_v2,
    ("GET", "/fapi/v3/positionRisk"): account.positions,
    ("GET", "/fapi/v1/accountConfig"): account.account_config,
    ("GET", "/sapi/v1/account/apiRestrictions"): account.key_rights,
    ("GET", "/fapi/v1/symbolConfig"): account.symbol_config,
    ("GET", "/fapi/v1/positionSide/dual"): account.dual_side,
    ("POST", "/fapi/v1/positionSide/dual"): account.set_dual_side,
    ("GET", "/fapi/v1/multiAssetsMargin"): account.multi_assets,
    ("POST", "/fapi/v1/multiAssetsMargin"): account.set_multi_assets,
    ("POST", "/fapi/v1/leverage"): account.set_leverage,
    ("POST", "/fapi/v1/positionMargin"): account.position_margin,
    ("GET", "/fapi/v1/positionMargin/history"): account.position_margin_history,
    ("GET", "/fapi/v1/rateLimit/order"): account.order_limits,
    ("GET", "/fapi/v1/adlQuantile"): account.adl_quantile,
    ("GET", "/fapi/v1/apiTradingStatus"): account.trading_status,
    ("POST", "/fapi/v1/marginType"): account.set_margin_type,
    ("GET", "/fapi/v1/leverageBracket"): account.leverage_bracket,
    ("GET", "/fapi/v1/commissionRate"): account.commission_rate,
    ("GET", "/fapi/v1/income"): account.income,
}
ROUTES: dict[tuple[str, str], tuple[str, _Handler]] = {
    **{("GET", path): ("none", handler) for path, handler in _PUBLIC.items()},
    **{where: ("signed", handler) for where, handler in _SIGNED.items()},
    ("GET", "/fapi/v1/historicalTrades"): ("key", public.trades),
    **{(method, "/fapi/v1/listenKey"): ("key", account.listen_key) for method in ("POST", "PUT", "DELETE")},
}
"""Method and path to what the request must carry ("none", "key", "signed") and who answers it."""
