"""Prices to the log: ticks batched by symbol, in time order and never twice; bars that the log does not have yet."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Collection, Iterable

from aiokafka import AIOKafkaProducer

from connectors.price_log import BARS, TICKS, PriceLog
from streams.codec import encode
from streams.settings import Settings
from trading.inputs import PriceBar, PriceTicks, Tick

SECONDS_OF_A_BATCH = 0.1
MOST_TICKS = 1_000  # a record: some 80 kB


class PriceSender:
    """Send what the connector hears of prices; `send` must run meanwhile."""

    def __init__(self, producer: AIOKafkaProducer, prices: PriceLog, settings: Settings, *, source: str) -> None:
        self._producer = producer
        self._prices = prices
        self._settings = settings
        self._source = source
        self._waiting: defaultdict[str, list[Tick]] = defaultdict(list)
        self._held: dict[str, float] = {}
        self._newest: dict[str, list[Tick]] = {}

    def hold(self, symbols: Collection[str], *, seconds: float) -> None:
        """Keep the ticks of these symbols for so long at most: older ones are still to come, and must go first.

        A symbol that is held already is not held longer, else a stream that is cut again and again would be mute.
        """
        self._held = dict.fromkeys(symbols, time.monotonic() + seconds) | self._held

    def let_go(self, symbols: Collection[str]) -> None:
        """Have what was held sent in time order with the next batches."""
        for symbol in symbols:
            self._held.pop(symbol, None)

    def holds(self, symbol: str) -> bool:
        """Return whether the ticks of a symbol are kept."""
        return self._held.get(symbol, 0.0) > time.monotonic()

    def add_tick(self, symbol: str, tick: Tick) -> None:
        """Have a tick sent with the next batch of its symbol, if the log has nothing that late."""
        self._waiting[symbol].append(tick)

    async def send(self) -> None:
        """Send the batches that have come together, and go on until cancelled; raises aiokafka's `KafkaError`."""
        while True:
            await asyncio.sleep(SECONDS_OF_A_BATCH)
            arrivals = []
            for symbol in [symbol for symbol in self._waiting if not self.holds(symbol)]:
                fresh = self._fresh(symbol, self._waiting.pop(symbol))
                for begin in range(0, len(fresh), MOST_TICKS):
                    batch = PriceTicks(
                        symbol=symbol, ticks=tuple(fresh[begin : begin + MOST_TICKS]), source=self._source
                    )
                    arrivals.append(await self._put(TICKS.name, symbol, batch))
            for arrival in arrivals:
                await arrival

    async def quote(self, symbol: str, tick: Tick) -> None:
        """Answer a request for a direct quote; an old price says that it is old."""
        answer = PriceTicks(symbol=symbol, price=tick.price, at=tick.at, size=tick.size, source="quote")
        await (await self._put(TICKS.name, symbol, answer))
        self._prices.note_tick(symbol, tick.at)

    async def bars(self, bars: Iterable[PriceBar]) -> int:
        """Send the bars that the log does not have, in the order given, and return how many those were."""
        arrivals = []
        for bar in bars:
            if not self._prices.has_bar(bar):
                self._prices.note_bar(bar)
                arrivals.append(await self._put(BARS.name, bar.symbol, bar))
        for arrival in arrivals:
            await arrival
        return len(arrivals)

    def _fresh(self, symbol: str, ticks: list[Tick]) -> list[Tick]:
        """Return the ticks that the log does not have and that are not older than its last, in time order, each once.

        Of one instant there may be several, and they need not come together.
        """
        last, known = self._prices.tick_at(symbol), self._newest.get(symbol, [])
        whole = not known or known[0].at != last  # of an instant that others have told we do not know what is missing
        fresh = sorted(
            (
                tick
                for tick in dict.fromkeys(ticks)
                if not self._prices.is_ahead(tick.at)
                if last is None or tick.at > last or (tick.at == last and not whole and tick not in known)
            ),
            key=lambda tick: tick.at,
        )
        if fresh:
            newest = fresh[-1].at
            self._newest[symbol] = [tick for tick in (*known, *fresh) if tick.at == newest]
            self._prices.note_tick(symbol, newest)
        return fresh

    async def _put(self, topic: str, symbol: str, model: PriceBar | PriceTicks) -> "asyncio.Future[object]":
        value = model.model_dump_json(exclude_none=True).encode() if isinstance(model, PriceTicks) else encode(model)
        arrival: asyncio.Future[object] = await self._producer.send(
            self._settings.topic(topic), value, key=symbol.encode()
        )
        return arrival


def latest(first: Tick | None, second: Tick | None) -> Tick | None:
    """Return the later one of two ticks, the first of equals."""
    if first is None or second is None:
        return first or second
    return first if first.at >= second.at else second
