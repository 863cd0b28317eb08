"""Shares that the broker does not have (R1.6): taken off the oldest lots, without a trade.

Nobody told a price, so no profit, loss or wash sale is invented; the operator is told what the tax records lack.
"""

from decimal import Decimal

from trading import levels, tax_lots
from trading.portfolio import Position
from trading.step import Step


def take_off(step: Step, position: Position, *, left: Decimal) -> None:
    """Leave `left` shares of a position; with none its levels and its entry end."""
    gone = position.quantity - left
    closed = tax_lots.close_fifo(step.portfolio.lots, symbol=position.symbol, quantity=gone, at=step.now)
    step.change(lots=closed.lots)
    for lot in closed.changed:
        step.record_lot(lot)
    step.put_position(position.model_copy(update={"quantity": left}))
    if left == 0:
        levels.close(step, position)
        step.drop_entry(position.symbol)
