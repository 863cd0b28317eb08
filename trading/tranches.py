"""Tranches (R11.3 to R11.5): an entry goes out in parts, each judged again before it is sent.

All parts hang on one decision. What speaks against the next one cancels all that are left.
"""

import datetime as dt

from trading import exits, gradual_entry, ids, micro_trading, position_sizer, stop_loss, trading_window
from trading.candidates import Candidate
from trading.effects import Order
from trading.gates import Evaluation, evaluate
from trading.money import ZERO, total
from trading.portfolio import Entry, LiveOrder, Portfolio
from trading.position_sizer import Sized
from trading.step import Step


def next_tranche_at(portfolio: Portfolio, entry: Entry) -> dt.datetime | None:
    """Return when the next tranche is due, None while none is left (decision 40)."""
    if entry.unsent <= 0:
        return None
    minutes = portfolio.policy.gradual_entry_interval_minutes * entry.sent
    return entry.first_sent_at + dt.timedelta(minutes=minutes)


def continue_entry(step: Step, entry: Entry) -> None:
    """Judge an entry again before its next tranche (R11.4): send it, or cancel all that are left."""
    reason = _deterioration(step, entry)
    if reason is not None:
        drop_tranches(step, entry, reason=reason)
        return
    _send(step, entry)


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


def begin(step: Step, candidate: Candidate, evaluation: Evaluation, *, decision_id: str) -> None:
    """Send the first tranche of an entry that was decided on, and remember the rest."""
    portfolio, sized = step.portfolio, evaluation.sized
    if sized is None or candidate.price is None or candidate.atr is None or candidate.sector is None:
        raise ValueError(f"decision {decision_id} acts without a size, a price, an ATR or a sector")
    terms = micro_trading.level_terms(portfolio, is_micro=candidate.is_micro)
    entry = Entry(
        decision_id=decision_id,
        source_type=candidate.source_type,
        recommendation_id=candidate.source_id if candidate.source_type == "recommendation" else None,
        symbol=candidate.symbol,
        sector=candidate.sector,
        confidence=candidate.confidence,
        mode=candidate.mode,
        generated_at=candidate.generated_at,
        is_micro=candidate.is_micro,
        tranches=gradual_entry.tranches(
            sized.quantity, size=sized.sizing.cash, active_pool=portfolio.active_pool, policy=portfolio.policy
        ),
        sent=0,
        first_sent_at=step.now,
        price=candidate.price,
        price_at=candidate.price_at or step.now,
        atr=candidate.atr,
        multiplier=terms.multiplier,
        reward_risk_ratio=terms.reward_risk_ratio,
        closes=candidate.closes,
        earnings_on=candidate.earnings_on,
        earnings_session=candidate.earnings_session,
        earnings_reported_at=candidate.earnings_reported_at,
    )
    _send(step, entry)


def _send(step: Step, entry: Entry) -> None:
    quantity, tranche = entry.tranches[entry.sent], entry.sent + 1
    client_order_id = ids.client_order_id(
        step.portfolio.account_id, decision_id=entry.decision_id, purpose="entry", tranche=tranche, revision=0
    )
    stop = _levels(entry).stop
    session = trading_window.session_at(step.now)
    margin = dt.timedelta(minutes=step.portfolio.policy.window_margin_minutes)
    valid_until = session.close_at - margin if session is not None else None
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
            valid_until=valid_until,
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
            number=step.next_order_number(),
            hold=entry.price,
            risk=entry.price - stop,
            sector=entry.sector,
            ends_at=valid_until,
            unanswered_since=step.now,
        )
    )


def _deterioration(step: Step, entry: Entry) -> str | None:
    """Return why the rest of an entry is not bought, None when it still is (decision 40)."""
    if entry.deteriorated is not None:
        return entry.deteriorated
    portfolio = step.portfolio
    if entry.is_micro and not portfolio.policy.micro_trading_enabled:
        return "micro trading is off"
    position = portfolio.position(entry.symbol)
    if position is not None and position.exit is not None:
        return "an exit is wanted"
    first = entry.first_fill_price
    if first is not None and abs(entry.price - first) > entry.atr:
        return "the price is beyond one ATR from the first fill"
    evaluation = evaluate(_without(portfolio, entry.symbol), _from_entry(entry))
    if evaluation.skip_reason is not None or evaluation.sized is None:
        return evaluation.skip_reason or "it has no size"
    return _excess(portfolio, entry, evaluation.sized)


def _excess(portfolio: Portfolio, entry: Entry, sized: Sized) -> str | None:
    """Return the limit that the shares still to be bought would break together with those that are there.

    A drift of the price within one ATR does not count against the caps: the rule above allows it.
    """
    position, live = portfolio.position(entry.symbol), portfolio.live(entry.symbol, side="buy")
    held = position.quantity if position is not None else ZERO
    whole = held + total(order.remaining for order in live) + entry.unsent
    if whole * (entry.price - entry.atr) > sized.cap:
        return "the position would be over its cap"
    if sized.sector_exposure + whole * entry.price > sized.sector_limit:
        return "sector_limit"
    if portfolio.portfolio_heat + entry.unsent * (entry.price - _levels(entry).stop) > portfolio.max_portfolio_heat:
        return "portfolio_heat"
    return None if entry.unsent * entry.price <= position_sizer.free_cash(portfolio) else "insufficient_active_pool"


def _levels(entry: Entry) -> stop_loss.Levels:
    """Return the levels of a share bought at the entry's newest price."""
    return stop_loss.initial_levels(
        entry.price, atr=entry.atr, multiplier=entry.multiplier, reward_risk_ratio=entry.reward_risk_ratio
    )


def _without(portfolio: Portfolio, symbol: str) -> Portfolio:
    """Return the account as if it neither held nor bought a symbol: its shares turned back into cash."""
    position = portfolio.position(symbol)
    freed = position.market_value if position is not None else ZERO
    return portfolio.model_copy(
        update={
            "positions": tuple(known for known in portfolio.positions if known.symbol != symbol),
            "entries": tuple(known for known in portfolio.entries if known.symbol != symbol),
            "orders": tuple(known for known in portfolio.orders if known.symbol != symbol),
            "cash": portfolio.cash + freed,
            "buying_power": portfolio.buying_power + freed,
        }
    )


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
        remaining=entry.unsent,
    )
