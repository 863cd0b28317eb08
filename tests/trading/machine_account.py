"""The machine's account: its row, its broker, its clock, and the fold of every event under the laws.

Each event is folded twice, once from the row and once from the row as a restart would read it: the bytes must be equal,
of the one written from what has changed, of the other written whole; at times as pydantic itself writes it.
"""

import datetime as dt
import json
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize

from tests.trading import prices
from tests.trading.auditor import Turn
from tests.trading.desk import ACCOUNT, as_bytes, policy
from tests.trading.laws import Laws
from tests.trading.occurred import OCCURRED
from tests.trading.paper_broker import PaperBroker
from trading.effects import Order, OrderCancel
from trading.engine import react
from trading.events import EVENT, AccountRestored, Event
from trading.policy import RiskTiers, TradingPolicy
from trading.portfolio import NEVER, Portfolio, row_bytes
from trading.trading_window import next_session, session_at

D = Decimal
WHOLE_ROWS = 8
"""Every so many events the row is held against pydantic's own writing of it (`test_fragments`)."""
SECTORS = {"AAPL": "technology", "AMD": "technology", "BAC": "financials", "JPM": "financials", "KO": "staples"}
SYMBOLS = st.sampled_from(sorted(SECTORS))
CLOSES = {symbol: prices.closes(symbol)[-32:] for symbol in SECTORS}
PRICES = {"AAPL": D(10), "AMD": D("4.50"), "BAC": D("15.20"), "JPM": D(22), "KO": D("8.75")}
STARTS = (
    "2026-03-02T15:00:00",  # an ordinary Monday, inside the window
    "2026-03-06T19:30:00",  # the Friday before the clocks go forward
    "2026-11-27T15:00:00",  # a half day after Thanksgiving
    "2026-11-25T20:00:00",  # the day before it
    "2026-10-30T15:00:00",  # the Friday before the clocks go back
    "2026-03-02T12:00:00",  # before the open
    "2026-07-04T12:00:00",  # a holiday on a weekend
)
EMERGENCY = {"emergency_drawdown_pct": "0.01", "emergency_rearm_pct": "0.005"}
JUDGED = {"tier_minimum_trades": 1, "tier_up_reserve_pct": "0", "tier_up_drawdown_pct": "1"}
SCARCE = {
    "base_allocation_pct": "0.3",
    "absolute_cap_pct": "0.6",
    "gradual_entry_tranches": 1,
    "active_pool_minimum": "0",
    "moderate": {"max_position_pct": "0.6", "max_sector_pct": "1", "max_portfolio_heat": "1"},
}
"""Positions so large that cash, the reserve and what is pending are what limits the next one."""
POLICIES: tuple[dict[str, Any], ...] = (
    {},
    {"max_open_positions": 2, "stop_cluster_count": 1},
    {"fractional_enabled": False, "gradual_entry_interval_minutes": 1, "daily_loss_pct": "0.01"},
    {"siphon_basis": "per_trade", "reserve_siphon_pct": "0.5", "window_margin_minutes": 0},
    {"siphon_basis": "high_water_mark", "reserve_siphon_pct": "0.9", "daily_loss_pct": "0.02"},
    {"ticker_cooldown_hours": 0, "gradual_entry_tranches": 1, "moderate": {"max_sector_pct": "0.08"}},
    {"moderate": {"max_portfolio_heat": "0.02"}, "position_loss_pct": "0.05"},
    {"micro_trading_enabled": True, "micro_max_trades_per_day": 2, "gradual_entry_tranches": 1},
    {"micro_trading_enabled": True, "micro_max_hold_minutes": 20, "max_open_positions": 3},
    EMERGENCY | {"tier_down_drawdown_pct": "0.005", "stale_feed_action": "close"},
    EMERGENCY | JUDGED | {"daily_loss_pct": "0.5"},
    JUDGED | {"tier_change_sessions": 1, "reserve_high_water_pct": "0", "large_trade_pct": "0.001"},
    {"moderate": {"max_portfolio_heat": "0.012"}, "stop_check_seconds": 60, "earnings_action": "close"},
    {"stale_feed_action": "close", "stale_price_minutes": 3, "quote_after_minutes": 1, "fast_stop_check_seconds": 5},
    SCARCE,
    SCARCE | {"capital_limit": "100"},
    SCARCE | {"moderate": {"max_position_pct": "0.2", "max_sector_pct": "1", "max_portfolio_heat": "0.03"}},
    {"max_open_positions": 2, "swap_confidence_margin": "0.01", "gradual_entry_tranches": 1},
    {"max_open_positions": 1, "swap_confidence_margin": "0", "ticker_cooldown_hours": 0},
    {"moderate": {"max_sector_pct": "0.15"}, "ticker_cooldown_hours": 0},
)


