"""Our orders against the broker's open ones (R1.6): fills that were never told, and orders that are simply gone.

What two snapshots in a row show of an order, with nothing told of it in between, is taken over: the fills that its
figures prove, and its end when it is not listed any more. A buy ends at once, its cancel sent ahead, so that a
connector which still has it never places it; a sell ends two snapshots after its cancel at the earliest, because
another one takes its place.

That an order is not listed says something once the broker has said a word of it. Until then a snapshot may be older
than the order, however late it is read and stamped, as when a worker comes back to a backlog: only one counts that was
made with the order read (`newest_order_id`, where the connector says it) and whose instant is long after the order.
Without that the order waits for its answer, or for its cancel's (`order_watch`).
"""

import math
from decimal import Decimal
from typing import Any, NamedTuple

from trading import exits, fills
from trading.foreign_orders import listed
from trading.inputs import AccountSnapshot, BrokerOrder, OrderFill
from trading.money import ZERO, divided, settled, total
from trading.order_watch import ANSWER_WITHIN
from trading.outcomes import ENDED
from trading.portfolio import LiveOrder
from trading.step import Step

PLAUSIBLE = Decimal(2)  # a price that a snapshot implies is believed up to this multiple of the last one, and back
_ASKED_AGAIN = "asked again"  # the doubt of an ended order whose second cancel is on its way


class Shown(NamedTuple):
    """What a snapshot shows of an order: its listing, and the shares of its symbol beyond those that we know of.

    It is late when it was made so long after the order, which was read by then, that this should have had its answer.
    """

    listing: BrokerOrder | None
    surplus: Decimal
    is_late: bool


def compare(step: Step, event: AccountSnapshot) -> tuple[tuple[dict[str, Any], ...], bool]:
    """Settle what is doubted for the second time; return it as differences, and whether anything is doubted at all."""
    found: list[dict[str, Any]] = []
    doubted = False
    read = _orders_read(step, event)
    for client_order_id in [each.client_order_id for each in (*step.portfolio.orders, *step.portfolio.done)]:
        order = step.portfolio.live_order(client_order_id)
        if order is None:
            continue  # those done lately are so many, and no more
        is_late = event.at is not None and event.at >= order.created_at + ANSWER_WITHIN and order.number <= read
        shown = Shown(listed(event, order), surplus(step, event, order.symbol), is_late)
        doubt = _doubt(order, shown)
        doubted = doubted or bool(doubt)
        if doubt and doubt == order.doubt:
            found.append(_difference(order, shown))
            _settle(step, order, shown, event)
        elif order.doubt not in (doubt, _ASKED_AGAIN):
            _note(step, order, doubt)
    return tuple(found), doubted


def _orders_read(step: Step, event: AccountSnapshot) -> float:
    """Return the number of the last order that had been read; of one that is not kept any more nothing is known."""
    if event.newest_order_id is None:
        return math.inf
    known = (*step.portfolio.orders, *step.portfolio.done)
    return next((each.number for each in known if each.client_order_id == event.newest_order_id), 0)


def surplus(step: Step, event: AccountSnapshot, symbol: str) -> Decimal:
    """Return how many shares of a symbol the broker has beyond ours and the foreign ones; negative when fewer."""
    theirs = total(each.quantity for each in event.positions if each.symbol == symbol)
    position = step.portfolio.position(symbol)
    foreign = total(each.quantity for each in step.portfolio.foreign if each.symbol == symbol)
    return theirs - foreign - (position.quantity if position is not None else ZERO)


def _doubt(order: LiveOrder, shown: Shown) -> str:
    """Return what a snapshot shows of an order that is not what we know of it; empty when they agree."""
    if order.status in ENDED:
        return "open" if shown.listing is not None and order.status != "filled" else ""
    if shown.listing is not None and shown.listing.filled_quantity <= order.filled:
        return ""
    is_unheard_of = order.status == "new" and order.off_book_at is None
    if is_unheard_of and shown.listing is None and _moved(order, shown) <= 0 and not shown.is_late:
        return ""
    filled = "not open" if shown.listing is None else f"{shown.listing.filled_quantity:f} filled"
    return f"{filled}, {shown.surplus:f} beyond ours"


def _moved(order: LiveOrder, shown: Shown) -> Decimal:
    """Return how many shares have moved the way of the order without being known of."""
    return shown.surplus if order.side == "buy" else -shown.surplus


def _note(step: Step, order: LiveOrder, doubt: str) -> None:
    """Remember what a snapshot shows of an order, until the next one or until the broker says more of it."""

    def noted(orders: tuple[LiveOrder, ...]) -> tuple[LiveOrder, ...]:
        update = {"doubt": doubt}
        name = order.client_order_id
        return tuple(known.model_copy(update=update) if known.client_order_id == name else known for known in orders)

    step.change(orders=noted(step.portfolio.orders), done=noted(step.portfolio.done))


