"""The HTTP contract on a whole stack: who may do what, how a policy changes, how trading stops, how lists go on."""

import concurrent.futures
import time
from decimal import Decimal

import pytest

from tests.integration import market
from tests.integration.desk import Desk
from tests.integration.harness import Json, Stack
from tests.integration.test_walk import hold_one_share

pytestmark = pytest.mark.integration

STATUS_FIELDS = {
    "enabled",
    "paused",
    "trading_state",
    "risk_tier",
    "circuit_breaker",
    "active_pool",
    "reserve_pool",
    "total_value",
    "cash",
    "buying_power",
    "open_buy_holds",
    "portfolio_heat",
    "max_portfolio_heat",
    "open_positions",
    "queued",
    "last_decision_at",
    "mode",
    "build",
    "as_of",
    "lag",
    "projection_lag",
}
LISTS = ("/decisions", "/positions", "/orders", "/trades", "/tax-lots", "/stops", "/circuit-breakers", "/reserve")


def is_problem(answer: object) -> bool:
    """Return whether an answer is a problem document of RFC 9457."""
    headers, body = answer.headers, answer.json()  # type: ignore[attr-defined]
    kind = headers["content-type"].partition(";")[0]
    return bool(kind == "application/problem+json" and body["status"] == answer.status_code)  # type: ignore[attr-defined]


def test_every_route_asks_for_a_token_before_it_looks_at_anything(shared_stack: Stack) -> None:
    described = shared_stack.get("/openapi.json")["paths"]
    assert {"/api/trading/status", "/api/trading/config", "/api/trading/decisions", "/ready"} <= set(described)
    for path, methods in described.items():
        for method in {"get", "put", "post", "delete", "patch"} & set(methods):
            open_to_all = path in {"/health", "/ready"}
            answer = shared_stack.request(method.upper(), path, role=None)
            assert (answer.status_code == 401) is not open_to_all, f"{method} {path}: {answer.status_code}"
            if not open_to_all:
                assert is_problem(answer)
                wrong = shared_stack.request(method.upper(), path, role=None, headers={"Authorization": "Bearer no"})
                assert wrong.status_code == 401
            if method != "get":  # with a body and a path that are wrong besides
                answer = shared_stack.request(method.upper(), path, role="viewer", content=b"{not json")
                assert answer.status_code == 403, f"{method} {path}: {answer.status_code}"
    for path in ("/nowhere", "/api/trading/nowhere", "/api/trading/decisions/none"):
        assert shared_stack.request("GET", path, role=None).status_code == 401
        assert shared_stack.request("GET", path, role="viewer").status_code == 404


@pytest.mark.covers("R16.2", "R6.6")
def test_status_has_its_fields_and_a_healthy_breaker_says_nothing(desk: Desk) -> None:
    status = desk.status()
    assert status.keys() >= STATUS_FIELDS
    breaker = {"status": "inactive", "trigger": None, "until": None, "remaining_seconds": 0, "active": []}
    assert status["circuit_breaker"] == breaker
    assert (status["enabled"], status["paused"], status["trading_state"]) == (True, False, "active")
    assert (status["mode"], status["risk_tier"], status["lag"]) == ("paper", "moderate", 0)
    assert Decimal(status["max_portfolio_heat"]) == 100  # dollars: 20 % of 500
    assert status["build"] == desk.stack.endpoints["build"]
    unknown = desk.stack.request("GET", "/api/trading/status", params={"account_id": "nobody"})
    assert unknown.status_code == 404
    assert is_problem(unknown)


