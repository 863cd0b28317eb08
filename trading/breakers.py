"""Tripping and resuming breakers inside a step (R6): each trip and each resumption is recorded and told."""

import datetime as dt
from decimal import Decimal

from trading import circuit_breaker, ids, trading_window
from trading.money import ONE
from trading.portfolio import Breaker, Position
from trading.records import BreakerEvent, BreakerTrigger
from trading.step import Step


def check(step: Step) -> None:
    """Trip what the account's figures demand: the daily loss, the market's stress; note a broad decline."""
    portfolio = step.portfolio
    loss = circuit_breaker.daily_loss(portfolio)
    if loss > portfolio.policy.daily_loss_pct and not _is_active(step, "daily_loss"):
        until = _next_open(step.now)
        trip(step, "daily_loss", until=until, threshold=portfolio.policy.daily_loss_pct, actual_value=loss)
    reading = circuit_breaker.stress(portfolio)
    if reading is not None and circuit_breaker.is_stressed(portfolio) and not _is_active(step, "market_stress"):
        threshold = portfolio.policy.market_stress_threshold
        trip(step, "market_stress", until=_after_pause(step), threshold=threshold, actual_value=reading.value)
    if circuit_breaker.declining_share(portfolio) > portfolio.policy.broad_decline_share:
        step.change(declined_at=step.now)


def trip(step: Step, trigger: BreakerTrigger, *, until: dt.datetime, threshold: Decimal, actual_value: Decimal) -> None:
    """Activate an account breaker until an instant."""
    breaker = Breaker(trigger=trigger, since=step.now, until=until, threshold=threshold, actual_value=actual_value)
    step.change(breakers=(*step.portfolio.breakers, breaker))
    _tell(step, trigger, symbol=None, until=until, threshold=threshold, actual_value=actual_value)


def resume(step: Step) -> None:
    """Drop the breakers that have ended by now, and say so."""
    ended = tuple(breaker for breaker in step.portfolio.breakers if breaker.until <= step.now)
    step.change(breakers=tuple(breaker for breaker in step.portfolio.breakers if breaker.until > step.now))
    for breaker in ended:
        step.record(
            BreakerEvent,
            event_id=ids.of("breaker", step.portfolio.account_id, step.seq, breaker.trigger, "resumed"),
            event="resumed",
            trigger=breaker.trigger,
            threshold=breaker.threshold,
            actual_value=None,
            until=None,
        )
        subject = f"Trading resumes: the {breaker.trigger.replace('_', ' ')} breaker has ended"
        step.notify("breaker_resumed", severity="info", subject=subject, body=subject)
    step.keep_state()


def cool_down(step: Step, position: Position) -> None:
    """Keep a symbol that lost more than `position_loss_pct` from being entered again (R6.2)."""
    policy = step.portfolio.policy
    until = step.now + dt.timedelta(hours=policy.ticker_cooldown_hours)
    others = tuple((name, end) for name, end in step.portfolio.cooldowns if name != position.symbol and end > step.now)
    step.change(cooldowns=(*others, (position.symbol, until)))
    loss = ONE - position.last_price / position.avg_entry_price
    _tell(
        step,
        "position_loss",
        symbol=position.symbol,
        until=until,
        threshold=policy.position_loss_pct,
        actual_value=loss,
    )


def count_stop(step: Step) -> None:
    """Count a stop-loss exit; more than `stop_cluster_count` of them within the sliding window pause trading."""
    policy = step.portfolio.policy
    since = step.now - dt.timedelta(minutes=policy.stop_cluster_minutes)
    hits = (*(at for at in step.portfolio.stops_hit if at >= since), step.now)
    step.change(stops_hit=hits)
    if len(hits) > policy.stop_cluster_count and not _is_active(step, "stop_cluster"):
        threshold, actual = Decimal(policy.stop_cluster_count), Decimal(len(hits))
        trip(step, "stop_cluster", until=_after_pause(step), threshold=threshold, actual_value=actual)


def _is_active(step: Step, trigger: BreakerTrigger) -> bool:
    return any(breaker.trigger == trigger for breaker in circuit_breaker.active(step.portfolio))


def _after_pause(step: Step) -> dt.datetime:
    return step.now + dt.timedelta(minutes=step.portfolio.policy.breaker_pause_minutes)


def _next_open(now: dt.datetime) -> dt.datetime:
    """Return the next instant at which a session opens, strictly after now."""
    session = trading_window.next_session(now)
    if session is not None and session.open_at <= now:
        session = trading_window.next_session(session.close_at)
    return session.open_at if session is not None else now + dt.timedelta(days=1)


def _tell(
    step: Step,
    trigger: BreakerTrigger,
    *,
    symbol: str | None,
    until: dt.datetime,
    threshold: Decimal,
    actual_value: Decimal,
) -> None:
    step.record(
        BreakerEvent,
        event_id=ids.of("breaker", step.portfolio.account_id, step.seq, trigger, symbol or "", "triggered"),
        event="triggered",
        trigger=trigger,
        symbol=symbol,
        threshold=threshold,
        actual_value=actual_value,
        until=until,
    )
    what = f"{trigger.replace('_', ' ')} {symbol or ''}".strip()
    body = (
        f"The {what} breaker tripped: {actual_value:.4f} against a limit of {threshold:f}; until {until.isoformat()}."
    )
    step.notify("breaker_triggered", severity="critical", subject=f"Circuit breaker: {what}", body=body)
    step.keep_state()
