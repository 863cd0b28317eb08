"""Hypothesis strategies in the words of the glossary; their bounds come from `trading/policy.py`."""

import datetime as dt
from decimal import Decimal

from hypothesis import strategies as st

from trading.market import Closes

FIRST_SESSION_DAY, LAST_SESSION_DAY = dt.date(2015, 1, 1), dt.date(2035, 12, 31)


def cents(low: str, high: str) -> st.SearchStrategy[Decimal]:
    """Dollars and cents between two bounds."""
    return st.decimals(Decimal(low), Decimal(high), places=2)


def prices() -> st.SearchStrategy[Decimal]:
    """Prices of a share, from a tenth of a cent to ten thousand dollars."""
    return cents("0.01", "200") | st.decimals(Decimal("0.001"), Decimal(10_000), places=4)


def amounts() -> st.SearchStrategy[Decimal]:
    """Amounts of money (>= 0)."""
    return cents("0", "100000") | st.decimals(Decimal(0), Decimal(10_000), places=6)


def confidences() -> st.SearchStrategy[Decimal]:
    """Confidences, 0..1."""
    return st.decimals(Decimal(0), Decimal(1), places=2)


def instants(low: dt.date = FIRST_SESSION_DAY, high: dt.date = LAST_SESSION_DAY) -> st.SearchStrategy[dt.datetime]:
    """Instants, UTC."""
    first = dt.datetime.combine(low, dt.time())
    return st.datetimes(first, dt.datetime.combine(high, dt.time()), timezones=st.just(dt.UTC))


@st.composite
def closes(draw: st.DrawFn, *, count: int = 60, first: dt.date = dt.date(2025, 12, 1)) -> Closes:
    """Daily closes that move by up to ten percent a day."""
    price, made = draw(prices()), []
    for moved in draw(st.lists(st.integers(-100, 100), min_size=count, max_size=count)):
        price = max(Decimal("0.01"), price * (1000 + moved) / 1000).quantize(Decimal("0.0001"))
        made.append(price)
    return tuple((first + dt.timedelta(days=day), price) for day, price in enumerate(made))
