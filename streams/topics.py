"""Every topic, one line each: its name, its key, what its values are, who writes it, and how long it is kept.

A record's partition is Java's default, murmur2 of the key's bytes, because a symbol's records must meet in one worker;
`stop-levels` alone is keyed `SYMBOL/account_id` and lies on SYMBOL's partition. Topics are created here, explicitly,
before anything produces to them: Faust consumes nothing from one that did not exist when it started.
"""

import functools
import time
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, Literal

from aiokafka.partitioner import murmur2
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.admin._metadata import TopicMetadata
from confluent_kafka.cimpl import NewTopic
from pydantic import TypeAdapter

from streams.security import for_librdkafka
from streams.settings import Settings
from trading import deliveries, effects, events, inputs, records

Key = Literal["symbol", "account", "event_id", "market", "symbol/account", "topic", "row"]
Direction = Literal["in", "internal", "out", "changelog"]


@dataclass(frozen=True)
class Topic:
    """One topic; `partitions` None is `STONKS_PARTITIONS`, `event_time` names the instant at which a record happens.

    `max_bytes` is the largest batch that its brokers take, where their default is too little.
    """

    name: str
    key: Key
    model: TypeAdapter[Any] | None
    direction: Direction
    compacted: bool = False
    partitions: int | None = None
    event_time: str | None = None
    max_bytes: int | None = None

    def partition_count(self, settings: Settings) -> int:
        """Return how many partitions the topic has in this stack."""
        return settings.partitions if self.partitions is None else self.partitions

    @property
    def deletes(self) -> bool:
        """Return whether a null value deletes what stands under its key."""
        return self.compacted


def _of(model: Any) -> TypeAdapter[Any]:
    return TypeAdapter(model)


APP: Final = "stonks"
PRICES: Final = "price-ticks"  # the topic that a worker reads past Faust
LARGEST_LETTER: Final = 2 * 1024 * 1024  # bytes: base64 makes a record of Kafka's default limit larger than that limit
FEED_GROUP: Final = f"{APP}-prices"  # under which it commits, as nobody but its members may commit for Faust's group
"""The Faust application's id after the prefix; its tables' changelogs are named `<prefix>stonks-<table>-changelog`."""

INPUTS: Final = (
    Topic("recommendations", "symbol", _of(inputs.Recommendation), "in", event_time="generated_at"),
    Topic("price-ticks", "symbol", _of(inputs.PriceTicks), "in", event_time="at"),
    Topic("price-bars", "symbol", _of(inputs.PriceBar), "in", event_time="at"),
    Topic("macro-events", "event_id", _of(inputs.MacroEvent), "in", event_time="started_at"),
    Topic("trend-summaries", "symbol", _of(inputs.TrendSummary), "in", event_time="at"),
    Topic("market-stress", "market", _of(inputs.MarketStress), "in", partitions=1, event_time="at"),
    Topic("companies", "symbol", _of(inputs.Company), "in", compacted=True),
    Topic("earnings-dates", "symbol", _of(inputs.EarningsDate), "in", compacted=True),
    Topic("commands", "account", inputs.COMMAND, "in", event_time="at"),
    Topic("broker-events", "account", inputs.BROKER_EVENT, "in", event_time="at"),
)
INTERNAL: Final = (
    Topic("account-inbox", "account", events.EVENT, "internal"),
    Topic("stop-levels", "symbol/account", _of(effects.StopLevels), "internal", compacted=True),
    Topic("quote-requests", "symbol", _of(effects.QuoteRequest), "internal"),
)
OUTPUTS: Final = (
    Topic("orders", "account", _of(effects.Order), "out"),
    Topic("order-cancels", "account", _of(effects.OrderCancel), "out"),
    Topic("decisions", "account", _of(effects.Decision), "out"),
    Topic("notifications", "account", _of(effects.Notification), "out"),
    Topic("notification-deliveries", "account", _of(deliveries.Delivery), "out"),
    Topic("records", "account", records.RECORD, "out"),
    Topic("dead-letters", "topic", None, "out", max_bytes=LARGEST_LETTER),
)
PROJECTED: Final = (
    "recommendations",
    "companies",
    "price-bars",
    "macro-events",
    "earnings-dates",
    "decisions",
    "orders",
    "notifications",
    "notification-deliveries",
    "records",
)
"""The topics that PostgreSQL holds, by the names under which `projection_offsets` counts them."""
TABLES: Final = {
    "positions": None,
    "circuit": None,
    "levels": None,
    "facts": None,
    "cursors": None,
    "market-cursors": 1,
}
"""The Faust tables and their partitions; None is `STONKS_PARTITIONS`."""
CHANGELOGS: Final = tuple(
    Topic(f"{APP}-{table}-changelog", "row", None, "changelog", compacted=True, partitions=partitions)
    for table, partitions in TABLES.items()
)
ALL: Final = (*INPUTS, *INTERNAL, *OUTPUTS, *CHANGELOGS)
TOPICS: Final = {topic.name: topic for topic in ALL}
"""Every topic by its public name, without the prefix."""

