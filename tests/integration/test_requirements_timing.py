"""Requirements 10, 11 and 13 through Kafka on a running stack: when it is bought, and how much is at risk meanwhile.

A held symbol is one share bought at 40.02 with ATR 1: stop 38.02, target 43.02.
"""

import datetime as dt
from decimal import Decimal

import pytest

from tests.integration import market
from tests.integration.scenario import NEAR, Scenario, formula, gate, size

pytestmark = pytest.mark.integration


@pytest.mark.covers("R10.1", "R10.2", "R10.3", "R10.4")
def test_r10_a_near_report_halves_the_size_and_a_nearer_one_forbids_the_entry(scenario: Scenario) -> None:
    today = scenario.day
    sessions = [day for day in market.sessions() if day > today]
    near, nearer, out = (scenario.symbol(letter) for letter in "ABC")
    for symbol in (near, nearer, out):
        scenario.enlist(symbol, "20.00")
    held = scenario.hold("D", "14:00", sector="energy")
    dates = [(near, sessions[2]), (nearer, sessions[0]), (out, today)]
    for symbol, day in dates:
        date = {"symbol": symbol, "earnings_on": day.isoformat(), "session": "bmo", "source": "feed"}
        scenario.send("earnings-dates", date)

    halved = scenario.buy(near, "14:01", "20.00")
    assert halved["earnings_proximity_flag"] == "within_3_days"
    assert (size(halved), halved["quantity"]) == (formula(halved, times="0.6"), "1")  # 24.54: half of it, a new sector
    refused = scenario.buy(nearer, "14:02", "20.00")
    assert (refused["skip_reason"], refused["earnings_proximity_flag"]) == ("earnings_blackout", "within_1_day")
    reported = scenario.buy(out, "14:03", "60.00")
    assert reported["earnings_proximity_flag"] == "post_earnings"
    assert size(reported) == formula(reported, times="0.5")

    # what is held is flagged by hand: an alert, and a stop 0.7 x 2 x ATR under the price
    body = {"symbol": held, "earnings_on": sessions[0].isoformat(), "session": "amc"}
    assert scenario.request("PUT", "/earnings", json=body).status_code == 200
    scenario.tick(held, "40.10", "14:06")
    assert ("earnings", Decimal("40.00") - Decimal("0.7") * 2) in scenario.levels(held)
    [alert] = [each for each in scenario.records("alert", symbol=held) if "earnings" in each["subject"]]
    assert alert["at"] <= scenario.at("14:06")
    [row] = scenario.stack.sql("SELECT * FROM earnings_calendar WHERE symbol = $1", held)
    assert (row["earnings_on"], row["session"], row["source"]) == (sessions[0], "amc", "operator")
    assert scenario.sells() == []

    scenario.next_day()
    again = scenario.buy(out, "14:00", "60.00")
    assert again["earnings_proximity_flag"] == "none"
    assert size(again) == formula(again, times="1")


@pytest.mark.covers("R10.3")
def test_r10_on_request_a_holding_is_sold_in_the_last_session_before_its_report(scenario: Scenario) -> None:
    scenario.begin_on(weekday=0)
    scenario.configure(earnings_action="close")
    symbol = scenario.hold("A", "14:00")
    report_on = scenario.day + dt.timedelta(days=1)
    body = {"symbol": symbol, "earnings_on": report_on.isoformat(), "session": "amc"}
    assert scenario.request("PUT", "/earnings", json=body).status_code == 200
    scenario.tick(symbol, "40.00", "14:06")
    assert scenario.sells() == []  # it reports after tomorrow's close
    scenario.next_day()
    scenario.tick(symbol, "40.00", "13:40")
    scenario.tick(symbol, "40.00", "13:46")
    assert scenario.sells() == [("event", symbol, "1")]
    assert scenario.buy(symbol, "14:00")["skip_reason"] == "earnings_blackout"


