"""What holds of orders: one for each intent, in the window, while nothing stops them, within the limits."""

from decimal import Decimal
from typing import Any

import pandas

from tests.trading.auditor import Seen, Turn, is_in_session, stamp, window
from trading.circuit_breaker import trading_state
from trading.effects import Order
from trading.events import AccountRestored
from trading.portfolio import Portfolio, Position, tier_of

ROUNDING = Decimal("0.000000001")  # what a third leaves behind after the last place


def ids(seen: Seen, turn: Turn) -> None:
    """An order id is new, short, and belongs to a decision that acts (22)."""
    for order in turn.of(Order):
        if isinstance(turn.event, AccountRestored) and order == seen.orders.get(order.client_order_id):
            continue  # said again in the same words
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
        if order.side == "sell" and not isinstance(turn.event, AccountRestored):
            position = turn.after.position(order.symbol)
            assert position is not None
            assert order.quantity <= position.quantity
            assert (order.tranche, order.of_tranches) == (1, 1)
            assert not turn.after.live(order.symbol, side="buy")
            if order.purpose == "micro_timeout":
                assert position.is_micro
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
    """A rebalance sells as few shares as bring a position to its limit, in the window, and says why (28, R8.5)."""
    for order in turn.of(Order):
        if order.purpose == "rebalance":
            assert turn.before is not None
            assert order.side == "sell"
            assert order.quantity == int(order.quantity)
            _in_window(turn.before, turn.after, order)
            position = turn.before.position(order.symbol) or turn.after.position(order.symbol)
            assert position is not None
            _keeps_rationale(seen, turn, order, position)
    leaving = {each.symbol for each in turn.after.positions if each.exit is not None and not each.is_leaving}
    assert leaving <= {order.symbol for order in turn.after.orders if order.purpose == "rebalance"}  # sent once
    awaited = [waiting.awaits for waiting in turn.after.queue if waiting.awaits is not None]
    assert len(awaited) == len(set(awaited))  # no two candidates count on one place
    assert set(awaited) <= {order.client_order_id for order in turn.after.orders if order.side == "sell"}


def _keeps_rationale(seen: Seen, turn: Turn, order: Order, position: Position) -> None:
    decision = seen.decisions[order.decision_id]
    assert turn.before is not None
    assert decision.source_type == "rebalance"
    assert decision.quantity == order.quantity <= position.quantity
    assert not position.is_micro
    found = [each for each in turn.records("rebalance_rationale") if each.decision_id == order.decision_id]
    rules: dict[str, Any] = {each.rationale["rule"]: each.rationale for each in found}
    left = position.quantity - order.quantity
    if "position_limit_reached" in rules:  # a swap sells all of it (decision 57)
        assert (set(rules), left) == ({"position_limit_reached"}, 0)
        better = Decimal(rules["position_limit_reached"]["candidate_confidence"]) - position.confidence
        assert better >= turn.before.policy.swap_confidence_margin
        return
    assert sum(Decimal(each["shares"]) for each in rules.values()) == order.quantity
    assert left >= 1
    price = decision.computed_position_size / decision.quantity
    limit = tier_of(turn.before.policy, decision.risk_tier).max_position_pct * decision.active_pool
    if "max_position_pct" in rules:
        assert left * price <= limit or left == 1
    if set(rules) == {"max_position_pct"}:
        assert (left + 1) * price > limit  # the least number of shares


def _may_go_out(seen: Seen, before: Portfolio, after: Portfolio, order: Order) -> None:
    assert order.valid_until == _in_window(before, after, order)
    assert not [until for symbol, until in before.cooldowns if symbol == order.symbol and until > order.created_at]
    assert order.decision_id not in seen.ended_entries
    sent = [each for each in seen.orders.values() if each.decision_id == order.decision_id]
    assert sum(each.quantity for each in sent) <= seen.decisions[order.decision_id].quantity
    assert sorted(each.tranche for each in sent) == list(range(1, len(sent) + 1))
    assert order.tranche <= len(sent) <= order.of_tranches
    entry = before.entry(order.symbol)
    if order.tranche > 1 and entry is not None:  # what falls due is judged by what was known before the event (R11.4)
        assert entry.deteriorated is None
        first = entry.first_fill_price
        assert first is None or abs(entry.price - first) <= entry.atr


def _in_window(before: Portfolio, after: Portfolio, order: Order) -> pandas.Timestamp:
    """Fail outside the window or while anything stops what is not an exit; return when the window closes."""
    opens, closes = window(order.created_at, margin_minutes=before.policy.window_margin_minutes)
    assert opens <= stamp(order.created_at) < closes
    assert _could_add(before, after, order)
    assert not before.halted
    assert not before.paused
    assert before.policy.enabled
    assert before.reconciled
    assert not [breaker for breaker in before.breakers if breaker.until > order.created_at]
    silent = getattr(after, "feed_silent_since", None)
    assert silent is None or silent > order.created_at
    return closes


def _could_add(before: Portfolio, after: Portfolio, order: Order) -> bool:
    """Tell whether the account was active when it could: before the step at the order's instant, or after it."""
    then = before.model_copy(update={"now": max(before.now, order.created_at)})
    return "active" in (trading_state(then), trading_state(after))


def _keeps_limits(after: Portfolio, order: Order) -> None:
    """Hold the figures after a buy against its limits: cash (5), heat (10), positions (11), sector (8).

    They are added up here from what is held and live, not taken from the row's own properties.
    """
    policy, tier = after.policy, after.tier
    buys = [each for each in after.orders if each.side == "buy"]
    worth = sum((each.quantity * each.last_price for each in after.positions), Decimal(0))
    cost = sum((each.quantity * each.avg_entry_price for each in after.positions), Decimal(0))
    holds = sum((each.remaining * each.hold for each in buys), Decimal(0))
    cash = min(after.cash, policy.capital_limit + after.realized_pnl - cost)
    active_pool = cash + worth - after.reserve
    assert cash - holds - after.reserve >= -ROUNDING
    at_risk = sum((each.remaining * each.risk for each in buys), Decimal(0))
    for each in after.positions:
        fall = max(Decimal(0), each.avg_entry_price - each.stop_price) / each.avg_entry_price
        at_risk += each.quantity * each.last_price * fall
    assert at_risk <= tier.max_portfolio_heat * active_pool + ROUNDING
    assert len({each.symbol for each in (*after.positions, *after.entries)}) <= policy.max_open_positions
    entry = after.entry(order.symbol)
    assert entry is not None
    inside = [each.quantity * each.last_price for each in after.positions if each.sector == entry.sector]
    inside += [each.remaining * each.hold for each in buys if each.sector == entry.sector]
    assert sum(inside, Decimal(0)) <= tier.max_sector_pct * min(active_pool, policy.capital_limit) + ROUNDING


RULES = (ids, exits, entering, recall, rebalanced)
