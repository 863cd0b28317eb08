"""A walk over the OpenAPI document: each route has its guard, its models and its problems, and no body breaks it."""

import dataclasses
import json
import re
import urllib.parse
from typing import Any, get_args

import httpx
import hypothesis
import pytest
from hypothesis import strategies as st

from api.app import create_app
from api.parts import Parts
from api.tokens import RateLimit
from streams.codec import encode
from tests.api.conftest import TOKENS, as_role, settings_for
from trading.effects import EventType
from trading.policy import TradingPolicy

OPEN = {"/health", "/ready"}
WANTED = {
    "GET": {
        "/health",
        "/ready",
        "/metrics",
        "/api/trading/status",
        "/api/trading/config",
        "/api/trading/decisions",
        "/api/trading/decisions/{decision_id}",
        "/api/trading/positions",
        "/api/trading/orders",
        "/api/trading/trades",
        "/api/trading/tax-lots",
        "/api/trading/stops",
        "/api/trading/reserve",
        "/api/trading/portfolio",
        "/api/trading/risk-tier",
        "/api/trading/circuit-breakers",
        "/api/trading/metrics",
        "/api/trading/snapshots",
        "/api/trading/micro",
        "/api/trading/notifications",
        "/api/trading/notifications/config",
        "/api/trading/earnings",
        "/api/trading/alerts",
        "/api/trading/streams",
    },
    "PUT": {
        "/api/trading/config",
        "/api/trading/risk-tier",
        "/api/trading/notifications/config",
        "/api/trading/earnings",
    },
    "POST": {
        "/api/trading/pause",
        "/api/trading/resume",
        "/api/trading/kill",
        "/api/trading/arm",
        "/api/trading/reserve/adjust",
        "/api/trading/notifications/test",
    },
}
PARTS = dataclasses.replace(Parts.of(settings_for()), rate_limit=RateLimit(1e9))
APP = create_app(PARTS)
DOCUMENT: dict[str, Any] = APP.openapi()
ROUTES = [
    (method.upper(), path, operation)
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
]
GUARDED = [(method, path) for method, path, _ in ROUTES if path not in OPEN]


def test_the_document_lists_every_route_of_the_contract() -> None:
    for method, paths in WANTED.items():
        assert paths <= {path for each, path, _ in ROUTES if each == method}


def test_every_reference_in_the_document_resolves() -> None:
    named = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(DOCUMENT)))
    assert named <= set(DOCUMENT["components"]["schemas"])


def test_every_guarded_route_says_so_and_every_trading_route_takes_an_account() -> None:
    for _, path, operation in ROUTES:
        assert ("security" in operation) == (path not in OPEN), path
        if path.startswith("/api/trading"):
            assert "account_id" in {parameter["name"] for parameter in operation["parameters"]}, path


def test_every_route_has_a_model_for_its_answer() -> None:
    for _, path, operation in ROUTES:
        for status, answer in operation["responses"].items():
            schemas = [content.get("schema") for content in answer["content"].values()]
            assert any(schemas), f"{path} {status}"


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_without_a_token_every_route_answers_401(lone: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await lone.request(method, path)
    assert answer.status_code == 401


@pytest.mark.parametrize(("method", "path"), [route for route in GUARDED if route[0] != "GET"])
async def test_with_the_viewers_token_every_writing_route_answers_403(
    lone: httpx.AsyncClient, method: str, path: str
) -> None:
    answer = await lone.request(method, path, json={"nonsense": True}, headers=as_role("viewer"))
    assert answer.status_code == 403


@pytest.mark.parametrize(("method", "path"), GUARDED)
@pytest.mark.parametrize("role", ["operator", "armer"])
async def test_a_higher_role_may_do_what_a_lower_one_may_and_the_armer_alone_may_arm(
    lone: httpx.AsyncClient, method: str, path: str, role: str
) -> None:
    answer = await lone.request(method, path, headers=as_role(role))
    if (role, path) == ("operator", "/api/trading/arm"):
        assert answer.status_code == 403
    else:
        assert answer.status_code not in {401, 403}


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_an_unknown_account_is_not_found_on_every_trading_route(
    lone: httpx.AsyncClient, method: str, path: str
) -> None:
    if not path.startswith("/api/trading"):
        return
    answer = await lone.request(
        method, path, params={"account_id": "nobody"}, json=_body(path), headers=as_role("armer")
    )
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", [path for method, path in GUARDED if method == "GET" and path != "/metrics"])
async def test_what_is_away_is_a_503_problem(lone: httpx.AsyncClient, path: str) -> None:
    answer = await lone.get(path, headers=as_role("viewer"))
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["Retry-After"] == "1"
    assert re.fullmatch(r"(database|engine|kafka)_unavailable", answer.json()["code"])


def _body(path: str) -> dict[str, Any] | None:
    return {
        "/api/trading/kill": {"confirm": "FLATTEN"},
        "/api/trading/arm": {"confirm": "LIVE"},
        "/api/trading/config": {"version": 1},
        "/api/trading/risk-tier": {"risk_tier": "moderate"},
        "/api/trading/reserve/adjust": {"amount": "1.00", "reason": "why"},
        "/api/trading/earnings": {"symbol": "AAPL", "earnings_on": "2026-04-30", "session": "amc"},
        "/api/trading/notifications/config": {"version": 1},
        "/api/trading/notifications/test": {"channel": "sms"},
    }.get(path)


TEXT = st.text(max_size=40)
LEAF = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
VALUE = st.recursive(LEAF, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4))
POLICY_FIELDS = st.sampled_from([*TradingPolicy.model_fields, "no_such_field"])
NEARLY_RIGHT = {
    "/api/trading/pause": st.fixed_dictionaries({}),
    "/api/trading/resume": st.fixed_dictionaries({}, optional={"confirm": st.just("RESUME") | VALUE}),
    "/api/trading/kill": st.fixed_dictionaries({"confirm": st.just("FLATTEN")}, optional={"reason": TEXT | VALUE}),
    "/api/trading/arm": st.fixed_dictionaries(
        {"confirm": st.just("LIVE")}, optional={"until": st.datetimes().map(lambda at: f"{at.isoformat()}Z") | VALUE}
    ),
    "/api/trading/risk-tier": st.fixed_dictionaries(
        {}, optional={"risk_tier": st.sampled_from(["moderate", "bold"]), "release": st.booleans()}
    ),
    "/api/trading/reserve/adjust": st.fixed_dictionaries({"amount": VALUE | st.decimals().map(str), "reason": TEXT}),
    "/api/trading/earnings": st.fixed_dictionaries(
        {
            "symbol": st.just("AAPL") | TEXT,
            "earnings_on": st.dates().map(str) | VALUE,
            "session": st.sampled_from(["bmo", "amc", "unknown", "noon"]),
        }
    ),
    "/api/trading/notifications/test": st.fixed_dictionaries({"channel": st.sampled_from(["sms", "email", "fax"])}),
    "/api/trading/notifications/config": st.fixed_dictionaries(
        {"version": st.integers(1, 9) | LEAF},
        optional={
            "channels": st.dictionaries(st.sampled_from(["sms", "email", "fax"]), st.booleans()),
            "sms_target": st.just("+15551234567") | LEAF,
            "email_target": st.emails() | LEAF,
            "event_types": st.lists(st.sampled_from([*get_args(EventType), "rain"])),
            "sms_per_hour": st.integers(),
        },
    ),
    "/api/trading/config": st.builds(
        lambda version, changes: {"version": version} | changes,
        st.integers(1, 9) | LEAF,
        st.dictionaries(POLICY_FIELDS, VALUE, max_size=3),
    ),
}
WRITING = [(method, path) for method, path in GUARDED if method != "GET"]


