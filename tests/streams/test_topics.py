"""Topics: the names and keys of the contract, Java's partitioner, and a creation that can be repeated."""

import pathlib

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from streams.settings import Settings
from streams.topics import ALL, CHANGELOGS, INPUTS, LARGEST_LETTER, TopicsError, create_topics, level_key, partition_for


@pytest.mark.parametrize(
    ("key", "java"),
    [
        # Expected values: org.apache.kafka.common.utils.Utils.murmur2 in Kafka's own UtilsTest.
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_a_key_lies_where_java_puts_it(key: bytes, java: int) -> None:
    assert partition_for(key, 7) == (java & 0x7FFFFFFF) % 7


def test_levels_are_keyed_by_symbol_and_account() -> None:
    assert level_key("BRK.B", "paper") == b"BRK.B/paper"


def test_every_topic_has_one_name() -> None:
    assert len({topic.name for topic in ALL}) == len(ALL)


def test_what_deletes_is_compacted_and_inputs_name_their_event_time() -> None:
    assert {topic.name for topic in INPUTS if topic.compacted} == {"companies", "earnings-dates"}
    assert {topic.name for topic in INPUTS if topic.event_time is None} == {"companies", "earnings-dates"}


@pytest.mark.integration
def test_topics_are_created_once_compacted_or_kept_for_ever(kafka: str, topic_prefix: str) -> None:
    settings = Settings(kafka=kafka, topic_prefix=topic_prefix)
    create_topics(kafka, settings)
    create_topics(kafka, settings)
    admin = AdminClient({"bootstrap.servers": kafka})
    seen = admin.list_topics(timeout=10).topics
    for topic in ALL:
        name = settings.topic(topic.name)
        assert len(seen[name].partitions) == (1 if topic.name.startswith(("market-stress", "stonks-market")) else 4)
        resource = ConfigResource(ConfigResource.Type.TOPIC, name)
        config = admin.describe_configs([resource])[resource].result()
        if topic.compacted or topic in CHANGELOGS:
            assert config["cleanup.policy"].value == "compact"
        else:
            assert (config["cleanup.policy"].value, config["retention.ms"].value) == ("delete", "-1")


@pytest.mark.integration
@pytest.mark.parametrize(("before", "after"), [(1_048_588, LARGEST_LETTER), (9_000_000, 9_000_000)])
def test_dead_letters_of_an_earlier_build_take_the_largest_letter(
    kafka: str, topic_prefix: str, before: int, after: int
) -> None:
    settings = Settings(kafka=kafka, topic_prefix=topic_prefix)
    create_topics(kafka, settings)
    admin = AdminClient({"bootstrap.servers": kafka})

    def most(*entries: ConfigEntry) -> int:
        resource = ConfigResource(
            ConfigResource.Type.TOPIC, settings.topic("dead-letters"), incremental_configs=list(entries)
        )
        if entries:
            admin.incremental_alter_configs([resource])[resource].result()
        return int(admin.describe_configs([resource])[resource].result()["max.message.bytes"].value)

    assert most() == LARGEST_LETTER
    most(ConfigEntry("max.message.bytes", str(before), incremental_operation=AlterConfigOpType.SET))
    create_topics(kafka, settings)
    assert most() == after


@pytest.mark.integration
def test_an_existing_topic_with_other_partitions_is_named_with_the_mend(kafka: str, topic_prefix: str) -> None:
    create_topics(kafka, Settings(kafka=kafka, topic_prefix=topic_prefix))
    with pytest.raises(TopicsError, match="has 4 partitions and must have 3: set STONKS_PARTITIONS"):
        create_topics(kafka, Settings(kafka=kafka, topic_prefix=topic_prefix, partitions=3))


def test_without_a_broker_creation_says_so(tmp_path: pathlib.Path) -> None:
    with pytest.raises(TopicsError, match="did not answer"):
        create_topics("127.0.0.1:1", Settings(), seconds=1)
