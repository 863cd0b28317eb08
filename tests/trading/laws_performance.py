"""What holds of the curve, its returns, the trades and the metrics; of emergencies, summaries and digests."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

from tests.trading.auditor import CALENDAR, Seen, Turn, stamp
from trading.effects import Notification


def traded(seen: Seen, turn: Turn) -> None:
    """What the row counts of trades is what was recorded of those that have ended (31)."""
    for trade in turn.records("trade"):
        seen.profits[trade.client_order_id] = trade.realized_pnl
    live = {order.client_order_id for order in turn.after.orders}
    for order_id, profit in seen.profits.items():
        if order_id not in live:
            seen.counted.setdefault(order_id, profit)
    counted, past = seen.counted.values(), turn.after.history
    assert past.trades == len(counted)
    assert (past.won, past.lost) == (sum(p for p in counted if p > 0), -sum(p for p in counted if p < 0))
    assert (past.wins, past.losses) == (sum(p > 0 for p in counted), sum(p < 0 for p in counted))


def curved(seen: Seen, turn: Turn) -> None:
    """Returns and equity curve agree, drawdowns come of the peak; money that came or went is no return (31)."""
    for record in (*turn.records("performance_metrics"), *turn.records("portfolio_snapshot")):
        _metrics(record)
    for snapshot in turn.records("portfolio_snapshot"):
        _snapshot(seen, snapshot)
    before, after = turn.before, turn.after
    if before is None or after.snapshot_at is None:
        return
    adjusted = any(each.adjusted for each in turn.records("reconciliation"))
    if before.snapshot_at is None or after.policy != before.policy or adjusted:  # measured from what the row says now
        seen.peak, seen.base = after.peak_value, after.day_base
    seen.peak = max(seen.peak or after.total_value, after.total_value)
    assert after.peak_value == seen.peak
    assert before.max_drawdown <= after.max_drawdown <= 1
    assert after.day_base == seen.base


def rescued(_: Seen, turn: Turn) -> None:
    """At most one emergency an episode; afterwards the reserve is 0 and the tier conservative (4)."""
    before, after = turn.before, turn.after
    if before is None:
        return
    fired = [each for each in turn.of(Notification) if each.event_type == "emergency_liquidation"]
    moved = [each for each in turn.records("ledger_entry") if each.trigger == "emergency_liquidation"]
    assert len(moved) <= len(fired) <= 1
    if fired:
        assert not before.in_emergency
        assert after.in_emergency
        assert after.reserve == 0
        assert after.risk_tier == "conservative"
    if after.peak_value is not None and after.initial_capital:
        fallen = (after.peak_value - after.total_value) / after.initial_capital
        policy = after.policy
        if after.in_emergency:
            assert fired or fallen >= min(policy.emergency_rearm_pct, policy.emergency_drawdown_pct)
        else:
            assert fallen <= policy.emergency_drawdown_pct
    assert fired or not [change for change in turn.records("tier_change") if change.source == "emergency"]


def summed_up(seen: Seen, turn: Turn) -> None:
    """Each summary and each digest is told once (R19.3, R19.4)."""
    for message in turn.of(Notification):
        if message.event_type in ("daily_summary", "weekly_digest"):
            summary = (message.event_type, message.subject.split(":")[0])
            assert summary not in seen.summaries
            seen.summaries.add(summary)


def _snapshot(seen: Seen, snapshot: Any) -> None:
    assert snapshot.session_on not in seen.sessions[-1:]
    seen.sessions.append(snapshot.session_on)
    assert stamp(snapshot.at) == CALENDAR.session_close(stamp(snapshot.session_on))
    assert snapshot.active_pool + snapshot.reserve_pool == snapshot.portfolio_value
    if seen.base is not None and seen.base > 0:
        exact = Fraction(snapshot.portfolio_value) / Fraction(seen.base)
        assert abs(Fraction(snapshot.daily_return) + 1 - exact) < Fraction(1, 10**11)
        seen.growth *= exact
    else:
        assert snapshot.daily_return is None
    assert abs(Fraction(snapshot.cumulative_return) + 1 - seen.growth) < Fraction(1, 10**9)
    seen.base = snapshot.portfolio_value


def _metrics(record: Any) -> None:
    metrics = record.metrics
    for fields in (metrics, metrics["micro"]):
        assert {name for name, value in fields.items() if value is None} - {"day"} == set(fields["undefined"])
    for name in ("win_rate", "max_drawdown", "current_drawdown"):
        assert metrics[name] is None or 0 <= Decimal(metrics[name]) <= 1
    assert Decimal(metrics["active_pool"]) + Decimal(metrics["reserve_pool"]) == Decimal(metrics["total_value"])
    assert metrics["win_count"] + metrics["loss_count"] <= metrics["trade_count"]


RULES = (traded, curved, rescued, summed_up)
