"""Exits: a position is left when its price crosses a level, on a signal, or by a kill; nothing stops it.

An exit is wanted until it is done. Inside the regular session it goes out at once; outside it waits for the first mark
of the session, which decides again on what only a price wanted. While an entry of the symbol is live, its cancel goes
first; so does that of a rebalance that sells less than all. A rebalance itself is sent once and never pursued.
"""

import datetime as dt
from decimal import Decimal

from trading import ids, staleness, stop_loss, trading_window
from trading.breakers import cool_down, count_stop
from trading.decisions import exit_decision
from trading.effects import Order, OrderCancel, Purpose, SourceType
from trading.portfolio import Exit, LiveOrder, Position
from trading.step import Step
from trading.trading_window import Session

FOLLOWS_PRICE: tuple[Purpose, ...] = ("breaker", "stop_loss", "event", "take_profit")


def judge(step: Step, symbol: str) -> None:
    """Want an exit when the last price of a position says so, and pursue what is wanted."""
    position = step.portfolio.position(symbol)
    if position is None:
        return
    if not position.is_leaving:
        follows = stop_loss.exit_purpose(position, policy=step.portfolio.policy)
        purpose = "kill" if step.portfolio.halted else follows  # bought while the kill was on its way
        if purpose is not None:
            position = want(step, position, purpose=purpose)
    is_selling = bool(step.portfolio.live(symbol, side="sell"))
    if position.exit is not None and position.is_leaving and (position.exit.revision > 0 or is_selling):
        cooled = _cool(step, position, position.exit)
        if cooled is not position.exit:
            step.put_position(position.model_copy(update={"exit": cooled}))
    pursue(step, symbol)


def want(step: Step, position: Position, *, purpose: Purpose) -> Position:
    """Remember that a position is to be left, and why; return it as it now stands."""
    is_firm = purpose not in FOLLOWS_PRICE or trading_window.session_at(step.now) is not None
    return _take_over(step, position, Exit(purpose=purpose, wanted_at=step.now, is_firm=is_firm))


def want_by_signal(step: Step, position: Position, *, source_type: SourceType, decision_id: str) -> None:
    """Leave a position by a decision that already exists: that of a sell recommendation or a bearish trend."""
    wanted = Exit(purpose="signal", wanted_at=step.now, is_firm=True, source_type=source_type, decision_id=decision_id)
    _take_over(step, position, wanted)


def rebalance(step: Step, position: Position, *, quantity: Decimal | None) -> LiveOrder:
    """Sell shares of a position that nothing else trades at the moment, all of them without a quantity (R8.5)."""
    wanted = Exit(purpose="rebalance", quantity=quantity, wanted_at=step.now, is_firm=True)
    return _send(step, position, wanted=wanted)


def end_rebalance(step: Step, order: LiveOrder) -> None:
    """Forget a rebalance whose order has ended, filled or not, and pursue what has become wanted meanwhile."""
    position = step.portfolio.position(order.symbol)
    if position is None or order.purpose != "rebalance":
        return
    if position.exit is not None and position.exit.purpose == "rebalance":
        step.put_position(position.model_copy(update={"exit": None}))
    judge(step, order.symbol)


def _take_over(step: Step, position: Position, wanted: Exit) -> Position:
    """Put an exit in the place of none, or of a rebalance: one that sells less than all is asked back at once."""
    leaving = position.model_copy(update={"exit": wanted})
    step.put_position(leaving)
    for order in step.portfolio.live(position.symbol, side="sell"):
        if order.remaining < position.quantity and not order.cancel_sent:
            cancel(step, order, reason=f"all is to be sold: {wanted.purpose}")
    step.keep_state()
    return leaving


def pursue(step: Step, symbol: str) -> None:
    """Send the exit that is wanted in a symbol, when nothing stands in its way."""
    position = step.portfolio.position(symbol)
    session = trading_window.session_at(step.now)
    if position is None or position.exit is None or session is None or step.portfolio.awaited_snapshots > 0:
        return
    if position.exit.wanted_at < session.open_at and not _has_waited(step, position, session=session):
        return
    if not position.exit.is_firm:
        position = _confirm(step, position)
    if position.exit is None:
        return
    stop_entering(step, symbol, reason="an exit is wanted")
    if step.portfolio.live(symbol, side="buy") or step.portfolio.live(symbol, side="sell"):
        return
    _send(step, position, wanted=position.exit)


def stop_entering(step: Step, symbol: str, *, reason: str) -> None:
    """Cancel the tranches that are not sent and ask for the cancel of the buys that are live."""
    entry = step.portfolio.entry(symbol)
    if entry is not None and entry.unsent > 0:
        step.put_entry(entry.model_copy(update={"tranches": entry.tranches[: entry.sent]}))
        step.keep_state()
    for order in step.portfolio.live(symbol, side="buy"):
        if not order.cancel_sent:
            cancel(step, order, reason=reason)


