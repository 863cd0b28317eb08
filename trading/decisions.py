"""Decision records (R17): one for every signal and every exit, with all that it was decided on."""

import json
from decimal import Decimal
from typing import Any

from trading import circuit_breaker, earnings, ids
from trading.candidates import Candidate
from trading.effects import Check, Decision, Purpose, SourceType
from trading.gates import NOT_ASKED, Evaluation
from trading.inputs import Recommendation, TrendSummary
from trading.money import ZERO
from trading.portfolio import Portfolio, Position
from trading.step import Step

NOT_APPLICABLE = Check(result="not_applicable")


def signal_decision(
    step: Step, candidate: Candidate, evaluation: Evaluation, *, signal: Recommendation | TrendSummary
) -> str:
    """Emit the decision on a recommendation or a trend and return its id; a sell's quantity is the whole position."""
    portfolio = step.portfolio
    act = evaluation.skip_reason is None
    quantity = ZERO
    if act:
        position = portfolio.position(candidate.symbol)
        sold = position.quantity if position is not None else ZERO
        quantity = evaluation.sized.quantity if evaluation.sized is not None else sold
    decision_id = ids.decision_id(
        portfolio.account_id, source_type=candidate.source_type, source_id=candidate.source_id
    )
    step.emit(
        Decision(
            decision_id=decision_id,
            source_type=candidate.source_type,
            source_id=candidate.source_id,
            symbol=candidate.symbol,
            decision="act" if act else "skip",
            skip_reason=evaluation.skip_reason,
            gates=evaluation.gates,
            computed_position_size=evaluation.sized.sizing.cash if evaluation.sized is not None else ZERO,
            quantity=quantity,
            correlation_check_result=evaluation.correlation,
            sector_exposure_check_result=evaluation.sector,
            earnings_proximity_flag=evaluation.earnings_flag,
            recommendation_id=candidate.source_id if candidate.source_type == "recommendation" else None,
            confidence=candidate.confidence,
            purpose=("entry" if candidate.action == "buy" else "signal") if act else None,
            sizing=evaluation.sized.sizing if evaluation.sized is not None else None,
            source=json.loads(signal.model_dump_json()),
            **_circumstances(step),
        )
    )
    step.change(last_decision_at=step.now)
    return decision_id


def exit_decision(step: Step, position: Position, *, purpose: Purpose, quantity: Decimal) -> str:
    """Emit the decision of an exit of so many shares that the engine makes by itself, and return its id."""
    portfolio = step.portfolio
    source_type: SourceType = "kill" if purpose == "kill" else "rebalance" if purpose == "rebalance" else "exit"
    source_id = f"{position.position_id}:{purpose}:{position.exits + 1}"
    decision_id = ids.decision_id(portfolio.account_id, source_type=source_type, source_id=source_id)
    step.emit(
        Decision(
            decision_id=decision_id,
            source_type=source_type,
            source_id=source_id,
            symbol=position.symbol,
            decision="act",
            gates=NOT_ASKED,
            computed_position_size=quantity * position.last_price,
            quantity=quantity,
            correlation_check_result=NOT_APPLICABLE,
            sector_exposure_check_result=NOT_APPLICABLE,
            earnings_proximity_flag=earnings.flag_of(position, now=step.now, policy=portfolio.policy),
            recommendation_id=position.recommendation_id,
            confidence=position.confidence,
            purpose=purpose,
            source={
                "position_id": position.position_id,
                "last_price": format(position.last_price, "f"),
                "stop_price": format(position.stop_price, "f"),
                "target_price": format(position.target_price, "f"),
                "avg_entry_price": format(position.avg_entry_price, "f"),
            },
            **_circumstances(step),
        )
    )
    step.change(last_decision_at=step.now)
    return decision_id


def _circumstances(step: Step) -> dict[str, Any]:
    portfolio: Portfolio = step.portfolio
    return {
        "account_id": portfolio.account_id,
        "risk_tier": portfolio.risk_tier,
        "portfolio_heat": portfolio.portfolio_heat,
        "max_portfolio_heat": portfolio.max_portfolio_heat,
        "active_pool": portfolio.active_pool,
        "reserve_pool": portfolio.reserve,
        "circuit_breaker_status": "active" if circuit_breaker.active(portfolio) else "inactive",
        "policy_version": portfolio.policy.version,
        "decided_at": step.now,
        "at": step.now,
        "cause": step.seq,
    }
