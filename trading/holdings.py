"""What an account holds and is trading: positions with their levels and exits, tax lots, orders, entries."""

import datetime as dt
from decimal import Decimal
from typing import Literal

from trading.effects import Purpose, Side, SourceType
from trading.inputs import EarningsSession
from trading.market import Closes
from trading.money import ZERO, Exact, Frozen, Id, Instant, Symbol, settled, total
from trading.records import LotStatus, Trade

OverlayName = Literal["event", "earnings", "heat"]


class Overlay(Frozen):
    """A named raise of a stop over the base; it outlives its cause, so that the stop never falls (decision 13)."""

    name: OverlayName
    stop: Exact


class Exit(Frozen):
    """An exit that is wanted until it is done; `decision_id` is set once it was sent.

    One that follows a price seen outside the session is not `is_firm` until a price of the session confirms it;
    `has_cooled` once the symbol's cooldown began. Without a `quantity` it leaves the whole position.
    """

    purpose: Purpose
    quantity: Exact | None = None
    wanted_at: Instant
    is_firm: bool
    source_type: SourceType = "exit"
    decision_id: Id | None = None
    revision: int = 0
    has_cooled: bool = False


class Position(Frozen):
    """An open position with its levels and the facts that the rules read; prices in dollars a share.

    `atr` and `multiplier` are those that the base stop was made from, `levels_confidence` the confidence, where a newer
    recommendation has changed it since. `silent_since` is the last price whose silence was warned of.
    """

    position_id: Id
    symbol: Symbol
    sector: Id
    quantity: Exact
    avg_entry_price: Exact
    decision_id: Id
    source_type: SourceType
    recommendation_id: Id | None
    confidence: Exact
    is_micro: bool
    opened_at: Instant
    first_fill_price: Exact
    entry_complete: bool = False
    base_stop: Exact
    overlays: tuple[Overlay, ...] = ()
    target_price: Exact
    atr: Exact
    multiplier: Exact
    reward_risk_ratio: Exact
    revision: int = 0
    last_price: Exact
    last_price_at: Instant
    closes: Closes = ()
    earnings_on: dt.date | None = None
    earnings_session: EarningsSession | None = None
    earnings_reported_at: Instant | None = None
    exit: Exit | None = None
    exits: int = 0

    newest_atr: Exact | None = None
    signal_at: Instant | None = None
    levels_confidence: Exact | None = None
    earnings_alerted_on: dt.date | None = None
    silent_since: Instant | None = None

    @property
    def is_leaving(self) -> bool:
        """Tell whether the position is on its way out; a rebalance does not stand in the way of any other exit."""
        return self.exit is not None and self.exit.purpose != "rebalance"

    @property
    def stop_price(self) -> Decimal:
        """Return the effective stop: the highest of the base and the overlays."""
        return max((self.base_stop, *(overlay.stop for overlay in self.overlays)))

    @property
    def atr_now(self) -> Decimal:
        """Return the newest ATR, in dollars a share."""
        return self.atr if self.newest_atr is None else self.newest_atr

    @property
    def market_value(self) -> Decimal:
        """Return the value at the last price, in dollars."""
        return self.quantity * self.last_price

    @property
    def cost(self) -> Decimal:
        """Return what the shares cost, fees apart, in dollars."""
        return settled(self.quantity * self.avg_entry_price)

    @property
    def unrealized_pnl(self) -> Decimal:
        """Return the profit at the last price, in dollars."""
        return self.market_value - self.cost

    @property
    def heat(self) -> Decimal:
        """Return the dollars lost if the stop is hit, never negative (R13.1)."""
        return max(ZERO, self.market_value * (self.avg_entry_price - self.stop_price) / self.avg_entry_price)


class TaxLot(Frozen):
    """The shares of one opening fill.

    `cost_basis_per_share` is the tax basis of an open share: what was paid for it, fees included, and the disallowed
    losses that moved into it. Once one has, `paid_per_share` keeps apart what was paid. Counted in the order in which
    they are sold, the shares before `matched_up_to` have replaced others in a wash sale.
    """

    lot_id: Id
    position_id: Id
    symbol: Symbol
    acquired_at: Instant
    quantity: Exact
    open_quantity: Exact
    cost_basis_per_share: Exact
    status: LotStatus = "open"
    closed_at: Instant | None = None
    disallowed_loss: Exact = ZERO
    decision_id: Id
    paid_per_share: Exact | None = None
    matched_up_to: Exact = ZERO

    @property
    def cost_per_share(self) -> Decimal:
        """Return what a share cost, fees included, whatever losses have moved into its basis."""
        return self.cost_basis_per_share if self.paid_per_share is None else self.paid_per_share

    def with_disallowed(self, amount: Decimal) -> "TaxLot":
        """Return the lot with dollars of its shares' loss disallowed; it is washed once all of it is sold."""
        status = "washed" if self.open_quantity == 0 else self.status
        return self.model_copy(update={"disallowed_loss": self.disallowed_loss + amount, "status": status})


