"""Exits: a position is left when its price crosses a level, on a signal, or by a kill; nothing stops it.

An exit is wanted until it is done. Inside the regular session it goes out at once; outside it waits, and the first mark
of the session decides again. While an entry of the symbol is live, its cancel goes first.
"""

import datetime as dt

from trading import ids, stop_loss, trading_window
from trading.breakers import cool_down, count_stop
from trading.decisions import exit_decision
from trading.effects import Order, OrderCancel, Purpose
from trading.portfolio import Exit, LiveOrder, Position
from trading.step import Step

FOLLOWS_PRICE: tuple[Purpose, ...] = ("breaker", "stop_loss", "event", "take_profit")


def judge(step: Step, symbol: str) -> None:
    """Want an exit when the last price of a position says so, and pursue what is wanted."""
    position = step.portfolio.position(symbol)
    if position is None:
        return
    if position.exit is None:
        purpose = stop_loss.exit_purpose(position, policy=step.portfolio.policy)
        if purpose is not None:
            want(step, position, purpose=purpose)
    pursue(step, symbol)


def want(step: Step, position: Position, *, purpose: Purpose) -> None:
    """Remember that a position is to be left, and why."""
    step.put_position(position.model_copy(update={"exit": Exit(purpose=purpose, wanted_at=step.now)}))
    step.keep_state()


def want_by_signal(step: Step, position: Position, *, decision_id: str) -> None:
    """Leave a position by a decision that already exists: that of a sell recommendation."""
    wanted = Exit(purpose="signal", wanted_at=step.now, source_type="recommendation", decision_id=decision_id)
    step.put_position(position.model_copy(update={"exit": wanted}))
    step.keep_state()


def pursue(step: Step, symbol: str) -> None:
    """Send the exit that is wanted in a symbol, when nothing stands in its way."""
    position = step.portfolio.position(symbol)
    session = trading_window.session_at(step.now)
    if position is None or position.exit is None or session is None:
        return
    if position.exit.revision == 0 and not _is_confirmed(step, position, session_open_at=session.open_at):
        return
    position = step.portfolio.position(symbol)
    if position is None or position.exit is None:
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


def cancel(step: Step, order: LiveOrder, *, reason: str) -> None:
    """Ask the broker to take the rest of an order off the book."""
    orders = tuple(
        known.model_copy(update={"cancel_sent": True}) if known.client_order_id == order.client_order_id else known
        for known in step.portfolio.orders
    )
    step.change(orders=orders)
    step.emit(
        OrderCancel(
            cancel_id=ids.of("cancel", step.portfolio.account_id, order.client_order_id),
            client_order_id=order.client_order_id,
            account_id=step.portfolio.account_id,
            symbol=order.symbol,
            reason=reason,
            created_at=step.now,
        )
    )
    step.keep_state()


def _is_confirmed(step: Step, position: Position, *, session_open_at: dt.datetime) -> bool:
    """Decide a first time on a price of this session: an exit that its price no longer wants is dropped.

    A symbol that stays silent for `stale_price_minutes` of the session is left at its last known price.
    """
    wanted = position.exit
    if wanted is None:
        return False
    if position.last_price_at < session_open_at:
        silence = dt.timedelta(minutes=step.portfolio.policy.stale_price_minutes)
        return step.now - session_open_at > silence
    if wanted.purpose not in FOLLOWS_PRICE:
        return True
    purpose = stop_loss.exit_purpose(position, policy=step.portfolio.policy)
    if purpose is None:
        step.put_position(position.model_copy(update={"exit": None}))
        step.keep_state()
        return False
    step.put_position(position.model_copy(update={"exit": wanted.model_copy(update={"purpose": purpose})}))
    return True


def _send(step: Step, position: Position, *, wanted: Exit) -> None:
    """Send the whole remaining quantity as one market sell, with the exit's one decision and its next revision."""
    if wanted.revision == 0:
        if wanted.decision_id is None:
            wanted = wanted.model_copy(update={"decision_id": exit_decision(step, position, purpose=wanted.purpose)})
            position = position.model_copy(update={"exits": position.exits + 1})
        if position.last_price < stop_loss.position_loss_price(position, policy=step.portfolio.policy):
            cool_down(step, position)
        if wanted.purpose in ("stop_loss", "breaker") and position.last_price <= position.base_stop:
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
        quantity=position.quantity,
        purpose=wanted.purpose,
        created_at=step.now,
    )
    step.emit(
        Order(
            client_order_id=client_order_id,
            decision_id=decision_id,
            account_id=step.portfolio.account_id,
            symbol=position.symbol,
            side="sell",
            quantity=position.quantity,
            purpose=wanted.purpose,
            created_at=step.now,
        )
    )
    step.put_position(position.model_copy(update={"exit": wanted.model_copy(update={"revision": wanted.revision + 1})}))
    step.put_order(order)
