"""An exchange of your own: market data alone is enough for paper trading.

`Replayed` tells candles and answers the questions of `MarketData`. `PaperExchange` puts the built-in venue behind it,
so orders, fees, stops and liquidation come for free, and `check_exchange` says whether anything is missing.
"""

import asyncio

from ares import FeatureOrchestrator, LiveTradingPipeline, PaperExchange, PositionMonitor, RuleAnalyst, Tactician, Tape
from ares.clock import VirtualClock
from ares.errors import InvalidInput
from ares.events import CandleClosed
from ares.instrument_tables import default_instrument
from ares.market import FuturesData, OrderBook, Ticker
from ares.testing import check_exchange


class Replayed:
    """Klines of one symbol, told as if they were happening; the first of them are known from the start."""

    def __init__(self, klines, symbol, history=200):
        self.tape = Tape.from_frame(klines, symbol=symbol)
        self.symbol, self.told = symbol, history
        self.clock = VirtualClock(self.tape.candle(symbol, history - 1).close_ns)

    async def get_klines(self, symbol, interval, limit=500, *, start=None, end=None, closed_only=True):
        if symbol != self.symbol or interval != self.tape.interval.name:
            raise InvalidInput(f"only {self.symbol} {self.tape.interval} is known here, not {symbol} {interval}")
        return self.tape.frame().iloc[: self.told].loc[start:end].iloc[-limit:]

    async def get_ticker(self, symbol):
        price = self.tape.candle(self.symbol, self.told - 1).close
        tick = float((await self.get_instrument(symbol)).tick_size)
        now = self.clock.now_ns()
        return Ticker(
            symbol=symbol, ts_ns=now, bid=price - tick, ask=price + tick, bid_quantity=1, ask_quantity=1, last=price
        )

    async def get_order_book(self, symbol, limit=20):
        t = await self.get_ticker(symbol)
        return OrderBook(symbol=symbol, ts_ns=t.ts_ns, last_update_id=0, bids=[(t.bid, 1.0)], asks=[(t.ask, 1.0)])

    async def get_agg_trades(self, symbol, limit=500, *, start=None, end=None):
        return ()

    async def get_futures_data(self, symbol, limit=100):
        return FuturesData(symbol=symbol)

    async def get_instrument(self, symbol):
        if symbol != self.symbol:
            raise InvalidInput(f"only {self.symbol} is known here, not {symbol}")
        return default_instrument(symbol)

    async def stream_market(self, symbols, interval):
        while self.told < len(self.tape):
            candle = self.tape.candle(self.symbol, self.told)
            self.told += 1
            self.clock.set_to(candle.close_ns)
            yield CandleClosed(ts_event=candle.close_ns, ts_seen=candle.close_ns, candle=candle)


async def main():
    klines = Tape.synthetic("ETHUSDT", "1h", bars=3_000, seed=4, predictability=0.15).frame()
    report = await check_exchange(PaperExchange(Replayed(klines, "ETHUSDT"), symbols=["ETHUSDT"], interval="1h"))
    print(report)
    report.raise_for_failures()

    stages = {"features": FeatureOrchestrator(), "analyst": RuleAnalyst(), "tactician": Tactician()}
    exchange = PaperExchange(Replayed(klines, "ETHUSDT"))
    stages["monitor"] = PositionMonitor()
    bot = LiveTradingPipeline(exchange=exchange, symbols=["ETHUSDT"], interval="1h", **stages)
    async with bot:
        await bot.run()
        status = bot.get_trading_status()["desk"]
        print(f"\n{status['orders_sent']} orders, {status['closed_trades']} closed trades")
        print("equity", bot.desk.account().equity)


asyncio.run(main())
