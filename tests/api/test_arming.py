"""Live arming over HTTP: the armer alone, confirmed, until the session's close, through a real log and `react`."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from streams.settings import Settings
from tests.api.conftest import api_on, as_role
from tests.api.engine_double import EngineDouble

ARM = "/api/trading/arm"
LIVE = {"confirm": "LIVE"}
CLOSE = "2026-03-02T21:00:00Z"  # of the Monday on which the double's account stands at noon


@pytest.mark.parametrize(("role", "status"), [(None, 401), ("viewer", 403), ("operator", 403)])
async def test_the_armers_token_alone_may_arm_whatever_the_body(
    lone: httpx.AsyncClient, role: str | None, status: int
) -> None:
    for body in (b"", b"not json", b'{"confirm": "LIVE"}'):
        answer = await lone.post(ARM, content=body, headers=as_role(role))
        assert answer.status_code == status
        assert "armer" in answer.text or role is None


@pytest.mark.parametrize("path", ["/api/trading/arm/", "/api/trading//arm", "/api/trading/ARM", "//api/trading/arm"])
async def test_no_other_spelling_of_the_path_arms(lone: httpx.AsyncClient, path: str) -> None:
    answer = await lone.post(httpx.URL("http://api" + path), json=LIVE, headers=as_role("operator"))
    assert answer.status_code in {403, 404}


async def test_an_encoded_path_is_the_same_path_for_the_guard(lone: httpx.AsyncClient) -> None:
    answer = await lone.post("/api/trading/%61rm", json=LIVE, headers=as_role("operator"))
    assert answer.status_code == 403


@pytest.mark.parametrize("body", [None, {}, {"confirm": "live"}, {"until": CLOSE}, LIVE | {"until": "2026-03-02"}])
async def test_arming_is_confirmed_in_so_many_letters(lone: httpx.AsyncClient, body: object) -> None:
    answer = await lone.post(ARM, json=body, headers=as_role("armer"))
    assert answer.status_code == 422


@pytest.fixture
async def engine() -> AsyncIterator[EngineDouble]:
    """Give an engine double whose account trades live."""
    double = EngineDouble(token="internal-canary-4", mode="live")
    async with double.serving() as url:
        double.url = url
        yield double


@pytest.mark.integration
async def test_arming_lasts_until_the_close_and_the_status_says_so(stack: Settings, engine: EngineDouble) -> None:
    obeying = asyncio.create_task(engine.obey(stack))
    async with api_on(stack, listening=True) as client:
        before = (await client.get("/api/trading/status")).json()
        assert (before["mode"], before["armed_until"], before["trading_state"]) == ("live", None, "reducing")
        armed = await client.post(ARM, json=LIVE)
        assert (armed.status_code, armed.json()["armed_until"]) == (200, CLOSE)
        after = (await client.get("/api/trading/status")).json()
        assert (after["armed_until"], after["trading_state"]) == (CLOSE, "active")
        shorter = await client.post(ARM, json=LIVE | {"until": "2026-03-02T18:00:00Z"})
        assert shorter.json()["armed_until"] == "2026-03-02T18:00:00Z"
        past = await client.post(ARM, json=LIVE | {"until": "2026-03-02T16:00:00Z"})
        assert (past.status_code, past.json()["code"]) == (422, "invalid_field")
    obeying.cancel()
