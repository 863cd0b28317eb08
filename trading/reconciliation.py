"""The broker's account (R1.6): the first snapshot opens the account, later ones are compared with the row.

The broker wins, but only over a difference that two snapshots in a row show with no order event between; until one
clean pass entries wait. What the broker holds besides us is kept apart and never traded.
"""

from decimal import Decimal
from typing import Any

from trading import equity, fills, ids, levels, tax_lots
from trading.inputs import AccountSnapshot, BrokerPosition
from trading.money import CENT, ZERO
from trading.portfolio import LiveOrder, Portfolio, Position
from trading.records import Reconciliation
from trading.step import Step


def on_snapshot(step: Step, event: AccountSnapshot) -> None:
    """Open the account on the first snapshot; compare, and where it must be adjust, on every later one."""
    before = step.portfolio.snapshot_at
    if event.event_id == step.portfolio.snapshot_id:
        return  # the same snapshot twice is not two in a row
    step.change(buying_power=event.buying_power, snapshot_at=step.now, snapshot_id=event.event_id)
    if step.portfolio.initial_capital is None:
        _open(step, event)
        return
    for order in step.portfolio.orders:
        if before is not None and order.off_book_at is not None and order.off_book_at < before:
            _give_up(step, order)
    _round_cash(step, event)
    differences = _differences(step.portfolio, event)
    if not differences:
        if not step.portfolio.reconciled or step.portfolio.unmatched:
            step.record(Reconciliation, clean=True, adjusted=False, differences=())
        step.change(reconciled=True, unmatched="", moved_since_snapshot=False)
        step.keep_state()
        return
    seen_before = ids.of("difference", *(f"{each}" for each in differences))
    repeated = step.portfolio.unmatched == seen_before and not step.portfolio.moved_since_snapshot
    if repeated:
        _adjust(step, event, differences)
    step.change(
        unmatched="" if repeated else seen_before,
        moved_since_snapshot=bool(step.portfolio.orders),
        reconciled=step.portfolio.reconciled and not repeated and bool(step.portfolio.orders),
    )
    step.keep_state()


def _open(step: Step, event: AccountSnapshot) -> None:
    foreign = tuple(position for position in event.positions if position.quantity != 0)
    step.change(
        cash=event.cash,
        foreign=foreign,
        initial_capital=min(step.portfolio.policy.capital_limit, event.equity),
        reconciled=True,
        moved_since_snapshot=False,
    )
    step.change(day_base=step.portfolio.total_value)
    step.record(Reconciliation, clean=True, adjusted=False, differences=())
    if foreign or event.open_orders:
        body = f"The account holds {len(foreign)} positions and {len(event.open_orders)} orders that are not ours."
        step.alert("The account holds positions or orders that are not ours", body=body)
    step.keep_state()


def _give_up(step: Step, order: LiveOrder) -> None:
    """Close an order whose last fills did not come before two snapshots: what the broker has of it differs now."""
    body = f"{order.remaining:f} {order.symbol} of {order.client_order_id} were counted by its cancel and never filled."
    step.alert("Fills are missing", body=body, severity="critical", symbol=order.symbol)
    fills.close(step, order, status="cancelled", reason="its last fills never came")


def _round_cash(step: Step, event: AccountSnapshot) -> None:
    """Take over a cash figure that only the broker's rounding to the cent sets apart from ours."""
    if not step.portfolio.orders and abs(event.cash - step.portfolio.cash) < CENT:
        step.change(cash=event.cash)


def _differences(portfolio: Portfolio, event: AccountSnapshot) -> list[dict[str, Any]]:
    """Return what differs in cash and in each symbol's quantity, but for what a live order may explain."""
    found: list[dict[str, Any]] = []
    busy = {order.symbol for order in portfolio.orders}
    if event.cash != portfolio.cash and not busy:
        found.append({"what": "cash", "broker": format(event.cash, "f"), "engine": format(portfolio.cash, "f")})
    theirs = {position.symbol: position.quantity for position in event.positions}
    ours = {position.symbol: position.quantity for position in portfolio.positions}
    foreign = {position.symbol: position.quantity for position in portfolio.foreign}
    for symbol in sorted(theirs.keys() | ours.keys() | foreign.keys()):
        held = ours.get(symbol, ZERO) + foreign.get(symbol, ZERO)
        if theirs.get(symbol, ZERO) != held and symbol not in busy:
            broker, engine = format(theirs.get(symbol, ZERO), "f"), format(held, "f")
            found.append({"what": symbol, "broker": broker, "engine": engine})
    return found


def _adjust(step: Step, event: AccountSnapshot, differences: list[dict[str, Any]]) -> None:
    """Take the broker's word: cash as it says, missing shares off our lots, surplus shares kept apart."""
    before = step.portfolio.total_value
    theirs = {position.symbol: position for position in event.positions}
    foreign = {position.symbol: position for position in step.portfolio.foreign}
    for difference in differences:
        symbol = str(difference["what"])
        if symbol == "cash":
            step.change(cash=event.cash)
            continue
        position = step.portfolio.position(symbol)
        broker = theirs.get(symbol)
        quantity = broker.quantity if broker is not None else ZERO
        kept = min(max(quantity, ZERO), position.quantity) if position is not None else ZERO
        if position is not None and kept < position.quantity:
            _shrink(step, position, quantity=kept)
        foreign.pop(symbol, None)
        if quantity != kept:
            price = broker.avg_entry_price if broker is not None else ZERO
            foreign[symbol] = BrokerPosition(symbol=symbol, quantity=quantity - kept, avg_entry_price=price)
    step.change(foreign=tuple(foreign[symbol] for symbol in sorted(foreign)))
    equity.shift(step, step.portfolio.total_value - before)
    step.record(Reconciliation, clean=False, adjusted=True, differences=tuple(differences))
    what = ", ".join(f"{each['what']}: broker {each['broker']}, engine {each['engine']}" for each in differences)
    step.alert("The broker's account differs; its figures are taken over", body=what, severity="critical")


def _shrink(step: Step, position: Position, *, quantity: Decimal) -> None:
    """Take shares that the broker does not have off the oldest lots, without a trade: nobody knows their price."""
    gone = position.quantity - quantity
    closed = tax_lots.close_fifo(step.portfolio.lots, symbol=position.symbol, quantity=gone, at=step.now)
    step.change(lots=closed.lots)
    for lot in closed.changed:
        step.record_lot(lot)
    step.put_position(position.model_copy(update={"quantity": quantity}))
    if quantity == 0:
        levels.close(step, position)
        step.drop_entry(position.symbol)
