"""The broker's account (R1.6): the first snapshot opens the account, later ones are compared with the row.

The broker wins, but only over a difference that two snapshots in a row show with no order event between; until one
clean pass entries wait. What the broker holds besides us is kept apart and never traded. A restart of the worker needs
no pass of its own: all that the broker said meanwhile lies in the log.
"""

from typing import Any

from trading import equity, exits, foreign_orders, gone_shares, ids, live_mode, order_reconciliation
from trading.inputs import AccountSnapshot, BrokerPosition
from trading.money import CENT, ZERO
from trading.portfolio import Portfolio
from trading.records import Reconciliation
from trading.step import Step

Difference = dict[str, Any]
MOST_TOLD = 20
KEPT_SNAPSHOTS = 60  # an hour of them: what a killed `intake` tells again is younger


def on_snapshot(step: Step, event: AccountSnapshot) -> None:
    """Open the account on the first snapshot; compare, and where it must be adjust, on every later one."""
    last, earlier = step.portfolio.snapshot_id, step.portfolio.earlier_snapshots
    if event.event_id == last or event.event_id in earlier:
        return  # the same snapshot twice is not two in a row, and one that is told again shows what is past
    step.change(
        buying_power=event.buying_power,
        snapshot_at=step.now,
        snapshot_id=event.event_id,
        earlier_snapshots=(*earlier, last)[-KEPT_SNAPSHOTS:] if last is not None else (),
    )
    adopted = foreign_orders.adopt(step, event)
    if step.portfolio.initial_capital is None:
        _open(step, event, adopted)
        return
    if adopted:
        _record(step, adopted, clean=True)
        step.alert("Orders in the account are not ours; they are left alone", body=_told(adopted))
    settled, doubted = order_reconciliation.compare(step, event)
    if settled:
        _record(step, settled, clean=False)
        step.change(reconciled=False, unmatched="")
        step.keep_state()
        return
    _round_cash(step, event)
    _compare(step, event, doubted=doubted)
    step.keep_state()


def _compare(step: Step, event: AccountSnapshot, *, doubted: bool) -> None:
    """Hold cash and positions against the row; `doubted` while an order is not what the snapshot shows."""
    portfolio = step.portfolio
    differences = _differences(portfolio, event)
    if not differences:
        if not doubted and (not portfolio.reconciled or portfolio.unmatched):
            step.record(Reconciliation, clean=True, adjusted=False, differences=())
        step.change(reconciled=portfolio.reconciled or not doubted, unmatched="", moved_since_snapshot=False)
        _await_fewer(step, by=1)
        return
    seen_before = ids.of("difference", *(f"{each}" for each in differences))
    repeated = portfolio.unmatched == seen_before and not portfolio.moved_since_snapshot
    if repeated:
        _adjust(step, event, differences)
    step.change(
        unmatched="" if repeated else seen_before,
        moved_since_snapshot=doubted,
        reconciled=portfolio.reconciled and not repeated and bool(portfolio.orders),
    )
    _await_fewer(step, by=live_mode.SNAPSHOTS if repeated else 0)


def _await_fewer(step: Step, *, by: int) -> None:
    """Count a snapshot of the account that a new mode trades in; after the last sell what was to be sold and is there.

    One that shows something else than the row, or than the one before, begins the count anew; so does one beside a live
    order, which is of the account before and hides its symbol.
    """
    awaited = step.portfolio.awaited_snapshots
    if awaited == 0:
        return
    counts = by > 0 and not step.portfolio.orders
    step.change(awaited_snapshots=max(0, awaited - by) if counts else live_mode.SNAPSHOTS)
    if step.portfolio.awaited_snapshots > 0:
        step.change(reconciled=False)  # nor may an entry, a swap or a rebalance trust what may be the other account
        return
    for position in step.portfolio.positions:
        exits.judge(step, position.symbol)


