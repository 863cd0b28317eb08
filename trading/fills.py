"""What the broker says of an order (R1.3, R3.1, R12): fills make lots and positions, close them, and fill the reserve.

A fill adds max(0, its cumulative quantity - what the row has), so that repeats and reordering count once.
"""

from decimal import Decimal
from typing import Literal

from trading import (
    entries,
    exits,
    foreign_orders,
    history,
    ids,
    levels,
    loss_sales,
    outcomes,
    reserve_pool,
    tax_lots,
    tranches,
)
from trading.inputs import OrderAccepted, OrderCancelled, OrderFill, OrderRejected, OrderUnknown
from trading.money import ONE, ZERO, divided
from trading.outcomes import ENDED
from trading.portfolio import Entry, LiveOrder, Position, TaxLot
from trading.records import Fill, LedgerEntry, Trade
from trading.step import Step

KEPT_FOREIGN_FILLS = 50  # whose repeats are told from new ones


def on_accepted(step: Step, event: OrderAccepted) -> None:
    """Note that the broker has an order."""
    order = step.portfolio.live_order(event.client_order_id)
    if order is not None and order.status in ("new", "unknown"):
        answered = order.unanswered_since if order.cancel_sent else None  # a cancel is answered by the order's end
        step.put_order(order.model_copy(update={"status": "accepted", "unanswered_since": answered}))


def on_unknown(step: Step, event: OrderUnknown) -> None:
    """Keep everything reserved while the connector cannot tell what became of an order."""
    order = step.portfolio.live_order(event.client_order_id)
    if order is not None and order.status in ("new", "accepted"):
        step.put_order(order.model_copy(update={"status": "unknown"}), reason=event.reason)


def on_rejected(step: Step, event: OrderRejected) -> None:
    """Release what an order had reserved; a rejected exit stays wanted and goes out again on the next mark or tick."""
    order = step.portfolio.live_order(event.client_order_id)
    if order is None or order.status in ENDED:
        return
    step.alert(
        f"Order rejected: {order.side} {order.symbol}",
        body=f"The broker rejected {order.side} {order.quantity:f} {order.symbol}: {event.reason}",
        symbol=order.symbol,
    )
    close(step, order, status="rejected", reason=event.reason)


def on_cancelled(step: Step, event: OrderCancelled) -> None:
    """Close an order whose rest is off the book; while fills that it counts are still to come it stays live.

    Its shares are not sold a second time, nor its entry forgotten, before those fills have come.
    """
    order = step.portfolio.live_order(event.client_order_id)
    if order is None or order.status in ENDED:
        return
    counted = min(event.cumulative_quantity, order.quantity)
    if counted <= order.filled:
        close(step, order, status="cancelled", reason=event.reason)
    elif order.off_book_at is None:
        waits = {"off_book_at": step.now, "fills_up_to": counted, "cancel_sent": True, "unanswered_since": None}
        step.put_order(order.model_copy(update=waits), reason=event.reason)


def on_fill(step: Step, event: OrderFill) -> None:
    """Count a fill once: cash, lots, position and levels for a buy; cash, lots, trade and reserve for a sell."""
    order = step.portfolio.live_order(event.client_order_id)
    quantity = event.cumulative_quantity - order.filled if order is not None else event.quantity
    if quantity <= 0:
        return
    if order is None or not _has_place(step, order):
        _not_ours(step, event)
        return
    done = event.cumulative_quantity >= order.goal
    if event.cumulative_quantity >= order.quantity:
        status = "filled"
    elif done:
        status = "cancelled"
    else:
        status = order.status if order.status in ENDED else "partially_filled"
    order = order.model_copy(
        update={
            "filled": event.cumulative_quantity,
            "fees": order.fees + event.fee,
            "status": status,
            "unanswered_since": order.unanswered_since if order.cancel_sent else None,
        }
    )
    if order.side == "buy":
        if order.filled == quantity:
            step.change(history=history.with_bought(step.portfolio.history))
        _bought(step, order, quantity=quantity, price=event.price, fee=event.fee, fill_id=event.fill_id)
    else:
        order = _sold(step, order, quantity=quantity, price=event.price, fee=event.fee, fill_id=event.fill_id)
    step.record(
        Fill,
        fill_id=event.fill_id,
        client_order_id=order.client_order_id,
        symbol=order.symbol,
        side=order.side,
        quantity=quantity,
        price=event.price,
        fee=event.fee,
        cumulative_quantity=event.cumulative_quantity,
    )
    step.put_order(outcomes.count(step, order))
    late = order.status in ENDED
    _after_ending(step, order) if done or late else exits.judge(step, order.symbol)