class Account(RuleBasedStateMachine):
    """An account, its broker, and a clock that only goes forward."""

    kind_of_broker: type[PaperBroker] = PaperBroker

    @initialize(
        start=st.sampled_from(STARTS), changes=st.sampled_from(POLICIES), cash=st.sampled_from(["500", "500", "100000"])
    )
    def open(self, start: str, changes: dict[str, Any], cash: str) -> None:
        self.row: Portfolio | None = None
        self.kept = b""
        self.seq = -1
        self.now = dt.datetime.fromisoformat(start).replace(tzinfo=dt.UTC)
        self.laws = Laws()
        self.broker = self.kind_of_broker(D(cash))
        self.prices = dict(PRICES)
        self.earnings: dict[str, tuple[str, str] | None] = dict.fromkeys(SECTORS)
        self.past: list[Event] = []
        self.names = 0
        body = {"policy": json.loads(policy(**_known(changes)).model_dump_json()), "mode": "paper", "build": "test"}
        self.send({"kind": "account_opened"} | body)
        self.send(self.broker.account())

    def send(self, body: dict[str, Any]) -> tuple[Any, ...]:
        """Fold an event that happens now."""
        stamped = {"account_id": ACCOUNT, "at": self.now.isoformat()} | body
        return self.fold(EVENT.validate_json(json.dumps(stamped, default=str)))

    def fold(self, event: Event) -> tuple[Any, ...]:
        """Fold an event twice, hold it against the laws, and hand its orders to the broker."""
        self.seq += 1
        before = self.row
        after, effects = react(before, event, seq=self.seq)
        assert after is not None
        turn = Turn(before, event, after, effects, row_bytes(after), as_bytes(list(effects)))
        if before is not None:
            woken = Portfolio.model_validate_json(self.kept)
            assert woken == before
            restarted, replayed = react(woken, event, seq=self.seq)
            assert restarted is not None
            assert as_bytes(list(replayed)) == turn.sent
            assert row_bytes(restarted) == turn.row
            if self.seq % WHOLE_ROWS == 0:
                assert restarted.model_dump_json().encode() == turn.row
        assert react(after, event, seq=self.seq) == (after, ())
        OCCURRED.count(before, event, effects)
        self.laws.check(turn)
        self.row, self.kept, self.now = after, turn.row, max(self.now, after.now)
        self.past.append(event)
        for effect in effects:
            if isinstance(effect, Order):
                self.broker.take(effect, again=isinstance(event, AccountRestored))
            elif isinstance(effect, OrderCancel):
                ticket = self.broker.tickets[effect.client_order_id]
                if ticket.is_open and len(self.broker.tickets) % 3:  # sometimes it stays open for a while
                    self.broker.end(ticket)
        return effects

    @property
    def portfolio(self) -> Portfolio:
        assert self.row is not None
        return self.row

    def name(self, prefix: str) -> str:
        self.names += 1
        return f"{prefix}-{self.names}"

    def facts(self, symbol: str) -> dict[str, Any]:
        """Return what `watch` knows of a symbol now."""
        report = self.earnings[symbol]
        return {
            "known": True,
            "sector": SECTORS[symbol],
            "last_price": self.prices[symbol],
            "last_price_at": self.now.isoformat(),
            "atr": self.prices[symbol] / 20,
            "closes": CLOSES[symbol],
            "earnings_on": report[0] if report else None,
            "earnings_session": report[1] if report else None,
        }

    def nothing_is_due_that_has_not_been_done(self) -> None:
        if getattr(self, "row", None) is None or self.portfolio.now == NEVER:
            return
        portfolio = self.portfolio
        for waiting in portfolio.queue:
            assert waiting.session_close_at > portfolio.now
        assert all(breaker.until > portfolio.now for breaker in portfolio.breakers)
        if portfolio.schedule is not None:
            assert portfolio.schedule.tick_at > portfolio.now
        session = session_at(portfolio.now)
        assert session is None or next_session(portfolio.now) == session

    def the_broker_has_never_been_asked_for_more_than_there_is(self) -> None:
        for ticket in getattr(self, "broker", PaperBroker(D(0))).open:
            if ticket.order.side == "sell":
                assert ticket.left <= self.broker.shares.get(ticket.order.symbol, 0)


def _known(changes: dict[str, Any]) -> dict[str, Any]:
    """Return the changes whose fields this build's policy has."""
    known = TradingPolicy.model_fields.keys() | RiskTiers.model_fields.keys()
    return {name: value for name, value in changes.items() if name in known}