def written(route: tuple[str, str]) -> st.SearchStrategy[tuple[tuple[str, str], bytes]]:
    """Draw a body for a route: nearly right, any JSON, or any bytes."""
    values = NEARLY_RIGHT[route[1]] | NEARLY_RIGHT[route[1]] | VALUE
    return st.tuples(st.just(route), values.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=99))


@hypothesis.settings(max_examples=300, deadline=None)
@hypothesis.given(
    sent=st.sampled_from(WRITING).flatmap(written),
    content_type=st.sampled_from(["application/json"] * 6 + ["text/plain", "", "a/b/c", "application/x+json"]),
    key=st.none()
    | st.text("abc-0", max_size=9)
    | st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0")),
)
async def test_no_body_breaks_a_route(sent: tuple[tuple[str, str], bytes], content_type: str, key: str | None) -> None:
    """Everything behind the API is away, so that whatever is well formed answers 503, and never anything worse."""
    headers = {"Content-Type": content_type} | ({"Idempotency-Key": key.encode("latin-1")} if key else {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PARTS.commands, "send", _hears_nothing)  # without Kafka it would wait four seconds
        async with _client() as client:
            answer = await client.request(*sent[0], content=sent[1], headers=headers)
    hypothesis.event(f"{sent[0][1]} {answer.status_code}")
    assert answer.status_code in {202, 400, 404, 409, 413, 422, 503}
    assert answer.status_code == 202 or answer.headers["content-type"] == "application/problem+json"
    assert not [token for token in TOKENS.values() if token in answer.text]


async def _hears_nothing(command: Any, *, until: float) -> None:
    """Stand for a log that takes the command, which must be writable, and an engine that never answers."""
    encode(command)


def _client() -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(APP), base_url="http://api", headers=as_role("armer"))


READING = [path for method, path in GUARDED if method == "GET" and path.startswith("/api")]


@hypothesis.settings(max_examples=200, deadline=None)
@hypothesis.given(
    path=st.sampled_from(READING),
    decision_id=st.text(min_size=1, max_size=20).filter(lambda text: text.strip("./")),
    query=st.dictionaries(
        st.sampled_from(["limit", "cursor", "ticker", "symbol", "decision", "from", "to", "account_id"]),
        st.text(st.characters(codec="utf-8"), max_size=30)
        | st.sampled_from(["2026-03-02T17:00:00Z", "1", "act", "W10", "AAPL"]),
    ),
)
async def test_no_query_breaks_a_route(path: str, decision_id: str, query: dict[str, str]) -> None:
    async with _client() as client:
        answer = await client.get(path.replace("{decision_id}", urllib.parse.quote(decision_id)), params=query)
    hypothesis.event(f"{answer.status_code}")
    assert answer.status_code in {404, 422, 503}
    assert answer.headers["content-type"] == "application/problem+json"
