"""The backtester: its money adds up, runs do not see each other, and any stage will do."""

from __future__ import annotations

import asyncio
import json
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from ares.analyst.rules import RuleAnalyst
from ares.backtesting.backtester import BacktestConfig, Backtester
from ares.backtesting.discount import discounted, record_run
from ares.backtesting.result import BacktestResult
from ares.errors import DataError, InvalidInput
from ares.events import CandleClosed, Command, Event, MarkPrice, Submit, encode
from ares.protocols import AnalysisInput, AnalysisResult, FeatureRow
from ares.report.significance import moments, probabilistic_sharpe_ratio
from ares.report.statistics import returns_of, sharpe
from ares.simulation.tape import Tape
from ares.simulation.venue import VenueConfig
from ares.training.trials import TrialLedger, family_of


def swing(row: FeatureRow) -> float | None:
    """A lively rule, so that a short tape sees many trades: against the last bar's move."""
    move = row["returns.log_1"]
    return None if abs(move) < 0.002 else -1.0 if move > 0 else 1.0


@pytest.fixture(scope="module")
def tape() -> Tape:
    return Tape.synthetic("ETHUSDT", "1h", bars=1500, seed=5)


@pytest.fixture(scope="module")
def backtester() -> Backtester:
    from attrs import evolve

    from ares.analyst.config import AnalystConfig

    config = AnalystConfig(round_trip_cost=0.0, horizon=6)
    rules = evolve(config.rules, min_matured=0, prior_win=0.9)
    return Backtester(analyst=RuleAnalyst(swing, config=evolve(config, rules=rules)))


@pytest.fixture(scope="module")
def result(backtester: Backtester, tape: Tape) -> BacktestResult:
    return backtester.run(tape)


def test_a_lively_rule_trades(result: BacktestResult) -> None:
    assert result.records.closed_trades > 20
    assert set(result.trades["side"]) == {"BUY", "SELL"}


def test_the_money_adds_up(result: BacktestResult, tape: Tape) -> None:
    """Equity moved by what the fills earned, less fees, plus funding, marked at the last mark price: exactly."""
    cash = Decimal(10_000)
    held = fees = Decimal(0)
    for fill in result.records.fills:
        cash -= fill.side.sign * fill.price * fill.quantity
        held += fill.side.sign * fill.quantity
        fees += fill.fee
    mark = Decimal(repr(float(tape.track("ETHUSDT").mark_close[-1]))).quantize(Decimal("0.01"))
    expected = cash + held * mark - fees + Decimal(repr(result.funding))
    assert abs(float(expected) - result.equity.iloc[-1]) < 1e-6
    assert float(fees) == pytest.approx(result.fees, abs=1e-8)


def test_every_order_stands_in_its_last_state(result: BacktestResult) -> None:
    """By the fills: what traded is filled, also the exit that ended its trade; only an open trade has open orders."""
    traded: dict[str, float] = {}
    for fill in result.records.fills:
        traded[fill.order_id] = traded.get(fill.order_id, 0.0) + float(fill.quantity)
    orders = result.orders.set_index("order_id")
    assert orders["filled"].to_dict() == pytest.approx({i: traded.get(i, 0.0) for i in orders.index})
    assert set(orders.loc[list(traded), "status"]) == {"FILLED"}
    assert (orders["status"] == "NEW").sum() <= 2


def test_closed_trades_explain_what_fills_realised(result: BacktestResult) -> None:
    trades = result.trades
    closed = trades["gross"].sum() - trades["fees"].sum() + trades["funding"].sum()
    assert trades["net"].sum() == pytest.approx(closed)
    assert (trades["exit_time"] >= trades["entry_time"]).all()
    assert (trades["quantity"] > 0).all()


def test_a_market_order_fills_at_the_next_open_with_slippage(result: BacktestResult, tape: Tape) -> None:
    opens = tape.frame("ETHUSDT")["open"]
    for trade in result.trades.itertuples():
        at_open = opens[trade.entry_time]
        worse = (trade.entry_price - at_open) * (1 if trade.side == "BUY" else -1)
        assert 0 <= worse <= at_open * 0.0001 + 0.01


