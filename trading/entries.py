"""Entries (R1, R11): a recommendation becomes a decision, waits for the window, or is refused; an entry goes out in
tranches, each judged again before it is sent.
"""

import datetime as dt
from decimal import Decimal

from trading import dedupe, exits, gradual_entry, ids, trading_window
from trading.decisions import signal_decision
from trading.effects import GateName, Order
from trading.events import RecommendationReceived
from trading.gates import LIFETIME, Candidate, Evaluation, evaluate
from trading.inputs import Recommendation
from trading.market import CandidateFacts
from trading.portfolio import Entry, LiveOrder, Waiting
from trading.records import Duplicate, Queued
from trading.step import Step

MOST_WAITING = 48
KEPT_THESIS = 600
NEVER_BETTER: tuple[GateName, ...] = (
    "not_actionable",
    "expired",
    "superseded",
    "unknown_symbol",
    "engine_paused",
    "insufficient_confidence",
    "no_position_to_sell",
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
    _note_newer(step, recommendation)
    candidate = _supersede(step, _from_facts(recommendation, event.facts))
    if trading_window.is_window_open(step.now, margin_minutes=step.portfolio.policy.window_margin_minutes):
        decide(step, candidate, recommendation=recommendation)
        return
    failed = {gate.name for gate in evaluate(step.portfolio, candidate).gates if gate.passed is False}
    if failed & set(NEVER_BETTER):
        decide(step, candidate, recommendation=recommendation)
    else:
        _queue(step, recommendation, facts=event.facts)


def decide(step: Step, candidate: Candidate, *, recommendation: Recommendation) -> None:
    """Evaluate every gate, record the decision, and act on it."""
    evaluation = evaluate(step.portfolio, candidate)
    decision_id = signal_decision(step, candidate, evaluation, recommendation=recommendation)
    step.keep_state()
    if evaluation.skip_reason is not None:
        return
    if candidate.action == "sell":
        position = step.portfolio.position(candidate.symbol)
        if position is not None:
            exits.want_by_signal(step, position, decision_id=decision_id)
            exits.pursue(step, candidate.symbol)
        return
    _begin_entry(step, candidate, evaluation, decision_id=decision_id)


def release(step: Step) -> None:
    """Decide what waits, best confidence first, on a price of this session; what has none yet goes on waiting."""
    session = trading_window.session_at(step.now)
    margin = step.portfolio.policy.window_margin_minutes
    if session is None or not trading_window.is_window_open(step.now, margin_minutes=margin):
        return
    ready = [
        waiting
        for waiting in step.portfolio.queue
        if waiting.last_price_at is not None and waiting.last_price_at >= session.open_at
    ]
    for waiting in sorted(ready, key=_best_first):
        leave_queue(step, waiting)


def leave_queue(step: Step, waiting: Waiting, *, superseded_by: str | None = None) -> None:
    """Take a recommendation out of the queue and decide it from scratch."""
    step.change(queue=tuple(known for known in step.portfolio.queue if known is not waiting))
    step.touched.add(waiting.recommendation.symbol)
    candidate = _from_waiting(waiting)._replace(superseded_by=superseded_by, window_missed=_missed(step, waiting))
    decide(step, candidate, recommendation=waiting.recommendation)


def due_at(waiting: Waiting) -> dt.datetime:
    """Return when a queued recommendation is decided at the latest: it has expired, or its session is over."""
    expires_at = waiting.recommendation.expires_at or waiting.recommendation.generated_at + LIFETIME
    return min(expires_at, waiting.session_close_at)


def next_tranche_at(step: Step, entry: Entry) -> dt.datetime | None:
    """Return when the next tranche is due; None while none is left or a buy of the symbol is live."""
    if entry.unsent <= 0 or step.portfolio.live(entry.symbol, side="buy"):
        return None
    minutes = step.portfolio.policy.gradual_entry_interval_minutes * entry.sent
    return entry.first_sent_at + dt.timedelta(minutes=minutes)


def continue_entry(step: Step, entry: Entry) -> None:
    """Judge an entry again before its next tranche (R11.4): send it, or cancel all that are left."""
    reason = _deterioration(step, entry)
    if reason is not None:
        drop_tranches(step, entry, reason=reason)
        return
    _send_tranche(step, entry)


def drop_tranches(step: Step, entry: Entry, *, reason: str) -> None:
    """Cancel the tranches that are left; the entry is complete with what it has."""
    exits.stop_entering(step, entry.symbol, reason=reason)
    body = f"{entry.symbol}: {entry.unsent} shares of the entry are not bought: {reason}."
    step.alert(f"Tranches cancelled: {entry.symbol}", body=body, severity="info", symbol=entry.symbol)
    complete(step, entry.symbol)


def complete(step: Step, symbol: str) -> None:
    """Close an entry that has nothing left to send and nothing live; from now on its stop never falls."""
    entry = step.portfolio.entry(symbol)
    if entry is None or entry.unsent > 0 or step.portfolio.live(symbol, side="buy"):
        return
    step.drop_entry(symbol)
    position = step.portfolio.position(symbol)
    if position is not None:
        step.put_position(position.model_copy(update={"entry_complete": True}))
    step.keep_state()


def _remember(step: Step, *, key: str, recommendation: Recommendation) -> None:
    until = step.now + dt.timedelta(hours=step.portfolio.policy.dedupe_hours)
    if recommendation.expires_at is not None:
        until = max(until, recommendation.expires_at)
    generated_at = recommendation.generated_at
    seen = dedupe.remember(step.portfolio.seen, key=key, until=until, now=step.now, newest=generated_at)
    if dedupe.count(step.portfolio.seen) <= dedupe.MOST_IDS < dedupe.count(seen):
        body = f"More than {dedupe.MOST_IDS} recommendation ids are live; new ones are not acted on until some lapse."
        step.alert("Too many recommendations", body=body)
    step.change(seen=seen)


def _note_newer(step: Step, recommendation: Recommendation) -> None:
    """Break off an entry that a newer recommendation of its symbol speaks against (R11.4)."""
    symbol = recommendation.symbol
    entry = step.portfolio.entry(symbol)
    if entry is not None and entry.unsent > 0:
        low = recommendation.confidence < step.portfolio.tier.min_confidence
        if low or recommendation.action != "buy":
            why = f"a newer recommendation: {recommendation.action}, confidence {recommendation.confidence:f}"
            step.put_entry(entry.model_copy(update={"deteriorated": why}))


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


def _queue(step: Step, recommendation: Recommendation, *, facts: CandidateFacts) -> None:
    session = trading_window.next_session(step.now)
    margin = dt.timedelta(minutes=step.portfolio.policy.window_margin_minutes)
    if session is not None and step.now >= session.close_at - margin:  # this session's window is over
        session = trading_window.next_session(session.close_at)
    thesis = recommendation.thesis[:KEPT_THESIS] if recommendation.thesis is not None else None
    waiting = Waiting(
        recommendation=recommendation.model_copy(update={"thesis": thesis}),
        queued_at=step.now,
        session_close_at=session.close_at if session is not None else step.now,
        first_price=recommendation.reference_price or facts.last_price,
        sector=facts.sector,
        last_price=facts.last_price,
        last_price_at=facts.last_price_at,
        atr=facts.atr,
        closes=facts.closes,
        earnings_on=facts.earnings_on,
        earnings_session=facts.earnings_session,
        earnings_reported_at=facts.earnings_reported_at,
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
    if waiting.atr is None or waiting.first_price is None or waiting.last_price is None:
        return None
    if abs(waiting.last_price - waiting.first_price) > waiting.atr:
        return "the price moved by more than one ATR"
    return None


def _begin_entry(step: Step, candidate: Candidate, evaluation: Evaluation, *, decision_id: str) -> None:
    portfolio, sized = step.portfolio, evaluation.sized
    if sized is None or candidate.price is None or candidate.atr is None or candidate.sector is None:
        raise ValueError(f"decision {decision_id} acts without a size, a price, an ATR or a sector")
    entry = Entry(
        decision_id=decision_id,
        source_type=candidate.source_type,
        recommendation_id=candidate.source_id,
        symbol=candidate.symbol,
        sector=candidate.sector,
        confidence=candidate.confidence,
        mode=candidate.mode,
        generated_at=candidate.generated_at,
        is_micro=False,
        tranches=gradual_entry.tranches(
            sized.quantity, size=sized.sizing.cash, active_pool=portfolio.active_pool, policy=portfolio.policy
        ),
        sent=0,
        first_sent_at=step.now,
        price=candidate.price,
        price_at=candidate.price_at or step.now,
        atr=candidate.atr,
        multiplier=portfolio.tier.stop_loss_atr_multiplier,
        reward_risk_ratio=portfolio.tier.reward_risk_ratio,
        closes=candidate.closes,
        earnings_on=candidate.earnings_on,
        earnings_session=candidate.earnings_session,
        earnings_reported_at=candidate.earnings_reported_at,
    )
    _send_tranche(step, entry)


def _send_tranche(step: Step, entry: Entry) -> None:
    quantity, tranche = entry.tranches[entry.sent], entry.sent + 1
    client_order_id = ids.client_order_id(
        step.portfolio.account_id, decision_id=entry.decision_id, purpose="entry", tranche=tranche, revision=0
    )
    session = trading_window.session_at(step.now)
    margin = dt.timedelta(minutes=step.portfolio.policy.window_margin_minutes)
    step.emit(
        Order(
            client_order_id=client_order_id,
            decision_id=entry.decision_id,
            account_id=step.portfolio.account_id,
            symbol=entry.symbol,
            side="buy",
            quantity=quantity,
            purpose="entry",
            tranche=tranche,
            of_tranches=len(entry.tranches),
            valid_until=session.close_at - margin if session is not None else None,
            created_at=step.now,
        )
    )
    step.put_entry(entry.model_copy(update={"sent": tranche}))
    step.put_order(
        LiveOrder(
            client_order_id=client_order_id,
            decision_id=entry.decision_id,
            symbol=entry.symbol,
            side="buy",
            quantity=quantity,
            purpose="entry",
            tranche=tranche,
            created_at=step.now,
            hold=entry.price,
            risk=min(entry.price, entry.atr * entry.multiplier),
            sector=entry.sector,
        )
    )


def _deterioration(step: Step, entry: Entry) -> str | None:
    """Return why the rest of an entry is not bought, None when it still is (decision 40)."""
    if entry.deteriorated is not None:
        return entry.deteriorated
    first = entry.first_fill_price
    if first is not None and abs(entry.price - first) > entry.atr:
        return "the price is beyond one ATR from the first fill"
    portfolio = step.portfolio
    position = portfolio.position(entry.symbol)
    freed = position.market_value if position is not None else Decimal(0)
    absent = portfolio.model_copy(
        update={
            "positions": tuple(known for known in portfolio.positions if known.symbol != entry.symbol),
            "entries": tuple(known for known in portfolio.entries if known.symbol != entry.symbol),
            "cash": portfolio.cash + freed,
            "buying_power": portfolio.buying_power + freed,
        }
    )
    failed = evaluate(absent, _from_entry(entry)).skip_reason
    if failed is not None:
        return failed
    return None if portfolio.spendable >= entry.tranches[entry.sent] * entry.price else "insufficient_active_pool"


def _from_entry(entry: Entry) -> Candidate:
    return Candidate(
        source_type=entry.source_type,
        source_id=entry.recommendation_id or entry.decision_id,
        symbol=entry.symbol,
        action="buy",
        mode=entry.mode,
        confidence=entry.confidence,
        generated_at=entry.generated_at,
        expires_at=entry.first_sent_at,
        known=True,
        sector=entry.sector,
        price=entry.price,
        price_at=entry.price_at,
        atr=entry.atr,
        closes=entry.closes,
        earnings_on=entry.earnings_on,
        earnings_session=entry.earnings_session,
        earnings_reported_at=entry.earnings_reported_at,
        building=True,
    )
