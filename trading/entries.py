"""Entries (R1, R11): a recommendation becomes a decision at once, waits for the trading window, or is refused."""

import datetime as dt
from decimal import Decimal

from trading import arming, breakers, dedupe, exits, stop_check, swaps, trading_window, tranches
from trading.candidates import LIFETIME, Candidate
from trading.decisions import signal_decision
from trading.effects import GateName
from trading.events import RecommendationReceived
from trading.gates import evaluate
from trading.inputs import Recommendation, TrendSummary
from trading.market import CandidateFacts
from trading.portfolio import Portfolio, Waiting
from trading.records import Duplicate, Queued
from trading.step import Step

MOST_WAITING = 20  # with their 90 closes each, so that the row stays small
KEPT_THESIS = 200
NEVER_BETTER: tuple[GateName, ...] = (
    "not_actionable",
    "expired",
    "superseded",
    "unknown_symbol",
    "engine_paused",
    "insufficient_confidence",
)
"""What a later window would not mend: decided at once instead of queued (decision 25)."""


def on_recommendation(step: Step, event: RecommendationReceived) -> None:
    """Decide a recommendation once: now, or when the trading window opens."""
    recommendation = event.recommendation
    key = "recommendation " + recommendation.recommendation_id
    floor = step.portfolio.seen_floor
    if dedupe.is_known(step.portfolio.seen, key=key) or (floor is not None and recommendation.generated_at <= floor):
        source_id = recommendation.recommendation_id
        step.record(Duplicate, source_type="recommendation", source_id=source_id, symbol=recommendation.symbol)
        return
    _remember(step, key=key, recommendation=recommendation)
    candidate = _from_facts(recommendation, event.facts)
    note_newer(step, candidate)
    stop_check.on_signal(step, recommendation)
    candidate = _supersede(step, candidate)
    if trading_window.is_window_open(step.now, margin_minutes=step.portfolio.policy.window_margin_minutes):
        decide(step, candidate, signal=recommendation)
        return
    if _is_hopeless(step.portfolio, candidate):
        decide(step, candidate, signal=recommendation)
    else:
        _queue(step, candidate, recommendation=recommendation)


def decide(step: Step, candidate: Candidate, *, signal: Recommendation | TrendSummary, may_swap: bool = True) -> bool:
    """Evaluate every gate, record the decision, act on it, and tell whether it was to act.

    A candidate for a swap is decided after the sell that makes place for it.
    """
    evaluation = evaluate(step.portfolio, candidate)
    if may_swap and isinstance(signal, Recommendation) and len(step.portfolio.queue) < MOST_WAITING:
        outgoing = swaps.outgoing(step.portfolio, candidate, evaluation)
        if outgoing is not None:
            _queue(step, candidate, recommendation=signal, awaits=swaps.sell(step, outgoing, candidate))
            return False
    decision_id = signal_decision(step, candidate, evaluation, signal=signal)
    step.keep_state()
    if evaluation.skip_reason is not None:
        return False
    if candidate.action == "sell":
        position = step.portfolio.position(candidate.symbol)
        if position is not None:
            exits.want_by_signal(step, position, source_type=candidate.source_type, decision_id=decision_id)
            exits.pursue(step, candidate.symbol)
    else:
        tranches.begin(step, candidate, evaluation, decision_id=decision_id)
    return True


def note_newer(step: Step, candidate: Candidate) -> None:
    """Break off an entry that a newer signal of its symbol speaks against (R11.4); trends judge micro entries alone."""
    entry = step.portfolio.entry(candidate.symbol)
    if entry is None or entry.unsent <= 0 or candidate.generated_at <= entry.generated_at:
        return
    if candidate.is_micro and not entry.is_micro:
        return
    low = candidate.confidence < step.portfolio.tier.min_confidence
    if low or candidate.action != "buy":
        why = f"a newer {candidate.source_type}: {candidate.action}, confidence {candidate.confidence:f}"
        step.put_entry(entry.model_copy(update={"deteriorated": why}))


def release(step: Step) -> None:
    """Decide what waits, best confidence first, on a price of this session; what has none yet goes on waiting."""
    session = trading_window.session_at(step.now)
    margin = step.portfolio.policy.window_margin_minutes
    if session is None or not trading_window.is_window_open(step.now, margin_minutes=margin):
        return
    ready = [
        waiting
        for waiting in step.portfolio.queue
        if waiting.awaits is None and waiting.last_price_at is not None and waiting.last_price_at >= session.open_at
    ]
    for waiting in sorted(ready, key=_best_first):
        leave_queue(step, waiting)


def leave_queue(step: Step, waiting: Waiting, *, superseded_by: str | None = None) -> None:
    """Take a recommendation out of the queue and decide it from scratch."""
    step.change(queue=tuple(known for known in step.portfolio.queue if known is not waiting))
    step.touched.add(waiting.recommendation.symbol)
    candidate = _from_waiting(waiting)._replace(superseded_by=superseded_by, window_missed=_missed(step, waiting))
    decide(step, candidate, signal=waiting.recommendation, may_swap=waiting.awaits is None)


def decide_awaiting(step: Step, client_order_id: str) -> None:
    """Decide the candidate that awaited an order's end, whether that freed a place or not (decision 57).

    What its sell has just lost may be what trips a breaker, so that those are asked first.
    """
    waiting = swaps.freed_for(step.portfolio, client_order_id)
    if waiting is not None:
        breakers.check(step)
        leave_queue(step, waiting)


