"""Notification preferences (R19.1, R19.9): versioned like the policy, and their targets never shown whole."""

import json
from decimal import Decimal
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trading.desk import Desk
from trading import preferences
from trading.effects import EventType
from trading.portfolio import Portfolio, row_bytes
from trading.preferences import NotificationPreferences

D = Decimal
PHONE, ADDRESS = "+15551234567", "operator@example.com"


def update(desk: Desk, **changes: Any) -> Any:
    return desk.command("update_notifications", version=desk.row.preferences.version, changes=changes)


@pytest.mark.covers("R19.7")
@pytest.mark.covers("R19.9")
def test_preferences_begin_with_the_defaults_of_the_requirements() -> None:
    found = Desk().row.preferences
    assert (found.version, found.channels.sms, found.channels.email) == (1, False, False)
    assert (found.sms_per_hour, found.emails_per_hour, found.summary_minutes_after_close) == (10, 20, 30)
    assert (found.sms_target, found.email_target) == (None, None)
    assert found.event_types == get_args(EventType)


@pytest.mark.covers("R19.1")
@pytest.mark.covers("R19.9")
def test_an_accepted_change_is_in_force_at_once_and_survives_a_restart() -> None:
    desk = Desk()
    assert update(desk, channels={"sms": True}, sms_target=PHONE, event_types=["kill", "alert"]).accepted
    assert update(desk, channels={"email": True}, email_target=ADDRESS, sms_per_hour=5).accepted
    desk.restart()
    found = desk.row.preferences
    assert (found.version, found.channels.sms, found.channels.email) == (3, True, True)
    assert (found.sms_target, found.email_target, found.sms_per_hour) == (PHONE, ADDRESS, 5)
    assert found.event_types == ("kill", "alert")
    assert desk.row.policy.version == 1


def test_a_target_is_switched_off_by_null() -> None:
    desk = Desk()
    update(desk, sms_target=PHONE)
    assert update(desk, sms_target=None).accepted
    assert desk.row.preferences.sms_target is None


def test_an_sns_topic_is_a_target_too() -> None:
    desk = Desk()
    assert update(desk, sms_target="arn:aws:sns:us-east-1:123456789012:stonks").accepted


def test_a_stale_version_is_refused() -> None:
    desk = Desk()
    update(desk, sms_per_hour=5)
    result = desk.command("update_notifications", version=1, changes={"sms_per_hour": 4})
    assert (result.accepted, result.error) == (False, "stale_version: the preferences are at version 2")
    assert desk.row.preferences.sms_per_hour == 5


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"no_such_field": 1}, "unknown_field: no_such_field"),
        ({"version": 7}, "unknown_field: version"),
        ({"channels": {"fax": True}}, "invalid_field: channels.fax"),
        ({"channels": {"sms": "yes"}}, "invalid_field: channels.sms"),
        ({"channels": True}, "invalid_field: channels"),
        ({"sms_per_hour": 0}, "invalid_field: sms_per_hour"),
        ({"sms_per_hour": 1001}, "invalid_field: sms_per_hour"),
        ({"emails_per_hour": "many"}, "invalid_field: emails_per_hour"),
        ({"summary_minutes_after_close": 721}, "invalid_field: summary_minutes_after_close"),
        ({"summary_minutes_after_close": -1}, "invalid_field: summary_minutes_after_close"),
        ({"event_types": ["gossip"]}, "invalid_field: event_types.0"),
        ({"event_types": ["kill"] * 51}, "invalid_field: event_types"),
        ({"sms_target": "call me"}, "invalid_field: sms_target"),
        ({"sms_target": 15551234567}, "invalid_field: sms_target"),
        ({"email_target": "a@b\r\nBcc: c@d"}, "invalid_field: email_target"),
        ({"email_target": "x" * 300 + "@y"}, "invalid_field: email_target"),
        ({"\x00": 1}, "unknown_field: ?"),
    ],
)
def test_what_is_unknown_or_out_of_range_is_refused_and_changes_nothing(changes: dict[str, Any], error: str) -> None:
    desk = Desk()
    update(desk, sms_target=PHONE)
    before = desk.row.preferences
    result = update(desk, **changes)
    assert not result.accepted
    assert result.error.startswith(error)
    assert desk.row.preferences == before
    assert PHONE not in result.model_dump_json()


