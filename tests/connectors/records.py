"""Records of every kind, as the engine would send them, for the projection's tests."""

import datetime as dt
import json
from decimal import Decimal
from typing import Any

from tests.connectors.examples import NOON, minutes
from trading import effects, records
from trading.inputs import TierName
from trading.policy import TradingPolicy
from trading.portfolio import Portfolio, Position, TaxLot, row_bytes, row_hash


def common(cause: int, name: str, account_id: str = "paper") -> dict[str, Any]:
    """Return what every record has."""
    return {
        "record_id": f"{name}-{account_id}-{cause}",
        "account_id": account_id,
        "at": at(cause),
        "cause": cause,
    }


def at(cause: int) -> dt.datetime:
    """Return the instant of an inbox offset: a minute each."""
    return NOON + minutes(cause)


def alert(cause: int, **changes: Any) -> records.Alert:
    """Return an alert."""
    fields = {**common(cause, "alert"), "severity": "warning", "subject": "Look", "body": "At this"}
    return records.Alert(**{**fields, **changes})


def ledger_entry(cause: int) -> records.LedgerEntry:
    return records.LedgerEntry(
        **common(cause, "ledger"),
        entry_id=f"entry-{cause}",
        seq=cause,
        amount=Decimal(1),
        balance_after=Decimal(cause),
        trigger="manual_adjustment",
    )


def lot(
    cause: int, *, account_id: str = "paper", name: str = "lot-1", opened: str = "10", left: str = "10", **changes: Any
) -> records.Lot:
    """Return a lot as it stands after a step."""
    return records.Lot(
        **{
            **common(cause, name, account_id),
            "lot_id": f"{account_id}-{name}",
            "position_id": f"{account_id}-position-1",
            "symbol": "AAPL",
            "acquired_at": NOON,
            "quantity": Decimal(opened),
            "open_quantity": Decimal(left),
            "cost_basis_per_share": Decimal("100.05"),
            "status": "open" if Decimal(left) else "closed",
            "disallowed_loss": Decimal(0),
            "decision_id": "decision-1",
            **changes,
        }
    )


def portfolio(
    seq: int,
    *,
    account_id: str = "paper",
    quantity: str = "10",
    policy: TradingPolicy | None = None,
    tier: TierName = "moderate",
) -> Portfolio:
    """Return an account with one position and its lot, or none with a quantity of 0."""
    shares = Decimal(quantity)
    position = Position(
        position_id=f"{account_id}-position-1",
        symbol="AAPL",
        sector="technology",
        quantity=shares,
        avg_entry_price=Decimal("100.05"),
        decision_id="decision-1",
        source_type="recommendation",
        recommendation_id="recommendation-1",
        confidence=Decimal("0.8"),
        is_micro=False,
        opened_at=NOON,
        first_fill_price=Decimal("100.05"),
        base_stop=Decimal("95.5"),
        target_price=Decimal(110),
        atr=Decimal("2.275"),
        multiplier=Decimal(2),
        reward_risk_ratio=Decimal("1.5"),
        last_price=Decimal("101.25"),
        last_price_at=at(seq),
    )
    held = TaxLot(
        lot_id=f"{account_id}-lot-1",
        position_id=position.position_id,
        symbol="AAPL",
        acquired_at=NOON,
        quantity=shares,
        open_quantity=shares,
        cost_basis_per_share=Decimal("100.05"),
        decision_id="decision-1",
    )
    return Portfolio(
        account_id=account_id,
        seq=seq,
        now=at(seq),
        build="test",
        mode="paper",
        policy=policy or TradingPolicy(),
        cash=Decimal(500),
        positions=(position,) if shares else (),
        lots=(held,) if shares else (),
        risk_tier=tier,
    )


def account_state(seq: int, *, account_id: str = "paper", **changes: Any) -> records.AccountState:
    """Return the record that ends a step."""
    row = portfolio(seq, account_id=account_id, **changes)
    state = json.loads(row_bytes(row))
    return records.AccountState(**common(seq, "state", account_id), seq=seq, state=state, hash=row_hash(row))


def fill(cause: int, cumulative: str, *, quantity: str) -> records.Fill:
    """Return a fill of order 1."""
    return records.Fill(
        **common(cause, "fill"),
        fill_id=f"order-1:{cumulative}",
        client_order_id="order-1",
        symbol="AAPL",
        side="buy",
        quantity=Decimal(quantity),
        price=Decimal("100.05"),
        fee=Decimal(0),
        cumulative_quantity=Decimal(cumulative),
    )


def order_status(cause: int, status: str, filled: str = "0", *, reason: str | None = None) -> records.OrderStatus:
    """Return a change of order 1's status."""
    return records.OrderStatus(
        **{
            **common(cause, f"status-{status}"),
            "client_order_id": "order-1",
            "status": status,
            "filled_quantity": Decimal(filled),
            "reason": reason,
        }
    )


def decision(number: int = 1, **changes: Any) -> effects.Decision:
    """Return a decision to act on a recommendation."""
    passed = effects.Check(result="passed", value=Decimal(0), limit=Decimal("0.8"), factor=Decimal(1))
    fields: dict[str, Any] = {
        "decision_id": f"decision-{number}",
        "account_id": "paper",
        "source_type": "recommendation",
        "source_id": f"recommendation-{number}",
        "recommendation_id": f"recommendation-{number}",
        "symbol": "AAPL",
        "decision": "act",
        "gates": (effects.Gate(name="not_actionable", passed=True, value="buy", limit="buy"),),
        "computed_position_size": Decimal("36.3636363636"),
        "quantity": Decimal(10),
        "risk_tier": "moderate",
        "portfolio_heat": Decimal("4.55"),
        "active_pool": Decimal(500),
        "reserve_pool": Decimal(0),
        "circuit_breaker_status": "inactive",
        "correlation_check_result": passed,
        "sector_exposure_check_result": passed,
        "earnings_proximity_flag": "unknown",
        "policy_version": 1,
        "decided_at": NOON,
        "at": NOON,
        "cause": 1,
    }
    return effects.Decision(**{**fields, **changes})
