"""Wash sales (R12.2, R12.3) by 26 CFR 1.1091-1: which shares replace those that were sold at a loss.

A loss is disallowed share by share as far as shares of the ticker were acquired within 30 calendar days before or after
the sale. It moves into the basis of the shares that replace the sold ones, so that it is put off and never lost.
"""

import datetime as dt
from decimal import Decimal
from typing import NamedTuple

from trading.holdings import Sale, SoldLot, TaxLot
from trading.money import ZERO, divided, settled, total
from trading.trading_window import new_york_date

WINDOW = dt.timedelta(days=30)  # either side of the sale, by New York's dates, both ends included


class Match(NamedTuple):
    """Shares of one lot that replace as many that were sold, and the loss in dollars that moves into its basis."""

    lot_id: str
    quantity: Decimal
    disallowed: Decimal


class Washed(NamedTuple):
    """A sale and all lots as they now stand, the lots that changed, and what was matched."""

    sale: Sale
    lots: tuple[TaxLot, ...]
    changed: tuple[TaxLot, ...]
    matches: tuple[Match, ...]


def wash(sale: Sale, lots: tuple[TaxLot, ...]) -> Washed:
    """Match what is left of a sale's loss with the shares that replace it, earliest acquired first (1.1091-1 (c), (d)).

    Right at the sale and right at a purchase alike: a share that is matched once replaces nothing else (1.1091-1 (e)).
    """
    if sale.loss <= 0:
        return Washed(sale, lots, (), ())
    changed: dict[str, TaxLot] = {}
    matches: list[Match] = []
    for lot in lots:
        may_replace = lot.open_quantity > 0 and replaces(lot, sale)  # most lots of two months are closed
        quantity = min(_free(lot), sale.unmatched) if may_replace else ZERO
        if quantity > 0:
            amount = share_of(sale.loss, quantity, of=sale.unmatched)
            matches.append(Match(lot.lot_id, quantity, amount))
            changed[lot.lot_id] = _with_loss(lot, quantity=quantity, amount=amount)
            sale = sale.model_copy(update={"unmatched": sale.unmatched - quantity, "loss": sale.loss - amount})
    if not matches:
        return Washed(sale, lots, (), ())
    sale, tagged = _tag(sale, lots, matches=matches)
    changed |= tagged
    after = tuple(changed.get(lot.lot_id, lot) for lot in lots)
    return Washed(sale, after, tuple(lot for lot in after if lot.lot_id in changed), tuple(matches))


def replaces(lot: TaxLot, sale: Sale) -> bool:
    """Tell whether a lot's shares can replace those of a sale; the rest of a lot that was sold cannot (Rul. 56-602)."""
    is_sold = any(sold.lot_id == lot.lot_id for sold in sale.lots)
    return lot.symbol == sale.symbol and not is_sold and is_within(lot.acquired_at, sold_at=sale.sold_at)


def is_within(acquired_at: dt.datetime, *, sold_at: dt.datetime) -> bool:
    """Tell whether a purchase lies within the 61 days around a sale."""
    return abs(new_york_date(acquired_at) - new_york_date(sold_at)) <= WINDOW


def share_of(loss: Decimal, quantity: Decimal, *, of: Decimal) -> Decimal:
    """Return the dollars of a loss on `of` shares that belong to `quantity` of them; all of it for all of them."""
    return loss if quantity == of else settled(divided(loss * quantity, of))


def _free(lot: TaxLot) -> Decimal:
    """Return the open shares of a lot that have replaced nothing yet; those that did are sold first."""
    return lot.quantity - max(lot.quantity - lot.open_quantity, lot.matched_up_to)


def _with_loss(lot: TaxLot, *, quantity: Decimal, amount: Decimal) -> TaxLot:
    """Return a lot whose open shares carry a disallowed loss in their basis, spread over all of them."""
    basis = settled(lot.open_quantity * lot.cost_basis_per_share) + amount
    return lot.model_copy(
        update={
            "cost_basis_per_share": divided(basis, lot.open_quantity),
            "paid_per_share": lot.cost_per_share,
            "matched_up_to": lot.quantity - _free(lot) + quantity,
        }
    )


def _tag(sale: Sale, lots: tuple[TaxLot, ...], *, matches: list[Match]) -> tuple[Sale, dict[str, TaxLot]]:
    """Give the disallowed loss to the lots that were sold, oldest first, those that the row still keeps."""
    known = {lot.lot_id: lot for lot in lots}
    left, amount = total(match.quantity for match in matches), total(match.disallowed for match in matches)
    pieces: list[SoldLot] = []
    tagged: dict[str, TaxLot] = {}
    for sold in sale.lots:
        quantity = min(left, sold.unmatched)
        if quantity > 0:
            part = share_of(amount, quantity, of=left)
            left, amount = left - quantity, amount - part
            if sold.lot_id in known:
                tagged[sold.lot_id] = known[sold.lot_id].with_disallowed(part)
        pieces.append(sold.model_copy(update={"unmatched": sold.unmatched - quantity}))
    return sale.model_copy(update={"lots": tuple(pieces)}), tagged
