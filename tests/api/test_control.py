"""The operator's controls, end to end: HTTP to a real log, the real `react`, its result on the log, and back."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiokafka
import httpx
import pytest

from api import control
from api.parts import Parts, running
from streams.settings import Settings
from tests.api.conftest import api_on, as_role, client_of, settings_for
from tests.api.engine_double import EngineDouble

pytestmark = pytest.mark.integration
TRADING = "/api/trading"


@pytest.fixture
async def api(stack: Settings, engine: EngineDouble) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of an API whose engine obeys the log."""
    obeying = asyncio.create_task(engine.obey(stack))
    async with api_on(stack, listening=True) as client:
        yield client
    obeying.cancel()


@pytest.fixture
async def unheard(stack: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of an API whose engine never answers a command, and whose patience is short."""
    monkeypatch.setattr(control, "SECONDS_TO_APPLY", 0.5)
    async with api_on(stack, listening=True) as client:
        yield client


async def sent(settings: Settings) -> list[aiokafka.ConsumerRecord[bytes, bytes]]:
    """Read everything that is on `commands`."""
    consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=settings.kafka, auto_offset_reset="earliest")
    await consumer.start()
    places = [aiokafka.TopicPartition(settings.topic("commands"), number) for number in range(2)]
    consumer.assign(places)
    wanted = sum((await consumer.end_offsets(places)).values())
    records = [await consumer.getone() for _ in range(wanted)]
    await consumer.stop()
    return records


async def call(client: httpx.AsyncClient, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
    return await client.request(method, TRADING + path, json=body, headers=headers)


@pytest.mark.covers("R16.4")
async def test_pause_and_resume_answer_once_they_are_applied(api: httpx.AsyncClient, engine: EngineDouble) -> None:
    paused = await call(api, "POST", "/pause")
    assert paused.status_code == 200, paused.text
    assert engine.portfolio is not None
    assert engine.portfolio.paused
    assert paused.json() | {"command_id": "any"} == {
        "command_id": "any",
        "account_id": "paper",
        "accepted": True,
        "at": "2026-03-02T17:00:00Z",
        "trading_state": "reducing",
        "paused": True,
        "risk_tier": "moderate",
        "held": False,
    }
    assert (await api.get(f"{TRADING}/status")).json()["paused"] is True
    again = await call(api, "POST", "/pause", {})
    assert (again.status_code, again.json()["paused"]) == (200, True)
    resumed = await call(api, "POST", "/resume")
    assert (resumed.status_code, resumed.json()["trading_state"]) == (200, "active")


async def test_a_kill_is_confirmed_and_ends_only_by_a_confirmed_resume(api: httpx.AsyncClient) -> None:
    for body in (None, {}, {"confirm": "flatten"}, {"confirm": "FLATTEN", "more": 1}):
        assert (await call(api, "POST", "/kill", body)).status_code == 422
    killed = await call(api, "POST", "/kill", {"confirm": "FLATTEN", "reason": "a drill"})
    assert (killed.status_code, killed.json()["trading_state"]) == (200, "halted")
    for body in (None, {}, {"confirm": None}):
        refused = await call(api, "POST", "/resume", body)
        assert (refused.status_code, refused.json()["code"]) == (409, "halted_needs_confirmation")
    assert (await call(api, "POST", "/resume", {"confirm": "yes"})).status_code == 422
    assert (await api.get(f"{TRADING}/status")).json()["trading_state"] == "halted"
    resumed = await call(api, "POST", "/resume", {"confirm": "RESUME"})
    assert (resumed.status_code, resumed.json()["trading_state"]) == (200, "active")


@pytest.mark.covers("R5.6")
async def test_the_risk_tier_is_set_and_held_and_given_back(api: httpx.AsyncClient) -> None:
    chosen = await call(api, "PUT", "/risk-tier", {"risk_tier": "conservative"})
    assert (chosen.status_code, chosen.json()["risk_tier"], chosen.json()["held"]) == (200, "conservative", True)
    released = await call(api, "PUT", "/risk-tier", {"release": True})
    assert (released.status_code, released.json()["risk_tier"], released.json()["held"]) == (200, "conservative", False)
    for body in (
        {},
        {"risk_tier": "bold"},
        {"release": False},
        {"release": 1},
        {"release": "true"},
        {"risk_tier": "moderate", "release": True},
    ):
        assert (await call(api, "PUT", "/risk-tier", body)).status_code == 422


@pytest.mark.covers("R16.3")
async def test_a_tightening_is_in_force_when_it_is_answered(api: httpx.AsyncClient) -> None:
    answer = await call(api, "PUT", "/config", {"version": 1, "daily_loss_pct": "0.03", "max_open_positions": 5})
    assert answer.status_code == 200, answer.text
    assert (answer.json()["version"], answer.json()["daily_loss_pct"]) == (2, "0.03")
    assert (await api.get(f"{TRADING}/config")).json() == answer.json()


@pytest.mark.covers("R16.3")
async def test_a_loosening_needs_the_same_request_with_its_token(api: httpx.AsyncClient) -> None:
    body = {"version": 1, "tiers": {"moderate": {"max_position_pct": 0.12}}, "reserve_siphon_pct": "0.1"}
    asked = await call(api, "PUT", "/config", body)
    assert asked.status_code == 202
    assert asked.json()["loosens"] == ["reserve_siphon_pct", "tiers.moderate.max_position_pct"]
    assert asked.json()["expires_at"] == "2026-03-02T17:05:00Z"
    assert (await api.get(f"{TRADING}/config")).json()["version"] == 1
    token = asked.json()["confirmation_token"]
    other = await call(api, "PUT", "/config", body | {"reserve_siphon_pct": "0", "confirmation_token": token})
    assert (other.status_code, other.json()["code"]) == (409, "not_confirmed")
    done = await call(api, "PUT", "/config", body | {"confirmation_token": token})
    assert done.status_code == 200, done.text
    assert done.json()["tiers"]["moderate"]["max_position_pct"] == "0.12"
    assert done.json()["version"] == 2


WRONG_CHANGES: list[tuple[dict[str, Any], int, str]] = [
    ({"no_such_field": 1}, 422, "unknown_field"),
    ({"daily_loss_pct": "1.5"}, 422, "invalid_field"),
    ({"daily_loss_pct": 1e400}, 422, "unreadable"),  # json.dumps writes Infinity
    ({"daily_loss_pct": None}, 422, "invalid_field"),
    ({"max_open_positions": 2.5}, 422, "invalid_field"),
    ({"tiers": {"bold": {}}}, 422, "invalid_field"),
    ({"mode": "live"}, 422, "invalid_field"),
    ({"version": 7, "daily_loss_pct": "0.04"}, 409, "stale_version"),
    ({"version": "1"}, 422, "invalid_request"),
    ({"version": 0}, 422, "invalid_request"),
]


async def test_a_wrong_change_is_refused_and_changes_nothing(api: httpx.AsyncClient) -> None:
    before = (await api.get(f"{TRADING}/config")).json()
    for changes, status, code in WRONG_CHANGES:
        body = json.dumps({"version": 1} | changes).encode()
        answer = await api.put(f"{TRADING}/config", content=body, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
        assert answer.headers["content-type"] == "application/problem+json"
    assert (await api.get(f"{TRADING}/config")).json() == before


async def test_a_number_too_great_for_a_float_is_refused(api: httpx.AsyncClient) -> None:
    body = b'{"version": 1, "capital_limit": 1e400}'
    answer = await api.put(f"{TRADING}/config", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")


@pytest.mark.covers("R3.7")
async def test_the_reserve_takes_free_cash_and_no_more(api: httpx.AsyncClient) -> None:
    moved = await call(api, "POST", "/reserve/adjust", {"amount": "50.25", "reason": "savings"})
    assert moved.status_code == 200, moved.text
    assert (await api.get(f"{TRADING}/status")).json()["reserve_pool"] == "50.25"
    for amount in ("1000", "-50.26", "0", "0.001", "NaN"):
        refused = await call(api, "POST", "/reserve/adjust", {"amount": amount, "reason": "greed"})
        assert refused.status_code == 422, refused.text


async def test_a_command_is_sent_as_the_contract_says(api: httpx.AsyncClient, stack: Settings) -> None:
    await call(api, "POST", "/pause", **{"Idempotency-Key": "my-key"}, **as_role("operator"))
    (record,) = await sent(stack)
    assert record.key == b"paper"
    assert json.loads(record.value) == {
        "kind": "pause",
        "command_id": "my-key",
        "account_id": "paper",
        "issued_by": "api:operator",
        "at": None,
    }


async def test_a_repeated_key_gets_the_first_answer_and_sends_nothing(api: httpx.AsyncClient, stack: Settings) -> None:
    key = {"Idempotency-Key": "once"}
    first, second = await asyncio.gather(call(api, "POST", "/pause", **key), call(api, "POST", "/pause", **key))
    third = await call(api, "POST", "/pause", **key)
    assert first.json() == second.json() == third.json()
    assert first.json()["command_id"] == "once"
    assert len(await sent(stack)) == 1
    other = await call(api, "POST", "/kill", {"confirm": "FLATTEN"}, **key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_a_command_that_is_not_applied_in_time_is_accepted_with_its_id(unheard: httpx.AsyncClient) -> None:
    answer = await call(unheard, "POST", "/pause", **{"Idempotency-Key": "patience"})
    assert (answer.status_code, answer.json()) == (202, {"command_id": "patience"})


async def test_a_command_applied_but_not_yet_in_the_row_is_not_called_done(
    stack: Settings, engine: EngineDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "SECONDS_TO_APPLY", 2.0)
    obeying = asyncio.create_task(engine.obey(stack))
    async with api_on(stack, listening=True) as client:
        engine.shown_seq = engine.seq
        assert (await call(client, "POST", "/pause")).status_code == 202
        engine.shown_seq = None
        assert (await call(client, "POST", "/pause")).status_code == 200
    obeying.cancel()


async def test_without_kafka_a_command_is_a_503_problem_that_names_its_id(engine: EngineDouble) -> None:
    parts = Parts.of(settings_for(worker_urls=(engine.url,), internal_token=engine.token))
    async with running(parts), client_of(parts) as client:
        answer = await call(client, "POST", "/pause", **{"Idempotency-Key": "lost"})
    assert (answer.status_code, answer.json()["code"]) == (503, "kafka_unavailable")
    assert answer.json()["command_id"] == "lost"
