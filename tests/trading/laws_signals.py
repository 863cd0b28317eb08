"""What holds of decisions: one a source, one for every recommendation, and within every limit."""

from decimal import Decimal

from tests.trading.auditor import Seen, Turn, new_york
from trading.effects import Decision
from trading.portfolio import Portfolio, tier_of

HALVED = ("within_3_days", "post_earnings")


def once(seen: Seen, turn: Turn) -> None:
    """One decision a source (18), its reason the first gate that failed (25)."""
    for decision in turn.of(Decision):
        assert decision.decision_id not in seen.decisions
        assert (decision.source_type, decision.source_id) not in seen.by_source
        seen.decisions[decision.decision_id] = decision
        seen.by_source[decision.source_type, decision.source_id] = decision.decision_id
        first = next((gate.name for gate in decision.gates if gate.passed is False), None)
        assert decision.skip_reason == first
        assert (decision.decision == "act") == (first is None)
        assert (decision.quantity > 0) == (decision.decision == "act")
        assert [gate.passed is None for gate in decision.gates] == [gate.value is None for gate in decision.gates]


def accounted(seen: Seen, turn: Turn) -> None:
    """Every recommendation is decided, waits, or is older than the ids that are kept (19)."""
    for duplicate in turn.records("duplicate"):
        if duplicate.source_type == "recommendation" and duplicate.source_id not in seen.recommended:
            seen.outdated.add(duplicate.source_id)
    if turn.event.kind == "recommendation":
        seen.recommended.add(turn.event.recommendation.recommendation_id)
    waiting = {each.recommendation.recommendation_id for each in turn.after.queue}
    decided = {source_id for kind, source_id in seen.by_source if kind == "recommendation"}
    assert not waiting & decided
    assert waiting | decided | seen.outdated == seen.recommended


def limits(_: Seen, turn: Turn) -> None:
    """An entry is within its caps (6, 7), half of them near earnings and none within a day (29), uncorrelated (9)."""
    for decision in turn.of(Decision):
        if _is_entry(decision):
            _keeps_limits(decision, turn.after)


def micro(seen: Seen, turn: Turn) -> None:
    """A trend is decided at once while micro trading is on, or was seen before; so many entries, so large (30)."""
    decided = [each for each in turn.of(Decision) if each.source_type == "trend"]
    event, before = turn.event, turn.before
    if event.kind == "trend" and before is not None:
        assert len(decided) + len(turn.records("duplicate")) == before.policy.micro_trading_enabled
        assert all(each.source_id == event.trend.trend_id for each in decided)
    else:
        assert not decided
    for decision in decided:
        assert decision.recommendation_id is None
        if _is_entry(decision):
            assert before is not None
            assert decision.sizing is not None
            assert decision.sizing.price is not None
            value = decision.quantity * decision.sizing.price
            assert value <= before.policy.micro_max_position_pct * decision.active_pool
            seen.micro_entries[new_york(decision.decided_at)] += 1
            assert seen.micro_entries[new_york(decision.decided_at)] <= before.policy.micro_max_trades_per_day
    for position in turn.after.positions:
        assert position.is_micro == (seen.decisions[position.decision_id].source_type == "trend")


def _is_entry(decision: Decision) -> bool:
    return decision.decision == "act" and decision.purpose == "entry"


def _keeps_limits(decision: Decision, after: Portfolio) -> None:
    tier, policy = tier_of(after.policy, decision.risk_tier), after.policy
    assert decision.sizing is not None
    assert decision.sizing.price is not None
    value = decision.quantity * decision.sizing.price
    total = decision.active_pool + decision.reserve_pool
    basis = min(decision.active_pool, policy.capital_limit)
    factor = Decimal("0.5") if decision.earnings_proximity_flag in HALVED else Decimal(1)
    assert value <= decision.computed_position_size
    assert value <= tier.max_position_pct * basis * factor
    assert value <= policy.absolute_cap_pct * total * factor
    assert decision.quantity == int(decision.quantity)
    assert decision.earnings_proximity_flag != "within_1_day"
    assert decision.confidence is None or decision.confidence >= tier.min_confidence
    correlation = decision.correlation_check_result
    assert correlation.value is None or -1 <= correlation.value <= policy.correlation_limit


RULES = (once, accounted, limits, micro)
