"""What every request passes first: token, role, rate, size; and what every answer carries."""

import dataclasses

import httpx
import pytest

from api.guard import MAX_BODY_BYTES, SECURITY_HEADERS
from api.parts import Parts
from api.tokens import REQUESTS_PER_SECOND, RateLimit, Role, Tokens
from tests.api.conftest import TOKENS, as_role, client_of, settings_for

SECRET_ROUTES = ["/api/trading/status", "/metrics", "/openapi.json", "/api/trading/nowhere", "/nowhere"]


@pytest.mark.covers("R1.7")
@pytest.mark.parametrize("path", ["/health", "/ready"])
async def test_health_and_readiness_need_no_token(lone: httpx.AsyncClient, path: str) -> None:
    assert (await lone.get(path)).status_code in {200, 503}


@pytest.mark.parametrize("path", SECRET_ROUTES)
@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Bearer wrong", "Basic " + TOKENS["armer"], TOKENS["armer"], "Bearer ÿ\x7f"],
)
async def test_without_a_right_token_nobody_learns_which_paths_exist(
    lone: httpx.AsyncClient, path: str, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization.encode("latin-1")}
    answer = await lone.get(path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "unauthorized"


async def test_an_unset_token_admits_nobody() -> None:
    settings = settings_for(api_token_viewer="", api_token_operator="", api_token_armer="")
    async with client_of(Parts.of(settings), role=None) as client:
        for presented in ("", "None", TOKENS["viewer"]):
            answer = await client.get("/metrics", headers={"Authorization": f"Bearer {presented}"})
            assert answer.status_code == 401


@pytest.mark.parametrize("path", ["/api/trading/pause", "/api/trading/kill", "/api/trading/nowhere"])
async def test_a_viewer_may_not_write_whatever_the_path_and_the_body(lone: httpx.AsyncClient, path: str) -> None:
    for body in (b"", b"not json", b"x" * (MAX_BODY_BYTES + 1)):
        answer = await lone.post(path, content=body, headers=as_role("viewer"))
        assert answer.status_code == 403
        assert answer.json()["code"] == "forbidden"


async def test_an_unknown_path_is_a_problem_document_for_whoever_may_look(lone: httpx.AsyncClient) -> None:
    for method, role in (("GET", "viewer"), ("POST", "operator"), ("PUT", "armer")):
        answer = await lone.request(method, "/api/trading/nowhere", headers=as_role(role))
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_wrong_method_is_a_problem_document(lone: httpx.AsyncClient) -> None:
    answer = await lone.delete("/api/trading/status", headers=as_role("operator"))
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_body_over_the_limit_is_refused_whole_or_in_pieces(lone: httpx.AsyncClient) -> None:
    async def pieces():
        for _ in range(MAX_BODY_BYTES // 1000 + 1):
            yield b"x" * 1000

    for body in (b"x" * (MAX_BODY_BYTES + 1), pieces()):
        answer = await lone.post("/api/trading/pause", content=body, headers=as_role("operator"))
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


@pytest.mark.parametrize(
    "body",
    [b"{", b"\xff", b'{"confirm": NaN}', b'{"reason": "\\ud800"}', b"[" * 5000, b'{"version": ' + b"9" * 5000 + b"}"],
)
async def test_what_is_not_json_is_refused(lone: httpx.AsyncClient, body: bytes) -> None:
    for path in ("/api/trading/kill", "/api/trading/resume"):
        answer = await lone.post(path, content=body, headers=as_role("operator") | {"Content-Type": "application/json"})
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"


async def test_every_answer_carries_the_security_headers(lone: httpx.AsyncClient) -> None:
    for path in ("/health", "/ready", "/nowhere", "/metrics"):
        answer = await lone.get(path)
        assert {name: answer.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
        assert "access-control-allow-origin" not in answer.headers


def test_a_token_has_the_highest_role_it_was_given() -> None:
    tokens = Tokens({Role.VIEWER: "same", Role.ARMER: "same", Role.OPERATOR: "other"})
    assert tokens.role_of(b"Bearer same") is Role.ARMER
    assert tokens.role_of(b"bearer other") is Role.OPERATOR
    assert tokens.role_of(b"Bearer different") is None


def test_no_token_is_held_as_it_was_given() -> None:
    held = vars(Tokens({Role.VIEWER: "viewer-canary"}))
    assert b"viewer-canary" not in repr(held).encode()


def test_the_rate_limit_lets_its_number_a_second_through_and_refills() -> None:
    now = 0.0
    limit = RateLimit(100, monotonic=lambda: now)
    assert sum(limit.admits(Role.VIEWER) for _ in range(150)) == 100
    assert limit.admits(Role.OPERATOR)
    now = 0.5
    assert sum(limit.admits(Role.VIEWER) for _ in range(150)) == 50


async def test_too_many_requests_are_a_problem_document_and_leave_other_tokens_alone() -> None:
    parts = dataclasses.replace(Parts.of(settings_for()), rate_limit=RateLimit(120, monotonic=lambda: 0.0))
    async with client_of(parts, role="viewer") as client:
        statuses = [(await client.get("/metrics")).status_code for _ in range(125)]
        assert statuses == [200] * 120 + [429] * 5
        refused = await client.get("/api/trading/status")
        assert (refused.json()["code"], refused.headers["Retry-After"]) == ("too_many_requests", "1")
        assert (await client.get("/metrics", headers=as_role("operator"))).status_code == 200


def test_a_token_may_send_well_over_a_hundred_requests_a_second() -> None:
    assert REQUESTS_PER_SECOND >= 200


async def test_an_error_nobody_expected_is_a_problem_document_that_tells_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts = Parts.of(settings_for())

    def fails() -> bytes:
        raise RuntimeError("a secret in an error")

    monkeypatch.setattr(parts.meters, "exposition", fails)
    async with client_of(parts) as client:
        answer = await client.get("/metrics")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "secret" not in answer.text
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
