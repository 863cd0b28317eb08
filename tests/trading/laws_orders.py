"""What holds of orders: one for each intent, in the window, while nothing stops them, within the limits."""

from decimal import Decimal
from typing import Any

from tests.trading.auditor import Seen, Turn, is_in_session, stamp, window
from trading.circuit_breaker import trading_state
from trading.effects import Decision, Order
from trading.portfolio import Portfolio


def ids(seen: Seen, turn: Turn) -> None:
    """An order id is new, short, and belongs to a decision that acts (22)."""
    for order in turn.of(Order):
        assert order.client_order_id not in seen.orders
        assert len(order.client_order_id) <= 48
        seen.orders[order.client_order_id] = order
        decision = seen.decisions[order.decision_id]
        assert (decision.decision, decision.symbol) == ("act", order.symbol)
        assert order.quantity > 0
        assert is_in_session(order.created_at)


def exits(_: Seen, turn: Turn) -> None:
    """A sell is one of one and of what is held; no buy of the symbol is live beside it; one sell a symbol (14)."""
    for order in turn.of(Order):
        if order.side == "sell":
            position = turn.after.position(order.symbol)
            assert position is not None
            assert order.quantity <= position.quantity
            assert (order.tranche, order.of_tranches) == (1, 1)
            assert not turn.after.live(order.symbol, side="buy")
            if order.purpose == "rebalance":
                assert turn.before is not None
                opens, closes = window(order.created_at, margin_minutes=turn.before.policy.window_margin_minutes)
                assert opens <= stamp(order.created_at) < closes
                assert _could_add(turn.before, turn.after, order)
    held = {position.symbol: position.quantity for position in turn.after.positions}
    assert len(held) == len(turn.after.positions)
    assert len({entry.symbol for entry in turn.after.entries}) == len(turn.after.entries)
    for symbol in {order.symbol for order in turn.after.orders}:
        sells = turn.after.live(symbol, side="sell")
        assert len(sells) <= 1
        assert all(sell.remaining <= held.get(symbol, 0) for sell in sells)


def entering(seen: Seen, turn: Turn) -> None:
    """A buy is in the window (24), while nothing stops it (12), a part of its parent (23), and within the limits."""
    for order in turn.of(Order):
        if order.side == "buy":
            assert turn.before is not None
            _may_go_out(seen, turn.before, turn.after, order)
            if order.created_at == turn.after.now:  # else it was sent in a gap; the figures after it are later ones
                _keeps_limits(turn.after, order)


def recall(seen: Seen, turn: Turn) -> None:
    """Remember the entries that have ended: after one failed re-check no tranche follows (23)."""
    for entry in turn.before.entries if turn.before is not None else ():
        now = turn.after.entry(entry.symbol)
        if now is None or now.decision_id != entry.decision_id or now.unsent == 0:
            seen.ended_entries.add(entry.decision_id)


def rebalanced(seen: Seen, turn: Turn) -> None:
    """A rebalance sells whole shares of what is held, and says why (28, R8.5)."""
    rationales: dict[str, Any] = {each.decision_id: each for each in turn.records("rebalance_rationale")}
    for decision in turn.of(Decision):
        if decision.source_type == "rebalance":
            assert decision.decision_id in rationales
    for order in turn.of(Order):
        if order.purpose == "rebalance":
            assert order.side == "sell"
            assert order.quantity == int(order.quantity)
            assert seen.decisions[order.decision_id].source_type == "rebalance"
    for position in turn.before.positions if turn.before is not None else ():
        sold = sum(
            (each.quantity for each in turn.of(Order) if (each.symbol, each.purpose) == (position.symbol, "rebalance")),
            Decimal(0),
        )
        if 0 < sold < position.quantity and (now := turn.after.position(position.symbol)) is not None:
            limit = turn.after.tier.max_position_pct * turn.after.active_pool
            left = (position.quantity - sold) * now.last_price
            assert left <= limit or position.quantity - sold == 1


def _may_go_out(seen: Seen, before: Portfolio, after: Portfolio, order: Order) -> None:
    opens, closes = window(order.created_at, margin_minutes=before.policy.window_margin_minutes)
    assert opens <= stamp(order.created_at) < closes
    assert order.valid_until == closes
    assert _could_add(before, after, order)
    assert not before.halted
    assert not before.paused
    assert before.policy.enabled
    assert before.reconciled
    assert not [breaker for breaker in before.breakers if breaker.until > order.created_at]
    assert not [until for symbol, until in before.cooldowns if symbol == order.symbol and until > order.created_at]
    assert order.decision_id not in seen.ended_entries
    sent = [each for each in seen.orders.values() if each.decision_id == order.decision_id]
    assert sum(each.quantity for each in sent) <= seen.decisions[order.decision_id].quantity
    assert sorted(each.tranche for each in sent) == list(range(1, len(sent) + 1))
    assert order.tranche <= len(sent) <= order.of_tranches


def _could_add(before: Portfolio, after: Portfolio, order: Order) -> bool:
    """Tell whether the account was active when it could: before the step at the order's instant, or after it."""
    then = before.model_copy(update={"now": max(before.now, order.created_at)})
    return "active" in (trading_state(then), trading_state(after))


def _keeps_limits(after: Portfolio, order: Order) -> None:
    """Hold the figures after a buy against its limits: cash (5), heat (10), positions (11), sector (8)."""
    assert trading_state(after) in ("active", "reducing")
    assert after.spendable >= 0
    assert after.portfolio_heat <= after.max_portfolio_heat
    assert len(after.held_symbols) <= after.policy.max_open_positions
    entry = after.entry(order.symbol)
    assert entry is not None
    limit = after.tier.max_sector_pct * min(after.active_pool, after.policy.capital_limit)
    assert after.sector_exposure(entry.sector) <= limit


RULES = (ids, exits, entering, recall, rebalanced)
