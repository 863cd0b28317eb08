"""Swaps at the position limit (R8.4, decisions 28 and 57): a much better candidate takes the place of the weakest.

The position of the lowest confidence is sold whole; the candidate waits in the queue until that sell has ended, and is
then decided from scratch, once, whatever became of the sell.
"""

from decimal import Decimal

from trading import exits, loss_sales, rebalancer
from trading.candidates import Candidate
from trading.gates import Evaluation
from trading.money import settled, total
from trading.portfolio import Portfolio, Position, Waiting
from trading.records import RebalanceRationale
from trading.step import Step


def outgoing(portfolio: Portfolio, candidate: Candidate, evaluation: Evaluation) -> Position | None:
    """Return the position that a candidate may replace, None when it may replace none.

    The position limit is the only gate that failed, one place is enough, the candidate is `swap_confidence_margin` more
    confident, and neither the sell nor the buy makes a wash sale.
    """
    policy = portfolio.policy
    failed = [gate.name for gate in evaluation.gates if gate.passed is False]
    if candidate.building or failed != ["position_limit_reached"] or not policy.swap_enabled:
        return None
    if len(portfolio.held_symbols) > policy.max_open_positions:
        return None
    weakest = _unclaimed(portfolio) or _weakest(portfolio)
    if weakest is None or candidate.confidence < weakest.confidence + policy.swap_confidence_margin:
        return None
    return None if makes_wash_sale(portfolio, weakest, symbol=candidate.symbol) else weakest


def makes_wash_sale(portfolio: Portfolio, position: Position, *, symbol: str) -> bool:
    """Tell whether selling a position whole at its last price, or buying a symbol then, would disallow a loss.

    All lots of the position go, so that no purchase of the past is left to replace them; a pending one would.
    """
    if loss_sales.has_unmatched_loss(portfolio, symbol):
        return True
    return tax_profit(portfolio, position) < 0 and loss_sales.has_pending_buy(portfolio, position.symbol)


def tax_profit(portfolio: Portfolio, position: Position) -> Decimal:
    """Return what selling a position whole at its last price would realize against its tax basis, in dollars."""
    basis = total(
        settled(lot.open_quantity * lot.cost_basis_per_share) for lot in portfolio.lots if lot.symbol == position.symbol
    )
    return position.market_value - basis


def sell(step: Step, position: Position, candidate: Candidate) -> str:
    """Sell a position whole for a candidate, unless it is being sold, and return the id of the order to await."""
    for live in step.portfolio.live(position.symbol, side="sell"):
        return live.client_order_id
    order = exits.rebalance(step, position, quantity=None)
    rationale = {
        "rule": "position_limit_reached",
        "symbol": position.symbol,
        "exposure": str(len(step.portfolio.held_symbols)),
        "limit": str(step.portfolio.policy.max_open_positions),
        "shares": format(position.quantity, "f"),
        "confidence": format(position.confidence, "f"),
        "candidate": candidate.symbol,
        "candidate_confidence": format(candidate.confidence, "f"),
        "recommendation_id": candidate.source_id,
    }
    step.record(RebalanceRationale, decision_id=order.decision_id, symbol=position.symbol, rationale=rationale)
    return order.client_order_id


def freed_for(portfolio: Portfolio, client_order_id: str) -> Waiting | None:
    """Return the candidate that awaits an order's end, if any."""
    return next((waiting for waiting in portfolio.queue if waiting.awaits == client_order_id), None)


def _weakest(portfolio: Portfolio) -> Position | None:
    """Return the position of the lowest confidence among those that may be swapped, the oldest of equals."""
    idle = [position for position in portfolio.positions if rebalancer.is_idle(portfolio, position)]
    return min(idle, key=lambda position: (position.confidence, position.opened_at, position.symbol), default=None)


def _unclaimed(portfolio: Portfolio) -> Position | None:
    """Return a position that is being sold whole for a candidate that waits no more: its place is nobody's yet."""
    for order in portfolio.orders:
        if (
            order.side == "sell"
            and order.purpose == "rebalance"
            and freed_for(portfolio, order.client_order_id) is None
        ):
            position = portfolio.position(order.symbol)
            if position is not None and order.remaining >= position.quantity:
                return position
    return None
