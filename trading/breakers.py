"""Tripping and resuming breakers inside a step (R6): each trip and each resumption is recorded and told."""

import datetime as dt
from decimal import Decimal

from trading import circuit_breaker, trading_window
from trading.money import ONE, ZERO
from trading.portfolio import Breaker, Position
from trading.records import BreakerEvent, BreakerTrigger
from trading.step import Step


def check(step: Step) -> None:
    """Trip what the account's figures demand: the daily loss, the market's stress; note a broad decline."""
    portfolio = step.portfolio
    loss = circuit_breaker.daily_loss(portfolio)
    if loss > portfolio.policy.daily_loss_pct and not _is_active(step, "daily_loss"):
        lost = (portfolio.day_base or ZERO) - portfolio.total_value
        limit = portfolio.policy.daily_loss_pct
        trip(step, "daily_loss", until=_next_open(step.now), threshold=limit, actual_value=loss, lost=lost)
    reading = circuit_breaker.stress(portfolio)
    if reading is not None and circuit_breaker.is_stressed(portfolio) and not _is_active(step, "market_stress"):
        threshold = portfolio.policy.market_stress_threshold
        trip(step, "market_stress", until=_after_pause(step), threshold=threshold, actual_value=reading.value)
    _note_decline(step)
    _note_minimum(step)


def _note_decline(step: Step) -> None:
    """Tell once that a broad decline began, and remember since when it is over: later it has cleared (decision 21)."""
    portfolio, policy = step.portfolio, step.portfolio.policy
    share = circuit_breaker.declining_share(portfolio)
    declines = share > policy.broad_decline_share
    if declines is portfolio.declining:
        return
    begins = declines and not circuit_breaker.declined_lately(portfolio)
    step.change(declining=declines, declined_at=None if declines else step.now)
    step.keep_state()
    if begins:
        body = f"{share:.0%} of the positions lose more than {policy.broad_decline_pct:f} of their entry: nothing is"
        step.alert("A broad decline", body=f"{body} bought until {policy.broad_decline_minutes} minutes after it.")


def _note_minimum(step: Step) -> None:
    """Tell once that the active pool fell under its minimum (decision 10)."""
    portfolio = step.portfolio
    is_under = circuit_breaker.is_under_minimum(portfolio)
    if is_under is portfolio.under_minimum:
        return
    step.change(under_minimum=is_under)
    if is_under:
        minimum = portfolio.policy.active_pool_minimum
        body = f"{portfolio.active_pool:.2f} dollars, the minimum is {minimum:f}: nothing is bought until it recovers."
        step.alert("The active pool is under its minimum", body=body)


def note_silence(step: Step) -> None:
    """Tell once that no reading of market volatility is valid: nothing trips without one (decision 19)."""
    if circuit_breaker.stress(step.portfolio) is None and not step.portfolio.stress_missed:
        step.change(stress_missed=True)
        body = "The market stress breaker rests until a reading comes on the topic market-stress."
        step.alert("No reading of market volatility", body=body)


def trip(
    step: Step,
    trigger: BreakerTrigger,
    *,
    until: dt.datetime,
    threshold: Decimal,
    actual_value: Decimal,
    lost: Decimal | None = None,
) -> None:
    """Activate an account breaker until an instant; `lost` are the dollars of a loss."""
    breaker = Breaker(trigger=trigger, since=step.now, until=until, threshold=threshold, actual_value=actual_value)
    step.change(breakers=(*step.portfolio.breakers, breaker))
    _tell(step, trigger, symbol=None, until=until, threshold=threshold, actual_value=actual_value, lost=lost)


def resume(step: Step) -> None:
    """Drop the breakers that have ended by now, and say so; what demands one still trips it anew."""
    ended = tuple(breaker for breaker in step.portfolio.breakers if breaker.until <= step.now)
    step.change(breakers=tuple(breaker for breaker in step.portfolio.breakers if breaker.until > step.now))
    for breaker in ended:
        step.record(
            BreakerEvent,
            event_id=step.next_id("breaker"),
            event="resumed",
            trigger=breaker.trigger,
            threshold=breaker.threshold,
            actual_value=None,
            until=None,
        )
        _tell_end(step, breaker)
    step.keep_state()
    check(step)


def end_cooldowns(step: Step) -> None:
    """Let the symbols whose cooldown is over be entered again, and say so (R6.5)."""
    cooldowns, now = step.portfolio.cooldowns, step.now
    step.change(cooldowns=tuple((symbol, until) for symbol, until in cooldowns if until > now))
    for symbol in (symbol for symbol, until in cooldowns if until <= now):
        step.record(
            BreakerEvent,
            event_id=step.next_id("breaker"),
            event="resumed",
            trigger="position_loss",
            symbol=symbol,
            threshold=step.portfolio.policy.position_loss_pct,
            actual_value=None,
            until=None,
        )
        subject = f"The position loss breaker of {symbol} has ended"
        step.notify("breaker_resumed", severity="info", subject=subject, body=f"{symbol} may be entered again.")
    step.keep_state()


def _tell_end(step: Step, breaker: Breaker) -> None:
    """Say that trading resumes, or that something else still stops entries (R19.2)."""
    name, state = breaker.trigger.replace("_", " "), circuit_breaker.trading_state(step.portfolio)
    if state == "active":
        subject, body = f"Trading resumes: the {name} breaker has ended", "Entries are allowed again."
    else:
        others = ", ".join(other.trigger.replace("_", " ") for other in circuit_breaker.active(step.portfolio))
        subject = f"The {name} breaker has ended"
        body = f"Trading is {state} all the same; other active breakers: {others or 'none'}."
    step.notify("breaker_resumed", severity="info", subject=subject, body=body)


def cool_down(step: Step, position: Position) -> None:
    """Keep a symbol that lost more than `position_loss_pct` from being entered again (R6.2)."""
    policy = step.portfolio.policy
    until = step.now + dt.timedelta(hours=policy.ticker_cooldown_hours)
    others = tuple((name, end) for name, end in step.portfolio.cooldowns if name != position.symbol)
    step.change(cooldowns=(*others, (position.symbol, until)))
    loss = ONE - position.last_price / position.avg_entry_price
    _tell(
        step,
        "position_loss",
        symbol=position.symbol,
        until=until,
        threshold=policy.position_loss_pct,
        actual_value=loss,
        lost=position.quantity * (position.avg_entry_price - position.last_price),
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
    lost: Decimal | None,
) -> None:
    step.record(
        BreakerEvent,
        event_id=step.next_id("breaker"),
        event="triggered",
        trigger=trigger,
        symbol=symbol,
        threshold=threshold,
        actual_value=actual_value,
        until=until,
    )
    step.change(tripped_on=trading_window.new_york_date(step.now))
    what = f"{trigger.replace('_', ' ')} {symbol or ''}".strip()
    body = f"The {what} breaker tripped: {actual_value:.4f} against a limit of {threshold:f}"
    body += f", a loss of {lost:.2f} dollars" if lost is not None else ""
    body += f"; until {until.isoformat()}."
    step.notify("breaker_triggered", severity="critical", subject=f"Circuit breaker: {what}", body=body)
    step.keep_state()
