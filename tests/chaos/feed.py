"""A feed of one session in a minute: walking prices and, among them, recommendations to buy and to sell.

One session, because a backlog may reach the engine long after the prices that were sent later: over days, what was
generated before ids that have lapsed would rightly be called a duplicate.
"""

import datetime as dt
import random
import time

from tests.integration import market
from tests.integration.harness import Stack

SYMBOLS = tuple(f"C{letter}" for letter in "ABCDEFGHIJKL")
TOGETHER = 4
OPENING = dt.datetime.combine(market.FIRST_DAY, dt.time(13, 50), tzinfo=dt.UTC)
CLOSING = OPENING + dt.timedelta(hours=5, minutes=40)
SECTORS = ("technology", "energy", "staples", "financials")


def prepare(stack: Stack) -> None:
    """Make the companies known, with 20 sessions behind each."""
    for number, symbol in enumerate(SYMBOLS):
        stack.produce("companies", [market.company(symbol, sector=SECTORS[number % len(SECTORS)])])
        stack.produce("price-bars", market.bars_before(symbol, market.FIRST_DAY, "10.00", half_range="0.15"))
    stack.until_lag_zero()


def play(stack: Stack, chance: random.Random, *, recommendations: int, seconds: float) -> list[str]:
    """Send that many recommendations over about so many seconds, and return their ids; nothing is waited for."""
    ids: list[str] = []
    prices = dict.fromkeys(SYMBOLS, 10.0)
    rounds = -(-recommendations // TOGETHER)
    for number in range(rounds):
        at = (OPENING + number * (CLOSING - OPENING) / rounds).isoformat()
        for symbol in SYMBOLS:
            prices[symbol] = max(5.0, prices[symbol] * (1 + chance.gauss(0, 0.008)))
        stack.produce("price-ticks", [market.tick(symbol, f"{prices[symbol]:.2f}", at) for symbol in SYMBOLS])
        signals = []
        for _ in range(min(TOGETHER, recommendations - len(ids))):
            ids.append(f"chaos-{len(ids)}")
            action = chance.choice(("buy", "buy", "buy", "sell"))
            confidence = f"{chance.uniform(0.5, 1):.2f}"
            symbol = chance.choice(SYMBOLS)
            signals.append(market.recommendation(symbol, ids[-1], at, action=action, confidence=confidence))
        stack.produce("recommendations", signals)
        time.sleep(seconds / rounds)
    return ids
