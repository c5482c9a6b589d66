"""The desk's money on the bench: what the account earns and pays elsewhere, and what the ledger does not know."""

from decimal import Decimal

import attrs

from ares.events import Alert, Command, Funding, Purpose, VenueSnapshot
from ares.pipeline.guard import Mode
from tests.pipeline.desk_bench import HOUR, SYMBOL, Bench, submits


def told(commands: list[Command]) -> list[str]:
    return [c.code for c in commands if isinstance(c, Alert)]


def test_o12_trades_of_another_symbol_on_the_account_stop_entries_and_nothing_else() -> None:
    bench = Bench()
    (entry,) = submits(bench.candle(), Purpose.ENTRY)
    other = bench.fill(entry, symbol="BTCUSDT", client_order_id="by hand")
    assert told(other) == ["position.foreign_fill"] and not submits(other)
    assert bench.desk.guard.mode is Mode.REDUCE and bench.desk.account().wallet == 10_000
    paid = Funding(
        ts_event=bench.now,
        ts_seen=bench.now,
        symbol="BTCUSDT",
        rate=Decimal("0.0001"),
        mark_price=60_000.0,
        amount=Decimal(-3),
    )
    assert bench.tell(paid) == [] and bench.desk.account().wallet == 10_000


def wallet(bench: Bench, amount: str) -> list[str]:
    account = attrs.evolve(bench.desk.account(), wallet=Decimal(amount))
    return told(
        bench.tell(
            VenueSnapshot(ts_event=bench.now, ts_seen=bench.now, account=account, open_orders=(), instruments=())
        )
    )


def test_o16_money_that_the_ledger_does_not_know_is_an_alarm_when_it_stays() -> None:
    bench = Bench()
    assert wallet(bench, "10000.99") == []  # within 0.01 %
    assert wallet(bench, "9998.99") == []  # perhaps a fill on its way
    assert wallet(bench, "10000") == []
    assert wallet(bench, "9998.99") == []
    assert wallet(bench, "9998.99") == ["account.differs"]
    assert wallet(bench, "9998.99") == []  # it was told
    assert wallet(bench, "10000") == []
    assert [wallet(bench, "10010"), wallet(bench, "10010")] == [[], ["account.differs"]]


def test_o16_a_deposit_hides_no_later_difference() -> None:
    bench = Bench()
    assert [wallet(bench, "10500") for _ in range(4)] == [[], ["account.differs"], [], []]
    assert [wallet(bench, "10498") for _ in range(3)] == [[], ["account.differs"], []]
    assert [wallet(bench, "10000") for _ in range(2)] == [[], []]


def test_o16_fees_paid_in_another_asset_are_no_difference() -> None:
    bench = Bench()
    (entry,) = submits(bench.candle(), Purpose.ENTRY)
    bench.fill(entry, fee=Decimal(5), fee_asset="BNB")
    assert bench.desk.account().wallet == 9_995
    for _ in range(3):
        assert "account.differs" not in wallet(bench, "10000")
    assert [wallet(bench, "9995"), wallet(bench, "9995")] != [[], []]


def test_late_news_of_a_payment_without_its_rate_books_the_money_only() -> None:
    bench = Bench()
    bench.opened()
    before = bench.desk.account().wallet
    for at, rate in ((bench.now, "0.0001"), (bench.now - HOUR, "0.5"), (bench.now, "NaN")):
        bench.tell(
            Funding(
                ts_event=at,
                ts_seen=bench.now,
                symbol=SYMBOL,
                rate=Decimal(rate),
                mark_price=2000.0,
                amount=Decimal(-1),
            )
        )
    assert bench.desk.account().wallet == before - 3
    known = bench.desk._seats[SYMBOL].funding
    assert known is not None and known.rate == Decimal("0.0001")
