"""Requirements 16 to 20 through Kafka and HTTP on a running stack: control, audit, storage, news and micro trades."""

import json
from decimal import Decimal

import pytest

from tests.integration.scenario import BOUGHT_AT, Scenario

pytestmark = pytest.mark.integration

TABLES = {  # R18.1
    "trading_engine_config",
    "reserve_pool_ledger",
    "risk_tier_history",
    "circuit_breaker_events",
    "trading_decisions",
    "position_stop_levels",
    "portfolio_snapshots",
    "backtest_runs",
    "backtest_trades",
    "tax_lots",
    "earnings_calendar",
    "correlation_matrix_cache",
}
WON = Decimal("42.99") - BOUGHT_AT


@pytest.mark.covers("R16.1", "R16.2", "R16.3", "R16.4", "R16.6")
def test_r16_the_policy_changes_by_http_and_by_the_topic_once_confirmed_and_is_audited(scenario: Scenario) -> None:
    symbol = scenario.symbol()
    scenario.enlist(symbol, "60.00")
    before = scenario.get("/config")
    body = {"version": before["version"], "absolute_cap_pct": "0.12", "tiers": {"moderate": {"max_position_pct": "1"}}}
    asked = scenario.request("PUT", "/config", json=body)
    assert (asked.status_code, scenario.get("/config")) == (202, before)
    assert sorted(asked.json()["loosens"]) == ["absolute_cap_pct", "tiers.moderate.max_position_pct"]
    token = asked.json()["confirmation_token"]
    changed = scenario.request("PUT", "/config", json=body | {"confirmation_token": token})
    assert (changed.status_code, changed.json()["version"]) == (200, before["version"] + 1)
    assert scenario.request("PUT", "/config", json=body).status_code == 409
    bought = scenario.buy(symbol, "14:00", "54.00", confidence="1")  # 25 / 0.55 x 1.2 = 54.55, under the new caps
    assert (bought["decision"], bought["policy_version"]) == ("act", before["version"] + 1)

    version, changes = before["version"] + 1, {"max_open_positions": 1}
    for number in (version, version - 1):
        scenario.command("update_config", version=number, changes=changes)
    accepted = [result["accepted"] for result in scenario.records("command_result")][-2:]
    assert accepted == [True, False]
    row = scenario.rows("trading_engine_config")[0]
    assert (row["version"], row["enabled"], row["risk_tier"]) == (version + 1, True, "moderate")
    assert json.loads(row["policy"])["max_open_positions"] == 1
    audits = {each["version"]: each for each in scenario.rows("config_audit")}
    assert sorted(audits)[-2:] == [version, version + 1]
    last = audits[version + 1]
    limits = [json.loads(last[side])["max_open_positions"] for side in ("before", "after")]
    assert (limits, last["source"], last["issued_by"]) == ([10, 1], "operator", "outsider")

    assert scenario.request("POST", "/pause").status_code == 200
    status = scenario.status()
    assert (status["enabled"], status["paused"], status["open_positions"]) == (True, True, 1)
    scenario.recommend(symbol, "14:02")
    assert scenario.decisions()[-1]["skip_reason"] == "engine_paused"
    assert scenario.request("POST", "/resume").status_code == 200
    assert scenario.status()["paused"] is False


@pytest.mark.covers("R16.4")
def test_r16_a_kill_after_the_close_sells_on_the_first_price_of_the_next_session_and_halts(scenario: Scenario) -> None:
    symbol = scenario.hold("A", "14:00")
    scenario.wait_until("21:00")
    assert scenario.request("POST", "/kill", json={"confirm": "FLATTEN", "reason": "a scenario"}).status_code == 200
    assert scenario.sells() == []
    assert scenario.status()["trading_state"] == "halted"
    scenario.next_day()
    scenario.wait_until("13:30:01")
    assert scenario.sells() == []
    scenario.tick(symbol, "40.00", "13:30:05")
    [order] = scenario.orders(side="sell")
    assert (order["purpose"], order["created_at"]) == ("kill", scenario.at("13:30:05"))
    assert scenario.rows("positions") == []
    assert scenario.buy(symbol, "14:00")["skip_reason"] == "engine_paused"
    assert len(scenario.told("kill")) == 1
    assert scenario.request("POST", "/resume", json={"confirm": "RESUME"}).status_code == 200
    assert scenario.buy(symbol, "14:01")["decision"] == "act"


