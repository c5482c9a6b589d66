"""Money over whole sessions: conserved after every event, and known to whoever only hears the events."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from ares.account import Ledger
from ares.errors import Rejected
from ares.events import CandleClosed, Event, FillBooked, Funding, MarkPrice
from ares.orders import OrderRequest
from ares.simulation.session import Session
from ares.simulation.tape import Tape
from ares.simulation.venue import VenueConfig
from tests.simulation.market import D, random_bars, tape


class Mirror:
    """A ledger that is fed by events alone, as a desk's is."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.instruments = session.venue.instruments
        self.ledger = Ledger("USDT", session.venue.config.start_balance)
        for symbol, instrument in self.instruments.items():
            self.ledger.add(instrument, session.venue.ledger.leverage(symbol))
        self.fills = self.liquidations = 0

    def hear(self, event: Event) -> None:
        if isinstance(event, FillBooked):
            self.fills += 1
            self.liquidations += event.fill.liquidation
            self.ledger.book_fill(self.instruments[event.fill.symbol], event.fill)
        elif isinstance(event, Funding) and event.amount is not None:
            self.ledger.book_funding(self.instruments[event.symbol], amount=event.amount)
        elif isinstance(event, MarkPrice):
            self.ledger.mark(event.symbol, event.price)

    def check(self) -> None:
        """I1 and I10, exactly; and once everything was heard, both ledgers are one."""
        account = self.ledger.account()
        value = account.start + account.realised - account.fees + account.funding + account.unrealised
        assert account.wallet + account.unrealised == value == account.equity
        assert account.wallet >= 0
        if self.session.has_told_not_all:
            return
        theirs = self.session.venue.account()
        assert evolve(theirs, reserved=D(0), unrealised=D(0), positions=(), updated_ns=0) == evolve(
            account, unrealised=D(0), positions=()
        )
        for symbol in self.instruments:
            assert self.ledger.lots(symbol) == self.session.venue.ledger.lots(symbol)
            assert self.ledger.liquidation_ticks(symbol) == self.session.venue.ledger.liquidation_ticks(symbol)


def trade(session: Session, seed: int, eagerness: float, most: float) -> Mirror:
    """Random orders of all kinds, sized as shares of the wallet up to `most` times it."""
    rng = np.random.default_rng(seed)
    mirror = Mirror(session)
    while (event := session.next_event()) is not None:
        mirror.hear(event)
        mirror.check()
        if isinstance(event, CandleClosed | FillBooked) and rng.random() < eagerness:
            symbol = session.tape.symbols[int(rng.integers(len(session.tape.symbols)))]
            try:
                if rng.random() < 0.1 and not session.has_told_not_all:
                    leverage = int(rng.integers(1, 40))
                    session.set_leverage(symbol, leverage)
                    mirror.ledger.set_leverage(mirror.instruments[symbol], leverage)
                session.submit(wish(session, symbol, rng, most))
            except Rejected:
                continue
    return mirror


def wish(session: Session, symbol: str, rng: np.random.Generator, most: float) -> OrderRequest:
    """One random order near the price."""
    instrument = session.venue.instruments[symbol]
    price = session.venue.last_price(symbol)
    side = ("BUY", "SELL")[int(rng.integers(2))]
    kind = ("MARKET", "LIMIT", "STOP_MARKET", "TAKE_PROFIT_MARKET")[int(rng.integers(4))]
    level = instrument.price(price * float(np.exp(rng.normal(0, 0.005))))
    wallet = float(session.venue.account().wallet)
    quantity = instrument.quantity(wallet * rng.random() * most / price) or instrument.min_quantity
    more = {} if kind == "MARKET" else {"price": level} if kind == "LIMIT" else {"stop_price": level}
    return OrderRequest(
        symbol=symbol,
        side=side,
        order_type=kind,
        quantity=quantity,
        reduce_only=bool(rng.random() < 0.3),
        **more,  # type: ignore[arg-type]
    )


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.005, 0.02, 0.06]), st.sampled_from([1, 5, 20, 100]))
@settings(max_examples=25)
def test_money_is_conserved_over_any_session(seed: int, swing: float, leverage: int) -> None:
    eth = tape(random_bars(seed % 1000, 60, swing=swing), funding={8: 0.003, 16: -0.002, 24: 0.001, 48: 0.0001})
    btc = tape(random_bars(seed % 997, 60, price=60_000.0, swing=swing), symbol="BTCUSDT", funding={8: -0.001})
    session = Session(Tape.merge(eth, btc), config=VenueConfig(leverage=leverage, start_balance=D(20_000)))
    trade(session, seed, 0.8, leverage / 2)


def test_liquidations_are_heard_like_any_fill() -> None:
    mirrors = [
        trade(
            Session(tape(random_bars(seed, 80, swing=0.05), funding={8: 0.01}), config=VenueConfig(leverage=50)),
            seed,
            0.9,
            40.0,
        )
        for seed in range(6)
    ]
    assert sum(m.liquidations for m in mirrors) > 3
    assert sum(m.fills for m in mirrors) > 60


@pytest.mark.parametrize("leverage", [2, 20])
def test_money_is_conserved_on_real_hours(real_data: Path, leverage: int) -> None:
    """A year of real ETHUSDT hours with its real funding, and a random trader on it."""
    folder = real_data / "market"
    year = Tape.from_file(
        folder / "um_ETHUSDT_1h.parquet", symbol="ETHUSDT", funding=folder / "um_ETHUSDT_funding.parquet"
    ).slice("2023-06-01", "2023-12-01")
    mirror = trade(Session(year, config=VenueConfig(leverage=leverage)), leverage, 0.1, leverage / 4)
    account = mirror.ledger.account()
    assert mirror.fills > 100
    assert account.fees > 0
    assert account.funding != 0
