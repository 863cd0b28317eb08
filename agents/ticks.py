"""Ticks off the wire: records in the usual form are read at one pass, everything else by the model that defines them.

The quick way accepts only what it reads exactly as `trading.inputs.PriceTicks` does: short plain decimals, instants in
UTC. It refuses nothing by itself: what it does not know goes the long way and gets its error.

Prices are put in order as floats, and become Decimals when somebody asks for them. That is exact: a decimal of at most
15 significant digits comes back unchanged from the nearest double (DBL_DIG of C), so that two different ones have two
different doubles, and rounding to the nearest never turns their order round. `_LONGEST` allows 12 digits.
"""

import bisect
import datetime as dt
import operator
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Annotated, Any, NamedTuple, overload

import msgspec
import pydantic_core

from streams import codec
from streams.codec import Poison
from streams.log import Record
from streams.topics import TOPICS
from trading.inputs import PriceTicks
from trading.market import Price

TOPIC = TOPICS["price-ticks"]
MOST = 10_000
_MINUTE = dt.timedelta(minutes=1)

_SYMBOL = re.compile(r"[A-Z][A-Z0-9.\-]{0,9}")
_INSTANTS = re.compile(r"(?:[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|\+00:00) )+")
_HOUR = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:")
_HOUR_LENGTH = len("2026-03-02T15:")
_FIRST_YEAR, _LAST_YEAR = 1970, 2099  # as `trading.money.Instant` and `trading.inputs.Instant`
_LONGEST = 12  # characters of a number: less than 10**12 and at most 12 places, as `trading.money.Number`
_ZONE = operator.attrgetter("tzinfo")


class Ticks(NamedTuple):
    """Prices of one symbol in time order; `order` holds values that compare as the prices do."""

    symbol: str
    instants: Sequence[dt.datetime]
    prices: Sequence[Decimal]
    is_quote: bool
    order: Sequence[Any]

    @staticmethod
    def of(symbol: str, instants: Sequence[dt.datetime], prices: Sequence[Decimal], *, is_quote: bool) -> "Ticks":
        """Return ticks whose prices are Decimals already."""
        return Ticks(symbol, instants, prices, is_quote, order=prices)

    def since(self, instant: dt.datetime | None) -> "Ticks":
        """Return those at or after an instant."""
        if instant is None or self.instants[0] >= instant:
            return self
        return self._from(bisect.bisect_left(self.instants, instant))

    def newest(self) -> "Ticks":
        """Return the last one alone."""
        return self._from(len(self.instants) - 1)

    def lowest(self) -> Decimal:
        """Return the lowest price."""
        return self.prices[self.order.index(min(self.order))]

    def highest(self) -> Decimal:
        """Return the highest price."""
        return self.prices[self.order.index(max(self.order))]

    def outline(self) -> list[Price]:
        """Return the ticks that the fold of a symbol's facts depends on: each minute's lowest and highest, the last."""
        order, instants, prices = self.order, self.instants, self.prices
        last, begin = len(order) - 1, 0
        if last == 0:
            return [Price(instants[0], prices[0])]
        if instants[last] < instants[0].replace(second=0, microsecond=0) + _MINUTE:  # as nearly always
            found = sorted({order.index(min(order)), order.index(max(order)), last})
            return [Price(instants[place], prices[place]) for place in found]
        places = {last}
        while begin <= last:
            next_minute = instants[begin].replace(second=0, microsecond=0) + _MINUTE
            end = bisect.bisect_left(instants, next_minute, begin)
            minute = order[begin:end]
            places.add(begin + minute.index(min(minute)))
            places.add(begin + minute.index(max(minute)))
            begin = end
        return [Price(instants[place], prices[place]) for place in sorted(places)]

    def _from(self, first: int) -> "Ticks":
        return Ticks(self.symbol, self.instants[first:], self.prices[first:], self.is_quote, self.order[first:])