@pytest.mark.covers("R17.1", "R17.2", "R17.3")
def test_r17_decisions_are_found_by_ticker_kind_and_time_and_show_their_whole_chain(scenario: Scenario) -> None:
    symbol = scenario.hold("A", "14:00")
    other = scenario.symbol("B")
    scenario.enlist(other, "40.00")
    scenario.buy(other, "14:05", confidence="0.3")
    scenario.tick(symbol, "43.02", "14:10")
    scenario.stack.until_lag_zero(projected=True)

    def found(**filters: str) -> list[tuple[str, str]]:
        return [(each["symbol"], each["source_type"]) for each in scenario.get("/decisions", **filters)["items"]]

    bought, skipped, sold = (symbol, "recommendation"), (other, "recommendation"), (symbol, "exit")
    assert found(ticker=symbol) == [sold, bought]
    assert found(ticker=other, decision="act") == []
    assert found(ticker=other, decision="skip") == [skipped]
    assert found(**{"from": scenario.at("14:01"), "to": scenario.at("14:09")}) == [skipped]

    [exit_order] = scenario.orders(side="sell")
    chain = scenario.get(f"/decisions/{exit_order['decision_id']}")
    assert [each["client_order_id"] for each in chain["orders"]] == [exit_order["client_order_id"]]
    assert [Decimal(each["price"]) for each in chain["fills"]] == [Decimal("42.99")]
    entry = scenario.decisions(symbol=symbol)[0]
    chain = scenario.get(f"/decisions/{entry['decision_id']}")
    assert chain["source"]["recommendation_id"] == entry["source_id"]
    assert [gate["name"] for gate in chain["gates"]] == [gate["name"] for gate in entry["gates"]]
    assert Decimal(chain["sizing"]["formula"]).quantize(Decimal("0.01")) == Decimal("40.91")
    assert [each["decision_id"] for each in chain["orders"]] == [entry["decision_id"]]
    [row] = [row for row in scenario.decision_rows() if row["decision_id"] == entry["decision_id"]]
    assert (row["recommendation_id"], row["risk_tier_at_decision"]) == (entry["source_id"], "moderate")
    assert (row["active_pool_at_decision"], row["reserve_pool_at_decision"]) == (500, 0)
    assert (row["portfolio_heat_at_decision"], row["circuit_breaker_status"]) == (0, "inactive")


@pytest.mark.covers("R18.1", "R18.2", "R18.4", "R18.5")
def test_r18_the_tables_are_there_the_ledger_adds_up_and_a_killed_worker_goes_on_where_it_was(
    scenario: Scenario,
) -> None:
    stack = scenario.stack
    tables = {row["table_name"] for row in stack.sql("SELECT table_name FROM information_schema.tables")}
    assert tables >= TABLES
    symbol = scenario.hold("A", "14:00")
    scenario.command("adjust_reserve", amount="25.00", reason="a scenario")
    assert scenario.request("PUT", "/risk-tier", json={"risk_tier": "conservative"}).status_code == 200
    volatile = {"as_of", "lag", "projection_lag", "last_decision_at"}
    before = {name: value for name, value in scenario.status().items() if name not in volatile}

    stack.child("agents.worker").kill()
    stack.until_unready(seconds=15)
    stack.until_ready(seconds=20)
    stack.until_lag_zero(projected=True)
    assert {name: value for name, value in scenario.status().items() if name not in volatile} == before
    assert (before["risk_tier"], before["reserve_pool"], before["open_positions"]) == ("conservative", "25.00", 1)
    [decision] = scenario.decisions()
    scenario.recommend(symbol, "14:04", recommendation_id=decision["source_id"])
    assert (len(scenario.records("duplicate")), len(scenario.decisions())) == (1, 1)
    scenario.tick(symbol, "43.02", "14:05")
    assert scenario.sells() == [("take_profit", symbol, "1")]
    entries = [(row["seq"], row["amount"], row["balance_after"]) for row in scenario.rows("reserve_pool_ledger")]
    assert entries == [(1, 25, 25), (2, Decimal("0.59"), Decimal("25.59"))]

    balances = "SELECT account_id, sum(amount) AS balance, max(seq) AS last, count(*) AS entries "
    sums = stack.sql(balances + "FROM reserve_pool_ledger GROUP BY account_id")
    for account in sums:  # of every scenario so far
        assert account["last"] == account["entries"]
        assert Decimal(stack.status(account["account_id"])["reserve_pool"]) == account["balance"]
    assert not stack.sql("SELECT 1 FROM portfolio_snapshots WHERE portfolio_value <> active_pool + reserve_pool")