def _difference(order: LiveOrder, shown: Shown) -> dict[str, Any]:
    terms = "not open" if shown.listing is None else f"open, {shown.listing.filled_quantity:f} filled"
    engine = f"{order.status}, {order.filled:f} filled"
    return {"what": order.symbol, "order": order.client_order_id, "broker": terms, "engine": engine}


def _settle(step: Step, order: LiveOrder, shown: Shown, event: AccountSnapshot) -> None:
    if order.status in ENDED:
        exits.cancel(step, order, reason="it had ended, and the broker lists it as open", again=True)
        _note(step, order, _ASKED_AGAIN)
        _tell(step, order, "It had ended and is open at the broker; its cancel is asked for again.")
        return
    _take_over_fills(step, order, shown, event)
    left = next((each for each in step.portfolio.orders if each.client_order_id == order.client_order_id), None)
    if left is None or shown.listing is not None:
        return
    if left.side == "sell" and not left.cancel_sent:
        exits.cancel(step, left, reason="the broker's account does not show it")
        _note(step, left, "")
        _tell(step, left, "It is not open at the broker, and nothing was told of it: its cancel is asked for.")
        return
    _give_up(step, left)


def _take_over_fills(step: Step, order: LiveOrder, shown: Shown, event: AccountSnapshot) -> None:
    """Count the shares that the broker has filled and nobody told of, at the price that its figures imply."""
    told = _moved(order, shown) if shown.listing is None else shown.listing.filled_quantity - order.filled
    quantity = min(order.remaining, max(ZERO, told))
    if quantity <= 0:
        return
    price = _price(step, order, event, quantity=quantity)
    cumulative = order.filled + quantity
    _tell(step, order, f"{quantity:f} shares were filled and nobody told of it; they are counted at {price:f}.")
    fills.on_fill(
        step,
        OrderFill(
            event_id=step.next_id("missing fill"),
            account_id=step.portfolio.account_id,
            client_order_id=order.client_order_id,
            symbol=order.symbol,
            fill_id=f"{order.client_order_id}:{cumulative:f}",
            quantity=quantity,
            price=price,
            cumulative_quantity=cumulative,
            leaves_quantity=max(ZERO, order.quantity - cumulative),
            fee=ZERO,
        ),
    )


def _price(step: Step, order: LiveOrder, event: AccountSnapshot, *, quantity: Decimal) -> Decimal:
    """Return what a share cost or brought: by the broker's average for a buy, by its cash when no other order is live.

    Where neither is near the last price, that one is taken; what cash then differs by is no profit and no loss.
    """
    position = step.portfolio.position(order.symbol)
    last = position.last_price if position is not None else order.hold
    told = [_average(step, event, order.symbol, quantity=quantity)] if order.side == "buy" else []
    if all(each.client_order_id == order.client_order_id for each in step.portfolio.orders):
        told.append(settled(divided(abs(event.cash - step.portfolio.cash), quantity)))
    return next((each for each in told if last / PLAUSIBLE <= each <= last * PLAUSIBLE), last)


def _average(step: Step, event: AccountSnapshot, symbol: str, *, quantity: Decimal) -> Decimal:
    """Return what a bought share cost by the broker's average, ours and the foreign shares taken out of it."""
    position = step.portfolio.position(symbol)
    theirs = total(each.quantity * each.avg_entry_price for each in event.positions if each.symbol == symbol)
    foreign = total(each.quantity * each.avg_entry_price for each in step.portfolio.foreign if each.symbol == symbol)
    return settled(divided(theirs - foreign - (position.cost if position is not None else ZERO), quantity))


def _give_up(step: Step, order: LiveOrder) -> None:
    """End an order that is not at the broker any more, and release what it had reserved."""
    if not order.cancel_sent:
        exits.cancel(step, order, reason="the broker's account does not show it")
    never_came = order.off_book_at is not None
    body = "its last fills never came." if never_came else "it is not open at the broker, and nothing was told of it."
    _tell(step, order, f"{order.remaining:f} of {order.quantity:f} shares are given up: {body}")
    entry = step.portfolio.entry(order.symbol) if order.side == "buy" else None
    if entry is not None:
        kept = {"tranches": entry.tranches[: entry.sent], "closes": ()}
        order = order.model_copy(update={"entry": entry.model_copy(update=kept)})
    fills.close(step, order, status="cancelled", reason=body)


def _tell(step: Step, order: LiveOrder, what: str) -> None:
    body = f"{order.side} {order.quantity:f} {order.symbol} ({order.purpose}), order {order.client_order_id}: {what}"
    step.alert(f"The broker's orders differ: {order.symbol}", body=body, severity="critical", symbol=order.symbol)
