"""A first backtest: seven months of a made-up market through the whole bot, after costs, beside the baselines.

Everything is offline. Give `Backtester().run` your own klines instead: a DataFrame, or a Parquet or CSV file.
"""

from ares import Backtester, Tape

tape = Tape.synthetic("ETHUSDT", "1h", bars=5_000, seed=7)
print(*tape.summary(), sep="\n")

result = Backtester().run(tape)

summary = result.summary()
print(f"\nnet return     {summary['net_return']:+.2%}   after {summary['fees']:.2f} {summary['asset']} of fees")
print(f"max drawdown   {summary['max_drawdown']:.2%}")
print(f"trades         {summary['closed_trades']}")
for name in ("flat", "buy_and_hold", "random_entries"):
    print(f"{name:<15}{summary['baselines'][name]:+.2%}")

print("\nWhy it stayed out, most frequent first:")
print(result.decisions["refused_by"].value_counts().head(5).to_string(header=False))

print("\nLast trades:")
columns = ["side", "quantity", "entry_price", "exit_price", "net", "exit_reason"]
print(result.trades[columns].tail(3).to_string(index=False))