@pytest.mark.covers("R19.2", "R19.3", "R19.4", "R19.8", "R19.9")
def test_r19_the_operator_is_told_of_large_trades_days_and_weeks_as_he_prefers(scenario: Scenario) -> None:
    scenario.begin_on(weekday=3)
    scenario.configure(large_trade_pct="0.0055")  # 2.77 dollars of an active pool of 502.97
    symbol = scenario.hold("A", "14:00")
    scenario.tick(symbol, "43.02", "14:05")
    [large] = scenario.told("large_trade")
    assert symbol in large["subject"] + large["body"]
    scenario.wait_until("20:29")
    assert scenario.told("daily_summary") == []
    scenario.wait_until("20:30")
    [summary] = scenario.told("daily_summary")
    assert summary["created_at"] == scenario.at("20:30")
    siphon = Decimal("0.59")
    for figure in (WON, 500 + WON, 500 + WON - siphon, siphon):
        assert f"{figure:.2f}" in summary["body"]
    assert "2 (1 bought, 1 sold)" in summary["body"]
    assert "moderate" in summary["body"]
    assert "none active" in summary["body"]
    assert scenario.told("weekly_digest") == []

    scenario.next_day()
    scenario.wait_until("20:30")
    [digest] = scenario.told("weekly_digest")
    assert f"+{WON:.2f}" in digest["body"]
    assert "1 won, 0 lost" in digest["body"]
    assert len(scenario.told("daily_summary")) == 2

    known = scenario.get("/notifications/config")
    body = {"version": known["version"], "sms_target": "+15551234567", "emails_per_hour": 5}
    changed = scenario.request("PUT", "/notifications/config", json=body)
    assert (changed.status_code, changed.json()["emails_per_hour"]) == (200, 5)
    shown = scenario.get("/notifications/config")
    assert (shown["version"], shown["sms_target"]) == (known["version"] + 1, "***67")
    assert "555123" not in json.dumps(shown)
    stale = scenario.request("PUT", "/notifications/config", json=body)
    assert stale.status_code == 409
    assert scenario.request("POST", "/notifications/test", json={"channel": "sms"}).status_code == 200
    assert len(scenario.told("test")) == 1
    sent = [(row["event_type"], row["subject"], row["body"]) for row in scenario.rows("notifications")]
    for message in (large, summary, digest, *scenario.told("test")):
        assert (message["event_type"], message["subject"], message["body"]) in sent
    [row] = scenario.rows("notification_preferences")
    assert (row["version"], row["emails_per_hour"]) == (known["version"] + 1, 5)


