"""Notification rules (R19.3, R19.4): the daily summary after each close, the digest after the week's last session.

Both fire at their own instant, `summary_minutes_after_close` after the close, once for every session, however far time
has jumped. What to tell at once is told where it happens: breakers, tiers, emergencies, large trades.
"""

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal

from trading import circuit_breaker, history, performance, trading_window
from trading.due import Due
from trading.history import Ranked
from trading.portfolio import Portfolio, Summary
from trading.step import Step
from trading.trading_window import Session


def plan_summary(step: Step, session: Session, *, pnl: Decimal) -> None:
    """Keep the figures of a session that closes for its summary."""
    portfolio = step.portfolio
    step.change(
        summary=Summary(
            session_on=session.on,
            close_at=session.close_at,
            pnl=pnl,
            total_value=portfolio.total_value,
            active_pool=portfolio.active_pool,
            reserve=portfolio.reserve,
            bought=portfolio.history.bought,
            sold=portfolio.history.sold,
        )
    )


def summary_due(portfolio: Portfolio, until: dt.datetime) -> Iterator[Due]:
    """Offer the summary of the last session that closed, while it is not sent."""
    if portfolio.summary is not None:
        minutes = portfolio.preferences.summary_minutes_after_close
        yield Due(portfolio.summary.close_at + dt.timedelta(minutes=minutes), 5, _summarize)


def _summarize(step: Step) -> None:
    summary = step.portfolio.summary
    if summary is None:
        return
    step.change(summary=None)
    subject = f"Daily summary {summary.session_on}: {_signed(summary.pnl)}"
    step.notify("daily_summary", severity="info", subject=subject, body=_daily(step.portfolio, summary))
    if _ends_week(summary):
        week = step.portfolio.history.week
        subject = f"Weekly digest to {summary.session_on}: {_signed(week.pnl)}"
        step.notify("weekly_digest", severity="info", subject=subject, body=_weekly(step.portfolio))
        step.change(history=history.with_new_week(step.portfolio.history))
    step.keep_state()


def _daily(portfolio: Portfolio, summary: Summary) -> str:
    """Write everything that R19.3 lists; balances are those of the close."""
    running = ", ".join(
        f"{breaker.trigger.replace('_', ' ')} until {breaker.until.isoformat()}"
        for breaker in circuit_breaker.active(portfolio)
    )
    lines = (
        f"Daily P&L: {_signed(summary.pnl)}",
        f"Total value: {summary.total_value:.2f} dollars",
        f"Active pool: {summary.active_pool:.2f} dollars",
        f"Reserve pool: {summary.reserve:.2f} dollars",
        f"Trades executed: {summary.bought + summary.sold} ({summary.bought} bought, {summary.sold} sold)",
        f"Risk tier: {portfolio.risk_tier}",
        f"Circuit breakers: {running or 'none active'}",
    )
    return "\n".join(lines)


def _weekly(portfolio: Portfolio) -> str:
    """Write everything that R19.4 lists."""
    past, week = portfolio.history, portfolio.history.week
    sharpe = performance.sharpe_ratio(past.returns)
    undefined = performance.why_no_sharpe(past.returns).replace("_", " ")
    changes = "; ".join(week.tier_changes)
    unnamed = week.tier_change_count - len(week.tier_changes)
    lines = (
        f"Weekly P&L: {_signed(week.pnl)}",
        f"Trades: {week.wins} won, {week.losses} lost",
        f"Sharpe ratio: {f'undefined, {undefined}' if sharpe is None else f'{sharpe:.2f}'}",
        f"Max drawdown: {portfolio.max_drawdown:.2%}",
        f"Top winning trades: {_trades(week.best)}",
        f"Top losing trades: {_trades(week.worst)}",
        f"Risk tier changes: {changes or 'none'}" + (f"; {unnamed} before" if unnamed else ""),
    )
    return "\n".join(lines)


def _ends_week(summary: Summary) -> bool:
    """Tell whether no other session of the exchange falls into the same week."""
    following = trading_window.next_session(summary.close_at)
    return following is None or following.on.isocalendar()[:2] != summary.session_on.isocalendar()[:2]


def _trades(trades: Ranked) -> str:
    return ", ".join(f"{symbol} {_signed(profit)}" for symbol, profit in trades) or "none"


def _signed(amount: Decimal) -> str:
    return f"{amount:+.2f} dollars"