_MAX_BYTES = "max.message.bytes"
_FOR_EVER = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
_COMPACTED = {
    "cleanup.policy": "compact",
    # Only closed segments are compacted; small ones bound what a restart has to read.
    "segment.bytes": str(8 * 1024 * 1024),
    "segment.ms": str(10 * 60 * 1000),
    "min.cleanable.dirty.ratio": "0.3",
}


class TopicsError(Exception):
    """The topics are not as they must be; the text says which, how, and the mend."""


@functools.lru_cache(maxsize=16_384)
def partition_for(key: bytes, partitions: int) -> int:
    """Return the partition of a key as Java's default partitioner computes it: murmur2, sign bit cleared, modulo."""
    return int(murmur2(key) & 0x7FFFFFFF) % partitions


def level_key(symbol: str, account_id: str) -> bytes:
    """Return the key of an account's levels in a symbol; such a record lies on the symbol's partition."""
    return f"{symbol}/{account_id}".encode()


def create_topics(bootstrap: str, settings: Settings, *, seconds: float = 30) -> None:
    """Create every topic that is not there, and return when all of them can be used; blocks.

    Harmless when repeated. Raises `TopicsError` without a broker, for an existing topic with another number of
    partitions, for one that the broker refuses, and when they are not there within `seconds`.
    """
    wanted = {settings.topic(topic.name): topic for topic in ALL}
    admin = AdminClient(for_librdkafka(settings, bootstrap))
    try:
        existing = admin.list_topics(timeout=seconds).topics
        missing = [_new(name, topic, settings) for name, topic in wanted.items() if name not in existing]
        if missing:
            _await_created(admin.create_topics(missing, request_timeout=seconds))
        _widen(admin, {name: topic.max_bytes for name, topic in wanted.items() if name in existing}, seconds)
        deadline = time.monotonic() + seconds
        while absent := (
            _not_usable(admin.list_topics(timeout=seconds).topics, wanted, settings)
            or _not_led(admin, wanted, settings, seconds)
        ):
            if time.monotonic() > deadline:
                raise TopicsError(f"not there after {seconds:.0f} s: {', '.join(absent)}")
            time.sleep(0.05)
    except KafkaException as error:
        raise TopicsError(f"the broker at {bootstrap} did not answer: {error.args[0].str()}") from error


def _new(name: str, topic: Topic, settings: Settings) -> NewTopic:
    return NewTopic(
        name,
        num_partitions=topic.partition_count(settings),
        replication_factor=-1,  # the broker's default
        config=dict(_COMPACTED if topic.compacted else _FOR_EVER)
        | ({_MAX_BYTES: str(topic.max_bytes)} if topic.max_bytes is not None else {}),
    )


def _widen(admin: AdminClient, largest: dict[str, int | None], seconds: float) -> None:
    """Let topics that an earlier build made take what they must; one that takes more already stays as it is."""
    for name, wanted in largest.items():
        if wanted is None:
            continue
        [answer] = admin.describe_configs([_of_topic(name)], request_timeout=seconds).values()
        if int(answer.result()[_MAX_BYTES].value) >= wanted:
            continue
        entry = ConfigEntry(_MAX_BYTES, str(wanted), incremental_operation=AlterConfigOpType.SET)
        [answer] = admin.incremental_alter_configs([_of_topic(name, entry)], request_timeout=seconds).values()
        try:
            answer.result()
        except KafkaException as error:
            refusal = error.args[0].str()
            raise TopicsError(f"{name} must take {wanted} bytes: set its {_MAX_BYTES} ({refusal})") from error


def _of_topic(name: str, *entries: ConfigEntry) -> ConfigResource:
    return ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=list(entries))


def _await_created(answers: dict[str, Future[None]]) -> None:
    for name, answer in answers.items():
        try:
            answer.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another start was faster
                raise TopicsError(f"the broker refused to create {name}: {error.args[0].str()}") from error


def _not_usable(seen: dict[str, TopicMetadata], wanted: dict[str, Topic], settings: Settings) -> list[str]:
    """Return the topics without all leaders; raise `TopicsError` for a wrong number of partitions."""
    absent = []
    for name, topic in wanted.items():
        found = seen.get(name)
        if found is None or found.error or any(partition.leader < 0 for partition in found.partitions.values()):
            absent.append(name)
        elif len(found.partitions) != (count := topic.partition_count(settings)):
            raise TopicsError(
                f"{name} has {len(found.partitions)} partitions and must have {count}: set STONKS_PARTITIONS to what "
                "it was at the first start, or give another STONKS_TOPIC_PREFIX"
            )
    return absent


def _not_led(admin: AdminClient, wanted: dict[str, Topic], settings: Settings, seconds: float) -> list[str]:
    """Return the topics whose leaders do not answer yet: they learn of a new partition after its metadata is told."""
    asked = {
        TopicPartition(name, partition): OffsetSpec.latest()  # type: ignore[no-untyped-call]
        for name, topic in wanted.items()
        for partition in range(topic.partition_count(settings))
    }
    absent = set()
    for here, answer in admin.list_offsets(asked, request_timeout=seconds).items():
        try:
            answer.result()
        except KafkaException:
            absent.add(here.topic)
    return sorted(absent)
