"""Situations that random days seldom come to: for each gate and message that is rare, one way that leads there."""

import datetime as dt
import json
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.strategies import cents
from tests.trading.machine_account import SECTORS, SYMBOLS
from tests.trading.machine_signals import Signals
from trading import circuit_breaker

D = Decimal
ROOM = {"max_position_pct": "0.5", "max_sector_pct": "1", "max_portfolio_heat": "1", "min_confidence": "0.3"}
"""A tier under which cash alone is what limits an entry."""
REFUSED = ("paused", "superseded", "declining", "outdated", "stressed", "pool", "killed", "places", "heat")
"""Reasons of the account's state, of the market's, and of a newer signal."""
NO_HEAT = {"max_portfolio_heat": "0.0001"}


class Gates(Signals):
    """The rules that lead to a rare skip or a rare message, and go on from there."""

    @rule(symbol=SYMBOLS, first=st.integers(0, len(REFUSED) - 1), count=st.integers(2, 4))
    def recommend_in_vain(self, symbol: str, first: int, count: int) -> None:
        """Recommend what is refused whatever it is, for one reason after another."""
        for why in (*REFUSED, *REFUSED)[first : first + count]:
            self.calm_down()
            before = json.loads(self.portfolio.policy.model_dump_json())
            changes: dict[str, Any] = {}
            match why:
                case "paused":
                    self.command({"kind": "pause"})
                case "superseded" | "outdated":
                    while self.is_window_open():
                        self.now = self.next_phase().at
                    self.buy(symbol)
                    self.now += dt.timedelta(seconds=1)
                    age = dt.timedelta(seconds=0 if why == "superseded" else 60)
                    self.buy(symbol, generated_at=(self.now - age).isoformat())
                case "killed":
                    self.command({"kind": "kill", "reason": "enough"})
                case "declining":
                    self.let_all_fall()
                case "stressed":
                    self.let_a_calm_reading_lapse()
                case "pool":
                    changes = {"active_pool_minimum": "1000000"}
                case "places":
                    changes = {"max_open_positions": len(self.portfolio.held_symbols), "swap_enabled": False}
                case "heat":
                    changes = {"tiers": {self.portfolio.risk_tier: ROOM | NO_HEAT}}
            if changes:
                self.configure(changes=changes, confirmed=True)
            self.buy_one_more(symbol)
            if changes:
                self.configure(changes={name: before[name] for name in changes}, confirmed=True)

    @rule(symbol=SYMBOLS)
    def recommend_what_is_not_known_well(self, symbol: str) -> None:
        """Recommend a symbol of which something is missing, old or about to be told, or that nobody is sure of."""
        self.calm_down()
        tomorrow = (self.now + dt.timedelta(days=1)).date().isoformat()
        flaws: tuple[dict[str, Any], ...] = (
            {"known": False, "sector": None},
            {"atr": None},
            {"last_price": None, "last_price_at": None},
            {"last_price_at": (self.now - dt.timedelta(days=9)).isoformat()},
            {"earnings_on": tomorrow, "earnings_session": "bmo"},
        )
        for flaw in flaws:
            self.buy_one_more(symbol, flaw=flaw)
        self.buy_one_more(symbol, confidence="0.1")
        self.buy_one_more(symbol, action="hold")

    @rule(what=st.sampled_from(["position", "cluster", "emergency"]))
    def lose(self, what: str) -> None:
        """Lose what a breaker or an emergency asks for, and want the same again."""
        self.calm_down()
        limits = {
            "position": {"ticker_cooldown_hours": 48, "daily_loss_pct": "1"},
            "cluster": {"stop_cluster_count": 1, "daily_loss_pct": "1"},
            "emergency": {"emergency_drawdown_pct": "0.002", "emergency_rearm_pct": "0.001", "daily_loss_pct": "1"},
        }
        self.configure(changes=limits[what], confirmed=True)
        if what == "emergency":
            self.command({"kind": "adjust_reserve", "amount": "20", "reason": "x"})
        for symbol in ("AMD", "KO", "BAC"):
            self.buy_one_more(symbol)
            self.fill_all()
        for position in self.portfolio.positions:
            part = D("0.84") if what == "position" else D("0.999")
            self.mark(position.symbol, (position.stop_price * part).quantize(D("0.01")))
            self.fill_all()
        self.trade_along(minutes=1, drift=[0])
        self.buy("AMD")

    @rule(left=st.sampled_from(["-5", "-5", "2", "2"]), fills=st.booleans())
    def run_out_of_cash(self, left: str, fills: bool) -> None:
        """Buy what there is room for, set the rest aside but for a little, and want more: the reserve is never lent."""
        self.calm_down()
        tier = {self.portfolio.risk_tier: ROOM}
        limits = {"base_allocation_pct": "0.4", "absolute_cap_pct": "0.5", "active_pool_minimum": "0"}
        self.configure(changes=limits | {"max_open_positions": 12, "tiers": tier}, confirmed=True)
        for symbol in ("BAC", "JPM"):
            self.buy(symbol)
            if fills:
                self.fill_all()
        amount = self.portfolio.spendable - D(left)
        if amount > 0:
            if D(left) < 0:  # paid out at the broker's: the reserve stays, and the cash behind it is gone
                amount = self.portfolio.spendable
                self.broker.cash += D(left)
            self.command({"kind": "adjust_reserve", "amount": str(round(amount, 2)), "reason": "x"})
            for _ in range(3):
                self.deliver_all()
                self.send(self.broker.account())
        self.trade_along(minutes=0, drift=[0])
        for symbol in ("KO", "AMD"):
            self.buy(symbol)

    @rule(confidence=cents("0.8", "1"))
    def trade_trends_to_their_limits(self, confidence: Decimal) -> None:
        """See a trend more than a day's micro trades, then one too late for its longest hold, then after the window."""
        self.calm_down()
        trend: dict[str, Any] = {"direction": "bullish", "window": "intraday", "interval": "5m"}
        trend |= {"confidence": confidence, "age": 0, "ready": False}
        changes = {"micro_trading_enabled": True, "micro_max_position_pct": "0.1", "max_open_positions": 12}
        changes |= {"micro_max_trades_per_day": 1, "micro_max_hold_minutes": 120}
        self.configure(changes=changes, confirmed=True)
        for symbol in ("KO", "AMD"):
            self.see_a_trend(symbol=symbol, **trend)
        self.configure(changes={"micro_max_trades_per_day": 10}, confirmed=True)
        for early in (1, 0):
            self.now = self.next_phase().at - dt.timedelta(minutes=early)
            self.trade_along(minutes=0, drift=[0])
            self.see_a_trend(symbol="AMD", **trend)
            self.fill_all()

    @rule(symbol=SYMBOLS, permille=st.sampled_from([-60, 60]))
    def trade_a_large_one(self, symbol: str, permille: int) -> None:
        """Sell at a profit or a loss that is large for this account: one message."""
        self.calm_down()
        self.configure(changes={"large_trade_pct": "0.0005"}, confirmed=True)
        self.buy_one_more(symbol)
        self.fill_all()
        position = self.portfolio.position(symbol)
        if position is not None:
            self.mark(symbol, (position.avg_entry_price * (1000 + permille) / 1000).quantize(D("0.01")))
            self.send_recommendation(symbol, action="sell", mode="paper_eligible", confidence="0.9")
            self.fill_all()

    @rule(symbol=SYMBOLS, says=st.lists(st.sampled_from(["accept", "lose_sight", "end"]), min_size=1, max_size=3))
    def hear_of_an_order(self, symbol: str, says: list[str]) -> None:
        """Buy, and hear of the order whatever it is but its fill, and that messages arrive."""
        self.calm_down()
        self.command({"kind": "test_notification", "channel": "email"})
        self.buy_one_more(symbol)
        for what in says:
            for ticket in self.broker.open:
                getattr(self.broker, what)(ticket)
        self.deliver_all()

    def buy(self, symbol: str, **fields: Any) -> None:
        self.send_recommendation(symbol, **{"action": "buy", "mode": "paper_eligible", "confidence": "0.9"} | fields)

    def buy_one_more(self, symbol: str, **fields: Any) -> None:
        """Recommend a symbol that is not held yet, the named one if it may be."""
        known = self.portfolio.held_symbols | {held.symbol for held in self.portfolio.foreign}
        self.buy(next((each for each in (symbol, *sorted(SECTORS)) if each not in known), symbol), **fields)

    def calm_down(self) -> None:
        """Outlast the breakers, a reading of stress and a decline, and go where entries are allowed."""
        portfolio = self.portfolio
        is_stressed = circuit_breaker.stress(portfolio) is not None
        if portfolio.breakers or is_stressed or circuit_breaker.is_declining(portfolio):
            ends = [breaker.until for breaker in portfolio.breakers]
            for position in portfolio.positions:
                self.mark(position.symbol, position.avg_entry_price.quantize(D("0.0001")))
            self.now = max([*ends, self.now + dt.timedelta(minutes=61)])
            self.send({"kind": "clock"})
        self.carry_on()

    def let_all_fall(self) -> None:
        """Hold two symbols at least, and let all that is held lose three percent."""
        for symbol in ("BAC", "KO"):
            self.buy_one_more(symbol)
            self.fill_all()
        for position in self.portfolio.positions:
            self.mark(position.symbol, (position.avg_entry_price * D("0.97")).quantize(D("0.0001")))

    def let_a_calm_reading_lapse(self) -> None:
        """Have the VIX calm and the realised volatility high, until the VIX is too old to stand for the market."""
        for minutes, name, value in ((0, "vix", 10), (20, "realised_volatility", 60)):
            self.now += dt.timedelta(minutes=minutes)
            reading = {"name": name, "value": value, "at": self.now.isoformat()}
            self.send({"kind": "market_stress", "reading": reading})
        self.now += dt.timedelta(minutes=11)