def test_two_runs_are_one(backtester: Backtester, tape: Tape, result: BacktestResult) -> None:
    again = backtester.run(tape)
    pd.testing.assert_series_equal(again.equity, result.equity)
    pd.testing.assert_frame_equal(again.trades, result.trades)


def test_the_future_changes_nothing(backtester: Backtester, tape: Tape) -> None:
    """Commands up to a moment are the same whether or not the tape goes on."""

    def commands(played: Tape) -> list[tuple[int, bytes]]:
        said: list[tuple[int, bytes]] = []

        def note(event: Event, answer: list[Command]) -> None:
            if event.ts_seen < cut and not isinstance(event, MarkPrice):
                said.extend((event.ts_seen, encode(c)) for c in answer)

        backtester.run(played, observer=note)
        return said

    cut = int(tape.track("ETHUSDT").open_ns[900])
    assert commands(tape.slice(None, cut)) == commands(tape)


class Remote:
    """An analyst with only the async verb, as one on another machine would be."""

    def __init__(self, inner: RuleAnalyst, fails: bool = False) -> None:
        self.inner, self.fails = inner, fails

    async def execute_analysis(self, given: AnalysisInput) -> AnalysisResult:
        await asyncio.sleep(0)
        if self.fails:
            raise ConnectionError("no model today")
        return self.inner.analyze(given)


def test_an_async_stage_decides_as_its_plain_twin(backtester: Backtester, tape: Tape, result: BacktestResult) -> None:
    inner = backtester._copies()["analyst"]
    remote = Backtester(analyst=Remote(inner)).run(tape)
    assert list(remote.trades["net"]) == list(result.trades["net"])


def test_an_async_stage_that_needs_history_hears_of_it(backtester: Backtester, tape: Tape) -> None:
    start = int(tape.track("ETHUSDT").close_ns[999])
    plain = backtester.run(tape, start=start)

    class Learns(Remote):
        needs_history = True

    remote = Backtester(analyst=Learns(backtester._copies()["analyst"])).run(tape, start=start)
    assert list(remote.trades["net"]) == list(plain.trades["net"])
    deaf = Backtester(analyst=Remote(backtester._copies()["analyst"])).run(tape, start=start)
    assert list(deaf.trades["net"]) != list(plain.trades["net"])


def test_it_runs_inside_a_running_event_loop(
    backtester: Backtester, tape: Tape, result: BacktestResult
) -> None:
    async def notebook() -> BacktestResult:
        inner = backtester._copies()["analyst"]
        return Backtester(analyst=Remote(inner)).run(tape)

    assert asyncio.run(notebook()).records.closed_trades == result.records.closed_trades


def test_a_failing_stage_means_no_trade_and_is_said(tape: Tape) -> None:
    alerts: list[Any] = []

    def note(event: Event, commands: list[Command]) -> None:
        alerts.extend(c for c in commands if getattr(c, "code", "") == "stage.failed")

    short = tape.slice(None, int(tape.track("ETHUSDT").open_ns[50]))
    going_on = BacktestConfig(stop_on_failure=False)
    failed = Backtester(going_on, analyst=Remote(RuleAnalyst(), fails=True)).run(short, observer=note)
    assert failed.orders_sent == 0
    assert len(alerts) == 50 and "no model today" in str(alerts[0].facts)
    assert failed.alerts["stage.failed"] == 50


class Breaks:
    """An analyst that is well until bar `at`, then answers what it was told to, or raises it."""

    def __init__(self, answer: object, at: int = 700) -> None:
        self.inner, self.answer, self.at, self.bars = RuleAnalyst(), answer, at, 0

    def analyze(self, given: AnalysisInput) -> Any:
        self.bars += 1
        if self.bars < self.at:
            return self.inner.analyze(given)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize("answer", [ZeroDivisionError("a bug"), None, {"side": "BUY"}])
def test_a_broken_stage_ends_a_backtest_and_not_a_session(tape: Tape, answer: object) -> None:
    short = tape.slice(None, int(tape.track("ETHUSDT").open_ns[1000]))
    with pytest.raises(InvalidInput, match="the analyst failed") as caught:
        Backtester(analyst=Breaks(answer)).run(short)
    assert caught.value.__cause__ is not None if isinstance(answer, Exception) else True
    result = Backtester(BacktestConfig(stop_on_failure=False), analyst=Breaks(answer)).run(short)
    assert result.alerts["stage.failed"] == 301
    assert len(result.equity) == 1000
    assert all(d.now_ns <= tape.track("ETHUSDT").close_ns[698] for d in result.records.decisions)


