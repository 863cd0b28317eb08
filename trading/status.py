"""What a person or a program asks of an account: its state and its summary, as of one instant."""

import datetime as dt
from decimal import Decimal
from typing import Any

from trading import arming, circuit_breaker
from trading.money import ZERO, total
from trading.portfolio import Portfolio


def status_of(portfolio: Portfolio, *, as_of: dt.datetime) -> dict[str, Any]:
    """Return the fields of `GET /api/trading/status` but the lags; money as decimal strings, instants as text."""
    portfolio = portfolio.model_copy(update={"now": max(portfolio.now, as_of)})
    return {
        "enabled": portfolio.policy.enabled,
        "paused": portfolio.paused,
        "trading_state": circuit_breaker.trading_state(portfolio),
        "risk_tier": portfolio.risk_tier,
        "circuit_breaker": _breaker(portfolio),
        "active_pool": _text(portfolio.active_pool),
        "reserve_pool": _text(portfolio.reserve),
        "total_value": _text(portfolio.total_value),
        "cash": _text(portfolio.cash),
        "buying_power": _text(portfolio.buying_power),
        "open_buy_holds": _text(portfolio.open_buy_holds),
        "portfolio_heat": _text(portfolio.portfolio_heat),
        "max_portfolio_heat": _text(portfolio.max_portfolio_heat),
        "open_positions": len(portfolio.positions),
        "queued": len(portfolio.queue),
        "last_decision_at": _instant(portfolio.last_decision_at),
        "mode": portfolio.mode,
        "armed_until": _instant(arming.armed_until(portfolio)),
        "build": portfolio.build,
        "as_of": _instant(portfolio.now),
    }


def portfolio_summary(portfolio: Portfolio, *, as_of: dt.datetime) -> dict[str, Any]:
    """Return both pools, cash, holds, sectors and heat, with the positions they come from."""
    portfolio = portfolio.model_copy(update={"now": max(portfolio.now, as_of)})
    sectors = sorted(portfolio.held_sectors)
    return {
        "total_value": _text(portfolio.total_value),
        "active_pool": _text(portfolio.active_pool),
        "reserve_pool": _text(portfolio.reserve),
        "cash": _text(portfolio.cash),
        "buying_power": _text(portfolio.buying_power),
        "open_buy_holds": _text(portfolio.open_buy_holds),
        "invested": _text(portfolio.invested),
        "realized_pnl": _text(portfolio.realized_pnl),
        "unrealized_pnl": _text(total(position.unrealized_pnl for position in portfolio.positions)),
        "portfolio_heat": _text(portfolio.portfolio_heat),
        "max_portfolio_heat": _text(portfolio.max_portfolio_heat),
        "initial_capital": _text(portfolio.initial_capital or ZERO),
        "sectors": [{"sector": sector, "exposure": _text(portfolio.sector_exposure(sector))} for sector in sectors],
        "positions": [
            {
                "symbol": position.symbol,
                "sector": position.sector,
                "quantity": _text(position.quantity),
                "avg_entry_price": _text(position.avg_entry_price),
                "last_price": _text(position.last_price),
                "market_value": _text(position.market_value),
                "unrealized_pnl": _text(position.unrealized_pnl),
            }
            for position in sorted(portfolio.positions, key=lambda held: held.symbol)
        ],
        "as_of": _instant(portfolio.now),
    }


def _breaker(portfolio: Portfolio) -> dict[str, Any]:
    running = circuit_breaker.active(portfolio)
    longest = running[0] if running else None
    return {
        "status": "active" if running else "inactive",
        "trigger": longest.trigger if longest else None,
        "until": _instant(longest.until) if longest else None,
        "remaining_seconds": max(0, int((longest.until - portfolio.now).total_seconds())) if longest else 0,
        "active": [
            {
                "trigger": breaker.trigger,
                "since": _instant(breaker.since),
                "until": _instant(breaker.until),
                "threshold": _text(breaker.threshold),
                "actual_value": _text(breaker.actual_value),
            }
            for breaker in running
        ],
    }


def _text(amount: Decimal) -> str:
    return format(amount, "f")


def _instant(instant: dt.datetime | None) -> str | None:
    return instant.isoformat().replace("+00:00", "Z") if instant is not None else None
