"""What the market does: time passes, prices move and cross levels, bars close, reports, events and stress come."""

import datetime as dt
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.trading.machine_account import SYMBOLS, Account
from trading.trading_window import is_window_open, next_phase

D = Decimal
EARNINGS = st.sampled_from([None, 0, 1, 2, 3, 9, -1, -3])
LEVELS = st.sampled_from(["stop", "target", "crash", "half way"])


class Market(Account):
    """The rules of time and prices."""

    @rule(seconds=st.sampled_from([1, 20, 60, 300, 900, 3600, 7260]))
    def wait(self, seconds: int) -> None:
        self.now += dt.timedelta(seconds=seconds)
        self.send({"kind": "clock"})

    @rule(phases=st.integers(1, 6), late=st.sampled_from([0, 1, 400]))
    def wait_for_a_phase(self, phases: int, late: int) -> None:
        """Jump over openings and closings, nights and weekends."""
        for _ in range(phases):
            self.now = self.next_phase().at
        self.now += dt.timedelta(seconds=late)
        self.send({"kind": "clock"})

    @rule(days=st.sampled_from([3, 8, 31, 63]))
    def wait_for_days(self, days: int) -> None:
        """Let days pass in one jump: whatever fell due in between is fired then."""
        self.now += dt.timedelta(days=days)
        self.send({"kind": "clock"})

    @rule(sessions=st.integers(1, 3), drift=st.lists(st.integers(-40, 40), min_size=1, max_size=5))
    def live_through_sessions(self, sessions: int, drift: list[int]) -> None:
        """Go from close to close with a price of everything held at each phase of the day: opens, windows, closes."""
        for place in range(4 * sessions):
            self.now = self.next_phase().at
            self.send({"kind": "clock"})
            self.trade_along(minutes=0, drift=drift[place % len(drift) :] + drift)
            self.deliver_all()

    @rule(minutes=st.sampled_from([1, 5, 5, 10]), drift=st.lists(st.integers(-9, 9), min_size=1, max_size=5))
    def trade_along(self, minutes: int, drift: list[int]) -> None:
        """Let minutes pass in which every symbol that matters trades, a little up or down."""
        self.now += dt.timedelta(minutes=minutes)
        portfolio = self.portfolio
        watched = portfolio.held_symbols | {waiting.recommendation.symbol for waiting in portfolio.queue}
        for place, symbol in enumerate(sorted(watched)):
            moved = self.prices[symbol] * (1000 + drift[place % len(drift)]) / 1000
            self.mark(symbol, moved.quantize(D("0.01")))
        self.send({"kind": "clock"})

    @rule(
        symbol=SYMBOLS,
        moved=st.sampled_from([-120, -60, -30, -21, -5, 0, 5, 30, 60, 120]),
        late=st.booleans(),
        fast=st.booleans(),
    )
    def move_price(self, symbol: str, moved: int, late: bool, fast: bool) -> None:
        price = (self.prices[symbol] * (1000 + moved) / 1000).quantize(D("0.01"))
        self.mark(symbol, max(D("0.05"), price), late=late, reason="fast_move" if fast else "interval")

    @precondition(lambda self: self.portfolio.positions)
    @rule(
        data=st.data(),
        level=LEVELS,
        beyond=st.sampled_from([0, 0, 1]),
        stands_still=st.sampled_from([False, False, True]),
        fills=st.booleans(),
    )
    def reach_a_level(self, data: st.DataObject, level: str, beyond: int, stands_still: bool, fills: bool) -> None:
        """Trade at a level of a position or a cent beyond it, perhaps in a pause; perhaps the exit fills at once."""
        if stands_still:
            self.send({"kind": "pause", "command_id": self.name("command"), "issued_by": "operator"})
        position = data.draw(st.sampled_from(self.portfolio.positions))
        entry, cent = position.avg_entry_price, D("0.01") * beyond
        price = {
            "stop": position.stop_price - cent,
            "target": position.target_price + cent,
            "crash": entry * D("0.84"),
            "half way": entry + (position.target_price - entry) * D("0.51"),
        }[level]
        self.mark(position.symbol, max(D("0.01"), price).quantize(D("0.0001")))
        if fills:
            self.fill_all()

    @precondition(lambda self: len(self.portfolio.positions) > 1)
    @rule(permille=st.sampled_from([-160, -30, -21, 30]), fills=st.booleans())
    def move_all(self, permille: int, fills: bool) -> None:
        """Let everything that is held rise or fall together: a broad decline, a day's loss, a cluster of stops."""
        for position in self.portfolio.positions:
            price = position.avg_entry_price * (1000 + permille) / 1000
            self.mark(position.symbol, max(D("0.01"), price).quantize(D("0.0001")))
        if fills:
            self.fill_all()

    @rule(symbol=SYMBOLS, atr=st.sampled_from([18, 18, 25, 10]))
    def close_a_bar(self, symbol: str, atr: int) -> None:
        on = self.now.date() - dt.timedelta(days=1)
        price = self.prices[symbol]
        self.send({"kind": "daily_bar", "symbol": symbol, "on": on.isoformat(), "close": price, "atr": price / atr})

    @rule(
        symbol=SYMBOLS, days=EARNINGS, session=st.sampled_from(["bmo", "amc", "unknown"]), out=st.booleans()
    )  # fmt: skip
    def learn_of_earnings(self, symbol: str, days: int | None, session: str, out: bool) -> None:
        self.earnings[symbol] = None
        body: dict[str, Any] = {"kind": "earnings_changed", "symbol": symbol}
        if days is not None:
            on = (self.now + dt.timedelta(days=days)).date().isoformat()
            self.earnings[symbol] = (on, session)
            body |= {"earnings_on": on, "session": session}
            body |= {"reported_at": self.now.isoformat()} if out and days <= 0 else {}
        self.send(body)

    @rule(
        value=st.integers(5, 60), name=st.sampled_from(["vix", "realised_volatility"]), age=st.sampled_from([0, 1500])
    )
    def read_stress(self, value: int, name: str, age: int) -> None:
        seen = (self.now - dt.timedelta(seconds=age)).isoformat()
        self.send({"kind": "market_stress", "reading": {"name": name, "value": value, "at": seen}})

    @rule(
        severity=st.sampled_from(["low", "moderate", "high", "high", "critical"]),
        seconds=st.sampled_from([0, 600, 7200, 200_000]),
        age=st.sampled_from([0, 0, 900, -90, -7200]),
        sectors=st.sampled_from([None, None, ["technology"], ["utilities"]]),
        again=st.booleans(),
    )
    def hear_of_an_event(self, severity: str, seconds: int, age: int, sectors: list[str] | None, again: bool) -> None:
        """Hear of a macro event, or of the same one once more."""
        event = {
            "event_id": self.name("macro"),
            "severity": severity,
            "headline": "x",
            "started_at": (self.now - dt.timedelta(seconds=age)).isoformat(),
            "estimated_duration_seconds": seconds,
            "sectors": sectors,
        }
        for _ in range(1 + again):
            self.send({"kind": "macro_event", "event": event})

    def next_phase(self) -> Any:
        phase = next_phase(self.now, margin_minutes=self.portfolio.policy.window_margin_minutes)
        assert phase is not None
        return phase

    def is_window_open(self) -> bool:
        return is_window_open(self.now, margin_minutes=self.portfolio.policy.window_margin_minutes)

    def mark(self, symbol: str, price: Decimal, *, late: bool = False, reason: str = "interval") -> None:
        seen = self.now - dt.timedelta(seconds=90) if late else self.now
        if not late:
            self.prices[symbol] = price
        body = {"kind": "mark", "symbol": symbol, "last": price, "low": price, "high": price, "reason": reason}
        self.send(body | {"price_at": seen.isoformat()})

    def fill_all(self) -> None:
        """Fill everything that is live at the broker's, and deliver what it says."""
        for ticket in self.broker.open:
            self.broker.fill(ticket, ticket.left, price=self.prices[ticket.order.symbol], fee=D(0))
        self.deliver_all()

    def deliver_all(self) -> None:
        while self.broker.mail:
            self.send(self.broker.mail.pop(0))
