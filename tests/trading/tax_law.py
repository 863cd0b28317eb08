"""Wash sales as an auditor would keep them: share by share, in exact fractions, from the records alone.

Every share is an object of its own: what was paid, the losses that moved into it, whether it is held and whether it
has replaced another. Nothing here is taken from `trading/`.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
ENDED = ("filled", "cancelled", "rejected")
TOLERANCE = Fraction(1, 10**8)


@dataclass(eq=False)
class Share:
    """One share of one opening fill; `basis` is its tax basis."""

    lot: str
    bought_on: Any
    paid: Fraction
    basis: Fraction
    is_held: bool = True
    has_replaced: bool = False
    disallowed: Fraction = Fraction(0)
    is_matched: bool = False


@dataclass(eq=False)
class Closing:
    """One closing order: the shares it sold, oldest first, and what they brought."""

    symbol: str
    shares: list[Share] = field(default_factory=list)
    proceeds: Fraction = Fraction(0)
    sold_on: Any = None
    has_ended: bool = False
    is_forgotten: bool = False

    @property
    def loss(self) -> Fraction:
        return sum((share.basis for share in self.shares), Fraction(0)) - self.proceeds


class TaxLaw:
    """Fold the records of an account; `check` compares what they say with the law."""

    KINDS = ("lot", "trade", "wash_sale", "fill", "order_status")

    def __init__(self) -> None:
        self.shares: dict[str, list[Share]] = defaultdict(list)
        self.closings: dict[str, Closing] = {}
        self.trades: dict[str, Any] = {}
        self.lots: dict[str, Any] = {}
        self.new_lot = ""
        self.washed = Decimal(0)
        self.purchases = 0

    def fold(self, effects: tuple[Any, ...]) -> None:
        for effect in effects:
            kind = getattr(effect, "kind", None)
            if kind == "lot":
                self.new_lot = effect.lot_id if effect.lot_id not in self.lots else self.new_lot
                self.lots[effect.lot_id] = effect
            elif kind == "trade":
                self.trades[effect.client_order_id] = effect
            elif kind == "wash_sale":
                self._warned(effect) if effect.replacement_lot_id is None else self._moved(effect)
            elif kind == "fill":
                self._bought(effect) if effect.side == "buy" else self._sold(effect)
            elif kind == "order_status" and effect.status in ENDED and effect.client_order_id in self.closings:
                closing = self.closings[effect.client_order_id]
                closing.has_ended = True
                self._match(closing)
            elif kind == "alert" and "no longer watched" in effect.subject:
                self._forgotten(effect)

    def _forgotten(self, alert: Any) -> None:
        """Let no purchase replace the oldest loss of a symbol: told so, and allowed while 30 and more are waiting."""
        today = alert.at.astimezone(NEW_YORK).date()
        waiting = [
            closing
            for closing in self.closings.values()
            if not closing.is_forgotten
            and closing.loss > 0
            and not all(share.is_matched for share in closing.shares)
            and (today - closing.sold_on).days <= 30
        ]
        assert len(waiting) >= 30
        next(closing for closing in waiting if closing.symbol == alert.symbol).is_forgotten = True

    def _moved(self, record: Any) -> None:
        assert record.decision_id is not None
        assert record.quantity > 0
        self.washed += record.disallowed_loss

    @staticmethod
    def _warned(record: Any) -> None:
        assert record.pending_recommendation_id is not None
        assert record.decision_id is None
        assert (record.quantity, record.disallowed_loss) == (0, 0)

    def _bought(self, fill: Any) -> None:
        assert fill.quantity == int(fill.quantity)
        paid = (Fraction(fill.quantity) * Fraction(fill.price) + Fraction(fill.fee)) / Fraction(fill.quantity)
        day = fill.at.astimezone(NEW_YORK).date()
        self.shares[fill.symbol] += [Share(self.new_lot, day, paid, paid) for _ in range(int(fill.quantity))]
        for closing in self.closings.values():
            if closing.symbol == fill.symbol and closing.has_ended:
                self._match(closing)

    def _sold(self, fill: Any) -> None:
        closing = self.closings.setdefault(fill.client_order_id, Closing(fill.symbol))
        held = [share for share in self.shares[fill.symbol] if share.is_held][: int(fill.quantity)]
        for share in held:
            share.is_held = False
        closing.shares += held
        closing.proceeds += Fraction(fill.quantity) * Fraction(fill.price) - Fraction(fill.fee)
        closing.sold_on = fill.at.astimezone(NEW_YORK).date()

    def _match(self, closing: Closing) -> None:
        """Let every share bought within 30 days that is still there replace one that was sold at a loss."""
        if closing.loss <= 0 or closing.is_forgotten:
            return
        sold_lots = {share.lot for share in closing.shares}
        a_share = closing.loss / len(closing.shares)
        for sold in closing.shares:
            if sold.is_matched:
                continue
            for share in self.shares[closing.symbol]:
                near = abs((share.bought_on - closing.sold_on).days) <= 30
                if near and share.is_held and not share.has_replaced and share.lot not in sold_lots:
                    share.has_replaced = sold.is_matched = True
                    sold.disallowed = a_share
                    self._raise(share, a_share)
                    break

    def _raise(self, share: Share, amount: Fraction) -> None:
        """Spread a loss over the open shares of a lot, which has one basis a share."""
        lot = [other for each in self.shares.values() for other in each if other.lot == share.lot and other.is_held]
        basis = sum((other.basis for other in lot), amount) / len(lot)
        for other in lot:
            other.basis = basis

    def forget(self, symbol: str, *, held: int) -> None:
        """Take the oldest shares off that the broker turned out not to have."""
        shares = [share for share in self.shares[symbol] if share.is_held]
        for share in shares[: len(shares) - held]:
            share.is_held = False

    def check(self, open_lots: dict[str, tuple[Decimal, Decimal]]) -> None:
        """Compare trades, lots and the row's open lots (quantity and basis a share) with the law."""
        for order_id, closing in self.closings.items():
            trade = self.trades[order_id]
            disallowed = sum((share.disallowed for share in closing.shares), Fraction(0))
            _near(trade.disallowed_loss, disallowed)
            assert trade.wash_sale == (disallowed > 0)
            if closing.has_ended:
                _near(trade.tax_adjusted_pnl, disallowed - closing.loss)
                assert 0 <= Fraction(trade.disallowed_loss) <= max(Fraction(0), closing.loss) + TOLERANCE
            paid = sum((share.paid for share in closing.shares), Fraction(0))
            _near(trade.realized_pnl, closing.proceeds - paid)
        disallowed_of: dict[str, Fraction] = defaultdict(Fraction)
        for closing in self.closings.values():
            for share in closing.shares:
                disallowed_of[share.lot] += share.disallowed
        for lot_id, lot in self.lots.items():
            _near(lot.disallowed_loss, disallowed_of[lot_id])
            closed = "washed" if disallowed_of[lot_id] else "closed"
            assert lot.status == ("open" if lot.open_quantity else closed)
        held = [share for shares in self.shares.values() for share in shares if share.is_held]
        assert {share.lot for share in held} == set(open_lots)
        for lot_id, (quantity, basis) in open_lots.items():
            mine = [share.basis for share in held if share.lot == lot_id]
            assert len(mine) == quantity == self.lots[lot_id].open_quantity
            _near(quantity * basis, sum(mine, Fraction(0)))
        recorded = sum((trade.disallowed_loss for trade in self.trades.values()), Decimal(0))
        assert self.washed == recorded == sum((lot.disallowed_loss for lot in self.lots.values()), Decimal(0))


def _near(ours: Decimal, theirs: Fraction) -> None:
    assert abs(Fraction(ours) - theirs) < TOLERANCE
