"""Delivery in the connectors' process on a real Kafka: each message once, its fate in the log, whatever is killed."""

import asyncio
import contextlib
import datetime as dt
import json
import pathlib
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from streams.settings import Settings
from tests.connectors.examples import NOON, minutes
from tests.connectors.records import account_state
from tests.connectors.running import Process, Topics, process, settings_of, topics_of
from tests.fakes import ADDRESS, NUMBER
from tests.fakes.gmail.server import FakeGmail
from tests.fakes.sns.server import FakeSns
from trading.effects import Notification
from trading.preferences import Channels, NotificationPreferences

pytest_plugins = ["tests.fakes.channels"]
pytestmark = pytest.mark.integration

BOTH = NotificationPreferences(channels=Channels(sms=True, email=True), sms_target=NUMBER, email_target=ADDRESS)


class Post:
    """The messages of one account on topics of its own, and what reached the operator since the test began."""

    def __init__(self, topics: Topics, sns: FakeSns, gmail: FakeGmail) -> None:
        self.topics = topics
        self._sns, self._gmail = sns, gmail
        self._sms_before, self._mails_before = len(sns.sms), len(gmail.mails)

    @property
    def sms(self) -> list[str]:
        return [each.text for each in self._sns.sms[self._sms_before :]]

    @property
    def mails(self) -> list[str]:
        return [str(each["Subject"]) for each in self._gmail.mails[self._mails_before :]]

    def run(self, **variables: str) -> contextlib.AbstractContextManager[Process]:
        """Run the connectors' process, of which delivery is all that has something to do."""
        equipped = self._sns.environment | self._gmail.environment
        return process(self.topics.settings, **{"STONKS_BROKER": "external", **equipped, **variables})

    async def prefer(self, seq: int, preferences: NotificationPreferences, *, at: dt.datetime = NOON) -> None:
        state = account_state(seq)
        row = {**state.state, "preferences": json.loads(preferences.model_dump_json())}
        await self.topics.send("records", state.model_copy(update={"at": at, "state": row}))

    async def tell(self, *messages: Notification) -> None:
        await self.topics.send("notifications", *messages)

    async def fates(self) -> dict[tuple[str, str | None], tuple[str, int, str | None]]:
        """Return the last word on each message and channel: status, attempts, detail."""
        return {
            (each["notification_id"], each["channel"]): (each["delivery_status"], each["attempts"], each["detail"])
            for each in await self.topics.read("notification-deliveries")
        }

    async def until(self, holds: Callable[[dict[Any, Any]], bool], *, seconds: float = 60) -> dict[Any, Any]:
        """Return the fates as soon as they are as wanted; fail with the process's log when they never are."""
        deadline = time.monotonic() + seconds
        while not holds(fates := await self.fates()):
            log = (self.topics.settings.data_dir / "connectors.log").read_text()[-3000:]
            assert time.monotonic() < deadline, f"{fates}\n{log}"
            await asyncio.sleep(0.3)
        return fates


def message(name: str, event_type: Any = "breaker_triggered", **changes: Any) -> Notification:
    told = {
        "notification_id": name,
        "account_id": "paper",
        "event_type": event_type,
        "severity": "critical" if event_type == "breaker_triggered" else "info",
        "subject": f"subject of {name}",
        "body": "body",
        "created_at": NOON,
    }
    return Notification(**told | changes)


def are_settled(*names: str, channels: tuple[str, ...] = ("sms", "email")) -> Callable[[dict[Any, Any]], bool]:
    wanted = [(name, channel) for name in names for channel in channels]
    return lambda fates: all(fates.get(each, ("pending",))[0] != "pending" for each in wanted)


@pytest.fixture
async def post(kafka: str, topic_prefix: str, tmp_path: pathlib.Path, sns: FakeSns, gmail: FakeGmail) -> Any:
    settings: Settings = settings_of(kafka, topic_prefix, tmp_path)
    async with topics_of(settings) as topics:
        yield Post(topics, sns, gmail)