@pytest.mark.covers("R16.3", "R16.6")
def test_tightening_a_policy_acts_at_once_and_a_stale_version_changes_nothing(desk: Desk) -> None:
    before = desk.get("/config")
    answer = desk.request("PUT", "/config", json={"version": before["version"], "max_open_positions": 7})
    assert answer.status_code == 200, answer.text
    after = answer.json()
    assert (after["max_open_positions"], after["version"]) == (7, before["version"] + 1)
    assert desk.get("/config") == after

    stale = desk.request("PUT", "/config", json={"version": before["version"], "max_open_positions": 6})
    assert stale.status_code == 409
    assert is_problem(stale)
    assert desk.get("/config") == after
    audits = [row for row in desk.rows("config_audit") if row["version"] == after["version"]]
    assert [row["source"] for row in audits] == ["operator"]


def test_loosening_a_policy_asks_for_a_confirmation_first(desk: Desk) -> None:
    before = desk.get("/config")
    body = {"version": before["version"], "absolute_cap_pct": "0.2", "max_open_positions": 5}
    asked = desk.request("PUT", "/config", json=body)
    assert asked.status_code == 202
    assert set(asked.json()) >= {"confirmation_token", "expires_at", "loosens"}
    assert asked.json()["loosens"] == ["absolute_cap_pct"]
    assert desk.get("/config") == before

    token = asked.json()["confirmation_token"]
    another = desk.request("PUT", "/config", json={**body, "absolute_cap_pct": "0.9", "confirmation_token": token})
    assert another.status_code != 200
    assert desk.get("/config") == before

    token = desk.request("PUT", "/config", json=body).json()["confirmation_token"]
    confirmed = desk.request("PUT", "/config", json={**body, "confirmation_token": token})
    assert confirmed.status_code == 200, confirmed.text
    assert Decimal(confirmed.json()["absolute_cap_pct"]) == Decimal("0.2")
    assert confirmed.json()["version"] == before["version"] + 1


def test_a_confirmation_lapses_after_five_minutes(desk: Desk) -> None:
    before = desk.get("/config")
    body = {"version": before["version"], "daily_loss_pct": "0.5"}
    token = desk.request("PUT", "/config", json=body).json()["confirmation_token"]
    desk.tick(desk.symbol("Z"), "1.00", "09:05:01")
    late = desk.request("PUT", "/config", json={**body, "confirmation_token": token})
    assert late.status_code != 200
    assert desk.get("/config") == before


@pytest.mark.parametrize(
    "change",
    [
        {"no_such_field": 1},
        {"max_open_positions": -1},
        {"max_open_positions": "many"},
        {"daily_loss_pct": "NaN"},
        {"daily_loss_pct": "1.5"},
        {"reserve_siphon_pct": None},
        {"tiers": {"reckless": {}}},
        {"tiers": {"moderate": {"min_confidence": "2"}}},
        {"mode": "fictional"},
    ],
    ids=str,
)
def test_what_a_policy_cannot_be_is_refused_and_changes_nothing(shared_stack: Stack, change: Json) -> None:
    account = {"account_id": shared_stack.accounts[0]}
    before = shared_stack.get("/api/trading/config", **account)
    body = {"version": before["version"], **change}
    answer = shared_stack.request("PUT", "/api/trading/config", params=account, json=body)
    assert answer.status_code == 422, answer.text
    assert is_problem(answer)
    assert shared_stack.get("/api/trading/config", **account) == before


def test_bodies_with_unknown_fields_or_none_at_all_are_refused(desk: Desk) -> None:
    for path, body in (("/pause", {"surplus": 1}), ("/resume", {"surplus": 1}), ("/kill", {}), ("/kill", None)):
        answer = desk.request("POST", path, json=body)
        assert answer.status_code == 422, f"{path} {body}: {answer.status_code}"
    for body in ({"confirm": "flatten"}, {"confirm": "RESUME"}):
        assert desk.request("POST", "/kill", json=body).status_code == 422
    for body in ({"risk_tier": "reckless"}, {}, {"release": False}):
        assert desk.request("PUT", "/risk-tier", json=body).status_code == 422
    for body in ({"amount": "NaN", "reason": "x"}, {"amount": "1.00"}, {"amount": "0.001", "reason": "x"}):
        assert desk.request("POST", "/reserve/adjust", json=body).status_code == 422
    status = desk.status()
    assert (status["trading_state"], status["risk_tier"], status["reserve_pool"]) == ("active", "moderate", "0")