def cancel(step: Step, order: LiveOrder, *, reason: str, again: bool = False) -> None:
    """Ask the broker to take the rest of an order off the book; `again` for one that it had said was off it."""
    asked = {"cancel_sent": True, "unanswered_since": step.now}
    orders = tuple(
        known.model_copy(update=asked) if known.client_order_id == order.client_order_id else known
        for known in step.portfolio.orders
    )
    step.change(orders=orders)
    causes = (step.portfolio.account_id, order.client_order_id, *(("again",) if again else ()))
    step.emit(
        OrderCancel(
            cancel_id=ids.of("cancel", *causes),
            client_order_id=order.client_order_id,
            account_id=step.portfolio.account_id,
            symbol=order.symbol,
            reason=reason,
            created_at=step.now,
        )
    )
    step.keep_state()


def _has_waited(step: Step, position: Position, *, session: Session) -> bool:
    """Tell whether an exit from before the session may go out: its symbol has a price of the session, or stays silent.

    A feed that is mute altogether sells nothing (decision 15). What no price needs to confirm waits by the clock alone.
    """
    if position.last_price_at >= session.open_at:
        return True
    if position.exit is not None and position.exit.is_firm:
        return step.now - session.open_at > dt.timedelta(minutes=step.portfolio.policy.stale_price_minutes)
    return staleness.is_stale(step.portfolio, position)


def _confirm(step: Step, position: Position) -> Position:
    """Decide again, at the last price, on an exit that a price outside the session wanted: keep it or drop it."""
    purpose = stop_loss.exit_purpose(position, policy=step.portfolio.policy)
    kept = position.exit.model_copy(update={"purpose": purpose, "is_firm": True}) if position.exit and purpose else None
    confirmed = position.model_copy(update={"exit": kept})
    step.put_position(confirmed)
    step.keep_state()
    return confirmed


def _cool(step: Step, position: Position, wanted: Exit) -> Exit:
    """Begin the symbol's cooldown once, also when the price falls that low with an exit already under way (R6.2)."""
    price_of_breaker = stop_loss.position_loss_price(position, policy=step.portfolio.policy)
    if wanted.has_cooled or position.last_price >= price_of_breaker:
        return wanted
    cool_down(step, position)
    return wanted.model_copy(update={"has_cooled": True})


def _send(step: Step, position: Position, *, wanted: Exit) -> LiveOrder:
    """Send what is to be sold as one market sell, with the exit's one decision and its next revision."""
    quantity = position.quantity if wanted.quantity is None else min(wanted.quantity, position.quantity)
    if wanted.revision == 0:
        if wanted.decision_id is None:
            decision_id = exit_decision(step, position, purpose=wanted.purpose, quantity=quantity)
            wanted = wanted.model_copy(update={"decision_id": decision_id})
            position = position.model_copy(update={"exits": position.exits + 1})
        wanted = _cool(step, position, wanted)
        if _has_hit_its_stop(position, wanted):
            count_stop(step)
    decision_id = wanted.decision_id or ""
    client_order_id = ids.client_order_id(
        step.portfolio.account_id,
        decision_id=decision_id,
        purpose=wanted.purpose,
        tranche=1,
        revision=wanted.revision,
    )
    order = LiveOrder(
        client_order_id=client_order_id,
        decision_id=decision_id,
        symbol=position.symbol,
        side="sell",
        quantity=quantity,
        purpose=wanted.purpose,
        created_at=step.now,
        number=step.next_order_number(),
        ends_at=_window_end(step) if wanted.purpose == "rebalance" else _session_end(step),
        unanswered_since=step.now,
    )
    step.emit(
        Order(
            client_order_id=client_order_id,
            decision_id=decision_id,
            account_id=step.portfolio.account_id,
            symbol=position.symbol,
            side="sell",
            quantity=quantity,
            purpose=wanted.purpose,
            valid_until=_window_end(step) if wanted.purpose == "rebalance" else None,
            created_at=step.now,
        )
    )
    step.put_position(position.model_copy(update={"exit": wanted.model_copy(update={"revision": wanted.revision + 1})}))
    step.put_order(order)
    return order


def _has_hit_its_stop(position: Position, wanted: Exit) -> bool:
    """Tell whether an exit counts towards a stop cluster (decision 48), also when the price rose before it went out."""
    fell_under = wanted.purpose == "breaker" and position.last_price <= position.base_stop
    return wanted.purpose == "stop_loss" or fell_under


def _session_end(step: Step) -> dt.datetime | None:
    """Return when a day order is over."""
    session = trading_window.session_at(step.now)
    return session.close_at if session is not None else None


def _window_end(step: Step) -> dt.datetime | None:
    """Return when the trading window closes: what has to stay inside it is not worked any longer (R8.6)."""
    session = trading_window.session_at(step.now)
    margin = dt.timedelta(minutes=step.portfolio.policy.window_margin_minutes)
    return session.close_at - margin if session is not None else None
