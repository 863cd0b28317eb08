"""Notification preferences and earnings dates over HTTP: what is shown, what is sent, and what is refused."""

import json
from collections.abc import AsyncIterator
from typing import Any, get_args

import httpx
import pytest

from api import control
from api.bodies import PreferencesChange
from api.notifications import changes_of
from streams.settings import Settings
from tests.api.conftest import api_on, as_role
from tests.api.test_control import call, sent
from trading.effects import EventType

PHONE = "+15551234567"


@pytest.fixture
async def unheard(stack: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of an API whose engine never answers a command, and whose patience is short."""
    monkeypatch.setattr(control, "SECONDS_TO_APPLY", 0.5)
    async with api_on(stack, listening=True) as client:
        yield client


def changed(**changes: Any) -> dict[str, Any]:
    return changes_of(PreferencesChange.model_validate({"version": 3} | changes))


def test_only_what_is_sent_changes() -> None:
    assert changed() == {}
    assert changed(channels={"email": True}) == {"channels": {"email": True}}
    assert changed(event_types=[]) == {"event_types": []}
    assert changed(event_types=None, channels=None, sms_per_hour=None) == {}
    assert changed(sms_target=None) == {"sms_target": None}


@pytest.mark.integration
@pytest.mark.covers("R19.9")
async def test_an_account_without_preferences_of_its_own_has_those_of_the_requirement(
    unheard: httpx.AsyncClient,
) -> None:
    answer = await unheard.get("/api/trading/notifications/config")
    assert answer.json() == {
        "version": 1,
        "channels": {"sms": False, "email": False},
        "sms_target": None,
        "email_target": None,
        "event_types": list(get_args(EventType)),
        "sms_per_hour": 10,
        "emails_per_hour": 20,
        "summary_minutes_after_close": 30,
    }


COMMANDS: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    (
        "PUT",
        "/notifications/config",
        {"version": 1, "channels": {"sms": True}, "sms_target": PHONE, "event_types": ["kill"]},
        {
            "kind": "update_notifications",
            "version": 1,
            "changes": {"channels": {"sms": True}, "sms_target": PHONE, "event_types": ["kill"]},
        },
    ),
    ("POST", "/notifications/test", {"channel": "email"}, {"kind": "test_notification", "channel": "email"}),
    (
        "PUT",
        "/earnings",
        {"symbol": "AAPL", "earnings_on": "2026-04-30", "session": "bmo"},
        {"kind": "flag_earnings", "symbol": "AAPL", "earnings_on": "2026-04-30", "session": "bmo"},
    ),
]


@pytest.mark.integration
@pytest.mark.parametrize("case", COMMANDS, ids=[each[1] for each in COMMANDS])
async def test_each_is_a_command_to_the_log(
    unheard: httpx.AsyncClient, stack: Settings, case: tuple[str, str, dict[str, Any], dict[str, Any]]
) -> None:
    method, path, body, command = case
    answer = await call(unheard, method, path, body, **{"Idempotency-Key": "mine"}, **as_role("operator"))
    assert (answer.status_code, answer.json()) == (202, {"command_id": "mine"})
    (record,) = await sent(stack)
    common = {"command_id": "mine", "account_id": "paper", "issued_by": "api:operator", "at": None}
    assert json.loads(record.value) == common | command


WRONG: list[tuple[str, str, Any]] = [
    ("PUT", "/notifications/config", {}),
    ("PUT", "/notifications/config", {"version": 0}),
    ("PUT", "/notifications/config", {"version": 1, "more": 1}),
    ("PUT", "/notifications/config", {"version": 1, "channels": {"fax": True}}),
    ("PUT", "/notifications/config", {"version": 1, "channels": {"sms": 1}}),
    ("PUT", "/notifications/config", {"version": 1, "event_types": ["rain"]}),
    ("PUT", "/notifications/config", {"version": 1, "sms_per_hour": 0}),
    ("PUT", "/notifications/config", {"version": 1, "emails_per_hour": 1001}),
    ("PUT", "/notifications/config", {"version": 1, "sms_target": 15551234567}),
    ("PUT", "/notifications/config", {"version": 1, "sms_target": "+" + "1" * 300}),
    ("PUT", "/notifications/config", {"version": 1, "summary_minutes_after_close": 721}),
    ("POST", "/notifications/test", {}),
    ("POST", "/notifications/test", {"channel": "pigeon"}),
    ("POST", "/notifications/test", {"channel": "sms", "more": 1}),
    ("PUT", "/earnings", {"symbol": "AAPL", "session": "amc"}),
    ("PUT", "/earnings", {"symbol": "aapl", "earnings_on": "2026-04-30", "session": "amc"}),
    ("PUT", "/earnings", {"symbol": "AAPL", "earnings_on": "2026-04-31", "session": "amc"}),
    ("PUT", "/earnings", {"symbol": "AAPL", "earnings_on": 1777507200, "session": "amc"}),
    ("PUT", "/earnings", {"symbol": "AAPL", "earnings_on": "2026-04-30", "session": "noon"}),
    ("PUT", "/earnings", {"symbol": "AAPL", "earnings_on": "2026-04-30", "session": "amc", "source": "me"}),
]


@pytest.mark.integration
async def test_what_is_out_of_bounds_is_refused_and_sends_nothing(unheard: httpx.AsyncClient, stack: Settings) -> None:
    for method, path, body in WRONG:
        answer = await call(unheard, method, path, body)
        assert answer.status_code == 422, (path, body, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
    assert await sent(stack) == []