@pytest.mark.covers("R11.1", "R11.2", "R11.3", "R11.5")
def test_r11_what_comes_too_early_waits_for_the_window_and_is_bought_in_tranches(scenario: Scenario) -> None:
    scenario.begin_on(weekday=0)
    symbol = scenario.symbol()
    scenario.enlist(symbol, "10.00")
    scenario.tick(symbol, "10.00", "13:30:05")
    source_id = scenario.recommend(symbol, "13:31")
    [queued] = scenario.records("queued")
    assert queued["source_id"] == source_id
    assert (scenario.decisions(), scenario.status()["queued"]) == ([], 1)
    scenario.tick(symbol, "10.00", "13:44:59")
    assert scenario.decisions() == []

    for clock in ("13:45", "13:50", "14:00", "14:10", "14:15", "14:25"):
        scenario.tick(symbol, "10.00", clock)
    [decision] = scenario.decisions()
    assert (decision["decided_at"], decision["decision"], decision["quantity"]) == (scenario.at("13:45"), "act", "4")
    orders = scenario.orders()
    assert [(each["tranche"], each["of_tranches"], each["quantity"]) for each in orders] == [
        (1, 3, "2"),
        (2, 3, "1"),
        (3, 3, "1"),
    ]
    assert [each["created_at"] for each in orders] == [scenario.at(clock) for clock in ("13:45", "14:00", "14:15")]
    assert {each["decision_id"] for each in orders} == {decision["decision_id"]}
    assert {row["decision_id"] for row in scenario.rows("orders")} == {decision["decision_id"]}
    [position] = scenario.rows("positions")
    assert position["quantity"] == 4

    late = scenario.symbol("B")
    scenario.enlist(late, "40.00", sector="energy")
    scenario.tick(late, "40.00", "19:50")
    scenario.recommend(late, "19:51")
    assert [each["symbol"] for each in scenario.records("queued")] == [symbol, late]
    scenario.next_day()
    scenario.tick(late, "40.10", "13:40")
    assert scenario.decisions(symbol=late) == []
    scenario.tick(late, "40.10", "13:46")
    [decision] = scenario.decisions(symbol=late)
    assert (decision["decision"], decision["decided_at"]) == ("act", scenario.at("13:45"))


@pytest.mark.covers("R11.2")
def test_r11_what_waited_over_night_is_decided_best_first_unless_conditions_changed(scenario: Scenario) -> None:
    scenario.begin_on(weekday=0)
    names = {"good": "A", "better": "B", "moved": "C", "late": "D"}
    symbols = {name: scenario.symbol(letter) for name, letter in names.items()}
    for name, sector in zip(names, ("technology", "energy", "health", "finance"), strict=True):
        scenario.enlist(symbols[name], "38.00", sector=sector)
        scenario.tick(symbols[name], "38.00", "19:50")
    ids = {"good": scenario.recommend(symbols["good"], "19:51", confidence="0.7")}
    ids |= {name: scenario.recommend(symbols[name], "19:51") for name in ("better", "moved")}
    expires_at = market.instant(scenario.day + dt.timedelta(days=1), "13:44")
    ids["late"] = scenario.recommend(symbols["late"], "19:51", expires_at=expires_at)
    assert (scenario.status()["queued"], scenario.decisions()) == (4, [])

    scenario.next_day()
    for name, price in (("good", "38.00"), ("better", "38.00"), ("moved", "39.01")):  # ATR is 1
        scenario.tick(symbols[name], price, "13:40")
    scenario.wait_until("13:46")
    decided = [(each["source_id"], each["skip_reason"], each["decided_at"]) for each in scenario.decisions()]
    at_open = scenario.at("13:45")
    assert decided[0] == (ids["late"], "expired", expires_at)
    changed = (ids["moved"], "outside_trading_window", at_open)
    assert changed in decided
    assert [each for each in decided[1:] if each != changed] == [
        (ids["better"], None, at_open),
        (ids["good"], None, at_open),
    ]
    assert [order["symbol"] for order in scenario.orders()] == [symbols["better"], symbols["good"]]