def close(step: Step, order: LiveOrder, *, status: Literal["cancelled", "rejected"], reason: str | None = None) -> None:
    """End an order that is not filled to its last share, and release what it had reserved."""
    order = outcomes.count(step, order.model_copy(update={"status": status}))
    step.put_order(order, reason=reason)
    _after_ending(step, order)


def _has_place(step: Step, order: LiveOrder) -> bool:
    """Tell whether a fill can be booked: a buy needs its entry or its position, a sell its position."""
    held = step.portfolio.position(order.symbol)
    return held is not None or (order.side == "buy" and _entry_of(step, order) is not None)


def _entry_of(step: Step, order: LiveOrder) -> Entry | None:
    """Return the entry that a buy belongs to: the one being built, or the one that was given up with the order."""
    return step.portfolio.entry(order.symbol) or order.entry


def _not_ours(step: Step, event: OrderFill) -> None:
    """Leave a fill that belongs to nothing here to the next reconciliation, where the broker wins; tell of it once."""
    key = ids.short_hash(event.fill_id)
    if key in step.portfolio.foreign_fills:
        return
    step.change(moved_since_snapshot=True, foreign_fills=(*step.portfolio.foreign_fills, key)[-KEPT_FOREIGN_FILLS:])
    body = f"{event.quantity:f} {event.symbol} at {event.price:f}, order {event.client_order_id}: "
    if foreign_orders.is_known(step.portfolio, event):
        body += "an order of somebody else in this account; its shares are kept apart from ours."
        step.alert("A fill that is not ours", body=body, symbol=event.symbol)
    else:
        body += "nothing here wants it."
        step.alert("A fill that nothing here wants", body=body, severity="critical", symbol=event.symbol)
    step.keep_state()


def _after_ending(step: Step, order: LiveOrder) -> None:
    """Go on once an order has ended: an entry may be complete, a loss disallowed, and an exit may have waited."""
    if order.side == "sell":
        loss_sales.end(step, order)
        exits.end_rebalance(step, order)
        entries.decide_awaiting(step, order.client_order_id)
        return
    entry = step.portfolio.entry(order.symbol)
    if entry is not None and step.portfolio.position(order.symbol) is None and order.status != "filled":
        step.put_entry(entry.model_copy(update={"tranches": entry.tranches[: entry.sent]}))
    tranches.complete(step, order.symbol)
    exits.judge(step, order.symbol)


def _bought(step: Step, order: LiveOrder, *, quantity: Decimal, price: Decimal, fee: Decimal, fill_id: str) -> None:
    portfolio = step.portfolio
    spent = quantity * price + fee
    step.change(cash=portfolio.cash - spent, buying_power=max(ZERO, portfolio.buying_power - spent))
    held = portfolio.position(order.symbol)
    position = held or _opened(step, _entry_of(step, order), price=price)
    total = position.quantity + quantity
    average = divided(position.cost + quantity * price, total)
    position = position.model_copy(update={"quantity": total, "avg_entry_price": average})
    lot = TaxLot(
        lot_id=ids.of("lot", portfolio.account_id, fill_id),
        position_id=position.position_id,
        symbol=order.symbol,
        acquired_at=step.now,
        quantity=quantity,
        open_quantity=quantity,
        cost_basis_per_share=divided(quantity * price + fee, quantity),
        decision_id=order.decision_id,
    )
    step.change(lots=(*tax_lots.forget_old(step.portfolio.lots, now=step.now), lot))
    step.record_lot(lot)
    loss_sales.note_purchase(step, order.symbol)
    levels.set_from_entry(step, position, reason="opened" if held is None else "tranche")
    levels.raise_to_breakeven(step, order.symbol)


def _opened(step: Step, entry: Entry | None, *, price: Decimal) -> Position:
    """Return the position that an entry's first fill opens, still without shares."""
    if entry is None:
        raise ValueError("a buy without an entry has no place")
    step.put_entry(entry.model_copy(update={"first_fill_price": price}))
    return Position(
        position_id=ids.position_id(step.portfolio.account_id, decision_id=entry.decision_id),
        symbol=entry.symbol,
        sector=entry.sector,
        quantity=ZERO,
        avg_entry_price=price,
        decision_id=entry.decision_id,
        source_type=entry.source_type,
        recommendation_id=entry.recommendation_id,
        confidence=entry.confidence,
        is_micro=entry.is_micro,
        opened_at=step.now,
        first_fill_price=price,
        base_stop=price,
        target_price=price,
        atr=entry.atr,
        multiplier=entry.multiplier,
        reward_risk_ratio=entry.reward_risk_ratio,
        last_price=entry.price,
        last_price_at=entry.price_at,
        closes=entry.closes,
        signal_at=entry.generated_at,
        earnings_on=entry.earnings_on,
        earnings_session=entry.earnings_session,
        earnings_reported_at=entry.earnings_reported_at,
    )


