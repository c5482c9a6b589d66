"""`ares train`: from recorded klines to a calibrated model with its card."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ares.cli import options
from ares.cli.exits import ends_with_exit_code

if TYPE_CHECKING:
    import pandas as pd

    from ares.config import AresConfig
    from ares.simulation.tape import Tape
    from ares.training.dataset import TrainConfig
    from ares.training.folds import Progress
    from ares.training.trainer import TrainedModel
    from ares.training.trials import TrialLedger

__all__ = ["train"]


@ends_with_exit_code
def train(
    symbol: options.Symbol = None,
    tape: options.TapeFile = None,
    interval: options.IntervalName = None,
    funding: options.FundingFile = None,
    agg_trades: options.AggTradesFile = None,
    quotes: options.QuotesFile = None,
    futures: options.FuturesFile = None,
    bars: options.Bars = None,
    seed: options.Seed = 0,
    edge: options.Edge = None,
    config: options.ConfigFile = None,
    out: Annotated[Path, typer.Option(help="Folder of models; the new one gets a folder named by its id.")] = Path(
        "data/models"
    ),
    folds: Annotated[int, typer.Option(min=3, help="Test blocks of the walk-forward.")] = 6,
    side_timeframe: Annotated[
        str | None,
        typer.Option(
            help="Decide sides at this timeframe's closes, time entries on the tape's bars. None: the settings'."
        ),
    ] = None,
    time_to_live: Annotated[
        int | None, typer.Option(min=1, help="Bars that an entry may wait for its moment. None: the settings'.")
    ] = None,
    placebos: Annotated[bool, typer.Option(help="Also train on shuffled labels and on stale features.")] = True,
    trials: options.TrialsFile = Path("data/trials.sqlite"),
    json: options.JsonOut = False,
    progress: options.Progress = None,
    log: options.LogLevel = None,
) -> None:
    """Train the analyst's model walk-forward and write it with a card that says how good it was out of sample."""
    from attrs import evolve

    from ares.assembly import training_plan
    from ares.cli.market import open_tape, symbol_of
    from ares.cli.recorded import Recorded
    from ares.cli.screen import note, print_json, progress_bar
    from ares.cli.settings import settings
    from ares.models.registry import Registry
    from ares.training.card import model_card
    from ares.training.trials import TrialLedger, family_of

    symbol = symbol_of(symbol, tape)
    recorded = Recorded(agg_trades=agg_trades, quotes=quotes, futures=futures)
    chosen = recorded.read_by(settings(config, log=log))
    market = open_tape(
        symbol, tape=tape, interval=interval, funding=funding, recorded=recorded, seed=seed, edge=edge, bars=bars
    )
    given: dict[str, Any] = {"side_timeframe": side_timeframe, "time_to_live": time_to_live}
    plan = evolve(training_plan(chosen), folds=folds, **{name: x for name, x in given.items() if x is not None})
    family = family_of([symbol], market.interval.name, made_up=market.made_up)
    with TrialLedger(trials) as ledger, progress_bar(f"{family} training", 100, progress) as advance:
        number = ledger.summary(family).count + 1
        model = _train(market, symbol, chosen, plan, number, ledger, _Stages(advance))
        tests = groups = None
        if placebos:
            tests, groups = _checked(model, plan)
        deflated = _deflated(ledger, model, family)
        kinds = dict(ledger.summary(family).kinds)
    model_id = Registry(out).add(model.bundle, model.loaded.manifest.record)
    card = model_card(model, symbol=symbol, tests=tests, groups=groups, deflated=deflated, trials=number)
    paths = card.write(out, f"{model_id[:12]}-card")
    values: dict[str, Any] = {
        "symbol": symbol,
        "interval": market.interval.name,
        "bars": len(market),
        "model_id": model_id,
        "model": str(out / model_id),
        "card": str(paths[0]),
        "page": str(paths[1]),
        "trials": number,
        "trials_by_kind": kinds,
        "deflated_sharpe": deflated,
        "suspected_leak": tests.suspected_leak if tests is not None else None,
        "verdict": model.scores.verdict,
        **model.scores.figures(),
    }
    if json:
        print_json(values)
        return
    _show(values)
    note(f"{values['verdict']} All this is out of sample; the card has every figure with its interval.")