@pytest.mark.covers("R11.4")
def test_r11_a_weaker_signal_or_market_stress_breaks_the_tranches_off(scenario: Scenario) -> None:
    doubted, stressed = scenario.symbol("A"), scenario.symbol("B")
    for symbol, sector in ((doubted, "technology"), (stressed, "energy")):
        scenario.enlist(symbol, "10.00", sector=sector)
        assert scenario.buy(symbol, "14:00", "10.00")["quantity"] == "4"
    scenario.recommend(doubted, "14:05", confidence="0.54")
    assert scenario.decisions(symbol=doubted)[-1]["skip_reason"] == "insufficient_confidence"
    for symbol in (doubted, stressed):
        scenario.tick(symbol, "10.00", "14:16")
    assert [order["tranche"] for order in scenario.orders(symbol=doubted)] == [1]
    assert [order["tranche"] for order in scenario.orders(symbol=stressed)] == [1, 2]
    scenario.send("market-stress", {"name": "vix", "value": "36", "at": scenario.at("14:20")})
    scenario.tick(stressed, "10.00", "14:31")
    scenario.tick(stressed, "10.00", "17:00")
    assert [order["tranche"] for order in scenario.orders(symbol=stressed)] == [1, 2]
    assert {row["symbol"]: row["quantity"] for row in scenario.rows("positions")} == {doubted: 2, stressed: 3}


@pytest.mark.covers("R11.3", "R11.5")
def test_r11_when_time_jumps_each_tranche_goes_out_at_its_own_instant(scenario: Scenario) -> None:
    symbol = scenario.symbol()
    scenario.enlist(symbol, "10.00")
    assert scenario.buy(symbol, "14:00", "10.00")["quantity"] == "4"
    scenario.tick(symbol, "10.40", "17:00")
    sent = [(order["created_at"], order["quantity"]) for order in scenario.orders()]
    assert sent == [(scenario.at(clock), shares) for clock, shares in (("14:00", "2"), ("14:15", "1"), ("14:30", "1"))]
    [position] = scenario.rows("positions")
    assert (position["quantity"], position["avg_entry_price"]) == (4, Decimal("10.01"))  # the price of those instants


@pytest.mark.covers("R13.1", "R13.2", "R13.3", "R13.4")
def test_r13_heat_is_bounded_cooled_and_written_down_at_every_loop(scenario: Scenario) -> None:
    """A limit of 0.45 % of the active pool is 2.25 dollars: one share that may lose 2 fits, another one does not."""
    scenario.configure(tiers={"moderate": {"max_portfolio_heat": "0.0045"}})
    symbol = scenario.hold("A", "14:00")
    pool = Decimal(500) - Decimal("0.02")
    entry, stop, price = Decimal("40.02"), Decimal("38.02"), Decimal("40.00")
    status = scenario.status()
    assert Decimal(status["portfolio_heat"]).quantize(NEAR) == (price * (entry - stop) / entry).quantize(NEAR)
    assert Decimal(status["max_portfolio_heat"]) == pool * Decimal("0.0045")

    other = scenario.symbol("B")
    scenario.enlist(other, "40.00", sector="energy")
    refused = scenario.buy(other, "14:00:30")
    assert refused["skip_reason"] == "portfolio_heat"
    assert gate(refused, "portfolio_heat")["passed"] is False

    scenario.tick(symbol, "40.00", "14:02")
    # 80 % of the limit is 1.799928: entry x (1 - 1.799928 / 40.00) = 38.2192
    assert scenario.levels(symbol) == [("opened", Decimal("38.02")), ("heat", Decimal("38.22"))]
    cooled = Decimal(scenario.status()["portfolio_heat"])
    assert cooled.quantize(NEAR) == (price * (entry - Decimal("38.22")) / entry).quantize(NEAR)
    assert cooled <= pool * Decimal("0.0045") * Decimal("0.8")
    scenario.tick(symbol, "40.00", "14:03:30")
    rows = scenario.rows("portfolio_heat")
    assert (rows[-1]["heat"], rows[-1]["max_heat"], rows[-1]["active_pool"]) == (cooled, pool * Decimal("0.0045"), pool)
    assert (rows[-1]["at"] - rows[-2]["at"]).total_seconds() >= 60
