"""The account's row: everything the pure step knows of an account, and the figures derived from it.

One row an account, written by `decide` alone. It is bounded: open lots and the lots of the last 61 days, a day of
ids, running sums instead of lists of past trades.
"""

import datetime as dt
import hashlib
from decimal import Decimal
from typing import Literal

from pydantic import PrivateAttr

from trading.effects import Side
from trading.fragments import Fragments, Writer
from trading.history import History
from trading.holdings import Entry, Exit, LiveOrder, Position, Sale, TaxLot
from trading.inputs import BrokerOrder, BrokerPosition, EarningsSession, Recommendation, TierName
from trading.market import Closes
from trading.money import ZERO, AccountId, Exact, Frozen, Id, Instant, Mode, Symbol, total
from trading.policy import RiskTier, TradingPolicy
from trading.preferences import NotificationPreferences
from trading.records import BreakerTrigger

__all__ = [
    "NEVER",
    "Breaker",
    "Confirmation",
    "Entry",
    "Exit",
    "LiveOrder",
    "MacroWatch",
    "Portfolio",
    "Position",
    "Reading",
    "Sale",
    "Schedule",
    "SeenIds",
    "Summary",
    "TaxLot",
    "Waiting",
    "hash_of",
    "row_bytes",
    "row_hash",
    "tier_of",
]

NEVER = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
"""The account's now before the first instant: nothing is due, everything is outside the trading window."""


class Waiting(Frozen):
    """A recommendation that waits for the trading window, with its symbol's newest facts.

    A candidate for a swap `awaits` the end of an order: the sell that is to free its place.
    """

    recommendation: Recommendation
    queued_at: Instant
    session_close_at: Instant
    first_price: Exact | None
    sector: Id | None
    last_price: Exact | None
    last_price_at: Instant | None
    atr: Exact | None
    closes: Closes
    earnings_on: dt.date | None
    earnings_session: EarningsSession | None
    earnings_reported_at: Instant | None
    awaits: Id | None = None


class Breaker(Frozen):
    """An account breaker that is active until an instant."""

    trigger: BreakerTrigger
    since: Instant
    until: Instant
    threshold: Exact
    actual_value: Exact


class Reading(Frozen):
    """The latest reading of market volatility under one name."""

    name: Literal["vix", "realised_volatility"]
    value: Exact
    at: Instant


class SeenIds(Frozen):
    """Ids that were seen and are kept until one hour: 10 characters each, one after another."""

    until: Instant
    newest: Instant
    ids: str


class MacroWatch(Frozen):
    """A macro event that tightens stops from `started_at` to `ends_at`; `begun` once they were tightened for it.

    `event_hash` stands for its id, as in `ids.short_hash`.
    """

    event_hash: str
    started_at: Instant
    ends_at: Instant
    begun: bool


class Confirmation(Frozen):
    """A loosening that waits for its second request."""

    token: Id
    version: int
    changes: str
    expires_at: Instant


class Schedule(Frozen):
    """When what depends on time alone is due next; it begins with the first account snapshot."""

    tick_at: Instant
    phase_at: Instant | None
    margin_minutes: int
    metrics_at: Instant | None = None
    stops_checked_at: Instant | None = None


class Summary(Frozen):
    """The figures of a session that has closed, until its summary is sent; money in dollars."""

    session_on: dt.date
    close_at: Instant
    pnl: Exact
    total_value: Exact
    active_pool: Exact
    reserve: Exact
    bought: int
    sold: int


