"""`ares backtest`: the bot on recorded klines, as fast as the machine allows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ares.cli import options
from ares.cli.exits import ends_with_exit_code

__all__ = ["backtest"]


@ends_with_exit_code
def backtest(
    symbol: options.Symbol = None,
    exchange: options.ExchangeName = "SIM",
    tape: options.TapeFile = None,
    interval: options.IntervalName = None,
    funding: options.FundingFile = None,
    agg_trades: options.AggTradesFile = None,
    quotes: options.QuotesFile = None,
    futures: options.FuturesFile = None,
    bars: options.Bars = None,
    seed: options.Seed = 0,
    edge: options.Edge = None,
    balance: options.Balance = None,
    config: options.ConfigFile = None,
    model: options.ModelFolder = None,
    retrain: options.Retrain = None,
    models: options.ModelsFolder = None,
    report: Annotated[Path | None, typer.Option(help="Also write an HTML page with curves and trades.")] = None,
    trials: options.TrialsFile = Path("data/trials.sqlite"),
    json: options.JsonOut = False,
    progress: options.Progress = None,
    log: options.LogLevel = None,
) -> None:
    """Play recorded klines through the whole bot and print what came of it, after all costs, beside the baselines."""
    from ares.assembly import build_backtester, schedule_of, trading_starts
    from ares.cli.market import check_exchange_name, open_tape, symbol_of
    from ares.cli.outcome import describe, show
    from ares.cli.recorded import Recorded
    from ares.cli.screen import note, progress_bar
    from ares.cli.settings import settings
    from ares.report.plots import plotly
    from ares.training.trials import TrialLedger

    check_exchange_name(exchange)
    if report is not None:
        plotly("plotly")  # before the market is played, not after
    symbol = symbol_of(symbol, tape)
    recorded = Recorded(agg_trades=agg_trades, quotes=quotes, futures=futures)
    given = settings(config, balance=balance, model=model, retrain=retrain, models=models, log=log)
    chosen = recorded.read_by(given)
    market = open_tape(
        symbol, tape=tape, interval=interval, funding=funding, recorded=recorded, seed=seed, edge=edge, bars=bars
    )
    start = trading_starts(chosen, market)
    schedule = None
    if chosen.retraining is not None:
        with progress_bar(f"{symbol} {market.interval} training", None, progress) as advance:
            schedule = schedule_of(chosen, market, lambda stage, done, total: advance(done))
    with (
        TrialLedger(trials) as ledger,
        progress_bar(f"{symbol} {market.interval}", len(market), progress) as advance,
    ):
        backtester = build_backtester(chosen, trials=ledger)
        result = backtester.run(market, start=start, models=schedule, progress=lambda done, total: advance(done))
    if report is not None:
        note(f"report: {result.report(report)}")
    show(describe(result, seed=seed, tape=str(tape) if tape is not None else "synthetic"), as_json=json)
