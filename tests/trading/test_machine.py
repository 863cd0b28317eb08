"""Random days of one account with an honest broker: the invariants of `reliability.md` after every step.

Each step is also folded a second time, from a row that went through JSON as in a restart: the bytes must be the same.
"""

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.strategies import cents, confidences
from tests.trading import prices
from tests.trading.desk import ACCOUNT, as_bytes, policy
from tests.trading.laws import Laws
from tests.trading.paper_broker import PaperBroker
from trading.effects import Order, OrderCancel
from trading.engine import react
from trading.events import EVENT, Event
from trading.portfolio import NEVER, Portfolio, row_bytes, row_hash
from trading.trading_window import is_window_open, next_phase, next_session, session_at

D = Decimal
SECTORS = {"AAPL": "technology", "AMD": "technology", "BAC": "financials", "JPM": "financials", "KO": "staples"}
SYMBOLS = st.sampled_from(sorted(SECTORS))
CLOSES = {symbol: prices.closes(symbol)[-40:] for symbol in SECTORS}
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
POLICIES: tuple[dict[str, Any], ...] = (
    {},
    {"max_open_positions": 2, "stop_cluster_count": 1},
    {"fractional_enabled": False, "gradual_entry_interval_minutes": 1, "daily_loss_pct": "0.01"},
    {"siphon_basis": "per_trade", "reserve_siphon_pct": "0.5", "window_margin_minutes": 0},
    {"ticker_cooldown_hours": 0, "gradual_entry_tranches": 1, "moderate": {"max_sector_pct": "0.08"}},
    {"moderate": {"max_portfolio_heat": "0.02"}, "position_loss_pct": "0.05"},
    {"micro_trading_enabled": True, "micro_max_trades_per_day": 2},
    {"micro_trading_enabled": True, "micro_max_position_pct": "0.10", "micro_max_hold_minutes": 20},
    {"moderate": {"max_portfolio_heat": "0.012"}, "stop_check_seconds": 60, "earnings_action": "close"},
    {"stale_feed_action": "close", "stale_price_minutes": 3, "quote_after_minutes": 1, "fast_stop_check_seconds": 5},
    EMERGENCY | {"tier_down_drawdown_pct": "0.005"},
    EMERGENCY | JUDGED | {"daily_loss_pct": "0.5"},
    JUDGED | {"tier_change_sessions": 1, "reserve_high_water_pct": "0", "large_trade_pct": "0.001"},
    {"max_open_positions": 2, "swap_confidence_margin": "0.01", "gradual_entry_tranches": 1},
    {"max_open_positions": 1, "swap_confidence_margin": "0", "ticker_cooldown_hours": 0},
    {"moderate": {"max_sector_pct": "0.15"}, "ticker_cooldown_hours": 0},
)
CHANGES: tuple[dict[str, Any], ...] = (
    {"max_open_positions": 3},
    {"max_open_positions": 12},
    {"capital_limit": "400"},
    {"capital_limit": "600"},
    {"enabled": False},
    {"enabled": True},
    {"position_loss_pct": "0.03"},
    {"polling_interval_seconds": 30},
    {"window_margin_minutes": 30},
    {"daily_loss_pct": "2"},
    {"no_such_field": 1},
    {"micro_trading_enabled": True},
    {"micro_trading_enabled": False},
    {"micro_max_hold_minutes": 10},
    {"tiers": {"moderate": {"stop_loss_atr_multiplier": "1.0"}}},
    {"tiers": {"moderate": {"max_portfolio_heat": "0.005"}}},
    {"earnings_action": "close"},
    {"stale_feed_action": "close"},
    {"event_stop_factor": "0.2", "earnings_stop_factor": "0.3"},
)
CASH = st.sampled_from(["500", "100000"])
NAMES = st.sampled_from(["vix", "realised_volatility"])
EARNINGS = st.sampled_from([None, 0, 1, 2, 3, 9, -1, -3])


