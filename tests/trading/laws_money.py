"""What holds of money: both pools, the ledger, the siphon, lots and their basis, wash sales."""

import datetime as dt
from collections import defaultdict
from decimal import ROUND_DOWN, Decimal
from fractions import Fraction
from typing import Any

from tests.trading.auditor import CENT, Seen, Turn, new_york
from trading.portfolio import Portfolio

ZERO = Decimal(0)
THIRTY_DAYS = dt.timedelta(days=30)
ROUNDING = Decimal("0.000000001")


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


def emergency(seen: Seen, turn: Turn) -> None:
    """An emergency empties the reserve, lowers the tier, and comes once until the drawdown was small again (4)."""
    for entry in turn.records("ledger_entry"):
        if entry.trigger == "emergency_liquidation":
            assert seen.may_liquidate, "twice in one episode"
            assert entry.balance_after == 0
            assert turn.after.risk_tier == "conservative"
            seen.may_liquidate = False
    fallen = _fallen(turn.after)
    if fallen is not None and fallen < turn.after.policy.emergency_rearm_pct:
        seen.may_liquidate = True
    if fallen is not None and fallen > turn.after.policy.emergency_drawdown_pct and seen.reserve > 0:
        assert not seen.may_liquidate or not turn.records("ledger_entry"), "a reserve in an emergency"


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
    opened: dict[str, Decimal] = defaultdict(Decimal)
    for lot in turn.after.lots:
        assert 0 <= lot.open_quantity <= lot.quantity
        assert (lot.status == "open") <= (lot.open_quantity > 0)
        assert (lot.status == "closed") <= (lot.open_quantity == 0)
        assert lot.disallowed_loss >= 0
        opened[lot.symbol] += lot.open_quantity
    assert {symbol: quantity for symbol, quantity in opened.items() if quantity} == held
    for symbol, kept in seen.lots.items():
        position = turn.after.position(symbol)
        _forget(kept, surplus=sum(each[0] for each in kept) - Fraction(position.quantity if position else 0))
        cost = sum(quantity * basis for quantity, basis in kept)
        ours = sum(lot.open_quantity * _paid(lot) for lot in turn.after.lots if lot.symbol == symbol)
        assert abs(float(cost) - float(ours)) < 1e-9


def wash_sales(seen: Seen, turn: Turn) -> None:
    """What is disallowed is at most the loss, has a purchase within 30 days, and stands in the trade (26, R12.2)."""
    for trade in turn.records("trade"):
        seen.lost[trade.trade_id] = (trade.symbol, max(ZERO, -trade.realized_pnl))
        assert trade.wash_sale == (trade.disallowed_loss > 0)
    for wash in turn.records("wash_sale"):
        if wash.replacement_lot_id is None:
            assert wash.disallowed_loss == 0  # a pending recommendation only warns (decision 30)
            continue
        symbol, lost = seen.lost[wash.trade_id]
        assert wash.symbol == symbol
        assert wash.quantity > 0
        assert wash.disallowed_loss > 0
        lot = next(lot for lot in turn.after.lots if lot.lot_id == wash.replacement_lot_id)
        assert lot.symbol == symbol
        seen.washed[wash.trade_id] += wash.disallowed_loss
        adjusted = sum(lot.disallowed_loss for lot in turn.after.lots if lot.symbol == symbol)
        assert seen.washed[wash.trade_id] <= lost + adjusted + ROUNDING  # a basis may carry an earlier loss
    for fill in turn.records("fill"):
        if fill.side == "sell" and turn.records("wash_sale"):
            days = [abs(new_york(at) - new_york(fill.at)) for at in seen.bought_at[fill.symbol]]
            assert min(days) <= THIRTY_DAYS


def _fallen(after: Portfolio) -> Decimal | None:
    """Return the drawdown from the peak as a fraction of the initial capital, where the account keeps its peak."""
    peak = getattr(after, "peak_value", None)
    if peak is None or not after.initial_capital:
        return None
    return Decimal((peak - after.total_value) / after.initial_capital)


def _paid(lot: Any) -> Decimal:
    """Return what a share of a lot cost; its tax basis may carry the disallowed loss of another besides."""
    return Decimal(getattr(lot, "cost_per_share", lot.cost_basis_per_share))


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
        seen.bought_at[fill.symbol].append(fill.at)
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


RULES = (pools, ledger, emergency, fills, lots, wash_sales)
