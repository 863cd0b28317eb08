"""Real prices for the oracles, from `tests/data`."""

import csv
import datetime as dt
import pathlib
from decimal import Decimal

from trading.inputs import PriceBar
from trading.market import Closes

DATA = pathlib.Path(__file__).parent.parent / "data"


def ibm_bars() -> tuple[PriceBar, ...]:
    """Return IBM's daily bars of the first half of 2010, oldest first."""
    with (DATA / "ibm_daily.csv").open(encoding="utf-8") as file:
        return tuple(
            PriceBar(
                symbol="IBM",
                interval="1d",
                open=Decimal(row["open"]),
                high=Decimal(row["high"]),
                low=Decimal(row["low"]),
                close=Decimal(row["close"]),
                volume=Decimal(0),
                at=dt.datetime.combine(dt.date.fromisoformat(row["date"]), dt.time(21), tzinfo=dt.UTC),
            )
            for row in csv.DictReader(file)
        )


def closes(symbol: str) -> Closes:
    """Return a symbol's daily closes of the first half of 2015, oldest first."""
    with (DATA / "daily_closes.csv").open(encoding="utf-8") as file:
        return tuple((dt.date.fromisoformat(row["date"]), Decimal(row[symbol])) for row in csv.DictReader(file))