def test_something_that_is_no_stage_is_refused_by_its_verb() -> None:
    with pytest.raises(InvalidInput, match="cannot be the analyst: it has no `analyze`"):
        Backtester(analyst=object())  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="cannot be the features"):
        Backtester(features=RuleAnalyst())  # type: ignore[arg-type]


def test_history_warms_the_features_before_the_start(tape: Tape) -> None:
    start = int(tape.track("ETHUSDT").close_ns[1199])
    rows: list[bool] = []

    def note(event: Event, commands: list[Command]) -> None:
        if isinstance(event, CandleClosed):
            rows.append(event.history)

    result = Backtester().run(tape, start=start, observer=note)
    assert rows == [True] * (len(rows) - 300) + [False] * 300
    assert len(result.equity) == 300
    assert "row.not_ready" not in " ".join(result.decisions["reasons"])


def test_costs_are_on_unless_switched_off(backtester: Backtester, tape: Tape, result: BacktestResult) -> None:
    free = VenueConfig(maker_fee=Decimal(0), taker_fee=Decimal(0), slippage=Decimal(0))
    analyst = backtester._copies()["analyst"]
    cheap = Backtester(BacktestConfig(venue=free), analyst=analyst).run(tape)
    assert cheap.fees == 0 < result.fees


def test_the_summary_is_json_with_the_promised_keys(result: BacktestResult) -> None:
    summary = json.loads(json.dumps(result.summary(), allow_nan=False))
    promised = "mode symbol interval bars start end orders closed_trades net_return fees funding max_drawdown sharpe"
    assert set(promised.split()) <= set(summary)
    assert {"flat", "buy_and_hold", "random_entries"} <= set(summary["baselines"])
    first, last = pd.Timestamp(summary["start"]), pd.Timestamp(summary["end"])
    assert (last - first) / pd.Timedelta(hours=1) == summary["bars"] == len(result.equity)
    assert last == result.equity.index[-1]


def test_frames_of_a_run_without_trades_have_their_columns(tape: Tape) -> None:
    short = tape.slice(None, int(tape.track("ETHUSDT").open_ns[9]))
    quiet = Backtester(analyst=RuleAnalyst(lambda row: None)).run(short)
    assert quiet.trades.empty and "net" in quiet.trades.columns
    assert quiet.orders.empty and len(quiet.decisions) == 9
    assert quiet.summary()["sharpe"] is None and quiet.summary()["net_return"] == 0.0


def test_two_symbols_share_one_account() -> None:
    both = Tape.merge(
        Tape.synthetic("ETHUSDT", "1h", bars=700, seed=1), Tape.synthetic("BTCUSDT", "1h", bars=700, seed=2)
    )
    entries: set[str] = set()

    def note(event: Event, commands: list[Command]) -> None:
        entries.update(c.intent.request.symbol for c in commands if isinstance(c, Submit))

    result = Backtester(analyst=RuleAnalyst(swing)).run(both, observer=note)
    assert set(result.closes) == {"ETHUSDT", "BTCUSDT"}
    assert len(result.equity) == 700
    assert result.summary()["symbol"] == "ETHUSDT,BTCUSDT"


@pytest.mark.parametrize("rows", [0, 1])
def test_a_tape_that_is_too_short_is_refused(rows: int, tape: Tape) -> None:
    with pytest.raises(DataError):
        Backtester().run(tape.frame("ETHUSDT").iloc[:rows])


def test_a_missing_file_is_refused() -> None:
    with pytest.raises((DataError, InvalidInput), match="nowhere"):
        Backtester().run("nowhere.parquet")


def test_every_run_is_a_trial_and_repeating_one_is_none(tape: Tape) -> None:
    ledger = TrialLedger()
    short = tape.slice(None, int(tape.track("ETHUSDT").open_ns[900]))
    rules = (swing, swing, lambda row: 1.0 if row["momentum.rsi_14"] < 0.5 else -1.0)
    results = [Backtester(analyst=RuleAnalyst(rule), trials=ledger).run(short) for rule in rules]
    assert [r.discount.trials for r in results if r.discount is not None] == [1, 1, len(ledger)]
    assert results[0].summary() == results[1].summary()
    ledger.verify()


