"""A long day book of one account, drawn with a fixed seed: months of sessions in which most things happen.

For the tests that need one log of many events rather than many short ones.
"""

import datetime as dt
import functools
import json
import random
from decimal import Decimal
from typing import Any

from tests.trading.desk import ACCOUNT, Desk
from trading.events import EVENT, Event
from trading.trading_window import next_session, session_at

SECTORS = {"AAPL": "technology", "BAC": "financials", "CVX": "energy", "KO": "staples", "PFE": "health care"}
COMMANDS: tuple[dict[str, Any], ...] = (
    {"kind": "pause"},
    {"kind": "set_risk_tier", "risk_tier": "aggressive"},
    {"kind": "release_risk_tier"},
    {"kind": "adjust_reserve", "amount": "5.50", "reason": "x"},
    {"kind": "test_notification", "channel": "sms"},
)


@functools.cache
def log(*, events: int, seed: int = 7) -> tuple[tuple[int, Event], ...]:
    """Return at least so many inbox records with their offsets, the same ones for the same seed."""
    book = _Book(seed)
    while book.desk.seq < events:
        book.live_through_a_session()
    return tuple(book.desk.log)


class _Book:
    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.desk = Desk()
        self.prices = {symbol: Decimal(8 + 3 * place) for place, symbol in enumerate(SECTORS)}
        self.day = self.desk.now

    def live_through_a_session(self) -> None:
        session = next_session(self.day)
        assert session is not None
        self.day = session.close_at
        desk, chance = self.desk, self.chance
        desk.clock(session.open_at + dt.timedelta(minutes=chance.choice([0, 16, 40])))
        if chance.random() < 0.5:
            desk.command("resume")
            desk.snapshot()
            desk.snapshot()
        for minute in range(20, int((session.close_at - session.open_at).total_seconds() / 60), 30):
            desk.now = max(desk.now, session.open_at + dt.timedelta(minutes=minute))
            self._happen()
        desk.now = max(desk.now, session.close_at)
        for symbol, price in self.prices.items():
            desk.bar(symbol, price, on=session.on, atr=price / 20)

    def _happen(self) -> None:
        desk, chance = self.desk, self.chance
        for symbol in SECTORS:
            moved = self.prices[symbol] * (1000 + chance.choice([-60, -20, -8, -3, 0, 3, 8, 20, 45])) / 1000
            self.prices[symbol] = max(Decimal(2), moved.quantize(Decimal("0.01")))
            if desk.row.position(symbol) is not None or desk.row.entry(symbol) is not None:
                desk.mark(symbol, self.prices[symbol])
        self._answer_orders()
        if chance.random() < 0.8:
            symbol = chance.choice(list(SECTORS))
            action = chance.choice(["buy", "buy", "buy", "sell", "hold"])
            confidence = Decimal(chance.randint(45, 99)) / 100
            price = self.prices[symbol]
            desk.recommend(
                symbol, action, confidence=confidence, price=price, atr=price / 20, sector=SECTORS[symbol]
            )  # fmt: skip
        if chance.random() < 0.2:
            self._disturb()
        self._answer_orders()

    def _answer_orders(self) -> None:
        """Fill what is live, in one piece or in two; now and then reject it."""
        for order in self.desk.row.orders:
            price, left = self.prices[order.symbol], order.remaining
            if self.chance.random() < 0.05 and order.filled == 0:
                self.desk.reject(order)
            elif left > 1 and self.chance.random() < 0.3:
                self.desk.fill(order, price, cumulative=order.filled + 1, quantity=1, fee="0.01")
            elif left > 0 and session_at(self.desk.now) is not None:
                self.desk.fill(order, price, cumulative=order.filled + left, quantity=left)

    def _disturb(self) -> None:
        desk, chance = self.desk, self.chance
        symbol = chance.choice(list(SECTORS))
        match chance.randrange(6):
            case 0:
                desk.command(**chance.choice(COMMANDS))
            case 1:
                desk.earnings(symbol, desk.now.date() + dt.timedelta(days=chance.randint(0, 9)))
            case 2:
                desk.stress(chance.randint(10, 50))
            case 3:
                self._send("macro_event", event=self._macro_event())
            case 4:
                self._send("trend", trend=self._trend(symbol), facts={"known": True, "sector": SECTORS[symbol]})
            case _:
                desk.configure(max_open_positions=chance.randint(2, 10))

    def _macro_event(self) -> dict[str, Any]:
        return {
            "event_id": self.desk.name("macro"),
            "severity": self.chance.choice(["low", "high", "critical"]),
            "headline": "x",
            "started_at": self.desk.now,
            "estimated_duration_seconds": 3600,
        }

    def _trend(self, symbol: str) -> dict[str, Any]:
        return {
            "trend_id": self.desk.name("trend"),
            "symbol": symbol,
            "window": "intraday",
            "interval": "5m",
            "direction": self.chance.choice(["bullish", "bearish"]),
            "confidence": "0.8",
            "at": self.desk.now,
        }

    def _send(self, kind: str, **fields: Any) -> None:
        body = {"kind": kind, "account_id": ACCOUNT, "at": self.desk.now} | fields
        text = json.dumps(body, default=lambda each: each.isoformat())
        self.desk.send(EVENT.validate_json(text))
