"""What the signals do: recommendations and trends, fresh and stale, repeated, and round trips from buy to sale."""

import datetime as dt
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.strategies import cents, confidences
from tests.trading.machine_account import SECTORS, SYMBOLS
from tests.trading.machine_operator import Operator
from trading.trading_window import is_window_open

D = Decimal
FLAWS: tuple[dict[str, Any], ...] = (
    {},
    {},
    {},
    {"atr": None},
    {"last_price": None, "last_price_at": None},
    {"last_price_at": "2026-02-27T20:00:00Z"},
    {"known": False, "sector": None},
    {"last_price": "4000"},
    {"closes": []},
    {"earnings_on": "2026-03-03", "earnings_session": "bmo"},
)
"""What may be missing or odd in a symbol's facts."""
REPEATED = (
    "recommendation",
    "trend",
    "pause",
    "resume",
    "set_risk_tier",
    "release_risk_tier",
    "adjust_reserve",
    "update_config",
    "flag_earnings",
    "kill",
)


class Signals(Operator):
    """The rules of recommendations and trends."""

    @rule(
        symbol=SYMBOLS,
        action=st.sampled_from(["buy", "buy", "buy", "sell", "hold"]),
        confidence=confidences() | cents("0.55", "1"),
        mode=st.sampled_from(["paper_eligible", "live_eligible", "informational"]),
        age=st.sampled_from([0, 0, 0, 30, 7200, 90_000]),
        lives=st.sampled_from([None, None, 60, 86_400 * 3]),
        first=st.sampled_from(["", "carry on", "carry on", "night", "night", "pause"]),
        flaw=st.sampled_from(FLAWS),
    )
    def recommend(
        self, *, symbol: str, age: int, lives: int | None, first: str, flaw: dict[str, Any], **fields: Any
    ) -> None:
        """Recommend something, perhaps where entries are allowed or stopped, perhaps without a fact that it needs."""
        if first in ("carry on", "night"):
            self.carry_on()
        if first == "night":
            while self.is_window_open():
                self.now = self.next_phase().at
        elif first == "pause":
            self.command({"kind": first})
        generated = self.now - dt.timedelta(seconds=age)
        expires = None if lives is None else (generated + dt.timedelta(seconds=lives)).isoformat()
        self.send_recommendation(symbol, flaw=flaw, generated_at=generated.isoformat(), expires_at=expires, **fields)

    def send_recommendation(self, symbol: str, *, flaw: dict[str, Any] | None = None, **fields: Any) -> tuple[Any, ...]:
        recommendation = {"recommendation_id": self.name("rec"), "symbol": symbol, "generated_at": self.now.isoformat()}
        facts = self.facts(symbol) | (flaw or {})
        return self.send({"kind": "recommendation", "recommendation": recommendation | fields, "facts": facts})

    @rule(symbol=SYMBOLS, confidence=cents("0.75", "1"), whole=st.booleans())
    def buy_and_fill(self, symbol: str, confidence: Decimal, whole: bool) -> None:
        """Go where entries are allowed, buy, and have all of it filled, so that short runs hold something too."""
        self.carry_on()
        self.send_recommendation(symbol, action="buy", mode="paper_eligible", confidence=confidence)
        self.fill_all()
        while whole and (entry := self.portfolio.entry(symbol)) is not None and entry.unsent:
            self.trade_along(minutes=5, drift=[0])
            self.fill_all()

    @rule(symbol=SYMBOLS, sells=st.booleans(), minutes=st.sampled_from([6, 20]))
    def come_back_to_a_backlog(self, symbol: str, sells: bool, minutes: int) -> None:
        """Read snapshots after the records that led to orders of which none had been read when they were made."""
        self.carry_on()
        self.deliver_all()
        account = self.broker.account()
        held = [position.symbol for position in self.portfolio.positions] if sells else []
        for each in held or [symbol]:
            action = "sell" if held else "buy"
            self.send_recommendation(each, action=action, mode="paper_eligible", confidence="0.9")
        live = [order.client_order_id for order in self.portfolio.orders]
        self.now += dt.timedelta(minutes=minutes)
        for number in range(4):
            self.send(account | {"event_id": f"{account['event_id']}-{number}"})
        assert {*live} <= {order.client_order_id for order in self.portfolio.orders}, "an order was given up unread"

    @rule(
        confidences=st.lists(cents("0.6", "1"), min_size=5, max_size=5),
        fills=st.booleans(),
        saved=st.sampled_from(["0", "30", "60"]),
    )
    def buy_everything(self, confidences: list[Decimal], fills: bool, saved: str) -> None:
        """Buy all symbols one after another: the limits of sectors, correlation, heat, cash and count, and swaps."""
        self.carry_on()
        if saved != "0":
            self.command({"kind": "adjust_reserve", "amount": saved, "reason": "x"})
        for symbol, confidence in zip(sorted(SECTORS), confidences, strict=True):
            self.send_recommendation(symbol, action="buy", mode="paper_eligible", confidence=confidence)
            if fills:
                self.fill_all()

    @rule(
        symbol=st.sampled_from(["AAPL", "AMD", "KO"]),
        why=st.sampled_from(["nothing", "price", "price", "hold", "weak", "pause"]),
        permille=st.sampled_from([-70, 70]),
    )
    def break_an_entry_off(self, symbol: str, why: str, permille: int) -> None:
        """Have the first tranche of an entry filled, let something speak against the rest, and go on to its instant."""
        self.buy_and_fill(symbol=symbol, confidence=D("0.9"), whole=False)
        entry = self.portfolio.entry(symbol)
        if entry is None:
            return
        if why == "price":
            self.mark(symbol, (entry.price * (1000 + permille) / 1000).quantize(D("0.01")))
        elif why == "pause":
            self.command({"kind": "pause"})
        elif why != "nothing":
            confidence, action = ("0.9", "hold") if why == "hold" else ("0.2", "buy")
            self.now += dt.timedelta(seconds=1)
            self.send_recommendation(symbol, action=action, mode="paper_eligible", confidence=confidence)
        for _ in range(3):
            self.trade_along(minutes=5, drift=[0])
        self.fill_all()

    @rule(symbol=SYMBOLS, gains=st.lists(st.sampled_from([-70, -20, 35, 90]), min_size=1, max_size=4))
    def make_round_trips(self, symbol: str, gains: list[int]) -> None:
        """Buy, and sell by a signal at a profit or a loss, and buy again: trades, siphons, wash sales."""
        for permille in gains:
            self.buy_and_fill(symbol=symbol, confidence=D("0.9"), whole=False)
            position = self.portfolio.position(symbol)
            if position is None:
                return
            self.mark(symbol, (position.avg_entry_price * (1000 + permille) / 1000).quantize(D("0.01")))
            self.send_recommendation(symbol, action="sell", mode="paper_eligible", confidence="0.9")
            self.fill_all()
            self.trade_along(minutes=1, drift=[0])

    @rule(symbol=SYMBOLS, moved=st.sampled_from([-25, -10, 0, 8, 30]), saved=st.sampled_from(["0", "20"]))
    def trade_until_the_close(self, symbol: str, moved: int, saved: str) -> None:
        """Buy, leave at another price, and close the day: what emergencies and evaluations of the tier are made of."""
        self.buy_and_fill(symbol=symbol, confidence=D("0.95"), whole=False)
        position = self.portfolio.position(symbol)
        if saved != "0":
            self.command({"kind": "adjust_reserve", "amount": saved, "reason": "x"})
        self.command({"kind": "release_risk_tier"})
        if position is not None:
            self.mark(symbol, (position.avg_entry_price * (100 + moved) / 100).quantize(D("0.0001")))
            self.fill_all()
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
        while (phase := self.next_phase()).session.on < monday or not is_window_open(phase.at, margin_minutes=margin):
            self.now = phase.at
        self.trade_along(minutes=0, drift=[rises])
        self.now = phase.at
        self.send({"kind": "clock"})

    @rule(
        symbol=SYMBOLS,
        reasons=st.lists(st.sampled_from(["volatility", "earnings", "heat", "event"]), min_size=1, max_size=3),
        part=st.sampled_from([30, 45]),
        days=st.integers(0, 2),
    )
    def give_reasons_to_tighten(self, symbol: str, reasons: list[str], part: int, days: int) -> None:
        """Hold a symbol, and let what raises its stop come over it, a few minutes apart."""
        if self.portfolio.position(symbol) is None:
            self.buy_and_fill(symbol=symbol, confidence=D("0.9"), whole=True)
        for reason in reasons:
            match reason:
                case "volatility":
                    self.close_a_bar(symbol=symbol, atr=part)
                case "earnings":
                    self.learn_of_earnings(symbol=symbol, days=days, session="amc", out=False)
                case "event":
                    self.hear_of_an_event(severity="critical", seconds=400, age=-60, sectors=None, again=False)
                case _:
                    most = round(self.portfolio.portfolio_heat / max(D(1), self.portfolio.active_pool), 4)
                    tier = {"max_portfolio_heat": str(min(D(1), max(D("0.0001"), most)))}
                    self.configure(changes={"tiers": {self.portfolio.risk_tier: tier}}, confirmed=True)
            self.trade_along(minutes=5, drift=[2, 1])

    @rule(symbol=SYMBOLS, confidence=cents("0.75", "1"), minutes=st.sampled_from([0, 9, 19, 125]))
    def trade_a_trend(self, symbol: str, confidence: Decimal, minutes: int) -> None:
        """Switch micro trading on, enter on a trend where that is allowed, and hold on for a while."""
        if not self.portfolio.policy.micro_trading_enabled:
            self.configure(changes={"micro_trading_enabled": True}, confirmed=True)
        self.see_a_trend(
            symbol=symbol,
            age=0,
            ready=True,
            direction="bullish",
            confidence=confidence,
            interval="5m",
            window="intraday",
        )
        self.trade_along(minutes=minutes, drift=[1, -1])

    @precondition(lambda self: self.portfolio.positions)
    @rule(data=st.data(), fills=st.booleans())
    def recommend_to_sell(self, data: st.DataObject, fills: bool) -> None:
        symbol = data.draw(st.sampled_from(self.portfolio.positions)).symbol
        self.send_recommendation(symbol, action="sell", mode="paper_eligible", confidence="0.9")
        if fills:
            self.fill_all()

    @rule(
        symbol=SYMBOLS,
        direction=st.sampled_from(["bullish", "bullish", "bullish", "bearish", "neutral"]),
        window=st.sampled_from(["intraday", "1d"]),
        interval=st.sampled_from(["5m", "15m"]),
        confidence=cents("0.5", "1"),
        age=st.sampled_from([0, 0, 0, 400, 7200]),
        ready=st.booleans(),
    )
    def see_a_trend(self, *, symbol: str, age: int, ready: bool, **fields: Any) -> None:
        """See a trend, whether micro trading is on or off; perhaps where entries are allowed, and filled at once."""
        if ready:
            self.carry_on()
        seen = (self.now - dt.timedelta(seconds=age)).isoformat()
        trend = {"trend_id": self.name("trend"), "symbol": symbol, "at": seen} | fields
        effects = self.send({"kind": "trend", "trend": trend, "facts": self.facts(symbol)})
        if not self.portfolio.policy.micro_trading_enabled:
            assert not [effect for effect in effects if getattr(effect, "source_type", "") == "trend"]
        if ready:
            self.fill_all()

    @precondition(lambda self: self.past)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """Bring a past signal or command once more: nothing may change but for a `duplicate` (20)."""
        repeats = [event for event in self.past if event.kind in REPEATED]
        if not repeats:
            return
        event = data.draw(st.sampled_from(repeats)).model_copy(update={"at": None})
        decided = {source for kind, source in self.laws.seen.by_source if kind == "trend"}
        if event.kind == "trend" and event.trend.trend_id not in decided:
            return  # micro trading was off: it left no trace, and may come again
        self.send({"kind": "clock"})  # what a shorter interval has made due already falls due now
        before = self.portfolio
        effects = self.fold(event)
        assert self.portfolio.model_copy(update={"seq": before.seq}) == before
        is_off = event.kind == "trend" and not before.policy.micro_trading_enabled
        is_signal = event.kind in ("recommendation", "trend") and not is_off
        assert [getattr(effect, "kind", "") for effect in effects] == ["duplicate"] * is_signal