@pytest.mark.covers("R19.1", "R19.8")
async def test_a_message_goes_out_on_each_channel_that_is_on_and_a_restart_repeats_none(post: Post) -> None:
    await post.prefer(1, BOTH)
    await post.tell(message("old", created_at=NOON - dt.timedelta(hours=25)), message("one"))
    with post.run() as running:
        fates = await post.until(are_settled("one", "old"))
        assert fates["one", "sms"] == fates["one", "email"] == ("sent", 1, None)
        assert fates["old", "sms"] == fates["old", "email"] == ("dropped", 0, "older than a day")
        running.until(lambda here: here.checks().get("sms") is True and here.checks().get("email") is True)
    wanted = ("alert", "breaker_triggered")
    await post.prefer(2, BOTH.model_copy(update={"channels": Channels(email=True), "event_types": wanted}))
    await post.tell(
        message("two", "tier_changed"),
        message("three", "alert"),
        message("four", "test", channel="sms"),
        message("five", "alert"),
    )
    with post.run():
        fates = await post.until(are_settled("three", "five", channels=("email",)))
        assert fates["two", None] == ("dropped", 0, "messages of this type are not wanted")
        assert fates["four", "sms"] == ("dropped", 0, "no channel that it is meant for is on")
    assert post.sms == ["Stonks paper: subject of one. body"]
    assert sorted(post.mails) == [f"Stonks paper: subject of {name}" for name in ("five", "one", "three")]


async def test_asked_to_end_in_the_middle_of_a_send_it_notes_what_left(post: Post, gmail: FakeGmail) -> None:
    parts = ("part-1", "part-2")  # of little importance and stale: they go out as one, while the one before is late
    await post.prefer(1, BOTH.model_copy(update={"channels": Channels(email=True)}))
    gmail.always = "late"
    try:
        with post.run() as running:
            before = len(gmail.requests)
            stale = (message(name, "large_trade", created_at=NOON - minutes(16)) for name in parts)
            await post.tell(message("one"), *stale)
            running.until(lambda _: [path[-5:] for path in gmail.requests[before:]].count("/send") == 2)
            running.child.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(running.child.wait, 10) == 0
    finally:
        gmail.always = None
    merged = {key: fate for key, fate in (await post.fates()).items() if key[0] not in ("one", *parts)}
    assert list(merged.values()) == [("sent", 1, None)]
    with post.run():
        await post.tell(message("two"))
        fates = await post.until(are_settled("two", *parts, channels=("email",)))
    assert {fates[name, "email"] for name in parts} == {("merged", 0, f"in {identity}") for identity, _ in merged}
    subjects = ("subject of one", "2 messages, the last: subject of part-2", "subject of two")
    assert post.mails == [f"Stonks paper: {each}" for each in subjects]


@pytest.mark.parametrize(("point", "most"), [("delivery.begun", 1), ("delivery.sent", 2)])
async def test_killed_in_the_middle_of_a_send_it_is_sent_again_and_nothing_else_is(
    post: Post, point: str, most: int
) -> None:
    await post.prefer(1, BOTH.model_copy(update={"channels": Channels(sms=True)}))
    await post.tell(*(message(f"m{number}") for number in range(3)))
    with post.run(STONKS_CRASH_AT=f"{point}:2") as crashed:
        await asyncio.to_thread(crashed.child.wait, 30)
        assert crashed.child.poll() == 137
    with post.run():
        fates = await post.until(are_settled("m0", "m1", "m2", channels=("sms",)))
    assert fates["m1", "sms"] == ("sent", 2, None)  # the one in flight: its first attempt counts
    counts = sorted(post.sms.count(f"Stonks paper: subject of m{number}. body") for number in range(3))
    assert counts == [1, 1, most]


