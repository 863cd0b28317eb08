"""A start without the log (R18.5): the account goes on from a row that was recorded elsewhere.

The row comes from PostgreSQL, as last projected; what the broker did after it only the broker knows. So exits go on at
once, and what adds risk waits for one clean reconciliation and for an operator's resume. What was under way is said
again under its own ids: a broker that knows an order answers in the same words, and sells nothing twice.
"""

from trading import exits
from trading.effects import Order
from trading.events import AccountRestored
from trading.portfolio import LiveOrder, Portfolio
from trading.step import Step


def row_of(event: AccountRestored) -> Portfolio:
    """Return the row to go on from, before anything that fell due meanwhile is done: all of it but its confidence."""
    waits = {"paused": True, "reconciled": False, "unmatched": "", "moved_since_snapshot": True}
    return event.state.model_copy(update=waits)


def on_restored(step: Step, event: AccountRestored) -> None:
    """Tell the operator, say again what is under way, and give every level out anew."""
    step.change(build=event.build, mode=event.mode)
    step.alert(
        "Kafka's data is lost; the account goes on from its last known row",
        body=f"The row is that of inbox record {event.state.seq}, of {event.state.now.isoformat()}. Its positions are "
        "protected and exits go out. Entries wait for one clean reconciliation with the broker and for your resume: "
        "compare positions and orders with the broker's first.",
        severity="critical",
    )
    for order in step.portfolio.orders:
        _say_again(step, order)
    step.touch_all()
    step.keep_state()


def say_again(step: Step) -> None:
    """Send once more what the last step may have failed to send: orders that nobody has accepted, and all levels."""
    for order in step.portfolio.orders:
        if order.status == "new":
            _say_again(step, order)
    step.touch_all()


def _say_again(step: Step, order: LiveOrder) -> None:
    """Send an exit again, and ask what adds risk or follows no price back: its fills come with the answer."""
    if order.side == "buy" or order.purpose == "rebalance":
        exits.cancel(step, order, reason="the engine has lost its log")
        return
    step.emit(
        Order(
            client_order_id=order.client_order_id,
            decision_id=order.decision_id,
            account_id=step.portfolio.account_id,
            symbol=order.symbol,
            side=order.side,
            quantity=order.quantity,
            purpose=order.purpose,
            created_at=order.created_at,
        )
    )
    if order.cancel_sent:
        exits.cancel(step, order, reason="all is to be sold")
