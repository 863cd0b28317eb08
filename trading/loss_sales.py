"""Loss sales inside a step (R12.2 to R12.4): remembered while a purchase may still disallow them, and told.

A closing order is looked at when it ends, and again at every purchase of its ticker within 30 days; each time the lots,
the trade and the wash sale are recorded as they then stand. Raw profits and losses never change.
"""

from decimal import Decimal

from trading import history, wash_sales
from trading.holdings import SoldLot
from trading.money import ZERO, total
from trading.portfolio import LiveOrder, Portfolio, Sale
from trading.records import Trade, WashSale
from trading.step import Step
from trading.tax_lots import Closed

MOST_SALES = 30  # losses that are remembered at once, so that the row stays small
_NEW_EACH_TIME = ("kind", "record_id", "account_id", "at", "cause")


def count(step: Step, order: LiveOrder, *, trade: Trade, closed: Closed, proceeds: Decimal) -> None:
    """Count what one fill of a closing order sold: its lots, and its loss against their tax basis."""
    known = _sale_of(step.portfolio, order.client_order_id)
    sale = known or Sale(trade=trade, decision_id=order.decision_id)
    sold = {each.lot_id: each.unmatched for each in sale.lots}
    for lot, quantity in zip(closed.changed, closed.sold, strict=True):
        sold[lot.lot_id] = sold.get(lot.lot_id, ZERO) + quantity
    grown = {
        "trade": trade,
        "unmatched": sale.unmatched + total(closed.sold),
        "loss": sale.loss + closed.basis - proceeds,
        "lots": tuple(SoldLot(lot_id=lot_id, unmatched=quantity) for lot_id, quantity in sold.items()),
    }
    _put(step, sale.model_copy(update=grown))


def end(step: Step, order: LiveOrder) -> None:
    """Look at a closing order that has ended: a loss with replacements is washed, one with a pending buy warned of."""
    sale = _sale_of(step.portfolio, order.client_order_id)
    if sale is None:
        return
    _put(step, sale.model_copy(update={"has_ended": True}))
    _wash(step, order.client_order_id)
    _forget(step)
    left = _sale_of(step.portfolio, order.client_order_id)
    pending = _pending_buy(step.portfolio, order.symbol)
    if left is not None and pending is not None:
        _warn(step, left, recommendation_id=pending)


def note_purchase(step: Step, symbol: str) -> None:
    """Look again at the losses in a symbol that was just bought, the earliest sale first."""
    _forget(step)
    for sale in step.portfolio.sales:
        if sale.symbol == symbol and sale.has_ended:
            _wash(step, sale.trade.client_order_id)
    _forget(step)


def has_unmatched_loss(portfolio: Portfolio, symbol: str) -> bool:
    """Tell whether a purchase of a symbol now would disallow a loss that was realized in it."""
    return any(
        sale.symbol == symbol and sale.has_ended and wash_sales.is_within(portfolio.now, sold_at=sale.sold_at)
        for sale in portfolio.sales
    )


def has_pending_buy(portfolio: Portfolio, symbol: str) -> bool:
    """Tell whether a buy of a symbol waits in the queue or is being built."""
    return _pending_buy(portfolio, symbol) is not None


def _wash(step: Step, client_order_id: str) -> None:
    sale = _sale_of(step.portfolio, client_order_id)
    if sale is None:
        return
    washed = wash_sales.wash(sale, step.portfolio.lots)
    if not washed.matches:
        return
    disallowed = total(match.disallowed for match in washed.matches)
    before = {name: getattr(sale.trade, name) for name in Trade.model_fields if name not in _NEW_EACH_TIME}
    after = {
        "wash_sale": True,
        "disallowed_loss": sale.trade.disallowed_loss + disallowed,
        "tax_adjusted_pnl": sale.trade.tax_adjusted_pnl + disallowed,
    }
    trade = step.record(Trade, **(before | after))
    step.change(lots=washed.lots, history=history.with_deferred(step.portfolio.history, disallowed))
    for lot in washed.changed:
        step.record_lot(lot)
    for match in washed.matches:
        step.record(
            WashSale,
            trade_id=trade.trade_id,
            symbol=sale.symbol,
            replacement_lot_id=match.lot_id,
            quantity=match.quantity,
            disallowed_loss=match.disallowed,
            decision_id=sale.decision_id,
        )
    _put(step, washed.sale.model_copy(update={"trade": trade}))
    _note_on_order(step, client_order_id, trade.disallowed_loss)
    step.keep_state()


def _warn(step: Step, sale: Sale, *, recommendation_id: str) -> None:
    """Tell that a pending buy would disallow a loss; nothing is disallowed before shares are bought (decision 30)."""
    step.record(
        WashSale,
        trade_id=sale.trade.trade_id,
        symbol=sale.symbol,
        replacement_lot_id=None,
        quantity=ZERO,
        disallowed_loss=ZERO,
        pending_recommendation_id=recommendation_id,
    )
    body = (
        f"{sale.symbol} was sold at a loss of {sale.loss:.2f} dollars, and a buy of it is pending: {recommendation_id}."
    )
    step.alert(f"A wash sale is pending: {sale.symbol}", body=body, symbol=sale.symbol)
    step.keep_state()


def _pending_buy(portfolio: Portfolio, symbol: str) -> str | None:
    """Return the recommendation of a buy that waits in the queue or is being built, if any."""
    for waiting in portfolio.queue:
        if waiting.recommendation.symbol == symbol and waiting.recommendation.action == "buy":
            return waiting.recommendation.recommendation_id
    entry = portfolio.entry(symbol)
    return None if entry is None else entry.recommendation_id or entry.decision_id


def _sale_of(portfolio: Portfolio, client_order_id: str) -> Sale | None:
    return next((sale for sale in portfolio.sales if sale.trade.client_order_id == client_order_id), None)


def _put(step: Step, sale: Sale) -> None:
    """Replace a sale in its place, or add it: the order is that of the sales."""
    order_id = sale.trade.client_order_id
    if _sale_of(step.portfolio, order_id) is None:
        step.change(sales=(*step.portfolio.sales, sale))
    else:
        known = step.portfolio.sales
        step.change(sales=tuple(sale if each.trade.client_order_id == order_id else each for each in known))


def _forget(step: Step) -> None:
    """Drop ended sales that nothing can disallow any more: gains, whole wash sales, and those 31 days old."""
    kept = tuple(sale for sale in step.portfolio.sales if not sale.has_ended or _may_be_washed(step, sale))
    surplus = [sale for sale in kept if sale.has_ended][: max(0, len(kept) - MOST_SALES)]
    for sale in surplus:
        body = f"A purchase of {sale.symbol} will not be flagged: over {MOST_SALES} losses wait for their 30 days."
        step.alert(f"A loss is no longer watched: {sale.symbol}", body=body, symbol=sale.symbol)
    step.change(sales=tuple(sale for sale in kept if sale not in surplus))


def _may_be_washed(step: Step, sale: Sale) -> bool:
    return sale.unmatched > 0 and sale.loss > 0 and wash_sales.is_within(step.now, sold_at=sale.sold_at)


def _note_on_order(step: Step, client_order_id: str, disallowed: Decimal) -> None:
    """Keep the disallowed loss on the order too, for a fill that comes after its end."""

    def noted(orders: tuple[LiveOrder, ...]) -> tuple[LiveOrder, ...]:
        update = {"disallowed": disallowed}
        return tuple(
            order.model_copy(update=update) if order.client_order_id == client_order_id else order for order in orders
        )

    step.change(orders=noted(step.portfolio.orders), done=noted(step.portfolio.done))
