"""What an auditor of one account remembers, and what one step shows him."""

import datetime as dt
from collections import Counter, defaultdict
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import Any, TypeVar

import exchange_calendars
import pandas

from tests.trading.tax_law import TaxLaw
from trading.effects import Decision, Effect, Order, StopLevels
from trading.events import Event
from trading.portfolio import Portfolio

T = TypeVar("T")
CALENDAR = exchange_calendars.get_calendar("XNYS", start="2010-01-04", end="2040-12-31")
OPENS, CLOSES = CALENDAR.opens_nanos, CALENDAR.closes_nanos
CENT = Decimal("0.01")
NEW_YORK = "America/New_York"


@dataclass(frozen=True)
class Turn:
    """One step: the account before it (None at the opening) and after it, its event and its effects in order.

    `row` is the account after it as the changelog has it, `sent` the effects as the topics have them.
    """

    before: Portfolio | None
    event: Event
    after: Portfolio
    effects: tuple[Effect, ...]
    row: bytes
    sent: list[bytes]

    @cached_property
    def _by_kind(self) -> dict[str | None, list[Any]]:
        kinds: dict[str | None, list[Any]] = defaultdict(list)
        for effect in self.effects:
            kinds[getattr(effect, "kind", None)].append(effect)
        return dict(kinds)

    def of(self, kind: type[T]) -> list[T]:
        """Return the effects of a class."""
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def records(self, kind: str) -> list[Any]:
        """Return the records of a kind."""
        return self._by_kind.get(kind, [])


class Seen:
    """Every decision, order, ledger entry, fill and change so far, and first-in-first-out lots in exact fractions."""

    def __init__(self) -> None:
        self.record_ids: set[str] = set()
        self.decisions: dict[str, Decision] = {}
        self.by_source: dict[tuple[str, str], str] = {}
        self.recommended: set[str] = set()
        self.outdated: set[str] = set()
        self.orders: dict[str, Order] = {}
        self.ended_entries: set[str] = set()
        self.micro_entries: Counter[dt.date] = Counter()
        self.reserve = Decimal(0)
        self.ledger_seq = 0
        self.realized = Fraction(0)
        self.realized_peak = Fraction(0)
        self.lots: dict[str, list[list[Fraction]]] = defaultdict(list)
        self.tax = TaxLaw()
        self.taxed: dict[str, tuple[Decimal, Decimal]] = {}
        self.tier = "moderate"
        self.levels: dict[str, Any] = {}
        self.watched: dict[str, StopLevels] = {}
        self.peak: Decimal | None = None
        self.base: Decimal | None = None
        self.growth = Fraction(1)
        self.sessions: list[dt.date] = []
        self.profits: dict[str, Decimal] = {}
        self.counted: dict[str, Decimal] = {}
        self.summaries: set[tuple[str, str]] = set()


def stamp(instant: dt.datetime) -> pandas.Timestamp:
    """Return an instant as the exchange's calendar takes it."""
    return pandas.Timestamp(instant)


def new_york(instant: dt.datetime) -> dt.date:
    """Return the date on New York's wall, by pandas rather than by the engine."""
    return stamp(instant).tz_convert(NEW_YORK).date()


def is_in_session(instant: dt.datetime) -> bool:
    """Tell whether the exchange is open, by its own calendar."""
    nanos = stamp(instant).value
    place = OPENS.searchsorted(nanos, side="right") - 1
    return bool(place >= 0 and nanos < CLOSES[place])


def window(instant: dt.datetime, *, margin_minutes: int) -> tuple[pandas.Timestamp, pandas.Timestamp]:
    """Return when the trading window of the session at an instant opens and closes."""
    session = CALENDAR.minute_to_session(stamp(instant).floor("min"), direction="none")
    margin = pandas.Timedelta(minutes=margin_minutes)
    return CALENDAR.session_open(session) + margin, CALENDAR.session_close(session) - margin
