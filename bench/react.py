"""What one event costs: an idle loop tick, a skip, an entry, a fill, after 10 and after 1,000 trades.

First the pure step alone, then with all that `decide` does on this machine beside it: the bytes of what it sends and of
the row that it writes.

The accounts are measured in turn, in time of this process alone, so that what else the machine does disturbs none of
them; the ratio is to be flat. A row keeps the lots of the last 61 days, 150 closed ones at most: the third account
trades so often that this memory is full.
"""

import datetime as dt
import json
import statistics
import time
from collections.abc import Callable
from decimal import Decimal

from bench.report import say
from streams.outbox import of_effect
from trading.effects import Order
from trading.engine import react
from trading.events import EVENT, AccountOpened, Clock, Event, Mark, RecommendationReceived
from trading.inputs import AccountSnapshot, Recommendation
from trading.market import CandidateFacts
from trading.policy import TradingPolicy
from trading.portfolio import Portfolio, row_bytes
from trading.trading_window import next_session

FIRST_DAY = dt.datetime(2020, 1, 2, tzinfo=dt.UTC)
FEW, MANY = 10, 1_000
TIMES = 300
SYMBOLS = ("AAPL", "AMD", "BAC", "JPM", "KO")
PRICE = Decimal(20)


def measure() -> None:
    """Fold each kind of event into accounts with few and with many past trades, and print the medians."""
    accounts = [_Account(), _Account(), _Account()]
    for account, count, a_session in zip(accounts, (FEW, MANY, MANY), (1, 1, len(SYMBOLS)), strict=True):
        account.trade(count, a_session=a_session)
    names = (f"{FEW} trades", f"{MANY}", f"{MANY} with a full memory")
    say(
        "size of the row",
        ", ".join(f"{len(each.row_bytes)} bytes after {name}" for each, name in zip(accounts, names, strict=True)),
    )
    cases: dict[str, Callable[[_Account], tuple[Portfolio, Event]]] = {
        "idle tick of the loop": _Account.loop_tick,
        "recommendation that is skipped": _Account.skipped,
        "recommendation that is acted on": _Account.acted_on,
        "fill that opens a position": _Account.opening_fill,
        "fill that closes a position": _Account.closing_fill,
    }
    for step in (_react, _decide):
        say("", "")
        say(str(step.__doc__), "")
        for name, case in cases.items():
            few, many, full = _medians(step, *(case(account) for account in accounts))
            say(name, f"{few:.0f} us, {many:.0f} us (ratio {many / few:.2f}), {full:.0f} us (ratio {full / few:.2f})")


def _react(portfolio: Portfolio, event: Event) -> None:
    """react alone"""
    react(portfolio, event, seq=portfolio.seq + 1)


def _decide(portfolio: Portfolio, event: Event) -> None:
    """react, the records that decide sends, and the row that it writes"""
    after, effects = react(portfolio, event, seq=portfolio.seq + 1)
    for effect in effects:
        of_effect(effect, partitions=1)
    assert after is not None
    row_bytes(after)


def _medians(step: Callable[[Portfolio, Event], None], *cases: tuple[Portfolio, Event]) -> list[float]:
    """Return the median microseconds of each case, all of them taken in turn."""
    times: list[list[float]] = [[] for _ in cases]
    for _ in range(TIMES):
        for (portfolio, event), taken in zip(cases, times, strict=True):
            began = time.process_time()
            step(portfolio, event)
            taken.append((time.process_time() - began) * 1e6)
    return [statistics.median(taken) for taken in times]