class SoldLot(Frozen):
    """Shares of a lot that a closing order sold and that nothing has replaced yet."""

    lot_id: Id
    unmatched: Exact


class Sale(Frozen):
    """A closing order whose loss may still be disallowed, with its trade as last recorded.

    `unmatched` shares are not replaced by others; `loss` is what they lost against their tax basis, in dollars. It
    `has_ended` once the order has nothing left to fill.
    """

    trade: Trade
    decision_id: Id
    unmatched: Exact = ZERO
    loss: Exact = ZERO
    lots: tuple[SoldLot, ...] = ()
    has_ended: bool = False

    @property
    def symbol(self) -> str:
        """Return the symbol that was sold."""
        return self.trade.symbol

    @property
    def sold_at(self) -> dt.datetime:
        """Return when the last share was sold."""
        return self.trade.closed_at


class Entry(Frozen):
    """An entry being built: its tranches, what it was decided on, and what its levels need."""

    decision_id: Id
    source_type: SourceType
    recommendation_id: Id | None
    symbol: Symbol
    sector: Id
    confidence: Exact
    mode: str
    generated_at: Instant
    is_micro: bool
    tranches: tuple[Exact, ...]
    sent: int
    first_sent_at: Instant
    first_fill_price: Exact | None = None
    price: Exact
    price_at: Instant
    atr: Exact
    multiplier: Exact
    reward_risk_ratio: Exact
    closes: Closes
    earnings_on: dt.date | None
    earnings_session: EarningsSession | None
    earnings_reported_at: Instant | None
    deteriorated: str | None = None

    @property
    def unsent(self) -> Decimal:
        """Return the shares of the tranches that are not sent yet."""
        return total(self.tranches[self.sent :])


class LiveOrder(Frozen):
    """An order and what is known of it; `hold` is the cash kept for a share of a buy that is not filled yet.

    Once the broker took its rest off the book it `fills_up_to` what the broker counts; until those fills have come it
    stays live. `excess` counts sold shares that we never held; `cost` is what the sold ones cost, `basis` their tax
    basis, `disallowed` the loss that wash sales put off; `is_counted` once its trade stands in the history.

    Orders of an account are `number`ed from 1. At `ends_at` its time at the broker is over. It is `unanswered_since` it
    was sent, or its cancel was. `doubt` is what the last snapshot showed of it that is not what we know; of a buy that
    was given up the `entry` is kept, so that a fill which comes after all opens a position with levels.
    """

    client_order_id: str
    decision_id: Id
    symbol: Symbol
    side: Side
    quantity: Exact
    filled: Exact = ZERO
    purpose: Purpose
    tranche: int = 1
    created_at: Instant
    number: int = 0
    hold: Exact = ZERO
    risk: Exact = ZERO
    sector: Id | None = None
    status: Literal["new", "accepted", "partially_filled", "filled", "cancelled", "rejected", "unknown"] = "new"
    cancel_sent: bool = False
    ends_at: Instant | None = None
    unanswered_since: Instant | None = None
    doubt: str = ""
    entry: Entry | None = None
    off_book_at: Instant | None = None
    fills_up_to: Exact | None = None
    excess: Exact = ZERO
    proceeds: Exact = ZERO
    cost: Exact = ZERO
    basis: Exact = ZERO
    fees: Exact = ZERO
    disallowed: Exact = ZERO
    is_micro: bool = False
    is_counted: bool = False

    @property
    def profit(self) -> Decimal:
        """Return what a closing order has brought so far, net of fees, in dollars."""
        return self.proceeds - self.fees - self.cost

    @property
    def remaining(self) -> Decimal:
        """Return the shares not filled yet."""
        return max(ZERO, self.goal - self.filled)

    @property
    def goal(self) -> Decimal:
        """Return the shares that the order will have filled when it is done."""
        return self.quantity if self.fills_up_to is None else self.fills_up_to
