"""A small market in the words of `contracts.md`: sessions of 2026, companies, bars, ticks and recommendations.

New York is four hours behind UTC on all days used here, so a session lasts from 13:30 to 20:00 and the trading window,
15 minutes inside it, from 13:45 to 19:45.
"""

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

Json = dict[str, Any]

FIRST_DAY = dt.date(2026, 3, 16)
LAST_DAY = dt.date(2026, 10, 30)
CLOSED = {dt.date(2026, 4, 3), dt.date(2026, 5, 25), dt.date(2026, 6, 19), dt.date(2026, 7, 3), dt.date(2026, 9, 7)}


def sessions(first: dt.date = FIRST_DAY) -> Iterator[dt.date]:
    """Yield the exchange's days."""
    day = first
    while day <= LAST_DAY:
        if day.weekday() < 5 and day not in CLOSED:
            yield day
        day += dt.timedelta(days=1)


def instant(day: dt.date, clock: str) -> str:
    """Return an instant in UTC; `clock` is `14:00` or `14:00:30`."""
    return f"{day.isoformat()}T{clock if clock.count(':') == 2 else clock + ':00'}Z"


def company(symbol: str, *, sector: str = "technology") -> Json:
    return {"symbol": symbol, "name": f"{symbol} Inc.", "sector": sector}


def bar(symbol: str, day: dt.date, close: str, *, half_range: str = "0.5") -> Json:
    """Return a daily bar whose high and low lie `half_range` from its close."""
    middle, half = Decimal(close), Decimal(half_range)
    return {
        "symbol": symbol,
        "interval": "1d",
        "open": close,
        "high": str(middle + half),
        "low": str(middle - half),
        "close": close,
        "volume": "100000",
        "at": instant(day, "20:00"),
    }


def bars_before(symbol: str, day: dt.date, close: str, *, count: int = 20, half_range: str = "0.5") -> list[Json]:
    """Return a bar for each of the weekdays before a day, all with one close: each true range, and so ATR, is twice
    `half_range`."""
    days: list[dt.date] = []
    earlier = day
    while len(days) < count:
        earlier -= dt.timedelta(days=1)
        if earlier.weekday() < 5:
            days.append(earlier)
    return [bar(symbol, each, close, half_range=half_range) for each in reversed(days)]


def tick(symbol: str, price: str, at: str) -> Json:
    return {"symbol": symbol, "price": price, "at": at}


def recommendation(symbol: str, recommendation_id: str, generated_at: str, **changes: Any) -> Json:
    """Return a buy that a paper account may act on, unless `changes` say otherwise."""
    return {
        "recommendation_id": recommendation_id,
        "symbol": symbol,
        "action": "buy",
        "mode": "paper_eligible",
        "confidence": "0.9",
        "generated_at": generated_at,
        **changes,
    }


def command(kind: str, command_id: str, account_id: str, **fields: Any) -> Json:
    return {"kind": kind, "command_id": command_id, "account_id": account_id, "issued_by": "outsider", **fields}