class _Account:
    """An account that buys and sells one share of everything, session after session."""

    def __init__(self) -> None:
        self.portfolio: Portfolio | None = None
        self.now = FIRST_DAY
        self.names = 0
        self.fold(AccountOpened(account_id="paper", policy=TradingPolicy(), mode="paper", build="bench"))
        self.fold(
            AccountSnapshot(
                event_id="s",
                cash=Decimal(500),
                buying_power=Decimal(500),
                equity=Decimal(500),
                positions=(),
                open_orders=(),
            )
        )
        self.go_to_the_next_window()

    @property
    def row(self) -> Portfolio:
        assert self.portfolio is not None
        return self.portfolio

    @property
    def row_bytes(self) -> bytes:
        return row_bytes(self.row)

    def fold(self, event: Event) -> list[Order]:
        seq = 0 if self.portfolio is None else self.portfolio.seq + 1
        self.portfolio, effects = react(self.portfolio, event, seq=seq)
        return [effect for effect in effects if isinstance(effect, Order)]

    def trade(self, count: int, *, a_session: int) -> None:
        """Make so many closed trades, so many a session, a third of them at a loss."""
        while count > 0:
            for symbol in SYMBOLS[: min(count, a_session)]:
                orders = self.fold(self._signal(symbol, "buy"))
                if not orders:
                    raise RuntimeError(f"{symbol} was not bought")
                self.fold(self._fill(orders[0], PRICE))
                price = PRICE - Decimal("0.02") if count % 3 == 0 else PRICE + Decimal("0.01")
                [order] = self.fold(self._signal(symbol, "sell"))
                self.fold(self._fill(order, price))
                count -= 1
            self.go_to_the_next_window()

    def go_to_the_next_window(self) -> None:
        session = next_session(self.now)
        if session is not None and session.open_at < self.now:
            session = next_session(session.close_at)
        if session is None:
            raise RuntimeError("the calendar has ended")
        self.now = session.open_at + dt.timedelta(minutes=30)
        self.fold(Clock(account_id="paper", at=self.now))

    def loop_tick(self) -> tuple[Portfolio, Event]:
        return self.row, Clock(account_id="paper", at=self.now + dt.timedelta(seconds=61))

    def skipped(self) -> tuple[Portfolio, Event]:
        return self.row, self._signal("AAPL", "watch")

    def acted_on(self) -> tuple[Portfolio, Event]:
        return self.row, self._signal("AAPL", "buy")

    def opening_fill(self) -> tuple[Portfolio, Event]:
        portfolio, effects = react(self.row, self._signal("AAPL", "buy"), seq=self.row.seq + 1)
        assert portfolio is not None
        [order] = [effect for effect in effects if isinstance(effect, Order)]
        return portfolio, self._fill(order, PRICE)

    def closing_fill(self) -> tuple[Portfolio, Event]:
        bought, fill = self.opening_fill()
        held, _ = react(bought, fill, seq=bought.seq + 1)
        assert held is not None
        low = PRICE / 2
        mark = Mark(account_id="paper", at=self.now, symbol="AAPL", last=low, low=low, high=low, price_at=self.now)
        leaving, effects = react(held, mark, seq=held.seq + 1)
        assert leaving is not None
        [order] = [effect for effect in effects if isinstance(effect, Order)]
        return leaving, self._fill(order, low)

    def _fill(self, order: Order, price: Decimal) -> Event:
        body = {
            "kind": "order_fill",
            "event_id": f"fill-{order.client_order_id}",
            "client_order_id": order.client_order_id,
            "symbol": order.symbol,
            "fill_id": f"{order.client_order_id}:{order.quantity}",
            "quantity": str(order.quantity),
            "price": str(price),
            "cumulative_quantity": str(order.quantity),
            "leaves_quantity": "0",
            "fee": "0",
        }
        return EVENT.validate_json(json.dumps(body))

    def _signal(self, symbol: str, action: str) -> RecommendationReceived:
        self.names += 1
        days = [self.now.date() - dt.timedelta(days=number) for number in range(90, 0, -1)]
        facts = CandidateFacts(
            known=True,
            sector=f"sector of {symbol}",
            last_price=PRICE,
            last_price_at=self.now,
            atr=PRICE / 50,
            closes=tuple((day, PRICE + Decimal(day.day) / 10) for day in days),
        )
        recommendation = Recommendation.model_validate_json(
            f'{{"recommendation_id": "r-{self.names}", "symbol": "{symbol}", "action": "{action}", '
            f'"mode": "paper_eligible", "confidence": "0.6", "generated_at": "{self.now.isoformat()}"}}'
        )
        return RecommendationReceived(account_id="paper", at=self.now, recommendation=recommendation, facts=facts)