@pytest.mark.covers("R19.11")
async def test_dead_channels_fail_after_three_tries_and_come_back_without_a_storm(
    post: Post, sns: FakeSns, gmail: FakeGmail
) -> None:
    await post.prefer(1, BOTH)
    sns.always, gmail.always = "InternalFailure", "500"
    try:
        with post.run() as running:
            await post.tell(message("one"))
            fates = await post.until(are_settled("one"))
            assert fates["one", "sms"] == ("failed", 3, "SNS refused: InternalFailure")
            assert fates["one", "email"] == ("failed", 3, "Gmail answered 500")
            running.until(lambda here: here.checks().get("sms") is False and here.checks().get("email") is False)
            assert (post.sms, post.mails) == ([], [])
            alerts = [each for each in await post.topics.until("notifications", count=3) if each["channel"]]
            assert sorted(each["channel"] for each in alerts) == ["email", "sms"]  # each is told of on the other
            sns.always = gmail.always = None
            await post.tell(message("two"))
            await post.until(are_settled("one", "two"))
            for alert in alerts:
                await post.until(are_settled(alert["notification_id"], channels=(alert["channel"],)))
            running.until(lambda here: here.checks().get("sms") is True)
    finally:
        sns.always = gmail.always = None
    assert len(post.sms) <= 2
    assert len(post.mails) <= 2
    assert "Stonks paper: subject of two. body" in post.sms
    assert "Stonks paper: subject of two" in post.mails
    assert "Stonks paper: subject of one. body" not in post.sms


@pytest.mark.covers("R19.11")
async def test_a_dead_channel_holds_up_no_other_and_the_other_says_so_once(post: Post, gmail: FakeGmail) -> None:
    await post.prefer(1, BOTH)
    gmail.always = "revoked"
    try:
        with post.run():
            await post.tell(message("one"), message("two"))
            await post.until(are_settled("one", "two", channels=("sms",)), seconds=10)
            fates = await post.until(are_settled("one", "two"))
    finally:
        gmail.always = None
    reason = "the refresh token was refused: invalid_grant"
    assert (fates["one", "email"], fates["two", "email"]) == (("failed", 3, reason), ("failed", 3, reason))
    [warning] = [text for text in post.sms if "Messages by mail do not go out" in text]
    assert "mail failed: the refresh token was refused: invalid_grant" in warning
    assert len(post.sms) == 3


@pytest.mark.covers("R19.7")
async def test_a_storm_becomes_eight_sms_and_breakers_still_come_at_once(post: Post) -> None:
    only_sms = BOTH.model_copy(update={"channels": Channels(sms=True)})
    await post.prefer(1, only_sms)
    with post.run():
        await post.tell(*(message(f"m{number:02d}", "large_trade") for number in range(30)))
        await post.until(lambda _: len(post.sms) >= 8)
        await post.tell(message("b1"), message("b2"), message("late", "large_trade"))
        fates = await post.until(are_settled("b1", "b2", channels=("sms",)))
        assert fates["b1", "sms"] == fates["b2", "sms"] == ("sent", 1, None)
        assert len(post.sms) == 10
    with post.run():  # a restart forgets nothing of the hour
        await post.tell(message("b3"))
        await post.until(lambda fates: ("b3", "sms") in fates)
        await asyncio.sleep(1.5)  # it looks once a second
        assert len(post.sms) == 10
        await post.prefer(2, only_sms, at=NOON + minutes(61))  # event time passes
        fates = await post.until(lambda fates: all(fate[0] != "pending" for fate in fates.values()))
    assert fates["b3", "sms"][0] == "sent"
    assert len(post.sms) == 12  # what was left of the storm, and `late`, are one message
    assert {fate[0] for fate in fates.values()} == {"sent", "merged"}
    assert len([fate for fate in fates.values() if fate[0] == "merged"]) >= 30 - 7


async def test_by_the_wall_clock_what_is_older_than_a_day_is_old_and_no_credentials_are_named(post: Post) -> None:
    post.topics.settings = post.topics.settings.model_copy(update={"clock": "system"})
    await post.prefer(1, BOTH)
    await post.tell(message("old"), message("young", created_at=dt.datetime.now(dt.UTC)))
    with post.run(STONKS_GMAIL_REFRESH_TOKEN="", STONKS_GMAIL_SENDER="") as running:
        fates = await post.until(are_settled("old", "young"))
        running.until(lambda here: here.checks().get("email") is False)
    assert fates["old", "sms"] == fates["old", "email"] == ("dropped", 0, "older than a day")
    assert fates["young", "sms"] == ("sent", 1, None)
    assert fates["young", "email"] == ("failed", 0, "not set: STONKS_GMAIL_REFRESH_TOKEN, STONKS_GMAIL_SENDER")
    assert post.mails == []