class Portfolio(Frozen):
    """One account as of the inbox offset `seq`; money in dollars."""

    _fragments: Fragments = PrivateAttr(default_factory=Fragments)

    account_id: AccountId
    seq: int = -1
    now: Instant = NEVER
    build: Id
    mode: Mode
    policy: TradingPolicy

    paused: bool = False
    halted: bool = False
    armed_until: Instant | None = None
    reconciled: bool = False
    unmatched: str = ""
    moved_since_snapshot: bool = True
    awaited_snapshots: int = 0
    snapshot_at: Instant | None = None
    snapshot_id: Id | None = None
    earlier_snapshots: tuple[Id, ...] = ()
    initial_capital: Exact | None = None

    cash: Exact = ZERO
    buying_power: Exact = ZERO
    foreign: tuple[BrokerPosition, ...] = ()
    foreign_orders: tuple[BrokerOrder, ...] = ()
    foreign_fills: tuple[str, ...] = ()
    realized_pnl: Exact = ZERO
    reserve: Exact = ZERO
    ledger_seq: int = 0
    realized_peak: Exact = ZERO

    positions: tuple[Position, ...] = ()
    lots: tuple[TaxLot, ...] = ()
    entries: tuple[Entry, ...] = ()
    orders_sent: int = 0
    orders: tuple[LiveOrder, ...] = ()
    done: tuple[LiveOrder, ...] = ()
    queue: tuple[Waiting, ...] = ()

    risk_tier: TierName = "moderate"
    tier_held: bool = False
    breakers: tuple[Breaker, ...] = ()
    cooldowns: tuple[tuple[Symbol, Instant], ...] = ()
    stops_hit: tuple[Instant, ...] = ()
    stress: tuple[Reading, ...] = ()
    stress_missed: bool = False
    declining: bool = False
    declined_at: Instant | None = None
    under_minimum: bool = False
    day_base: Exact | None = None

    history: History = History()
    peak_value: Exact | None = None
    max_drawdown: Exact = ZERO
    in_emergency: bool = False
    tier_changed_on: dt.date | None = None
    tripped_on: dt.date | None = None
    preferences: NotificationPreferences = NotificationPreferences()
    summary: Summary | None = None

    macro_events: tuple[MacroWatch, ...] = ()
    macro_seen: tuple[str, ...] = ()
    feed_silent_since: Instant | None = None
    feed_back_at: Instant | None = None
    canary_at: Instant | None = None

    seen: tuple[SeenIds, ...] = ()
    seen_floor: Instant | None = None

    micro_on: dt.date | None = None
    micro_entries: int = 0
    trends_seen: tuple[SeenIds, ...] = ()
    trends_floor: Instant | None = None

    commands: tuple[SeenIds, ...] = ()
    confirmation: Confirmation | None = None
    last_decision_at: Instant | None = None
    schedule: Schedule | None = None

    sales: tuple[Sale, ...] = ()
    rebalanced_on: dt.date | None = None
    rebalance_on: dt.date | None = None

    @property
    def tier(self) -> RiskTier:
        """Return the parameters of the active risk tier."""
        return tier_of(self.policy, self.risk_tier)

    @property
    def invested(self) -> Decimal:
        """Return the market value of all positions."""
        return total(position.market_value for position in self.positions)

    @property
    def open_cost(self) -> Decimal:
        """Return what the open positions cost."""
        return total(position.cost for position in self.positions)

    @property
    def tradable_cash(self) -> Decimal:
        """Return the cash the engine may call its own: the broker's, up to the capital limit and its own profit."""
        return min(self.cash, self.policy.capital_limit + self.realized_pnl - self.open_cost)

    @property
    def total_value(self) -> Decimal:
        """Return min(broker equity, capital limit + own profit and loss) (decision 1)."""
        return self.tradable_cash + self.invested

    @property
    def active_pool(self) -> Decimal:
        """Return total value less the reserve (R3.3)."""
        return self.total_value - self.reserve

    @property
    def open_buy_holds(self) -> Decimal:
        """Return the cash kept for buys that are live at the broker."""
        return total(order.remaining * order.hold for order in self.orders if order.side == "buy")

    @property
    def spendable(self) -> Decimal:
        """Return cash less open buy holds less the reserve (decision 6)."""
        return self.tradable_cash - self.open_buy_holds - self.reserve

    @property
    def portfolio_heat(self) -> Decimal:
        """Return the heat of all positions and of live buys, in dollars (decision 16)."""
        pending = total(order.remaining * order.risk for order in self.orders if order.side == "buy")
        return total(position.heat for position in self.positions) + pending

    @property
    def max_portfolio_heat(self) -> Decimal:
        """Return the most heat the tier allows, in dollars."""
        return max(ZERO, self.tier.max_portfolio_heat * self.active_pool)

    def position(self, symbol: str) -> Position | None:
        """Return the open position in a symbol, if any."""
        return next((position for position in self.positions if position.symbol == symbol), None)

    def entry(self, symbol: str) -> Entry | None:
        """Return the entry being built in a symbol, if any."""
        return next((entry for entry in self.entries if entry.symbol == symbol), None)

    def live_order(self, client_order_id: str) -> LiveOrder | None:
        """Return an order that is live, or one of those done lately."""
        known = (*self.orders, *self.done)
        return next((order for order in known if order.client_order_id == client_order_id), None)

    def live(self, symbol: str, *, side: Side) -> tuple[LiveOrder, ...]:
        """Return the live orders of one side in a symbol."""
        return tuple(order for order in self.orders if order.symbol == symbol and order.side == side)

    def sector_exposure(self, sector: str) -> Decimal:
        """Return the market value in a sector, live buys included, in dollars (R9.4)."""
        held = total(position.market_value for position in self.positions if position.sector == sector)
        pending = total(
            order.remaining * order.hold for order in self.orders if order.side == "buy" and order.sector == sector
        )
        return held + pending

    @property
    def held_symbols(self) -> frozenset[str]:
        """Return the symbols that are held or being bought."""
        return frozenset(position.symbol for position in self.positions) | frozenset(
            entry.symbol for entry in self.entries
        )

    @property
    def held_sectors(self) -> frozenset[str]:
        """Return the sectors that are held or being bought."""
        return frozenset(position.sector for position in self.positions) | frozenset(
            entry.sector for entry in self.entries
        )


def tier_of(policy: TradingPolicy, name: TierName) -> RiskTier:
    """Return the parameters of a named tier of a policy."""
    tier: RiskTier = getattr(policy.tiers, name)
    return tier


def row_bytes(portfolio: Portfolio) -> bytes:
    """Return the row's canonical form: the same portfolio gives the same bytes."""
    return _WRITER.write(portfolio, portfolio._fragments)


def row_hash(portfolio: Portfolio) -> str:
    """Return the SHA-256 of the row's canonical form, in hexadecimal."""
    return hash_of(row_bytes(portfolio))


def hash_of(row: bytes) -> str:
    """Return the hash of a row that is already in its canonical form."""
    return hashlib.sha256(row).hexdigest()


_WRITER = Writer(Portfolio)
