"""The hour's limit of a channel: never passed, never starving a breaker, nothing lost, nothing said twice (R19.7)."""

import dataclasses
import datetime as dt
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.delivery_rules import HOUR, KEPT, STALE, TOO_OLD, Sent, Waiting, is_urgent, merged, plan
from trading.effects import Notification

NOON = dt.datetime(2026, 3, 16, 16, tzinfo=dt.UTC)
SEVERITY: dict[str, str] = {"breaker_triggered": "critical", "kill": "critical", "alert": "warning", "test": "info"}


def message(
    number: int, event_type: Any = "large_trade", *, at: dt.datetime = NOON, severity: Any = None
) -> Notification:
    """Return a message; ids grow with their number."""
    return Notification(
        notification_id=f"n-{number:04d}",
        account_id="paper",
        event_type=event_type,
        severity=severity or SEVERITY.get(event_type, "info"),
        subject=f"subject {number}",
        body="body",
        created_at=at,
    )


def waiting(*messages: Notification) -> list[Waiting]:
    return [Waiting(each) for each in messages]


def ids_of(parcel: tuple[Waiting, ...]) -> list[str]:
    return [each.message.notification_id for each in parcel]


@dataclasses.dataclass
class Channel:
    """A channel that always works, driven as a lane drives it: whatever may go out goes out at once."""

    limit: int
    waiting: list[Waiting] = dataclasses.field(default_factory=list)
    sent: list[Sent] = dataclasses.field(default_factory=list)
    ends: Counter[str] = dataclasses.field(default_factory=Counter)
    alone_at: dict[str, dt.datetime] = dataclasses.field(default_factory=dict)

    def turn(self, now: dt.datetime) -> None:
        while True:
            chosen = plan(self.waiting, self.sent, limit=self.limit, now=now)
            gone = [*(each for each, _ in chosen.dropped), *chosen.parcel]
            self.ends.update(each.message.notification_id for each in gone)
            self.waiting = [each for each in self.waiting if each not in gone]
            if not chosen.parcel:
                return
            self.sent.append(Sent(now, all(is_urgent(each.message.event_type) for each in chosen.parcel)))
            for each in chosen.parcel:
                self.alone_at[each.message.notification_id] = now


ARRIVALS = st.lists(
    st.tuples(
        st.integers(min_value=0, max_value=30 * 60),
        st.sampled_from(["large_trade", "alert", "breaker_triggered", "kill", "tier_changed", "test", "daily_summary"]),
    ),
    max_size=80,
)


