"""Daily bars before today: from a folder of real ones, or a seeded walk back from a price.

A folder holds CSV files as `data/` does: `ohlcv_daily.csv` (`symbol,date,open,high,low,close,volume`),
`daily_closes.csv` (`date` and a column a symbol) and `sp500.csv`, a tenth of which is told as SPY. Their newest
sessions are told as the ones before today.
"""

import csv
import itertools
import pathlib
import random
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple

CENT = Decimal("0.01")
DAILY_VOLATILITY = 0.015
SESSIONS = 260


class Day(NamedTuple):
    """One session's prices in dollars a share, and its volume in shares."""

    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: int


def seeded_days(symbol: str, *, seed: int, close: Decimal, sessions: int = SESSIONS) -> tuple[Day, ...]:
    """Return days that end at `close`, oldest first; the same for the same seed."""
    chance = random.Random(f"{seed}:{symbol}:days")
    closes = [close]
    for _ in range(sessions):
        closes.append(
            max(CENT, (closes[-1] / Decimal(str(round(1 + chance.gauss(0.0003, DAILY_VOLATILITY), 6)))).quantize(CENT))
        )
    closes.reverse()
    return tuple(_day(before, after, chance) for before, after in itertools.pairwise(closes))


def _day(before: Decimal, after: Decimal, chance: random.Random) -> Day:
    reach = Decimal(str(round(abs(chance.gauss(0, DAILY_VOLATILITY / 2)), 6)))
    high = (max(before, after) * (1 + reach)).quantize(CENT)
    low = max(CENT, (min(before, after) * (1 - reach)).quantize(CENT))
    return Day(before, high, low, after, 100_000 + chance.randrange(5_000_000))


def days_of_folder(folder: pathlib.Path) -> dict[str, tuple[Day, ...]]:
    """Return the days of every symbol that the folder has, oldest first; raises OSError, KeyError or ValueError."""
    found: dict[str, list[Day]] = {}
    if (path := folder / "daily_closes.csv").exists():
        rows = list(_rows(path))
        for symbol in rows[0].keys() - {"date"}:
            found[symbol] = _between([Decimal(row[symbol]) for row in rows])
    if (path := folder / "ohlcv_daily.csv").exists():
        for symbol, group in itertools.groupby(_rows(path), key=lambda row: row["symbol"]):
            found[symbol] = [_ohlcv(row, 1) for row in group]
    if (path := folder / "sp500.csv").exists():
        found["SPY"] = [_ohlcv(row, 10) for row in _rows(path)]
    return {symbol: tuple(days[-SESSIONS:]) for symbol, days in found.items()}


def _rows(path: pathlib.Path) -> Iterator[dict[str, str]]:
    with path.open(newline="") as file:
        yield from csv.DictReader(file)


def _between(closes: Sequence[Decimal]) -> list[Day]:
    """Make days of closes alone: each leads from the close before to its own."""
    cents = [max(CENT, close.quantize(CENT)) for close in closes]
    return [
        Day(first, max(first, last), min(first, last), last, 1_000_000) for first, last in itertools.pairwise(cents)
    ]


def _ohlcv(row: dict[str, str], divisor: int) -> Day:
    prices = [(Decimal(row[name]) / divisor).quantize(CENT) for name in ("open", "high", "low", "close")]
    return Day(prices[0], prices[1], prices[2], prices[3], int(Decimal(row["volume"])))