def test_a_masked_target_that_is_not_the_one_that_was_shown_is_refused() -> None:
    desk = Desk()
    update(desk, sms_target=PHONE)
    for changes in ({"sms_target": "***99"}, {"email_target": "o***@***"}):
        result = update(desk, **changes)
        assert (result.accepted, result.error.split(":")[0]) == (False, "invalid_field")
    assert desk.row.preferences.sms_target == PHONE


@pytest.mark.covers("R19.9")
def test_a_masked_target_keeps_the_old_one() -> None:
    desk = Desk()
    update(desk, sms_target=PHONE, email_target=ADDRESS)
    shown = preferences.masked(desk.row.preferences)
    assert (shown["sms_target"], shown["email_target"]) == ("***67", "o***@***")
    changes = {name: value for name, value in shown.items() if name != "version"} | {"sms_per_hour": 7}
    assert update(desk, **changes).accepted
    found = desk.row.preferences
    assert (found.sms_target, found.email_target, found.sms_per_hour) == (PHONE, ADDRESS, 7)


def test_no_effect_but_the_row_itself_shows_a_target() -> None:
    desk = Desk()
    update(desk, sms_target=PHONE, email_target=ADDRESS)
    update(desk, sms_target="+442071234599", email_target="another@example.org")
    shown = [effect.model_dump_json() for effect in desk.effects if getattr(effect, "kind", "") != "account_state"]
    for secret in (PHONE, ADDRESS, "+442071234599", "another@example.org", "example"):
        assert not [text for text in shown if secret in text]
    alert = [alert for alert in desk.records("alert") if alert.subject == "Notification preferences changed"][-1]
    assert alert.body == (
        'Version 3, by operator: sms_target from "***67" to "***99", email_target from "o***@***" to "a***@***".'
    )
    assert alert.severity == "info"
    assert desk.notifications == []


@pytest.mark.parametrize("channel", ["sms", "email"])
def test_a_test_message_names_its_channel(channel: str) -> None:
    desk = Desk()
    assert desk.command("test_notification", channel=channel).accepted
    notices = [notice for notice in desk.notifications if notice.event_type == "test"]
    assert [(notice.channel, notice.severity) for notice in notices] == [(channel, "info")]
    desk.command("kill", reason="x")
    assert desk.notifications[-1].channel is None


CHANGES = st.dictionaries(
    st.sampled_from([*NotificationPreferences.model_fields, "other", ""]),
    st.none()
    | st.booleans()
    | st.integers(-5, 2000)
    | st.text(max_size=10)
    | st.sampled_from([PHONE, ADDRESS, "***67", ["kill"], {"sms": True}, {"email": None}, 1e400]),
    max_size=4,
)


@given(st.lists(CHANGES, max_size=6))
def test_whatever_is_asked_the_preferences_stay_valid_and_count_their_changes(asked: list[dict[str, Any]]) -> None:
    found = NotificationPreferences()
    accepted = 0
    for changes in asked:
        after = preferences.revised(found, changes)
        if isinstance(after, NotificationPreferences):
            found, accepted = after, accepted + 1
        else:
            assert after[0] in ("unknown_field", "invalid_field")
    assert found.version == 1 + accepted
    assert NotificationPreferences.model_validate_json(found.model_dump_json()) == found
    shown = json.dumps(preferences.masked(found))
    assert found.sms_target is None or found.sms_target not in shown
    assert found.email_target is None or found.email_target not in shown


def test_a_row_without_these_fields_is_read_with_their_defaults() -> None:
    desk = Desk()
    old = json.loads(row_bytes(desk.row))
    for name in ("history", "peak_value", "max_drawdown", "in_emergency", "tripped_on", "preferences", "summary"):
        del old[name]
    desk.portfolio = Portfolio.model_validate_json(json.dumps(old))
    desk.clock(desk.now)
    assert (desk.row.peak_value, desk.row.preferences.version) == (500, 1)