@given(arrivals=ARRIVALS, limit=st.integers(min_value=1, max_value=25))
@pytest.mark.covers("R19.7")
def test_no_sliding_hour_has_more_than_the_limit_and_no_breaker_alert_waits_for_a_kept_slot(
    arrivals: list[tuple[int, str]], limit: int
) -> None:
    channel, now = Channel(limit), NOON
    for number, (seconds, event_type) in enumerate(arrivals):
        for _ in range(seconds // 60):  # a lane looks again while something waits
            now += dt.timedelta(minutes=1)
            channel.turn(now)
        lately = [each for each in channel.sent if each.urgent and each.at > now - HOUR]
        no_urgent_waits = not any(is_urgent(each.message.event_type) for each in channel.waiting)
        channel.waiting.append(Waiting(message(number, event_type, at=now)))
        channel.turn(now)
        if is_urgent(event_type) and no_urgent_waits and len(lately) < min(KEPT, limit):
            assert channel.alone_at[f"n-{number:04d}"] == now
    for first in channel.sent:
        hour = [each for each in channel.sent if first.at <= each.at < first.at + HOUR]
        assert len(hour) <= limit
        assert sum(not each.urgent for each in hour) <= max(0, limit - KEPT)
    while channel.waiting:
        now += HOUR
        channel.turn(now)
        assert now < NOON + TOO_OLD * 4
    assert set(channel.ends) == {f"n-{number:04d}" for number in range(len(arrivals))}
    assert set(channel.ends.values()) <= {1}


def test_by_default_eight_sms_an_hour_are_for_anything_and_two_are_kept() -> None:
    channel = Channel(10)
    channel.waiting = waiting(*(message(number) for number in range(30)))
    channel.turn(NOON)
    assert len(channel.sent) == 8  # seven alone, 23 in the eighth
    assert channel.waiting == []
    channel.waiting = waiting(message(50), message(51, "breaker_triggered"), message(52, "kill"))
    channel.turn(NOON + dt.timedelta(minutes=5))
    assert [each.urgent for each in channel.sent[8:]] == [True, True]
    assert ids_of(tuple(channel.waiting)) == ["n-0050"]
    channel.turn(NOON + HOUR - dt.timedelta(seconds=1))
    assert len(channel.sent) == 10
    channel.turn(NOON + HOUR)
    assert channel.waiting == []


def test_the_least_important_are_the_ones_that_are_merged() -> None:
    channel = Channel(5)
    told = [message(number) for number in range(4)] + [message(9, "alert", severity="critical"), message(8, "alert")]
    parcels = []
    for _ in range(3):
        parcel = plan(waiting(*told), channel.sent, limit=5, now=NOON).parcel
        parcels.append(ids_of(parcel))
        told = [each for each in told if each.notification_id not in parcels[-1]]
        channel.sent.append(Sent(NOON, urgent=False))
    assert parcels == [["n-0009"], ["n-0008"], ["n-0000", "n-0001", "n-0002", "n-0003"]]


def test_a_breaker_goes_before_everything_else_that_waits() -> None:
    chosen = plan(waiting(message(1, "alert"), message(2, "kill")), [], limit=10, now=NOON)
    assert ids_of(chosen.parcel) == ["n-0002"]


def test_after_an_outage_what_only_informs_comes_as_one_message_and_alerts_one_by_one() -> None:
    old = NOON - STALE - dt.timedelta(seconds=1)
    told = waiting(*(message(number, at=old) for number in range(5)), message(6, "alert", at=old), message(7))
    assert ids_of(plan(told, [], limit=20, now=NOON).parcel) == [f"n-{number:04d}" for number in range(5)]
    one = plan(waiting(message(1, at=old)), [], limit=20, now=NOON)
    assert ids_of(one.parcel) == ["n-0001"]


def test_what_is_older_than_a_day_is_never_sent() -> None:
    at_the_edge, older = NOON - TOO_OLD, NOON - TOO_OLD - dt.timedelta(seconds=1)
    chosen = plan(waiting(message(1, "kill", at=older), message(2, "kill", at=at_the_edge)), [], limit=10, now=NOON)
    assert [(each.message.notification_id, reason) for each, reason in chosen.dropped] == [
        ("n-0001", "older than a day")
    ]
    assert ids_of(chosen.parcel) == ["n-0002"]


def test_a_limit_of_two_is_for_breakers_alone_and_says_so() -> None:
    chosen = plan(waiting(message(1), message(2, "breaker_triggered")), [], limit=2, now=NOON)
    assert [reason for _, reason in chosen.dropped] == [
        "a limit of 2 an hour leaves room for breaker and kill alerts alone"
    ]
    assert ids_of(chosen.parcel) == ["n-0002"]


def test_a_message_that_was_tried_before_is_finished_first_and_never_merged() -> None:
    begun = Waiting(message(9), attempts=1)
    chosen = plan([*waiting(message(1), message(2)), begun], [], limit=3, now=NOON)
    assert ids_of(chosen.parcel) == ["n-0009"]


def test_a_merged_message_names_each_and_has_an_id_of_theirs() -> None:
    one, two = message(1), message(2, "alert", at=NOON + dt.timedelta(minutes=1))
    both = merged([two, one])
    assert both == merged([one, two])
    assert both.notification_id != merged([one]).notification_id
    assert (both.event_type, both.severity, both.created_at) == ("alert", "warning", two.created_at)
    assert both.body.splitlines() == [
        "2026-03-16 16:00 UTC info: subject 1",
        "2026-03-16 16:01 UTC warning: subject 2",
    ]
    many = merged([message(number) for number in range(100)])
    assert (len(many.body.splitlines()), many.body.splitlines()[-1]) == (41, "and 60 more")
    assert many.event_type == "large_trade"
    assert is_urgent(merged([message(1, "kill"), message(2, "breaker_triggered")]).event_type)
