"""What one event costs the pure step: nothing due, a loop tick, a skipped recommendation, one acted on."""

import datetime as dt
import statistics
import time
from decimal import Decimal

from bench.report import say
from trading.engine import react
from trading.events import AccountOpened, Clock, Event, RecommendationReceived
from trading.inputs import AccountSnapshot, Recommendation
from trading.market import CandidateFacts
from trading.policy import TradingPolicy
from trading.portfolio import Portfolio

NOW = dt.datetime(2026, 3, 16, 15, tzinfo=dt.UTC)
TIMES = 300


def measure() -> None:
    """Fold each kind of event into the same account, and print the median."""
    portfolio = _ready()
    say("idle clock record", _cost(portfolio, Clock(account_id="paper", at=NOW + dt.timedelta(seconds=1))))
    say("loop tick", _cost(portfolio, Clock(account_id="paper", at=NOW + dt.timedelta(seconds=61))))
    say("skipped recommendation", _cost(portfolio, _signal("watch")))
    say("recommendation that is acted on", _cost(portfolio, _signal("buy")))


def _cost(portfolio: Portfolio, event: Event) -> str:
    times = []
    for _ in range(TIMES):
        began = time.perf_counter()
        react(portfolio, event, seq=portfolio.seq + 1)
        times.append(time.perf_counter() - began)
    return f"{statistics.median(times) * 1e6:.0f} us"


def _ready() -> Portfolio:
    portfolio: Portfolio | None = None
    events: tuple[Event, ...] = (
        AccountOpened(account_id="paper", policy=TradingPolicy(), mode="paper", build="bench"),
        AccountSnapshot(event_id="s", cash=Decimal(500), buying_power=Decimal(500), equity=Decimal(500)),
        Clock(account_id="paper", at=NOW),
    )
    for seq, event in enumerate(events):
        portfolio, _ = react(portfolio, event, seq=seq)
    if portfolio is None:
        raise RuntimeError("an opened account has a row")
    return portfolio


def _signal(action: str) -> RecommendationReceived:
    days = [dt.date(2025, 12, 1) + dt.timedelta(days=number) for number in range(90)]
    facts = CandidateFacts(
        known=True,
        sector="technology",
        last_price=Decimal("20"),
        last_price_at=NOW,
        atr=Decimal("0.4"),
        closes=tuple((day, Decimal(20) + Decimal(day.day) / 10) for day in days),
    )
    recommendation = Recommendation.model_validate_json(
        f'{{"recommendation_id": "r", "symbol": "AAPL", "action": "{action}", "mode": "paper_eligible", '
        f'"confidence": "0.8", "generated_at": "{NOW.isoformat()}"}}'
    )
    return RecommendationReceived(account_id="paper", at=NOW, recommendation=recommendation, facts=facts)