def _sold(step: Step, order: LiveOrder, *, quantity: Decimal, price: Decimal, fee: Decimal, fill_id: str) -> LiveOrder:
    portfolio = step.portfolio
    position = portfolio.position(order.symbol)
    if position is None:
        raise ValueError("a sell without a position has no place")
    if quantity > position.quantity:
        body = (
            f"{quantity:f} {order.symbol} were sold, {position.quantity:f} are held; the next reconciliation decides."
        )
        step.alert("More sold than held", body=body, severity="critical", symbol=order.symbol)
        order = order.model_copy(update={"excess": order.excess + quantity - position.quantity})
        quantity = position.quantity
    closed = tax_lots.close_fifo(portfolio.lots, symbol=order.symbol, quantity=quantity, at=step.now)
    proceeds = quantity * price - fee
    profit = proceeds - closed.cost
    step.change(
        lots=tax_lots.forget_old(closed.lots, now=step.now),
        cash=portfolio.cash + proceeds,
        buying_power=portfolio.buying_power + proceeds,
        realized_pnl=portfolio.realized_pnl + profit,
        realized_peak=max(portfolio.realized_peak, portfolio.realized_pnl + profit),
        history=history.with_deferred(portfolio.history, closed.cost - closed.basis),
    )
    for lot in closed.changed:
        step.record_lot(lot)
    remaining = position.model_copy(update={"quantity": position.quantity - quantity})
    step.put_position(remaining)
    if remaining.quantity == 0:
        levels.close(step, remaining)
        step.drop_entry(order.symbol)
    sums = {
        "proceeds": order.proceeds + quantity * price,
        "cost": order.cost + closed.cost,
        "basis": order.basis + closed.basis,
        "is_micro": position.is_micro,
    }
    order = order.model_copy(update=sums)
    trade = _record_trade(step, order, position=position)
    loss_sales.count(step, order, trade=trade, closed=closed, proceeds=proceeds)
    _fill_reserve(
        step,
        profit,
        realized_before=portfolio.realized_pnl,
        peak=portfolio.realized_peak,
        trade_id=trade.trade_id,
        fill_id=fill_id,
    )
    return order


def _record_trade(step: Step, order: LiveOrder, *, position: Position) -> Trade:
    """Record a closing order as it now stands; `order` counts the fill at hand."""
    profit = order.profit
    quantity = order.filled - order.excess
    return step.record(
        Trade,
        trade_id=ids.of("trade", step.portfolio.account_id, order.client_order_id),
        client_order_id=order.client_order_id,
        position_id=position.position_id,
        symbol=order.symbol,
        entry_price=divided(order.cost, quantity),
        exit_price=divided(order.proceeds, quantity),
        quantity=quantity,
        opened_at=position.opened_at,
        closed_at=step.now,
        realized_pnl=profit,
        realized_pnl_pct=profit / order.cost if order.cost else ONE,
        tax_adjusted_pnl=order.proceeds - order.fees - order.basis + order.disallowed,
        wash_sale=order.disallowed > 0,
        disallowed_loss=order.disallowed,
        exit_purpose=order.purpose,
        recommendation_id=position.recommendation_id,
        is_micro=position.is_micro,
    )


def _fill_reserve(
    step: Step, profit: Decimal, *, realized_before: Decimal, peak: Decimal, trade_id: str, fill_id: str
) -> None:
    amount = reserve_pool.siphon(
        profit, realized_before=realized_before, realized_peak=peak, policy=step.portfolio.policy
    )
    if amount > 0:
        move_reserve(step, amount, trigger="profit_siphon", trade_id=trade_id, fill_id=fill_id)


def move_reserve(
    step: Step,
    amount: Decimal,
    *,
    trigger: str,
    trade_id: str | None = None,
    fill_id: str | None = None,
    reason: str | None = None,
) -> None:
    """Move dollars into the reserve (negative: out of it) with one gapless ledger entry."""
    seq, balance = step.portfolio.ledger_seq + 1, step.portfolio.reserve + amount
    step.change(reserve=balance, ledger_seq=seq)
    step.record(
        LedgerEntry,
        entry_id=ids.of("ledger", step.portfolio.account_id, seq),
        seq=seq,
        amount=amount,
        balance_after=balance,
        trigger=trigger,
        trade_id=trade_id,
        fill_id=fill_id,
        reason=reason,
    )
    step.keep_state()
