"""Which prices the log has already: so that a restart sends no bar twice and no tick out of order.

The bars are read once, from where the last reading ended, which a small file keeps; without the file, from the log's
beginning. Of the ticks the tail is enough.
"""

import datetime as dt
import json
import os
import pathlib
from collections import defaultdict

import pydantic_core
from aiokafka import TopicPartition

from connectors.clients import quietly
from streams.codec import AHEAD
from streams.log import KafkaLog
from streams.settings import Settings
from streams.topics import TOPICS
from trading.inputs import PriceBar

BARS, TICKS = TOPICS["price-bars"], TOPICS["price-ticks"]
KEPT_DAYS = 150
_TAIL = 500


class PriceLog:
    """Know a symbol's days, its last minute bar and its last tick; `save` keeps what it knows of bars."""

    def __init__(self, settings: Settings, path: pathlib.Path) -> None:
        self._settings = settings
        self._path = path
        self._offsets: dict[str, int] = {}
        self._days: defaultdict[str, set[str]] = defaultdict(set)
        self._minutes: dict[str, dt.datetime] = {}
        self._ticks: dict[str, dt.datetime] = {}

    async def catch_up(self) -> None:
        """Read what has come since the last reading; raises aiokafka's `KafkaError`."""
        self._load()
        log = KafkaLog(self._settings)
        try:
            places = _places(self._settings, BARS.name)
            starts, ends = await log.starts(places), await log.ends(places)
            if any(self._offsets.get(str(place.partition), 0) > ends[place] for place in places):
                self._forget()  # the log is another one
            for place in places:
                begin = max(starts[place], self._offsets.get(str(place.partition), 0))
                if begin < ends[place]:
                    async for record in log.read(place, begin=begin, end=ends[place]):
                        self._see_bar(record.value)
                self._offsets[str(place.partition)] = ends[place]
            places = _places(self._settings, TICKS.name)
            starts, ends = await log.starts(places), await log.ends(places)
            for place in places:
                begin = max(starts[place], ends[place] - _TAIL)
                if begin < ends[place]:
                    async for record in log.read(place, begin=begin, end=ends[place]):
                        self._see_ticks(record.value)
        finally:
            await quietly(log.close)
        self.save()

    def save(self) -> None:
        """Write the file anew."""
        kept = {
            "offsets": self._offsets,
            "days": {symbol: sorted(days)[-KEPT_DAYS:] for symbol, days in self._days.items()},
            "minutes": {symbol: at.isoformat() for symbol, at in self._minutes.items()},
        }
        new = self._path.with_suffix(".new")
        with open(os.open(new, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
            json.dump(kept, file)
        new.replace(self._path)

    def has_bar(self, bar: PriceBar) -> bool:
        """Return whether the log has a bar of that day, or a minute bar as late as that."""
        if bar.interval == "1d":
            return bar.at.date().isoformat() in self._days[bar.symbol]
        return bar.at <= self.minute_at(bar.symbol)

    def days(self, symbol: str) -> set[str]:
        """Return the dates of the days that the log has, `YYYY-MM-DD`."""
        return self._days[symbol]

    def minute_at(self, symbol: str) -> dt.datetime:
        """Return the end of the last minute bar that the log has; the beginning of time without one."""
        return self._minutes.get(symbol, dt.datetime.min.replace(tzinfo=dt.UTC))

    def tick_at(self, symbol: str) -> dt.datetime | None:
        """Return the instant of the last tick that the log is known to have."""
        return self._ticks.get(symbol)

    def note_bar(self, bar: PriceBar) -> None:
        """Note that the log gets a bar."""
        if bar.interval == "1d":
            self._days[bar.symbol].add(bar.at.date().isoformat())
        elif bar.interval == "1m":
            self._minutes[bar.symbol] = max(bar.at, self.minute_at(bar.symbol))

    def is_ahead(self, at: dt.datetime) -> bool:
        """Return whether a tick lies so far ahead of the wall clock that `watch` puts it aside; never in event time."""
        return self._settings.clock == "system" and at > dt.datetime.now(dt.UTC) + AHEAD

    def note_tick(self, symbol: str, at: dt.datetime) -> None:
        """Note that the log gets a tick."""
        self._ticks[symbol] = max(at, self._ticks.get(symbol, at))

    def _see_bar(self, value: bytes | None) -> None:
        try:
            self.note_bar(PriceBar.model_validate_json(value or b""))
        except ValueError:  # poison: `watch` has put it aside
            return

    def _see_ticks(self, value: bytes | None) -> None:
        try:
            found = pydantic_core.from_json(value or b"")
            newest = found["ticks"][-1]["at"] if "ticks" in found else found["at"]
            at = dt.datetime.fromisoformat(newest)
            at = at if at.tzinfo else at.replace(tzinfo=dt.UTC)
            if not self.is_ahead(at):
                self.note_tick(str(found["symbol"]), at)
        except (ValueError, TypeError, LookupError):
            return

    def _load(self) -> None:
        try:
            kept = json.loads(self._path.read_text(encoding="utf-8"))
            days = {symbol: set(days) for symbol, days in kept["days"].items()}
            minutes = {symbol: dt.datetime.fromisoformat(at) for symbol, at in kept["minutes"].items()}
            offsets = {number: int(offset) for number, offset in kept["offsets"].items()}
        except (OSError, ValueError, TypeError, LookupError, AttributeError):
            return  # no file, or no whole one: the log says everything again
        self._days.update(days)
        self._minutes, self._offsets = minutes, offsets

    def _forget(self) -> None:
        self._days.clear()
        self._minutes.clear()
        self._offsets.clear()


def _places(settings: Settings, name: str) -> list[TopicPartition]:
    count = TOPICS[name].partition_count(settings)
    return [TopicPartition(settings.topic(name), number) for number in range(count)]
