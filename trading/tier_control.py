"""The risk tier inside a step (R5.2 to R5.6): evaluated at the close, each change recorded once and told.

What the engine changes by itself is audited as a change of the configuration too (R16.6).
"""

import datetime as dt
import json
from typing import Any, Literal

from trading import history, performance, risk_tier, trading_window
from trading.inputs import TierName
from trading.policy import TIERS
from trading.portfolio import Portfolio
from trading.records import ConfigChange, TierChange
from trading.risk_tier import Standing, Verdict
from trading.step import Step
from trading.trading_window import Session

_WHY = {
    "drawdown": "the drawdown is {drawdown:.2%}",
    "win_rate": "the win rate of the last 30 days is {win_rate:.2%}",
    "performance": "the win rate is {win_rate:.2%}, the reserve {reserve_share:.2%} of the portfolio",
    "reserve_high_water": "the reserve is {reserve_share:.2%} of the portfolio",
}


def evaluate(step: Step, session: Session) -> None:
    """Move the tier by at most one level at a session's close, unless it is held by hand (R5.6)."""
    portfolio = step.portfolio
    if portfolio.tier_held or portfolio.history.sessions % portfolio.policy.tier_evaluation_sessions != 0:
        return
    standing = standing_of(portfolio, on=session.on)
    verdict = risk_tier.verdict(standing, tier=portfolio.risk_tier, policy=portfolio.policy)
    if verdict is None:
        return
    if verdict.reason != "drawdown":
        step.change(tier_changed_on=session.on)
    why = _WHY[verdict.reason].format_map(standing._asdict())
    change(step, verdict.tier, source="auto", metrics=_metrics(standing, verdict), why=why)


def standing_of(portfolio: Portfolio, *, on: dt.date) -> Standing:
    """Return what an account is judged by at the close of the session on a date."""
    policy = portfolio.policy
    wins, losses, trades = history.trailing(portfolio.history, on=on)
    return Standing(
        win_rate=performance.win_rate(wins, losses) if trades >= policy.tier_minimum_trades else None,
        closed_trades=trades,
        sharpe_ratio=performance.sharpe_ratio(portfolio.history.returns),
        drawdown=performance.current_drawdown(portfolio),
        reserve_share=performance.reserve_share(portfolio),
        may_change=_is_past(portfolio.tier_changed_on, sessions=policy.tier_change_sessions, on=on),
        is_calm=_is_past(portfolio.tripped_on, sessions=policy.tier_calm_sessions, on=on),
        in_emergency=portfolio.in_emergency,
    )


def change(
    step: Step,
    tier: TierName,
    *,
    source: Literal["auto", "operator", "emergency"],
    metrics: dict[str, Any],
    why: str,
) -> None:
    """Put another tier in force with one record of history, and tell the operator (R5.5, R19.2)."""
    previous = step.portfolio.risk_tier
    subject = f"Risk tier: {previous} to {tier}"
    day = trading_window.new_york_date(step.now)
    past = history.with_tier_change(step.portfolio.history, f"{previous} to {tier} ({source}, {day})")
    step.change(risk_tier=tier, history=past)
    step.record(
        TierChange,
        change_id=step.next_id("tier"),
        previous_tier=previous,
        new_tier=tier,
        source=source,
        metrics=metrics,
    )
    if source != "operator":
        _audit(step, previous, tier, issued_by=source)
    is_lower = TIERS.index(tier) < TIERS.index(previous)
    severity: Literal["info", "warning"] = "warning" if is_lower and source != "operator" else "info"
    step.notify("tier_changed", severity=severity, subject=subject, body=f"{subject}: {why}.")
    step.keep_state()


def _audit(step: Step, previous: TierName, tier: TierName, *, issued_by: str) -> None:
    """Record the configuration before and after: one policy, in which another tier is active."""
    policy = json.loads(step.portfolio.policy.model_dump_json())
    step.record(
        ConfigChange,
        version=step.portfolio.policy.version,
        before=policy | {"risk_tier": previous},
        after=policy | {"risk_tier": tier},
        source="auto",
        issued_by=issued_by,
    )


def _is_past(day: dt.date | None, *, sessions: int, on: dt.date) -> bool:
    """Tell whether the last `sessions` sessions, that of `on` included, all lie after a date."""
    return day is None or trading_window.sessions_from(day, until=on) >= sessions


def _metrics(standing: Standing, verdict: Verdict) -> dict[str, Any]:
    def text(name: str) -> str | None:
        value = getattr(standing, name)
        return None if value is None else performance.text(value)

    ratios = {name: text(name) for name in ("win_rate", "sharpe_ratio", "drawdown", "reserve_share")}
    return {"reason": verdict.reason, "closed_trades": f"{standing.closed_trades}", **ratios}
