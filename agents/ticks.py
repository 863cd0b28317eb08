"""Ticks off the wire: batches in the usual form are read at one pass, everything else by the model that defines them.

The quick way accepts only what it reads exactly as `trading.inputs.PriceTicks` does: prices and sizes as plain decimal
strings, instants in UTC. It refuses nothing by itself: what it does not know goes the long way and gets its error.
"""

import bisect
import datetime as dt
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import pydantic_core

from streams import codec
from streams.codec import Poison
from streams.log import Record
from streams.topics import TOPICS
from trading.inputs import PriceTicks, Tick

TOPIC = TOPICS["price-ticks"]
MOST = 10_000
_MINUTE = dt.timedelta(minutes=1)

_SYMBOL = re.compile(r"[A-Z][A-Z0-9.\-]{0,9}")
_NUMBERS = re.compile(r"(?:(?:0|[1-9][0-9]{0,11})(?:\.[0-9]{1,12})? )+")
_INSTANTS = re.compile(r"(?:[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|\+00:00) )+")
_FIRST_YEAR, _LAST_YEAR = 1970, 2099  # as `trading.money.Instant`


class Ticks(NamedTuple):
    """Prices of one symbol in time order."""

    symbol: str
    instants: Sequence[dt.datetime]
    prices: Sequence[Decimal]
    is_quote: bool

    def since(self, instant: dt.datetime | None) -> "Ticks":
        """Return those at or after an instant."""
        if instant is None or self.instants[0] >= instant:
            return self
        first = bisect.bisect_left(self.instants, instant)
        return self._replace(instants=self.instants[first:], prices=self.prices[first:])

    def newest(self) -> "Ticks":
        """Return the last one alone."""
        return self._replace(instants=self.instants[-1:], prices=self.prices[-1:])

    def outline(self) -> tuple[Tick, ...]:
        """Return the ticks that the fold of a symbol's facts depends on: each minute's lowest and highest, the last."""
        places, begin = {len(self.prices) - 1}, 0
        while begin < len(self.prices):
            next_minute = self.instants[begin].replace(second=0, microsecond=0) + _MINUTE
            end = bisect.bisect_left(self.instants, next_minute, begin)
            places.add(min(range(begin, end), key=self.prices.__getitem__))
            places.add(max(range(begin, end), key=self.prices.__getitem__))
            begin = end
        return tuple(Tick(at=self.instants[place], price=self.prices[place]) for place in sorted(places))


def read_ticks(record: Record, *, partitions: int, wall_now: dt.datetime | None) -> Ticks | Poison:
    """Return the ticks of a record of `price-ticks`, or why it is poison."""
    ticks = _quickly(record.value) if record.value is not None and len(record.value) <= codec.MAX_BYTES else None
    if ticks is None:
        model = codec.model_of(TOPIC, record.key, record.value)
        if isinstance(model, Poison):
            return model
        ticks = _of_model(model)
    misplaced = codec.misplacement(TOPIC, record.key, ticks.symbol, partition=record.partition, partitions=partitions)
    return misplaced or codec.too_early(TOPIC, ticks.instants[-1], wall_now) or ticks


def _of_model(model: PriceTicks) -> Ticks:
    each = model.each
    return Ticks(
        symbol=model.symbol,
        instants=[tick.at for tick in each],
        prices=[tick.price for tick in each],
        is_quote=model.source == "quote",
    )


def _quickly(value: bytes) -> Ticks | None:
    """Return the ticks of a batch in the usual form; None for anything else, right or wrong."""
    try:
        batch: Any = pydantic_core.from_json(value, allow_inf_nan=False)
        each, symbol, source = batch["ticks"], batch["symbol"], batch.get("source")
        if "price" in batch or "at" in batch or not 0 < len(each) <= MOST or not _SYMBOL.fullmatch(symbol):
            return None
        if source is not None and not (0 < len(source) <= 256 and "\0" not in source):
            return None
        sizes = [tick["size"] for tick in each if tick.get("size") is not None]
        written, numbers = [tick["at"] for tick in each], [tick["price"] for tick in each]
        if not (_INSTANTS.fullmatch(_joined(written)) and _NUMBERS.fullmatch(_joined([*numbers, *sizes]))):
            return None
        instants, prices = list(map(dt.datetime.fromisoformat, written)), list(map(Decimal, numbers))
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError):
        return None
    in_order = instants == sorted(instants) and instants[0].year >= _FIRST_YEAR and instants[-1].year <= _LAST_YEAR
    if not in_order or not min(prices):
        return None
    return Ticks(symbol=symbol, instants=instants, prices=prices, is_quote=source == "quote")


def _joined(texts: list[str]) -> str:
    return " ".join(texts) + " "