def _train(
    market: Tape,
    symbol: str,
    config: AresConfig,
    plan: TrainConfig,
    number: int,
    ledger: TrialLedger,
    progress: Progress,
) -> TrainedModel:
    from ares.features.orchestrator import FeatureOrchestrator
    from ares.training.trainer import train as train_model

    return train_model(
        market,
        symbol=symbol,
        interval=market.interval,
        config=plan,
        features=FeatureOrchestrator(config.features),
        funding=_rates(market, symbol),
        trials=number,
        ledger=ledger,
        progress=progress,
    )


def _rates(market: Tape, symbol: str) -> pd.Series[float] | None:
    """The recorded funding rates by settlement time; None when the data hold none."""
    import pandas as pd

    track = market.track(symbol)
    if not track.funding_ns.size:
        return None
    return pd.Series(track.funding_rate, index=pd.DatetimeIndex(track.funding_ns, tz="UTC"))


def _checked(model: TrainedModel, plan: TrainConfig) -> tuple[Any, Any]:
    """Placebos and importance of the side model."""
    from ares.training.folds import Estimators
    from ares.training.placebo import importance
    from ares.training.placebo import placebos as run_placebos

    side = Estimators.default(plan.seed).side
    share = model.scores.trading.share_below
    tests = run_placebos(model.data, side, plan, random_entries=share, seed=plan.seed)
    return tests, importance(model.data, side, plan, seed=plan.seed)


def _deflated(ledger: TrialLedger, model: TrainedModel, family: str) -> float | None:
    """Probability that the daily Sharpe ratio beats the best that luck gives in so many tries; None without bets."""
    from ares.report.significance import deflated_sharpe_ratio, moments
    from ares.training.noting import DAY_NS, daily_returns

    daily = daily_returns(model.data, model.out_of_sample, model.scores)
    spread = float(daily.std(ddof=1)) if len(daily) > 1 else 0.0
    if not model.scores.trading.bets or not spread > 0.0:
        return None
    summary = ledger.summary(family)
    count = max(1, summary.effective)
    ratio, apart = float(daily.mean()) / spread, summary.apart(DAY_NS, len(daily))
    found = deflated_sharpe_ratio(ratio, len(daily), *moments(daily.to_numpy()), variance=apart, trials=count)
    return None if math.isnan(found) else found


class _Stages:
    """Turns the trainer's stages into one bar of 100."""

    def __init__(self, advance: Any) -> None:
        self._advance = advance

    def __call__(self, stage: str, done: int, total: int) -> None:
        names = list(_SHARES)
        if stage in _SHARES:
            before = sum(_SHARES[name] for name in names[: names.index(stage)])
            self._advance(int(before + _SHARES[stage] * done / max(total, 1)))


_SHARES = {"features": 5, "side": 45, "timing": 20, "meta": 15, "scores": 5, "final fit": 10}  # of the time


def _show(values: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from ares.cli.screen import counted

    screen = Console(highlight=False)
    screen.print(f"[bold]{values['symbol']} {values['interval']}[/bold] · model {values['model_id'][:12]}")
    lines = Table(show_header=False, box=None, pad_edge=False)
    lines.add_column(style="dim", no_wrap=True)
    lines.add_column(justify="right", overflow="fold")
    for label, name in (
        ("AUC, up against down", "auc_direction"),
        ("Brier skill over the base rate", "brier_skill"),
        ("expected calibration error", "calibration_error"),
    ):
        if name in values:
            span = ""
            if f"{name}_low" in values:
                span = f"  ({values[f'{name}_low']:.4f} to {values[f'{name}_high']:.4f})"
            lines.add_row(label, f"{values[name]:.4f}{span}")
    lines.add_row("bets that would have been taken", f"{values['bets']:,.0f}")
    if "net_per_bet" in values:
        span = ""
        if "net_per_bet_low" in values:
            span = f"  ({values['net_per_bet_low']:+.4%} to {values['net_per_bet_high']:+.4%})"
        lines.add_row("mean net return of a bet", f"{values['net_per_bet']:+.4%}{span}")
    if values["deflated_sharpe"] is not None:
        label = f"deflated Sharpe ratio, {counted(values)}"
        lines.add_row(label, f"{values['deflated_sharpe']:.3f}")
    if values["suspected_leak"]:
        lines.add_row("placebo", "[bold red]suspected leak, see the card[/bold red]")
    lines.add_row("model", values["model"])
    lines.add_row("card", values["card"])
    screen.print(lines)
