"""What a liquidation costs: the venue closes the position for its owner."""

from __future__ import annotations

from ares.account import Ledger
from ares.instruments import Instrument, to_units
from ares.kernels import ledger as money
from ares.kernels import matching as rules

__all__ = ["closing_trade"]


def closing_trade(ledger: Ledger, instrument: Instrument, price: int, slippage: int) -> tuple[int, int]:
    """Price (ticks) and fee (units) at which the whole position is closed when the market is at `price`.

    At worst that is the price where the margin is gone. The fee takes no more than what is left of the margin, so the
    wallet loses the margin at most; what the market took beyond it is the insurance fund's loss and touches no account.
    slippage: 1e-8 of the price.
    """
    held = ledger.lots(instrument.symbol)
    worst = ledger.bankruptcy_ticks(instrument.symbol)
    slipped = rules.slipped_ticks(-1 if held > 0 else 1, price, slippage)
    ticks = max(slipped, worst) if held > 0 else min(slipped, worst)
    row, unit = ledger.row(instrument.symbol), instrument.unit_fraction
    value = money.value_units(held, ticks, unit.numerator, unit.denominator)
    left = int(row[money.MARGIN]) + value - int(row[money.COST])
    rate = to_units(instrument.liquidation_fee)
    fee = money.fee_units(held, ticks, unit.numerator, unit.denominator, rate)
    return ticks, min(fee, max(0, left))