def due_at(waiting: Waiting) -> dt.datetime:
    """Return when a queued recommendation is decided at the latest: it has expired, or its session is over."""
    expires_at = waiting.recommendation.expires_at or waiting.recommendation.generated_at + LIFETIME
    return min(expires_at, waiting.session_close_at)


def _is_hopeless(portfolio: Portfolio, candidate: Candidate) -> bool:
    """Tell whether no later window would mend what stops a signal; one that lacks arming alone may be armed by then."""
    portfolio = portfolio.model_copy(update={"armed_until": arming.FOR_EVER})
    failed = {gate.name for gate in evaluate(portfolio, candidate).gates if gate.passed is False}
    return bool(failed & set(NEVER_BETTER))


def _remember(step: Step, *, key: str, recommendation: Recommendation) -> None:
    until = step.now + dt.timedelta(hours=step.portfolio.policy.dedupe_hours)
    if recommendation.expires_at is not None:
        until = max(until, recommendation.expires_at)
    generated_at = min(recommendation.generated_at, step.now)  # one from the future must not outdate all others
    seen = dedupe.remember(step.portfolio.seen, key=key, until=until, now=step.now, newest=generated_at)
    if dedupe.count(step.portfolio.seen) <= dedupe.MOST_IDS < dedupe.count(seen):
        body = f"More than {dedupe.MOST_IDS} recommendation ids are live; new ones are not acted on until some lapse."
        step.alert("Too many recommendations", body=body)
    if dedupe.count(seen) <= dedupe.MOST_KEPT:
        step.change(seen=seen)


def _supersede(step: Step, candidate: Candidate) -> Candidate:
    """Let the newer of two recommendations of a symbol stand when one of them waits in the queue."""
    waiting = next((known for known in step.portfolio.queue if known.recommendation.symbol == candidate.symbol), None)
    if waiting is None:
        return candidate
    if waiting.recommendation.generated_at > candidate.generated_at:
        return candidate._replace(superseded_by=waiting.recommendation.recommendation_id)
    leave_queue(step, waiting, superseded_by=candidate.source_id)
    return candidate


def _from_facts(recommendation: Recommendation, facts: CandidateFacts) -> Candidate:
    return Candidate(
        source_type="recommendation",
        source_id=recommendation.recommendation_id,
        symbol=recommendation.symbol,
        action=recommendation.action,
        mode=recommendation.mode,
        confidence=recommendation.confidence,
        generated_at=recommendation.generated_at,
        expires_at=recommendation.expires_at or recommendation.generated_at + LIFETIME,
        known=facts.known,
        sector=facts.sector,
        price=facts.last_price,
        price_at=facts.last_price_at,
        atr=facts.atr,
        closes=facts.closes,
        earnings_on=facts.earnings_on,
        earnings_session=facts.earnings_session,
        earnings_reported_at=facts.earnings_reported_at,
    )


def _from_waiting(waiting: Waiting) -> Candidate:
    facts = CandidateFacts(
        known=True,
        sector=waiting.sector,
        last_price=waiting.last_price,
        last_price_at=waiting.last_price_at,
        atr=waiting.atr,
        closes=waiting.closes,
        earnings_on=waiting.earnings_on,
        earnings_session=waiting.earnings_session,
        earnings_reported_at=waiting.earnings_reported_at,
    )
    return _from_facts(waiting.recommendation, facts)


def _queue(step: Step, candidate: Candidate, *, recommendation: Recommendation, awaits: str | None = None) -> None:
    session = trading_window.next_session(step.now)
    margin = dt.timedelta(minutes=step.portfolio.policy.window_margin_minutes)
    if session is not None and step.now >= session.close_at - margin:  # this session's window is over
        session = trading_window.next_session(session.close_at)
    thesis = recommendation.thesis[:KEPT_THESIS] if recommendation.thesis is not None else None
    waiting = Waiting(
        recommendation=recommendation.model_copy(update={"thesis": thesis}),
        queued_at=step.now,
        session_close_at=session.close_at if session is not None else step.now,
        first_price=recommendation.reference_price or candidate.price,
        sector=candidate.sector,
        last_price=candidate.price,
        last_price_at=candidate.price_at,
        atr=candidate.atr,
        closes=candidate.closes,
        earnings_on=candidate.earnings_on,
        earnings_session=candidate.earnings_session,
        earnings_reported_at=candidate.earnings_reported_at,
        awaits=awaits,
    )
    step.change(queue=(*step.portfolio.queue, waiting))
    step.touched.add(recommendation.symbol)
    step.record(
        Queued,
        source_type="recommendation",
        source_id=recommendation.recommendation_id,
        symbol=recommendation.symbol,
        until=due_at(waiting),
    )
    step.keep_state()
    if len(step.portfolio.queue) > MOST_WAITING:
        leave_queue(step, max(step.portfolio.queue, key=_best_first))


def _best_first(waiting: Waiting) -> tuple[Decimal, dt.datetime, str]:
    recommendation = waiting.recommendation
    return -recommendation.confidence, recommendation.generated_at, recommendation.recommendation_id


def _missed(step: Step, waiting: Waiting) -> str | None:
    """Return why the window that a queued recommendation waited for is of no use to it any more (decision 25)."""
    if step.now >= waiting.session_close_at:
        return "older than one session"
    if waiting.awaits is not None or waiting.atr is None or waiting.first_price is None or waiting.last_price is None:
        return None
    if abs(waiting.last_price - waiting.first_price) > waiting.atr:
        return "the price moved by more than one ATR"
    return None
