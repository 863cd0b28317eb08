"""Which symbols need prices: the companies, what accounts watch, the canary, and what direct quotes are asked for."""

from collections.abc import Awaitable, Callable

from aiokafka import TopicPartition

from connectors.clients import consuming
from streams.codec import Deletion, parse
from streams.settings import Settings
from streams.topics import TOPICS
from trading.effects import QuoteRequest
from trading.policy import CANARY

COMPANIES, LEVELS, REQUESTS = TOPICS["companies"], TOPICS["stop-levels"], TOPICS["quote-requests"]
_WAIT_MS = 500


class TrackedSymbols:
    """Follow the topics; `changed` is awaited whenever `symbols` has, `asked` is called with each quote request."""

    def __init__(
        self, settings: Settings, *, changed: Callable[[], Awaitable[None]], asked: Callable[[QuoteRequest], None]
    ) -> None:
        self._settings = settings
        self._changed = changed
        self._asked = asked
        self._topics = {settings.topic(topic.name): topic for topic in (COMPANIES, LEVELS, REQUESTS)}
        self._named: dict[str, set[str]] = {}

    @property
    def symbols(self) -> frozenset[str]:
        """Return every symbol that needs prices."""
        return frozenset({CANARY, *(symbol for symbol, by in self._named.items() if by)})

    async def follow(self) -> None:
        """Read both compacted topics from their beginnings, requests from now on; raises aiokafka's `KafkaError`."""
        async with consuming(self._settings) as consumer:
            places = [
                TopicPartition(name, number)
                for name, topic in self._topics.items()
                for number in range(topic.partition_count(self._settings))
            ]
            consumer.assign(places)
            requests = [place for place in places if place.topic == self._settings.topic(REQUESTS.name)]
            ends = await consumer.end_offsets(places)
            await consumer.seek_to_beginning(*[place for place in places if place not in requests])
            for place in requests:
                consumer.seek(place, ends[place])
            await self._changed()
            while True:
                before = self.symbols
                found = await consumer.getmany(timeout_ms=_WAIT_MS)
                for records in found.values():
                    for record in records:
                        self._read(record.topic, record.partition, record.key, record.value)
                if self.symbols != before:
                    await self._changed()

    def _read(self, name: str, partition: int, key: bytes | None, value: bytes | None) -> None:
        topic = self._topics[name]
        model = parse(topic, key, value, partition=partition, partitions=topic.partition_count(self._settings))
        if topic is REQUESTS:
            if isinstance(model, QuoteRequest):
                self._asked(model)
            return
        named = (key or b"").decode("utf-8", "replace")
        symbol = named.partition("/")[0]
        if isinstance(model, Deletion):
            self._named.get(symbol, set()).discard(named)
        elif symbol == getattr(model, "symbol", None):
            self._named.setdefault(symbol, set()).add(named)