def _open(step: Step, event: AccountSnapshot, adopted: tuple[Difference, ...]) -> None:
    """Open the account: what it holds besides us is adopted, and entries may begin."""
    foreign = tuple(_positions(event).values())
    step.change(
        cash=event.cash,
        foreign=foreign,
        initial_capital=min(step.portfolio.policy.capital_limit, event.equity),
        reconciled=True,
        moved_since_snapshot=False,
    )
    step.change(day_base=step.portfolio.total_value)
    found = *({"what": each.symbol, "broker": f"{each.quantity:f}", "engine": "0"} for each in foreign), *adopted
    _record(step, found, clean=True)
    if found:
        body = f"{len(foreign)} positions and {len(adopted)} orders are kept apart and never traded: {_told(found)}"
        step.alert("The account holds positions or orders that are not ours", body=body)
    step.keep_state()


def _record(step: Step, differences: tuple[Difference, ...], *, clean: bool) -> None:
    """Record what was found and taken over; `clean` when no figure of ours was wrong, so that entries go on."""
    step.record(Reconciliation, clean=clean, adjusted=bool(differences), differences=differences)


def _told(differences: tuple[Difference, ...]) -> str:
    """Return differences in words; the records have all of them."""
    words = [f"{each['what']}: broker {each['broker']}, engine {each['engine']}" for each in differences]
    more = f", and {len(words) - MOST_TOLD} more" if len(words) > MOST_TOLD else ""
    return ", ".join(words[:MOST_TOLD]) + more


def _round_cash(step: Step, event: AccountSnapshot) -> None:
    """Take over a cash figure that only the broker's rounding to the cent sets apart from ours."""
    if not step.portfolio.orders and abs(event.cash - step.portfolio.cash) < CENT:
        step.change(cash=event.cash)


def _differences(portfolio: Portfolio, event: AccountSnapshot) -> tuple[Difference, ...]:
    """Return what differs in cash and in each symbol's quantity, but for what a live order may explain."""
    found: list[Difference] = []
    busy = {order.symbol for order in portfolio.orders}
    if event.cash != portfolio.cash and not busy:
        found.append({"what": "cash", "broker": format(event.cash, "f"), "engine": format(portfolio.cash, "f")})
    theirs = {symbol: position.quantity for symbol, position in _positions(event).items()}
    ours = {position.symbol: position.quantity for position in portfolio.positions}
    foreign = {position.symbol: position.quantity for position in portfolio.foreign}
    for symbol in sorted(theirs.keys() | ours.keys() | foreign.keys()):
        held = ours.get(symbol, ZERO) + foreign.get(symbol, ZERO)
        if theirs.get(symbol, ZERO) != held and symbol not in busy:
            broker, engine = format(theirs.get(symbol, ZERO), "f"), format(held, "f")
            found.append({"what": symbol, "broker": broker, "engine": engine})
    return tuple(found)


def _positions(event: AccountSnapshot) -> dict[str, BrokerPosition]:
    """Return the broker's positions by symbol, the parts of one together, without what adds up to nothing."""
    found: dict[str, BrokerPosition] = {}
    for each in event.positions:
        before = found.get(each.symbol)
        quantity = each.quantity if before is None else before.quantity + each.quantity
        found[each.symbol] = (before or each).model_copy(update={"quantity": quantity})
    return {symbol: found[symbol] for symbol in sorted(found) if found[symbol].quantity != 0}


def _adjust(step: Step, event: AccountSnapshot, differences: tuple[Difference, ...]) -> None:
    """Take the broker's word: cash as it says, missing shares off our lots, surplus shares kept apart.

    What moves total value by this is money that came or went, neither profit nor loss.
    """
    before = step.portfolio.total_value
    theirs = _positions(event)
    foreign = {position.symbol: position for position in step.portfolio.foreign}
    for difference in differences:
        symbol = str(difference["what"])
        if symbol == "cash":
            step.change(cash=event.cash)
            continue
        position = step.portfolio.position(symbol)
        quantity = theirs[symbol].quantity if symbol in theirs else ZERO
        kept = min(max(quantity, ZERO), position.quantity) if position is not None else ZERO
        if position is not None and kept < position.quantity:
            gone_shares.take_off(step, position, left=kept)
        foreign.pop(symbol, None)
        if quantity != kept:
            foreign[symbol] = theirs[symbol].model_copy(update={"quantity": quantity - kept})
    step.change(foreign=tuple(foreign[symbol] for symbol in sorted(foreign)))
    equity.shift(step, step.portfolio.total_value - before)
    _record(step, differences, clean=False)
    step.alert("The broker's account differs; its figures are taken over", body=_told(differences), severity="critical")
