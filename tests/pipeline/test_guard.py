"""The desk's mode: the tightest latch, and loss limits that only a person lets go."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares.account import Account
from ares.events import LinkChanged, OperatorOrder
from ares.pipeline.guard import Guard, GuardConfig, Mode
from tests.pipeline.desk_bench import Bench, submits

HOUR = 3_600_000_000_000


def account(wallet: str) -> Account:
    zero = Decimal(0)
    return Account(
        asset="USDT",
        wallet=Decimal(wallet),
        start=Decimal(wallet),
        realised=zero,
        fees=zero,
        funding=zero,
        unrealised=zero,
        margin=zero,
    )


@given(st.dictionaries(st.text(max_size=5), st.sampled_from(list(Mode)), max_size=6))
def test_the_mode_is_the_tightest_latch(latches: dict[str, Mode]) -> None:
    guard = Guard(GuardConfig())
    for cause, mode in latches.items():
        guard.hold(cause, mode)
    assert guard.mode == max(latches.values(), default=Mode.RUN)
    for cause in latches:
        guard.release(cause)
    assert guard.mode is Mode.RUN


def test_a_daily_loss_closes_entries_and_the_next_day_does_not_reopen_them() -> None:
    guard = Guard(GuardConfig(daily_loss_limit=0.05))
    assert guard.watch(100.0, 0) is None
    assert guard.watch(95.1, HOUR) is None
    reason = guard.watch(95.0, 2 * HOUR)
    assert reason is not None and reason.code == "guard.daily_loss"
    assert guard.watch(94.0, 3 * HOUR) is None  # said once
    guard.watch(120.0, 30 * HOUR)
    assert not guard.limits(account("120"), Decimal(0), 0).may_enter


def test_the_day_begins_with_its_own_equity() -> None:
    guard = Guard(GuardConfig(daily_loss_limit=0.05))
    guard.watch(100.0, 0)
    guard.watch(96.0, 23 * HOUR)
    assert guard.watch(92.0, 24 * HOUR) is None  # the new day's first equity
    assert guard.watch(87.0, 25 * HOUR) is not None


def test_drawdown_is_measured_from_the_highest_equity() -> None:
    guard = Guard(GuardConfig(drawdown_limit=0.2))
    for equity in (100.0, 150.0, 121.0):
        assert guard.watch(equity, 0) is None
    assert guard.limits(account("121"), Decimal(0), 0).drawdown == 1 - 121 / 150
    assert guard.watch(120.0, 0) is not None


@given(st.integers(0, 500))
def test_gross_exposure_never_passes_its_limit(committed: int) -> None:
    limits = Guard(GuardConfig(max_gross_leverage=2.0)).limits(account("100"), Decimal(committed), 0)
    if limits.may_enter:
        assert limits.max_notional is not None and committed + limits.max_notional <= 200
    else:
        assert committed >= 200 and limits.reasons[0].code == "guard.gross_exposure"


def test_positions_are_counted() -> None:
    guard = Guard(GuardConfig(max_positions=2))
    assert guard.limits(account("100"), Decimal(0), 1).may_enter
    assert not guard.limits(account("100"), Decimal(0), 2).may_enter


@pytest.mark.parametrize("later", ["pause", "flatten", "stop"])
def test_what_an_operator_asks_for_during_a_halt_does_not_loosen_it(later: str) -> None:
    bench = Bench()
    bench.opened()
    for action in ("halt", later):
        answer = bench.tell(OperatorOrder(ts_event=bench.now, ts_seen=bench.now, action=action))
    assert bench.desk.guard.mode is Mode.HALT and not submits(answer)
    bench.tell(OperatorOrder(ts_event=bench.now, ts_seen=bench.now, action="resume"))
    assert bench.desk.guard.latches == ({"stopped": Mode.REDUCE} if later == "stop" else {})


@pytest.mark.parametrize("lost", ["account", "market", "clock", "modes"])
def test_nobody_resumes_what_is_still_so(lost: str) -> None:
    """A link that is down, or a session that does not know yet what became of its orders, takes no new risk."""
    bench = Bench()

    def tell(*actions: str, up: bool | None = None) -> Mode:
        for action in actions:
            bench.tell(OperatorOrder(ts_event=bench.now, ts_seen=bench.now, action=action))
        if up is not None:
            bench.tell(LinkChanged(ts_event=bench.now, ts_seen=bench.now, link=lost, up=up))
        return bench.desk.guard.mode

    assert tell(up=False) is Mode.REDUCE and tell("halt") is Mode.HALT
    assert tell("resume") is Mode.REDUCE and not submits(bench.candle())
    assert tell(up=True) is Mode.RUN
    assert tell("stop", "pause", "resume") is Mode.REDUCE and not submits(bench.candle())
    assert tell("start") is Mode.RUN and submits(bench.candle())
