"""What holds of money: both pools, the ledger, the siphon, lots and their basis, wash sales."""

from collections import defaultdict
from decimal import ROUND_DOWN, Decimal
from fractions import Fraction
from typing import Any

from tests.trading.auditor import CENT, Seen, Turn
from tests.trading.tax_law import TaxLaw
from trading.portfolio import Portfolio

ZERO = Decimal(0)


def pools(_: Seen, turn: Turn) -> None:
    """Active pool + reserve == total value, after every step (1)."""
    assert turn.after.active_pool + turn.after.reserve == turn.after.total_value
    assert turn.after.reserve >= 0


def ledger(seen: Seen, turn: Turn) -> None:
    """The ledger is gapless and adds up, and the reserve is its last balance: nothing else moves it (2, 3)."""
    for entry in turn.records("ledger_entry"):
        assert entry.seq == seen.ledger_seq + 1
        assert entry.amount != 0
        assert entry.amount == entry.amount.quantize(CENT)
        assert entry.balance_after == seen.reserve + entry.amount >= 0
        assert (entry.trigger == "profit_siphon") == (entry.fill_id is not None)
        seen.ledger_seq, seen.reserve = entry.seq, entry.balance_after
    assert (turn.after.reserve, turn.after.ledger_seq) == (seen.reserve, seen.ledger_seq)


def fills(seen: Seen, turn: Turn) -> None:
    """The siphon is exact, rounded down, once a closing fill (3); what is sold is the oldest (26)."""
    siphons = {each.fill_id: each.amount for each in turn.records("ledger_entry") if each.trigger == "profit_siphon"}
    for fill in turn.records("fill"):
        profit = _booked(seen, fill)
        if fill.side == "sell":
            basis = _siphon_basis(seen, profit, turn.after)
            exact = Fraction(turn.after.policy.reserve_siphon_pct) * max(Fraction(0), basis)
            due = Decimal(exact.numerator) / Decimal(exact.denominator)
            assert siphons.pop(fill.fill_id, ZERO) == due.quantize(CENT, rounding=ROUND_DOWN)
    assert not siphons


def lots(seen: Seen, turn: Turn) -> None:
    """Lots sum to the positions, and cost what was paid for them (26)."""
    held = {position.symbol: position.quantity for position in turn.after.positions}
    if held == _held(turn.before) and turn.before.lots is turn.after.lots and not turn.records("fill"):
        return  # of these very lots, shares and fills it held before
    opened: dict[str, Decimal] = defaultdict(Decimal)
    for lot in turn.after.lots:
        assert 0 <= lot.open_quantity <= lot.quantity
        assert (lot.status == "open") <= (lot.open_quantity > 0)
        assert (lot.status == "closed") <= (lot.open_quantity == 0)
        assert lot.disallowed_loss >= 0
        assert lot.cost_basis_per_share >= lot.cost_per_share
        opened[lot.symbol] += lot.open_quantity
    assert {symbol: quantity for symbol, quantity in opened.items() if quantity} == held
    for symbol, kept in seen.lots.items():
        position = turn.after.position(symbol)
        _forget(kept, surplus=sum(each[0] for each in kept) - Fraction(position.quantity if position else 0))
        cost = sum(quantity * basis for quantity, basis in kept)
        ours = sum(lot.open_quantity * lot.cost_per_share for lot in turn.after.lots if lot.symbol == symbol)
        assert abs(float(cost) - float(ours)) < 1e-9


def taxed(seen: Seen, turn: Turn) -> None:
    """Losses and purchases within 30 days are matched share by share, and put off into the basis (26, R12.2)."""
    seen.tax.fold(turn.effects)
    held = {position.symbol: position.quantity for position in turn.after.positions}
    lots = {lot.lot_id: (lot.open_quantity, lot.cost_basis_per_share) for lot in turn.after.lots if lot.open_quantity}
    if held == _held(turn.before) and lots == seen.taxed and not any(map(turn.records, TaxLaw.KINDS)):
        return  # both books are as they were when they were last compared
    for symbol in seen.lots:
        seen.tax.forget(symbol, held=int(held.get(symbol, 0)))
    seen.tax.check(lots)
    seen.taxed = lots


def _held(account: Portfolio | None) -> dict[str, Decimal] | None:
    return None if account is None else {position.symbol: position.quantity for position in account.positions}


def _siphon_basis(seen: Seen, profit: Fraction, after: Portfolio) -> Fraction:
    before, peak = seen.realized, seen.realized_peak
    seen.realized += profit
    seen.realized_peak = max(peak, seen.realized)
    return profit if after.policy.siphon_basis == "per_trade" else seen.realized - max(peak, before)


def _booked(seen: Seen, fill: Any) -> Fraction:
    """Book a fill into the auditor's own lots, and return the profit of a sale."""
    kept, quantity = seen.lots[fill.symbol], Fraction(fill.quantity)
    value, fee = quantity * Fraction(fill.price), Fraction(fill.fee)
    if fill.side == "buy":
        kept.append([quantity, (value + fee) / quantity])
        return Fraction(0)
    cost = sum(sold * basis for sold, basis in _forget(kept, surplus=quantity))
    return value - fee - cost


def _forget(kept: list[list[Fraction]], *, surplus: Fraction) -> list[tuple[Fraction, Fraction]]:
    """Take shares off the oldest lots, sold or gone at the broker, and return them with their basis."""
    gone = []
    while surplus > 0:
        sold = min(surplus, kept[0][0])
        gone.append((sold, kept[0][1]))
        kept[0][0] -= sold
        surplus -= sold
        if not kept[0][0]:
            kept.pop(0)
    return gone


RULES = (pools, ledger, fills, lots, taxed)