@pytest.mark.covers("R16.4")
def test_pause_and_resume_are_idempotent_and_pause_stops_entries_alone(desk: Desk) -> None:
    symbol = desk.symbol()
    desk.enlist(symbol, "40.00")
    desk.tick(symbol, "40.00", "14:00")
    for _ in range(2):
        assert desk.request("POST", "/pause").status_code == 200
        assert (desk.status()["paused"], desk.status()["trading_state"]) == (True, "reducing")
    desk.recommend(symbol, "14:01")
    assert [decision["skip_reason"] for decision in desk.decisions()] == ["engine_paused"]
    for _ in range(2):
        assert desk.request("POST", "/resume").status_code == 200
        assert (desk.status()["paused"], desk.status()["trading_state"]) == (False, "active")
    desk.recommend(symbol, "14:02")
    assert [decision["decision"] for decision in desk.decisions()] == ["skip", "act"]


def test_a_kill_sells_everything_now_and_only_a_confirmed_resume_ends_the_halt(desk: Desk) -> None:
    symbol = desk.symbol()
    hold_one_share(desk, symbol)
    killed = desk.request("POST", "/kill", json={"confirm": "FLATTEN", "reason": "a test"})
    assert killed.status_code == 200, killed.text
    desk.stack.until_lag_zero(projected=True)
    [_, sell] = desk.orders()
    assert (sell["side"], sell["purpose"], sell["quantity"]) == ("sell", "kill", "1")
    [_, decision] = desk.decisions()
    assert decision["source_type"] == "kill"
    assert (desk.status()["trading_state"], desk.status()["open_positions"]) == ("halted", 0)
    assert desk.get("/positions")["items"] == []

    unconfirmed = desk.request("POST", "/resume")
    assert unconfirmed.status_code == 409
    assert desk.status()["trading_state"] == "halted"
    assert desk.request("POST", "/resume", json={"confirm": "RESUME"}).status_code == 200
    assert desk.status()["trading_state"] == "active"
    kinds = [each["event_type"] for each in desk.stack.bodies("notifications", account_id=desk.account)]
    assert kinds.count("kill") == 1


@pytest.mark.covers("R5.6")
def test_a_risk_tier_is_set_held_and_given_back(desk: Desk) -> None:
    answer = desk.request("PUT", "/risk-tier", json={"risk_tier": "conservative"})
    assert answer.status_code == 200, answer.text
    assert desk.status()["risk_tier"] == "conservative"
    desk.stack.until_lag_zero(projected=True)
    tier = desk.get("/risk-tier")
    assert (tier["risk_tier"], tier["held"]) == ("conservative", True)
    assert [(change["previous_tier"], change["new_tier"]) for change in tier["items"]] == [("moderate", "conservative")]
    assert desk.request("PUT", "/risk-tier", json={"release": True}).status_code == 200
    assert desk.get("/risk-tier")["held"] is False


@pytest.mark.covers("R3.2", "R3.7")
def test_the_reserve_is_moved_by_hand_within_what_there_is(desk: Desk) -> None:
    assert desk.request("POST", "/reserve/adjust", json={"amount": "100.00", "reason": "a test"}).status_code == 200
    refused = desk.request("POST", "/reserve/adjust", json={"amount": "-100.01", "reason": "a test"})
    assert refused.status_code in (409, 422)
    assert desk.request("POST", "/reserve/adjust", json={"amount": "-40.00", "reason": "a test"}).status_code == 200
    desk.stack.until_lag_zero(projected=True)
    reserve = desk.get("/reserve")
    assert Decimal(reserve["balance"]) == 60
    newest_first = [(Decimal(each["amount"]), Decimal(each["balance_after"])) for each in reserve["items"]]
    assert newest_first == [(-40, 60), (100, 100)]
    assert {each["trigger"] for each in reserve["items"]} == {"manual_adjustment"}
    older, newer = sorted(each["seq"] for each in reserve["items"])
    assert newer == older + 1
    status = desk.status()
    assert (Decimal(status["active_pool"]), Decimal(status["reserve_pool"])) == (440, 60)