def test_trainings_on_the_same_market_count_against_a_backtest(backtester: Backtester, tape: Tape) -> None:
    rng = np.random.default_rng(3)
    days = pd.date_range("2021-01-01", periods=300, tz="UTC")
    found = []
    for trainings in (0, 2):
        with TrialLedger() as ledger:
            for number in range(trainings):
                daily = pd.Series(rng.normal(0.0, 0.01, 300), index=days)
                family = family_of(["ETHUSDT"], "1h", made_up=True)
                ledger.record(kind="train", name=str(number), family=family, recorded_ns=number, returns=daily)
            for other in ("BTCUSDT 1h made up", "ETHUSDT 1h"):  # other markets, one of them the real one of that name
                ledger.record(kind="train", name="x", family=other, recorded_ns=9)
            result = Backtester(analyst=backtester._copies()["analyst"], trials=ledger).run(tape)
            assert result.discount is not None and len(result.trades) > 0
            found.append(result.discount)
    alone, among = found
    assert dict(alone.kinds) == {"backtest": 1} and dict(among.kinds) == {"backtest": 1, "train": 2}
    assert (among.trials, among.effective_trials) == (3, 3)
    assert among.deflated_sharpe < alone.deflated_sharpe
    assert math.isnan(among.overfitting)  # nothing on the same clock to choose from


def test_trials_that_show_no_returns_count_against_a_result_too() -> None:
    """Nobody knows how far apart they were: by the definition, as far as luck alone puts Sharpe ratios apart."""
    times = pd.date_range("2024-01-01", periods=500, freq="h", tz="UTC")
    equity = pd.Series(100 * np.cumprod(1 + np.random.default_rng(0).normal(0.0008, 0.01, 500)), index=times)
    moved = returns_of([100.0, *equity])
    with TrialLedger() as ledger:
        record_run(
            ledger, family="f", name="a", parameters={}, start_equity=100.0, equity=equity, recorded_ns=1
        )
        alone = discounted(ledger, "f", 100.0, equity)
        for number in range(50):
            ledger.record(kind="train", name=str(number), family="f", recorded_ns=number)
        among = discounted(ledger, "f", 100.0, equity)
    euler = 0.5772156649
    assert among.effective_trials == 51 and among.deflated_sharpe < alone.deflated_sharpe
    best = np.sqrt(1 / 499) * ((1 - euler) * norm.ppf(1 - 1 / 51) + euler * norm.ppf(1 - 1 / (51 * np.e)))
    told = probabilistic_sharpe_ratio(sharpe(moved), 500, *moments(moved), benchmark=best)
    assert among.deflated_sharpe == pytest.approx(told, abs=1e-6)


def test_one_trial_is_judged_against_zero_and_many_against_the_best_of_them() -> None:
    """By the definition: the deflated ratio of a lone trial is the probabilistic one; rivals can only lower it."""
    rng = np.random.default_rng(1)
    times = pd.date_range("2024-01-01", periods=500, freq="h", tz="UTC")
    ledger, seen = TrialLedger(), []
    drifts = (0.002, *[0.0] * 11)
    curves = [pd.Series(100 * np.cumprod(1 + rng.normal(m, 0.01, 500)), index=times) for m in drifts]
    first = curves[0]
    for number, equity in enumerate(curves):
        record_run(
            ledger,
            family="f",
            name=str(number),
            parameters={"n": number},
            start_equity=100.0,
            equity=equity,
            recorded_ns=number,
        )
        seen.append(discounted(ledger, "f", 100.0, first))
    moved = returns_of([100.0, *first])
    alone = probabilistic_sharpe_ratio(sharpe(moved), 500, *moments(moved))
    assert seen[0].deflated_sharpe == pytest.approx(alone)
    assert math.isnan(seen[0].overfitting)
    assert seen[-1].effective_trials == 12 and seen[-1].deflated_sharpe < alone
    assert 0.0 <= seen[-1].overfitting <= 1.0
