"""Tax lots (R12): one lot an opening fill, closed first in, first out."""

import datetime as dt
from decimal import Decimal
from typing import NamedTuple

from trading.money import ZERO, settled
from trading.portfolio import TaxLot

KEPT_FOR = dt.timedelta(days=61)  # the wash-sale window, 30 days either side of a sale
KEPT_CLOSED = 100  # at most; PostgreSQL keeps them all


class Closed(NamedTuple):
    """What a sale did: all lots as they now stand, those it changed, and the shares it took from each of these.

    `cost` is what the sold shares cost, `basis` their tax basis: both in dollars, apart only by wash sales.
    """

    lots: tuple[TaxLot, ...]
    changed: tuple[TaxLot, ...]
    sold: tuple[Decimal, ...]
    cost: Decimal
    basis: Decimal


def close_fifo(lots: tuple[TaxLot, ...], *, symbol: str, quantity: Decimal, at: dt.datetime) -> Closed:
    """Sell `quantity` shares from the oldest open lots; raise ValueError when fewer are open."""
    left, cost, basis = quantity, ZERO, ZERO
    taken: list[Decimal] = []
    after: list[TaxLot] = []
    changed: list[TaxLot] = []
    for lot in lots:
        if lot.symbol == symbol and lot.open_quantity > 0 and left > 0:
            sold = min(left, lot.open_quantity)
            left -= sold
            taken.append(sold)
            cost += settled(sold * lot.cost_per_share)
            basis += settled(sold * lot.cost_basis_per_share)
            remaining = lot.open_quantity - sold
            status = "washed" if lot.disallowed_loss else "closed"
            closing = {"status": status, "closed_at": at} if remaining == 0 else {}
            lot = lot.model_copy(update={"open_quantity": remaining, **closing})  # noqa: PLW2901 - the lot moves on
            changed.append(lot)
        after.append(lot)
    if left > 0:
        raise ValueError(f"{quantity} {symbol} sold, {left} more than the open lots hold")
    return Closed(tuple(after), tuple(changed), tuple(taken), cost, basis)


def forget_old(lots: tuple[TaxLot, ...], *, now: dt.datetime) -> tuple[TaxLot, ...]:
    """Drop lots that closed more than 61 days ago, and the oldest beyond `KEPT_CLOSED`, so that the row stays small."""
    since = now - KEPT_FOR
    closed = [lot.lot_id for lot in lots if lot.closed_at is not None and lot.closed_at >= since]
    kept = set(closed[-KEPT_CLOSED:])
    return tuple([lot for lot in lots if lot.closed_at is None or lot.lot_id in kept])