@pytest.mark.covers("R20.1", "R20.2", "R20.3", "R20.4", "R20.5", "R20.6", "R20.7", "R20.8", "R20.9", "R20.10")
def test_r20_a_trend_becomes_a_small_tight_trade_that_ends_after_two_hours(scenario: Scenario) -> None:
    symbol, other = scenario.symbol("A"), scenario.symbol("B")
    for each, sector in ((symbol, "technology"), (other, "energy")):
        scenario.enlist(each, "14.00", sector=sector)

    def trend(name: str, of: str, clock: str, *, confidence: str = "0.9") -> None:
        scenario.tick(of, "14.00", clock)
        shape = {"window": "intraday", "interval": "5m", "direction": "bullish", "confidence": confidence}
        scenario.send("trend-summaries", {"trend_id": f"{of}-{name}", "symbol": of, "at": scenario.at(clock)} | shape)

    trend("off", symbol, "13:50")
    assert scenario.decisions() == []
    scenario.configure(micro_trading_enabled=True, micro_max_trades_per_day=1)
    trend("weak", symbol, "13:55", confidence="0.54")
    trend("good", symbol, "14:00")
    trend("more", other, "14:01")
    trend("late", other, "17:46")
    decisions = scenario.decisions(source_type="trend")
    reasons = [each["skip_reason"] for each in decisions]
    assert reasons == ["insufficient_confidence", None, "micro_daily_limit", "micro_daily_limit"]
    too_late = [next(g["passed"] for g in each["gates"] if g["name"] == "micro_too_late") for each in decisions]
    assert too_late == [True, True, True, False]  # 20:00 less 15 minutes and two hours is 17:45
    bought = decisions[1]
    assert (Decimal(bought["computed_position_size"]), bought["quantity"]) == (15, "1")  # 3 % of 500
    paid, brought = Decimal("14.01"), Decimal("13.99")
    [opened, *_] = scenario.records("stop_level", symbol=symbol)
    levels = Decimal(opened["stop_price"]), Decimal(opened["target_price"])
    assert levels == (paid - 1, paid + Decimal("1.5"))  # one ATR, and one and a half of it
    [sold] = scenario.orders(side="sell")
    assert (sold["purpose"], sold["created_at"]) == ("micro_timeout", scenario.at("16:00"))
    [trade] = scenario.rows("trades")
    assert (trade["is_micro"], trade["realized_pnl"]) == (True, brought - paid)

    standard = scenario.hold("C", "18:00", sector="health")
    scenario.tick(standard, "43.02", "18:01")
    scenario.stack.until_lag_zero(projected=True)
    micro = scenario.get("/micro")
    today, week = micro["today"], micro["trailing_7_days"]
    assert (micro["enabled"], micro["positions"]) == (True, [])
    assert (today["entries"], today["max_entries"], today["closed"]) == (1, 1, 1)
    assert Decimal(today["pnl"]) == Decimal(week["pnl"]) == brought - paid
    assert (week["count"], Decimal(week["win_rate"]), Decimal(week["total_pnl"])) == (1, 0, WON + brought - paid)
    scenario.wait_until("18:05:01")
    measured = scenario.records("performance_metrics")[-1]["metrics"]
    assert (measured["micro"]["trade_count"], measured["trade_count"]) == (1, 2)
    assert Decimal(measured["micro"]["total_pnl"]) == brought - paid
    assert scenario.rows("trading_engine_config")[0]["micro_trading_enabled"] is True


@pytest.mark.covers("R20.2", "R20.10")
def test_r20_a_bearish_trend_sells_a_micro_position_and_no_other(scenario: Scenario) -> None:
    scenario.configure(micro_trading_enabled=True)
    micro, standard = scenario.symbol("A"), scenario.hold("B", "14:00", sector="energy")
    scenario.enlist(micro, "14.00")

    def trend(symbol: str, direction: str, clock: str) -> None:
        shape = {"window": "intraday", "interval": "15m", "direction": direction, "confidence": "0.8"}
        name = {"trend_id": f"{symbol}-{direction}", "symbol": symbol, "at": scenario.at(clock)}
        scenario.send("trend-summaries", name | shape)

    scenario.tick(micro, "14.00", "14:01")
    trend(micro, "bullish", "14:01")
    trend(micro, "neutral", "14:02")
    trend(standard, "bearish", "14:03")
    trend(micro, "bearish", "14:04")
    decisions = scenario.decisions(source_type="trend")
    assert [each["skip_reason"] for each in decisions] == [None, "not_actionable", "no_position_to_sell", None]
    assert scenario.sells() == [("signal", micro, "1")]
    [sold] = scenario.orders(side="sell")
    assert sold["decision_id"] == decisions[-1]["decision_id"]

    scenario.send("market-stress", {"name": "vix", "value": "36", "at": scenario.at("14:05")})
    other = scenario.symbol("C")
    scenario.enlist(other, "14.00", sector="health")
    scenario.tick(other, "14.00", "14:06")
    trend(other, "bullish", "14:06")
    assert scenario.decisions(symbol=other)[0]["skip_reason"] == "circuit_breaker_active"
