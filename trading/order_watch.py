"""Orders that are live for too long: asked back when their time is over, and told of when nobody answers.

An entry and a rebalance end with the trading window, any other order with its session, whether the broker ends it by
itself or not. An order without an answer stays reserved and is never sent a second time.
"""

import datetime as dt
from collections.abc import Iterator
from functools import partial

from trading import exits
from trading.due import Due
from trading.portfolio import LiveOrder, Portfolio
from trading.step import Step

ANSWER_WITHIN = dt.timedelta(minutes=5)
RANK = 3


def due(portfolio: Portfolio, until: dt.datetime) -> Iterator[Due]:
    """Yield when the time of each live order is over, and when its answer is overdue."""
    for order in portfolio.orders:
        if order.ends_at is not None and not order.cancel_sent:
            yield Due(max(order.ends_at, portfolio.now), RANK, partial(_ask_back, order=order))
        if order.unanswered_since is not None:
            yield Due(max(order.unanswered_since + ANSWER_WITHIN, portfolio.now), RANK, partial(_tell, order=order))


def _ask_back(step: Step, *, order: LiveOrder) -> None:
    exits.cancel(step, order, reason="its time is over")


def _tell(step: Step, *, order: LiveOrder) -> None:
    """Tell once that nobody answers; an exit that hangs leaves a position unprotected."""
    answered = order.model_copy(update={"unanswered_since": None})
    step.change(orders=tuple(answered if known is order else known for known in step.portfolio.orders))
    what = "The cancel of an order" if order.cancel_sent else "An order"
    body = f"{order.side} {order.remaining:f} {order.symbol} ({order.purpose}), order {order.client_order_id}: "
    body += f"no answer of the broker for {ANSWER_WITHIN.seconds // 60} minutes. It stays reserved and is not sent "
    body += "again before the broker says what became of it."
    hangs = order.side == "sell" or order.cancel_sent
    step.alert(
        f"{what} is not answered: {order.symbol}",
        body=body,
        severity="critical" if hangs else "warning",
        symbol=order.symbol,
    )
    step.keep_state()