class Written(Sequence[Decimal]):
    """Decimals that are still text, each of which is one."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts

    @overload
    def __getitem__(self, place: int) -> Decimal: ...
    @overload
    def __getitem__(self, place: slice) -> "Written": ...
    def __getitem__(self, place: int | slice) -> "Decimal | Written":
        """Return one number, or a part of all."""
        return Decimal(self._texts[place]) if isinstance(place, int) else Written(self._texts[place])

    def __len__(self) -> int:
        """Return how many numbers there are."""
        return len(self._texts)

    def __iter__(self) -> Iterator[Decimal]:
        """Give the numbers."""
        return map(Decimal, self._texts)


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
    instants, prices = [tick.at for tick in model.each], [tick.price for tick in model.each]
    return Ticks.of(model.symbol, instants, prices, is_quote=model.source == "quote")


_Instant = Annotated[str, msgspec.Meta(min_length=len("2026-03-02T15:00:00Z"), max_length=32)]
_Number = Annotated[str, msgspec.Meta(max_length=_LONGEST)] | int | float


class _Tick(msgspec.Struct):
    at: _Instant
    price: _Number
    size: _Number | None = None


class _Ticks(msgspec.Struct):
    symbol: str
    ticks: list[_Tick] | None = None
    at: _Instant | None = None
    price: _Number | None = None
    size: _Number | None = None
    source: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] | None = None


class _OursTick(_Tick, forbid_unknown_fields=True, gc=False):
    pass


class _Ours(_Ticks, forbid_unknown_fields=True):
    ticks: list[_OursTick] | None = None  # type: ignore[assignment]


_decode_ours = msgspec.json.Decoder(_Ours).decode


def _quickly(value: bytes) -> Ticks | None:
    """Return the ticks of a record in the usual form; None for anything else, right or wrong."""
    try:
        found = _decoded(value)
        each: Sequence[Any] = [found] if found.ticks is None else found.ticks
        if not 0 < len(each) <= MOST or (found.ticks is not None and (found.at is not None or found.price is not None)):
            return None
        written = [tick.at for tick in each]
        instants = list(map(dt.datetime.fromisoformat, written))
        prices, order = _numbers([tick.price for tick in each])
        sizes = [tick.size for tick in each if tick.size is not None]
        if found.size is not None:
            sizes.append(found.size)
        if sizes:
            _numbers(sizes)
        if (
            _SYMBOL.fullmatch(found.symbol)
            and (found.source is None or (found.source.isascii() and "\0" not in found.source))
            and _are_ours(written, instants)
            and 0.0 not in order
        ):
            return Ticks(found.symbol, instants, Written(prices), found.source == "quote", order)
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError):
        pass
    return None


def _decoded(value: bytes) -> _Ticks:
    """Return the fields that are ours; where there are others, those are read by the model's own parser first."""
    try:
        return _decode_ours(value)
    except msgspec.ValidationError:
        return msgspec.convert(pydantic_core.from_json(value, allow_inf_nan=False), _Ticks)


def _numbers(numbers: list[Any]) -> tuple[list[str], list[float]]:
    """Return unsigned decimals as text and as floats; raises TypeError or ValueError where one is anything else.

    JSON's own are written by their shortest digits, as the model reads them: 187.0 is 187.
    """
    try:
        joined = "".join(numbers)
    except TypeError:
        numbers = [one if isinstance(one, str) else repr(one).removesuffix(".0") for one in numbers]
        if max(map(len, numbers)) > _LONGEST:
            raise
        joined = "".join(numbers)
    digits = joined.replace(".", "")
    if not (digits.isdigit() and digits.isascii()):
        raise ValueError("not a plain decimal")
    return numbers, list(map(float, numbers))


def _are_ours(written: list[str], instants: list[dt.datetime]) -> bool:
    """Tell whether instants that `fromisoformat` reads are in the usual form, in UTC, in order and in our time.

    Texts in order have the hour of the first where the last one has it.
    """
    first, last = written[0], written[-1]
    alike = first[:_HOUR_LENGTH] == last[:_HOUR_LENGTH] and written == sorted(written)
    return bool(
        (_HOUR.match(first) if alike else _INSTANTS.fullmatch(" ".join(written) + " "))
        and list(map(_ZONE, instants)).count(dt.UTC) == len(instants)
        and instants == sorted(instants)
        and instants[0].year >= _FIRST_YEAR
        and instants[-1].year <= _LAST_YEAR
    )
