"""The keeper: where the guards begin, what it calls late, and what it does when the log has lost records."""

import asyncio
from collections.abc import Iterable, Mapping

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from streams import keeper
from streams.in_order import Guard, Nudge
from streams.keeper import Keeper
from tests.streams.fake_log import TOPIC, FakeLog

HERE = TopicPartition(TOPIC, 0)


class Setup:
    def __init__(self, log: FakeLog, begin: int | None) -> None:
        self.guard = Guard(TOPIC, log=log)
        self.nudges: list[Nudge] = []
        self.guard.attach(self.nudges.append)
        self.committed: list[dict[TopicPartition, int]] = []
        self.lost: list[tuple[TopicPartition, int, int]] = []
        self.keeper = Keeper(
            [self.guard],
            log=log,
            assigned=lambda: [HERE, TopicPartition("other", 0)],
            begin=lambda _: begin,
            lost=self.remember,
            commit=self.commit,
        )

    async def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        self.committed.append(dict(positions))

    async def remember(self, here: TopicPartition, wanted: int, possible: int) -> None:
        self.lost.append((here, wanted, possible))


async def test_the_guard_begins_where_the_tables_say_and_reads_what_waits_at_once() -> None:
    setup = Setup(FakeLog(p0=range(9)), 4)
    await setup.keeper.open()
    assert setup.guard.positions == {0: 4}
    assert setup.nudges == [Nudge({0: 9})]
    assert setup.lost == []


async def test_a_partition_of_which_nothing_is_known_begins_at_the_start_of_the_log() -> None:
    log = FakeLog(p0=range(5, 9))
    log.begins[0] = 5
    setup = Setup(log, None)
    await setup.keeper.open()
    assert setup.guard.positions == {0: 5}
    assert setup.lost == []


async def test_records_that_the_log_no_longer_has_are_reported_and_never_passed_over_silently() -> None:
    log = FakeLog(p0=range(5, 9))
    log.begins[0] = 5
    setup = Setup(log, 2)
    await setup.keeper.open()
    assert setup.lost == [(HERE, 2, 5)]
    assert setup.guard.positions == {0: 5}


async def test_tables_that_know_more_than_the_log_are_reported() -> None:
    setup = Setup(FakeLog(p0=range(3)), 7)
    await setup.keeper.open()
    assert setup.lost == [(HERE, 7, 3)]


async def test_what_has_not_arrived_since_the_last_look_is_late() -> None:
    log = FakeLog(p0=range(3))
    setup = Setup(log, 3)
    await setup.keeper.open()
    log.offsets[0] = list(range(5))
    setup.guard._nudged = False
    await setup.keeper.look()
    assert setup.nudges[-1] == Nudge({})  # it may still be on its way
    setup.guard._nudged = False
    await setup.keeper.look()
    assert setup.nudges[-1] == Nudge({0: 5})


async def test_a_partition_that_moves_is_not_late() -> None:
    log = FakeLog(p0=range(9))
    setup = Setup(log, 0)
    await setup.keeper.open()
    for position in (3, 5, 6):
        setup.guard._nudged = False
        setup.guard._next[0] = position
        await setup.keeper.look()
        assert setup.nudges[-1] == Nudge({})


async def test_a_position_that_stands_still_behind_the_end_is_stuck() -> None:
    setup = Setup(FakeLog(p0=range(9)), 0)
    await setup.keeper.open()
    await setup.keeper.look()
    assert setup.keeper.stuck(0) == []
    await setup.keeper.look()
    assert setup.keeper.stuck(0) == [HERE]
    assert setup.keeper.stuck(60) == []
    setup.guard._next[0] = 9
    await setup.keeper.look()
    assert setup.keeper.stuck(0) == []


async def test_a_closed_keeper_holds_no_position() -> None:
    setup = Setup(FakeLog(p0=range(9)), 4)
    await setup.keeper.open()
    await setup.keeper.close()
    assert setup.keeper.positions() == {}
    assert not setup.keeper.is_open


async def test_positions_that_have_moved_are_committed_for_faust(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "EVERY_SECONDS", 0.01)
    setup = Setup(FakeLog(p0=range(9)), 4)
    await setup.keeper.open()
    running = asyncio.create_task(setup.keeper.run())
    await asyncio.sleep(0.1)
    assert setup.committed == [{HERE: 4}]
    setup.guard._next[0] = 7
    await asyncio.sleep(0.1)
    assert setup.committed == [{HERE: 4}, {HERE: 7}]
    await setup.keeper.close()
    await asyncio.sleep(0.05)
    assert len(setup.committed) == 2
    running.cancel()


async def test_a_broker_that_is_away_ends_nothing_and_nobody_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    class Away(FakeLog):
        away = False

        async def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
            if self.away:
                raise KafkaConnectionError
            return await super().ends(partitions)

    monkeypatch.setattr(keeper, "EVERY_SECONDS", 0.01)
    log = Away(p0=range(9))
    setup = Setup(log, 4)
    await setup.keeper.open()
    running = asyncio.create_task(setup.keeper.run())
    await asyncio.sleep(0.1)
    assert setup.keeper.stuck(0) == [HERE]  # nobody handles its nudges
    log.away = True
    await asyncio.sleep(0.1)
    assert setup.keeper.stuck(0) == []
    monkeypatch.setattr(keeper, "_UNSEEN_SECONDS", 0.05)
    assert not setup.keeper.sees_the_log
    log.away = False
    await asyncio.sleep(0.1)
    assert setup.keeper.sees_the_log
    running.cancel()