class Days(RuleBasedStateMachine):
    """An account, its broker, and a clock that only goes forward."""

    @initialize(start=st.sampled_from(STARTS), changes=st.sampled_from(POLICIES), cash=CASH)
    def open(self, start: str, changes: dict[str, Any], cash: str) -> None:
        self.row: Portfolio | None = None
        self.seq = -1
        self.now = dt.datetime.fromisoformat(start).replace(tzinfo=dt.UTC)
        self.laws = Laws()
        self.broker = PaperBroker(D(cash))
        self.prices = {"AAPL": D(10), "AMD": D("4.50"), "BAC": D("15.20"), "JPM": D("22"), "KO": D("8.75")}
        self.earnings: dict[str, tuple[str, str] | None] = dict.fromkeys(SECTORS)
        self.past: list[Event] = []
        self.names = 0
        self.token: tuple[str, dict[str, Any]] | None = None
        self.send(
            {
                "kind": "account_opened",
                "policy": json.loads(policy(**changes).model_dump_json()),
                "mode": "paper",
                "build": "test",
            }
        )
        self.snapshot()

    def send(self, body: dict[str, Any], *, at: dt.datetime | None = None) -> tuple[Any, ...]:
        """Fold an event three times, hold it against the laws, and hand its orders to the broker."""
        stamped = {"account_id": ACCOUNT, "at": (at or self.now).isoformat()} | body
        event = EVENT.validate_json(json.dumps(stamped, default=str))
        return self.fold(event)

    def fold(self, event: Event) -> tuple[Any, ...]:
        self.seq += 1
        before = self.row
        after, effects = react(before, event, seq=self.seq)
        assert after is not None
        again, repeated = react(before, event, seq=self.seq)
        assert (again, as_bytes(list(repeated))) == (after, as_bytes(list(effects)))
        if before is not None:
            woken = Portfolio.model_validate_json(row_bytes(before))
            assert woken == before
            restarted, replayed = react(woken, event, seq=self.seq)
            assert restarted is not None
            assert as_bytes(list(replayed)) == as_bytes(list(effects))
            assert row_hash(restarted) == row_hash(after)
            assert react(after, event, seq=self.seq) == (after, ())
        self.laws.check(before, event, after, effects)
        self.row = after
        self.past = [*self.past[-30:], event]
        for effect in effects:
            if isinstance(effect, Order):
                self.broker.take(effect)
        self.cancels = {effect.client_order_id for effect in effects if isinstance(effect, OrderCancel)}
        return effects

    @property
    def portfolio(self) -> Portfolio:
        assert self.row is not None
        return self.row

    def name(self, prefix: str) -> str:
        self.names += 1
        return f"{prefix}-{self.names}"

    @rule(seconds=st.sampled_from([1, 20, 60, 300, 900, 3600]))
    def wait(self, seconds: int) -> None:
        self.now += dt.timedelta(seconds=seconds)
        self.send({"kind": "clock"})

    @rule(phases=st.integers(1, 6), late=st.sampled_from([0, 1, 400]))
    def wait_for_a_phase(self, phases: int, late: int) -> None:
        """Jump over openings and closings, nights and weekends."""
        for _ in range(phases):
            phase = next_phase(self.now, margin_minutes=self.portfolio.policy.window_margin_minutes)
            assert phase is not None
            self.now = phase.at
        self.now += dt.timedelta(seconds=late)
        self.send({"kind": "clock"})

    @rule(
        symbol=SYMBOLS,
        action=st.sampled_from(["buy", "buy", "buy", "sell", "hold"]),
        confidence=confidences() | cents("0.55", "1"),
        mode=st.sampled_from(["paper_eligible", "live_eligible", "informational"]),
        age=st.sampled_from([0, 0, 0, 30, 7200, 90_000]),
        lives=st.sampled_from([None, None, 60, 86_400 * 3]),
    )
    def recommend(self, *, symbol: str, age: int, lives: int | None, **fields: Any) -> None:
        generated = self.now - dt.timedelta(seconds=age)
        expires = None if lives is None else (generated + dt.timedelta(seconds=lives)).isoformat()
        self.send_recommendation(symbol, generated_at=generated.isoformat(), expires_at=expires, **fields)

    @rule(
        symbol=SYMBOLS,
        direction=st.sampled_from(["bullish", "bullish", "bullish", "bearish", "neutral"]),
        confidence=confidences() | cents("0.55", "1"),
        interval=st.sampled_from(["5m", "15m"]),
        age=st.sampled_from([0, 0, 0, 540, 1200, 90_000]),
    )
    def see_a_trend(self, symbol: str, age: int, **fields: Any) -> None:
        seen = self.now - dt.timedelta(seconds=age)
        trend = {"trend_id": self.name("trend"), "symbol": symbol, "at": seen.isoformat(), "window": "intraday"}
        self.send({"kind": "trend", "trend": trend | fields, "facts": self.facts(symbol)})

    @rule(symbol=SYMBOLS, confidence=cents("0.75", "1"), minutes=st.sampled_from([0, 9, 19, 125]))
    def trade_a_trend(self, symbol: str, confidence: Decimal, minutes: int) -> None:
        """Switch micro trading on, enter on a trend where that is allowed, and hold on for a while."""
        if not self.portfolio.policy.micro_trading_enabled:
            self.configure(changes={"micro_trading_enabled": True}, confirmed=True)
        self.carry_on()
        self.see_a_trend(symbol, age=0, direction="bullish", confidence=confidence, interval="5m")
        self.fill_all()
        self.trade_along(minutes=minutes, drift=[1, -1])

    def send_recommendation(self, symbol: str, **fields: Any) -> tuple[Any, ...]:
        recommendation = {"recommendation_id": self.name("rec"), "symbol": symbol, "generated_at": self.now.isoformat()}
        body = {"kind": "recommendation", "recommendation": recommendation | fields, "facts": self.facts(symbol)}
        return self.send(body)

    def facts(self, symbol: str) -> dict[str, Any]:
        reports = self.earnings[symbol]
        return {
            "known": True,
            "sector": SECTORS[symbol],
            "last_price": self.prices[symbol],
            "last_price_at": self.now.isoformat(),
            "atr": self.prices[symbol] / 20,
            "closes": CLOSES[symbol],
            "earnings_on": reports[0] if reports else None,
            "earnings_session": reports[1] if reports else None,
        }

    @rule(symbol=SYMBOLS, confidence=cents("0.75", "1"), whole=st.booleans())
    def buy_and_fill(self, symbol: str, confidence: Decimal, whole: bool) -> None:
        """Go where entries are allowed, buy, and have all of it filled, so that short runs hold something too."""
        self.carry_on()
        self.send_recommendation(symbol, action="buy", mode="paper_eligible", confidence=confidence)
        self.fill_all()
        while whole and (entry := self.portfolio.entry(symbol)) is not None and entry.unsent:
            self.trade_along(minutes=5, drift=[0])
            self.fill_all()

    @rule(symbol=SYMBOLS, moved=st.sampled_from([-25, -10, 0, 8, 30]), saved=st.sampled_from(["0", "20"]))
    def trade_until_the_close(self, symbol: str, moved: int, saved: str) -> None:
        """Buy, leave at another price, and close the day: what emergencies and evaluations of the tier are made of."""
        self.buy_and_fill(symbol, confidence=D("0.95"), whole=False)
        position = self.portfolio.position(symbol)
        if saved != "0":
            self.command({"kind": "adjust_reserve", "amount": saved, "reason": "x"})
        self.command({"kind": "release_risk_tier"})
        if position is not None:
            self.move_to(symbol, position.avg_entry_price * (100 + moved) / 100, fills=True)
            self.send_recommendation(symbol, action="sell", mode="paper_eligible", confidence="0.9")
            self.fill_all()
        self.wait_for_a_phase(phases=3, late=0)

    @precondition(lambda self: self.portfolio.positions)
    @rule(
        pct=st.sampled_from(["0.03", "0.05", "0.1"]), sector=st.sampled_from(["0.06", "0.3"]), rises=st.integers(0, 20)
    )
    def come_to_the_weeks_first_window(self, pct: str, sector: str, rises: int) -> None:
        """Tighten the tier, let prices rise, and go to the opening of the window at which the rebalancer looks."""
        self.carry_on()
        limits = {"max_position_pct": pct, "max_sector_pct": sector}
        self.configure(changes={"tiers": {self.portfolio.risk_tier: limits}}, confirmed=True)
        monday = (self.now + dt.timedelta(days=7 - self.now.weekday())).date()
        margin = self.portfolio.policy.window_margin_minutes
        while True:
            phase = next_phase(self.now, margin_minutes=margin)
            assert phase is not None
            if phase.session.on >= monday and is_window_open(phase.at, margin_minutes=margin):
                break
            self.now = phase.at
        self.trade_along(minutes=0, drift=[rises])
        self.now = phase.at
        self.send({"kind": "clock"})

    def fill_all(self) -> None:
        for ticket in self.broker.open:
            self.broker.fill(ticket, ticket.left, price=self.prices[ticket.order.symbol], fee=D(0))
        self.deliver_all()

    @rule()
    def carry_on(self) -> None:
        """End what stops entries: a pause, a night, a difference with the broker, an old price."""
        portfolio = self.portfolio
        margin = portfolio.policy.window_margin_minutes
        if not is_window_open(self.now, margin_minutes=margin):
            while not is_window_open(self.now, margin_minutes=margin):
                phase = next_phase(self.now, margin_minutes=margin)
                assert phase is not None
                self.now = phase.at
            self.send({"kind": "clock"})
        if portfolio.paused or portfolio.halted:
            self.send({"kind": "resume", "command_id": self.name("command"), "issued_by": "operator"})
        if not portfolio.policy.enabled:
            self.configure(changes={"enabled": True}, confirmed=True)
        if not portfolio.reconciled:
            self.snapshot()
            self.snapshot()
        self.trade_along(minutes=0, drift=[0])

    @rule(minutes=st.sampled_from([1, 5, 5, 10]), drift=st.lists(st.integers(-9, 9), min_size=1, max_size=5))
    def trade_along(self, minutes: int, drift: list[int]) -> None:
        """Let minutes pass in which every symbol that matters trades, a little up or down."""
        self.now += dt.timedelta(minutes=minutes)
        portfolio = self.portfolio
        watched = portfolio.held_symbols | {waiting.recommendation.symbol for waiting in portfolio.queue}
        for place, symbol in enumerate(sorted(watched)):
            moved = self.prices[symbol] * (1000 + drift[place % len(drift)]) / 1000
            self.mark(symbol, moved.quantize(D("0.01")), late=False)
        self.send({"kind": "clock"})

    @precondition(lambda self: self.past)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """Bring a past recommendation, command, snapshot or broker's message once more: nothing may change."""
        known = ("recommendation", "pause", "resume", "set_risk_tier", "adjust_reserve", "update_config", "order_fill")
        repeats = [event for event in self.past if event.kind in known]
        trends = [event for event in self.past if event.kind == "trend"]  # one that came while micro was off may return
        repeats += [event for event in trends if ("trend", event.trend.trend_id) in self.laws.by_source]
        if not repeats:
            return
        event = data.draw(st.sampled_from(repeats)).model_copy(update={"at": None})
        if event.kind == "order_fill":
            order = self.portfolio.live_order(event.client_order_id)
            if order is None or order.filled < event.cumulative_quantity:
                return
        before = self.portfolio
        effects = self.fold(event)
        assert self.portfolio.model_copy(update={"seq": before.seq}) == before
        is_off = event.kind == "trend" and not before.policy.micro_trading_enabled
        is_signal = event.kind in ("recommendation", "trend") and not is_off
        assert [getattr(effect, "kind", "") for effect in effects] == ["duplicate"] * is_signal

    @rule(symbol=SYMBOLS, moved=st.sampled_from([-120, -60, -30, -21, -5, 0, 5, 30, 60, 120]), late=st.booleans())
    def move_price(self, symbol: str, moved: int, late: bool) -> None:
        price = (self.prices[symbol] * (1000 + moved) / 1000).quantize(D("0.01"))
        self.mark(symbol, max(D("0.05"), price), late=late)

    @precondition(lambda self: self.portfolio.positions)
    @rule(data=st.data(), fills=st.booleans())
    def hit_the_stop(self, data: st.DataObject, fills: bool) -> None:
        position = data.draw(st.sampled_from(self.portfolio.positions))
        self.move_to(position.symbol, position.stop_price, fills=fills)

    @precondition(lambda self: self.portfolio.positions)
    @rule(data=st.data(), fills=st.booleans())
    def hit_the_target(self, data: st.DataObject, fills: bool) -> None:
        position = data.draw(st.sampled_from(self.portfolio.positions))
        self.move_to(position.symbol, position.target_price, fills=fills)

    @precondition(lambda self: self.portfolio.positions)
    @rule(data=st.data(), fills=st.booleans())
    def crash(self, data: st.DataObject, fills: bool) -> None:
        position = data.draw(st.sampled_from(self.portfolio.positions))
        self.move_to(position.symbol, position.avg_entry_price * D("0.84"), fills=fills)

    @precondition(lambda self: self.portfolio.positions)
    @rule(data=st.data())
    def pass_half_way_to_the_target(self, data: st.DataObject) -> None:
        position = data.draw(st.sampled_from(self.portfolio.positions))
        entry = position.avg_entry_price
        self.move_to(position.symbol, entry + (position.target_price - entry) * D("0.51"), fills=False)

    @precondition(lambda self: self.portfolio.positions)
    @rule(data=st.data(), fills=st.booleans())
    def recommend_to_sell(self, data: st.DataObject, fills: bool) -> None:
        symbol = data.draw(st.sampled_from(self.portfolio.positions)).symbol
        self.send_recommendation(symbol, action="sell", mode="paper_eligible", confidence="0.9")
        if fills:
            self.fill_all()

    def move_to(self, symbol: str, price: Decimal, *, fills: bool) -> None:
        self.mark(symbol, max(D("0.01"), price).quantize(D("0.0001")), late=False)
        if fills:
            self.fill_all()

    def mark(self, symbol: str, price: Decimal, *, late: bool, reason: str = "interval") -> None:
        seen = self.now - dt.timedelta(seconds=90) if late else self.now
        if not late:
            self.prices[symbol] = price
        body = {"kind": "mark", "symbol": symbol, "last": price, "low": price, "high": price, "reason": reason}
        self.send(body | {"price_at": seen.isoformat()})

    @precondition(lambda self: self.portfolio.positions)
    @rule(data=st.data(), moved=st.sampled_from([-60, -55, 55, 60]))
    def move_fast(self, data: st.DataObject, moved: int) -> None:
        symbol = data.draw(st.sampled_from(self.portfolio.positions)).symbol
        price = (self.prices[symbol] * (1000 + moved) / 1000).quantize(D("0.01"))
        self.mark(symbol, price, late=False, reason="fast_move")

    @rule(
        severity=st.sampled_from(["moderate", "high", "high", "critical"]),
        begins=st.sampled_from([-600, 0, 0, 90, 7200]),
        seconds=st.sampled_from([0, 300, 3600, 90_000]),
        name=st.integers(0, 9),
    )
    def hear_of_a_macro_event(self, severity: str, begins: int, seconds: int, name: int) -> None:
        begun = (self.now + dt.timedelta(seconds=begins)).isoformat()
        event = {"event_id": f"macro-{name}", "severity": severity, "headline": "x", "started_at": begun}
        self.send({"kind": "macro_event", "event": event | {"estimated_duration_seconds": seconds}})

    @rule(
        symbol=SYMBOLS,
        reasons=st.lists(st.sampled_from(["volatility", "earnings", "heat", "event"]), min_size=1, max_size=3),
        part=st.sampled_from([30, 45]),
        sessions=st.integers(0, 2),
    )
    def give_reasons_to_tighten(self, symbol: str, reasons: list[str], part: int, sessions: int) -> None:
        """Hold a symbol, and let what raises its stop come over it, a few minutes apart."""
        if self.portfolio.position(symbol) is None:
            self.buy_and_fill(symbol, confidence=D("0.9"), whole=True)
        for reason in reasons:
            match reason:
                case "volatility":
                    self.close_a_bar(symbol, part=part)
                case "earnings":
                    self.learn_of_earnings(symbol, sessions=sessions, session="amc")
                case "event":
                    self.hear_of_a_macro_event("critical", begins=60, seconds=400, name=part)
                case "heat":
                    most = round(self.portfolio.portfolio_heat / max(D(1), self.portfolio.active_pool), 4)
                    tier = {"max_portfolio_heat": str(min(D(1), max(D("0.0001"), most)))}
                    self.configure(changes={"tiers": {self.portfolio.risk_tier: tier}}, confirmed=True)
            self.trade_along(minutes=5, drift=[2, 1])

    @rule(symbol=SYMBOLS, part=st.sampled_from([12, 18, 18, 25, 40]))
    def close_a_bar(self, symbol: str, part: int) -> None:
        on = self.now.date() - dt.timedelta(days=1)
        price = self.prices[symbol]
        self.send({"kind": "daily_bar", "symbol": symbol, "on": on.isoformat(), "close": price, "atr": price / part})

    @rule(symbol=SYMBOLS, sessions=EARNINGS, session=st.sampled_from(["bmo", "amc", "unknown"]))
    def learn_of_earnings(self, symbol: str, sessions: int | None, session: str) -> None:
        self.earnings[symbol] = None
        body: dict[str, Any] = {"kind": "earnings_changed", "symbol": symbol}
        if sessions is not None:
            on = (self.now + dt.timedelta(days=sessions)).date().isoformat()
            self.earnings[symbol] = (on, session)
            body |= {"earnings_on": on, "session": session}
        self.send(body)

    @rule(
        value=st.integers(5, 60),
        name=NAMES,
        age=st.sampled_from([0, 0, 1500]),
    )
    def read_stress(self, value: int, name: str, age: int) -> None:
        seen = (self.now - dt.timedelta(seconds=age)).isoformat()
        self.send({"kind": "market_stress", "reading": {"name": name, "value": value, "at": seen}})

    @precondition(lambda self: self.broker.open)
    @rule(data=st.data(), part=st.sampled_from([1, 2, 99]), slip=st.integers(-5, 5), fee=cents("0", "0.05"))
    def broker_fills(self, data: st.DataObject, part: int, slip: int, fee: Decimal) -> None:
        ticket = data.draw(st.sampled_from(self.broker.open))
        price = (self.prices[ticket.order.symbol] * (10_000 + slip) / 10_000).quantize(D("0.0001"))
        self.broker.fill(ticket, min(D(part), ticket.left), price=price, fee=fee)

    @precondition(lambda self: self.broker.open)
    @rule(data=st.data(), what=st.sampled_from(["accept", "lose_sight", "end"]))
    def broker_says(self, data: st.DataObject, what: str) -> None:
        getattr(self.broker, what)(data.draw(st.sampled_from(self.broker.open)))

    @precondition(lambda self: self.broker.mail)
    @rule(data=st.data())
    def deliver_one(self, data: st.DataObject) -> None:
        """Deliver any message that is under way: an order's messages may overtake one another."""
        place = data.draw(st.integers(0, len(self.broker.mail) - 1))
        self.send(self.broker.mail.pop(place))

    @rule()
    def deliver_all(self) -> None:
        while self.broker.mail:
            self.send(self.broker.mail.pop(0))

    @rule(moved=st.sampled_from([0, 0, 0, 0, -30, 50]))
    def snapshot(self, moved: int = 0) -> None:
        """Send the account as it is, after all that it contains; sometimes money was paid in or out."""
        self.deliver_all()
        self.broker.cash += moved
        for _ in range(3 if moved else 1):
            self.send(self.broker.account())
        portfolio = self.portfolio
        if portfolio.reconciled and not portfolio.orders and portfolio.unmatched == "":
            assert portfolio.cash == self.broker.cash
            ours = {position.symbol: position.quantity for position in portfolio.positions}
            theirs = {position.symbol: position.quantity for position in portfolio.foreign}
            both = {symbol: ours.get(symbol, D(0)) + theirs.get(symbol, D(0)) for symbol in ours | theirs}
            assert both == {symbol: held for symbol, held in self.broker.shares.items() if held}

    @rule(
        command=st.sampled_from(
            [
                {"kind": "pause"},
                {"kind": "resume"},
                {"kind": "set_risk_tier", "risk_tier": "conservative"},
                {"kind": "set_risk_tier", "risk_tier": "moderate"},
                {"kind": "set_risk_tier", "risk_tier": "aggressive"},
                {"kind": "release_risk_tier"},
                {"kind": "adjust_reserve", "amount": "100", "reason": "x"},
                {"kind": "adjust_reserve", "amount": "-40.10", "reason": "x"},
                {"kind": "test_notification", "channel": "sms"},
                {"kind": "update_notifications", "version": 1, "changes": {"summary_minutes_after_close": 0}},
                {"kind": "update_notifications", "version": 2, "changes": {"sms_target": "+15551234567"}},
            ]
        )
    )
    def command(self, command: dict[str, Any]) -> None:
        effects = self.send({"command_id": self.name("command"), "issued_by": "operator"} | command)
        assert len([effect for effect in effects if getattr(effect, "kind", "") == "command_result"]) == 1

    @precondition(lambda self: self.portfolio.positions or self.portfolio.orders)
    @rule(sure=st.integers(0, 5))
    def kill(self, sure: int) -> None:
        """Halt: everything is on its way out, or waits for the session."""
        if sure > 0:
            return
        self.command({"kind": "kill", "reason": "enough"})
        assert self.portfolio.halted
        assert all(position.exit is not None for position in self.portfolio.positions)
        assert all(order.cancel_sent for order in self.portfolio.orders if order.side == "buy")

    @rule(changes=st.sampled_from(CHANGES), confirmed=st.booleans())
    def configure(self, changes: dict[str, Any], confirmed: bool) -> None:
        body = {"kind": "update_config", "issued_by": "operator", "version": self.portfolio.policy.version}
        before = self.portfolio.policy
        effects = self.send(body | {"command_id": self.name("command"), "changes": changes})
        result = next(effect for effect in effects if getattr(effect, "kind", "") == "command_result")
        assert result.accepted == (self.portfolio.policy != before)
        if result.confirmation_token and confirmed:
            token = {"confirmation_token": result.confirmation_token}
            self.send(body | token | {"command_id": self.name("command"), "changes": changes})
            assert self.portfolio.policy != before

    @invariant()
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

    @invariant()
    def the_broker_has_never_been_asked_for_more_than_there_is(self) -> None:
        for ticket in getattr(self, "broker", PaperBroker(D(0))).open:
            if ticket.order.side == "sell":
                assert ticket.left <= self.broker.shares.get(ticket.order.symbol, 0)


TestDays = Days.TestCase
pytestmark = pytest.mark.covers("R18.5")