def test_a_request_that_is_repeated_with_its_key_does_nothing_twice(desk: Desk) -> None:
    headers = {"Idempotency-Key": f"{desk.account}-once"}
    for _ in range(2):
        body = {"amount": "10.00", "reason": "once"}
        assert desk.request("POST", "/reserve/adjust", json=body, headers=headers).status_code == 200
    assert Decimal(desk.status()["reserve_pool"]) == 10


@pytest.mark.covers("R17.3")
def test_lists_go_on_from_their_cursor_newest_first_without_a_gap_or_a_repeat(desk: Desk) -> None:
    symbol = desk.symbol()
    sent = [
        market.recommendation(symbol, f"{desk.account}-{number:02d}", desk.at(f"14:00:{number:02d}"))
        for number in range(23)
    ]
    desk.send("recommendations", *sent)
    desk.stack.until_lag_zero(projected=True)
    for limit in (1, 5, 7, 23, 200):
        found: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = desk.get("/decisions", ticker=symbol, limit=limit, **cursor)
            assert len(page["items"]) <= limit
            found += [item["source_id"] for item in page["items"]]
            if page["next_cursor"] is None:
                break
            cursor = {"cursor": page["next_cursor"]}
        assert found == [record["recommendation_id"] for record in reversed(sent)], f"limit {limit}"
    assert len(desk.get("/decisions", ticker=symbol, decision="skip")["items"]) == 23
    assert desk.get("/decisions", ticker=symbol, decision="act")["items"] == []
    window = {"from": desk.at("14:00:05"), "to": desk.at("14:00:10")}
    assert 5 <= len(desk.get("/decisions", ticker=symbol, **window)["items"]) <= 6
    for wrong in ({"limit": 0}, {"limit": 201}, {"cursor": "nonsense"}, {"decision": "maybe"}):
        answer = desk.stack.request("GET", "/api/trading/decisions", params={"account_id": desk.account, **wrong})
        assert answer.status_code == 422, wrong
    for path in LISTS:
        page = desk.get(path)
        assert {"items", "next_cursor"} <= page.keys()
        assert len(page["items"]) <= 50


def test_a_hundred_requests_a_second_pass_the_rate_limit(shared_stack: Stack) -> None:
    account = {"account_id": shared_stack.accounts[0]}

    def ask(_: int) -> int:
        return shared_stack.request("GET", "/api/trading/config", role="viewer", params=account).status_code

    ask(0)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        began = time.monotonic()
        codes = list(pool.map(ask, range(100)))
    print(f"100 requests in {time.monotonic() - began:.2f} s")
    assert set(codes) == {200}


def test_metrics_are_prometheus_text_for_viewers(shared_stack: Stack) -> None:
    answer = shared_stack.request("GET", "/metrics", role="viewer")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(("text/plain", "application/openmetrics-text"))
    assert "# TYPE" in answer.text


def test_lag_zero_means_that_the_decision_is_there(desk: Desk) -> None:
    """However quickly the status is asked for after the acknowledgement, `lag` 0 never comes before the effect."""
    symbol = desk.symbol()
    for number in range(20):
        record = market.recommendation(symbol, f"{desk.account}-lag-{number}", desk.at("14:00"))
        desk.stack.produce("recommendations", [record])
        while desk.status()["lag"]:
            pass
        assert desk.stack.bodies("decisions", source_id=record["recommendation_id"], account_id=desk.account)
