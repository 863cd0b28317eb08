"""Requirements 3, 4, 7, 8 and 12 through Kafka on a running stack: how positions are left, and what comes of it.

A held symbol is one share bought at 40.02 with ATR 1: stop 38.02, target 43.02. A sell fills five basis points lower,
to the cent against us: 43.02 brings 42.99, 38.02 brings 38.00.
"""

from decimal import Decimal

import pytest

from tests.integration import market
from tests.integration.scenario import BOUGHT_AT, Scenario

pytestmark = pytest.mark.integration


@pytest.mark.covers("R3.1", "R3.2", "R3.3", "R3.5", "R3.6", "R3.7", "R18.2", "R19.2")
def test_r3_a_fifth_of_a_profit_is_set_aside_and_an_emergency_gives_it_back(scenario: Scenario) -> None:
    first = scenario.hold("A", "14:00")
    scenario.tick(first, "43.02", "14:01")
    profit = Decimal("42.99") - BOUGHT_AT
    [trade] = scenario.records("trade")
    assert Decimal(trade["realized_pnl"]) == profit == Decimal("2.97")
    siphon = Decimal("0.59")  # a fifth is 0.594
    scenario.command("adjust_reserve", amount="50.00", reason="a scenario")
    status = scenario.status()
    assert Decimal(status["reserve_pool"]) == siphon + 50
    assert Decimal(status["active_pool"]) == 500 + profit - siphon - 50

    second = scenario.hold("B", "14:02", sector="energy")
    [decision] = scenario.decisions(symbol=second)
    assert Decimal(decision["active_pool"]) == 500 + profit - siphon - 50  # what sizes are a percentage of
    scenario.configure(active_pool_minimum="460")
    third = scenario.symbol("C")
    scenario.enlist(third, "40.00", sector="health")
    assert scenario.buy(third, "14:03")["skip_reason"] == "active_pool_minimum"

    scenario.configure(emergency_drawdown_pct="0.002")  # one dollar of the initial 500
    scenario.tick(second, "39.10", "14:04")  # 0.92 under what was paid
    assert scenario.status()["risk_tier"] == "moderate"
    scenario.tick(second, "39.00", "14:05")  # 1.02
    scenario.tick(second, "38.90", "14:06")  # the same episode
    status = scenario.status()
    assert (status["risk_tier"], Decimal(status["reserve_pool"])) == ("conservative", 0)
    assert Decimal(status["active_pool"]) == Decimal(status["total_value"])
    given_back = -(siphon + 50)
    expected = [
        (1, siphon, siphon, "profit_siphon"),
        (2, Decimal(50), siphon + 50, "manual_adjustment"),
        (3, given_back, Decimal(0), "emergency_liquidation"),
    ]
    entries = scenario.records("ledger_entry")
    assert [(e["seq"], Decimal(e["amount"]), Decimal(e["balance_after"]), e["trigger"]) for e in entries] == expected
    rows = scenario.rows("reserve_pool_ledger")
    assert [(row["seq"], row["amount"], row["balance_after"], row["trigger"]) for row in rows] == expected
    assert entries[0]["trade_id"] == trade["trade_id"]
    [change] = scenario.rows("risk_tier_history")
    assert (change["previous_tier"], change["new_tier"], change["source"]) == ("moderate", "conservative", "emergency")
    assert len(scenario.told("emergency_liquidation")) == 1
    assert scenario.sells() == [("take_profit", first, "1")]
    assert [Decimal(row["amount"]) for row in scenario.get("/reserve")["items"]] == [given_back, 50, siphon]


@pytest.mark.covers("R3.1")
def test_r3_with_a_high_water_mark_only_what_makes_a_new_height_is_set_aside(scenario: Scenario) -> None:
    scenario.configure(siphon_basis="high_water_mark")
    for letter, clock, price in (("A", "14:00", "38.02"), ("B", "14:02", "43.02"), ("C", "14:04", "43.02")):
        symbol = scenario.hold(letter, f"{clock}:00")
        scenario.tick(symbol, price, f"{clock}:30")
    loss, profit = Decimal("38.00") - BOUGHT_AT, Decimal("42.99") - BOUGHT_AT
    assert (loss, profit) == (Decimal("-2.02"), Decimal("2.97"))
    # a fifth of 2.97 - 2.02 = 0.95, then a fifth of 2.97
    assert [row["amount"] for row in scenario.rows("reserve_pool_ledger")] == [Decimal("0.19"), Decimal("0.59")]


@pytest.mark.covers("R4.1", "R4.2", "R4.3", "R4.4", "R4.5", "R4.6", "R4.7", "R18.3")
def test_r4_levels_follow_volatility_and_profit_and_are_left_at_once(scenario: Scenario) -> None:
    symbol = scenario.hold("A", "14:00")
    [opened] = scenario.records("stop_level")
    assert (Decimal(opened["stop_price"]), Decimal(opened["target_price"])) == (Decimal("38.02"), Decimal("43.02"))

    quieter = market.bars_before(symbol, scenario.day, "40.00", half_range="0.25")  # ATR 0.5 instead of 1
    scenario.send("price-bars", *quieter)
    scenario.tick(symbol, "40.10", "14:04:59")
    assert len(scenario.levels(symbol)) == 1
    scenario.tick(symbol, "40.10", "14:05:10")
    assert scenario.levels(symbol)[1:] == [("re_evaluated", Decimal("40.02") - 2 * Decimal("0.5"))]
    assert scenario.records("stop_level")[1]["at"] == scenario.at("14:05")
    scenario.tick(symbol, "41.53", "14:06")  # half of the way to 43.02 is 41.52
    assert scenario.levels(symbol)[2:] == [("breakeven", BOUGHT_AT)]
    scenario.tick(symbol, "40.02", "14:06:30")
    [order] = scenario.orders(side="sell")
    assert (order["purpose"], order["quantity"], order["created_at"]) == ("stop_loss", "1", scenario.at("14:06:30"))

    other = scenario.hold("B", "14:07", sector="energy")
    scenario.tick(other, "43.02", "14:08")
    assert scenario.sells() == [("stop_loss", symbol, "1"), ("take_profit", other, "1")]
    rows = [row for row in scenario.rows("position_stop_levels") if row["symbol"] == symbol]
    figures = [(row["reason"], row["stop_price"], row["target_price"], row["atr"], row["multiplier"]) for row in rows]
    target = Decimal("43.02")
    assert figures == [
        ("opened", Decimal("38.02"), target, 1, 2),
        ("re_evaluated", Decimal("39.02"), target, Decimal("0.5"), 2),
        ("breakeven", BOUGHT_AT, target, Decimal("0.5"), 2),
        ("closed", BOUGHT_AT, target, Decimal("0.5"), 2),
    ]
    assert {row["signal_confidence"] for row in rows} == {Decimal("0.9")}


@pytest.mark.covers("R4.8")
def test_r4_a_symbol_without_prices_is_sold_while_another_one_ticks_and_a_mute_feed_sells_nothing(
    scenario: Scenario,
) -> None:
    scenario.configure(stale_price_minutes=15)
    silent, heard = scenario.hold("A", "14:00"), scenario.hold("B", "14:01", sector="energy")
    for clock in ("14:06", "14:11", "14:15"):
        scenario.tick(heard, "40.00", clock)
    assert scenario.sells() == []
    warned = [alert for alert in scenario.records("alert", symbol=silent) if alert["severity"] == "warning"]
    assert len(warned) == 1  # the last known price is used meanwhile
    scenario.tick(heard, "40.00", "14:16:30")
    assert scenario.sells() == [("stale_price", silent, "1")]
    [trade] = scenario.records("trade")
    assert Decimal(trade["exit_price"]) == Decimal("39.98")  # at the last known price

    scenario.wait_until("14:33")
    scenario.wait_until("14:50")
    assert scenario.sells() == [("stale_price", silent, "1")]
    assert scenario.status()["trading_state"] == "reducing"
    critical = [alert["subject"] for alert in scenario.records("alert") if alert["severity"] == "critical"]
    assert len(critical) == 1
    scenario.tick(heard, "40.00", "14:51")
    assert scenario.status()["trading_state"] == "active"
    assert [row["symbol"] for row in scenario.rows("positions")] == [heard]


@pytest.mark.covers("R7.1", "R7.2", "R7.4")
def test_r7_a_critical_event_tightens_stops_at_once_and_every_minute_and_its_hit_is_an_event(
    scenario: Scenario,
) -> None:
    symbol = scenario.hold("A", "14:00")
    event = {"event_id": f"{symbol}-mild", "severity": "moderate", "headline": "A rumour"}
    lasting = {"started_at": scenario.at("14:01"), "estimated_duration_seconds": 3600}
    scenario.send("macro-events", event | lasting)
    assert [reason for reason, _ in scenario.levels(symbol)] == ["opened"]
    critical = {"event_id": f"{symbol}-hard", "severity": "critical", "headline": "A default"}
    scenario.send("macro-events", critical | lasting | {"started_at": scenario.at("14:02")})
    # half of the ordinary two ATRs under the last price
    assert scenario.levels(symbol)[1:] == [("event", Decimal("40.00") - Decimal("0.5") * 2)]
    assert scenario.records("stop_level")[1]["at"] == scenario.at("14:02")

    scenario.tick(symbol, "40.60", "14:02:30")
    scenario.tick(symbol, "40.60", "14:03:10")  # the check of 14:03, two minutes before the ordinary one
    assert scenario.levels(symbol)[2:] == [("event", Decimal("39.60"))]
    scenario.tick(symbol, "39.61", "14:03:20")
    assert scenario.sells() == []
    scenario.tick(symbol, "39.60", "14:03:30")
    assert scenario.sells() == [("event", symbol, "1")]
    [row] = [row for row in scenario.decision_rows() if row["source_type"] == "exit"]
    assert (row["purpose"], row["decision"]) == ("event", "act")

    # when it is over the stops of new positions are the ordinary ones, also at a check
    later = scenario.hold("B", "15:03", sector="energy")
    scenario.tick(later, "40.00", "15:06")
    assert scenario.levels(later) == [("opened", Decimal("38.02"))]


@pytest.mark.covers("R7.3")
def test_r7_a_move_of_five_percent_within_a_quarter_of_an_hour_looks_at_that_position_at_once(
    scenario: Scenario,
) -> None:
    """ATR falls from 4 to 3; the next ordinary look would be at 14:05."""
    symbols = [scenario.symbol("A"), scenario.symbol("B")]
    for symbol, sector in zip(symbols, ("technology", "energy"), strict=True):
        scenario.enlist(symbol, "40.00", sector=sector, half_range="2")
        assert scenario.buy(symbol, "14:00")["quantity"] == "1"
        scenario.send("price-bars", *market.bars_before(symbol, scenario.day, "40.00", half_range="1.5"))
    moving, calm = symbols
    scenario.tick(moving, "42.00", "14:01")  # five percent exactly
    assert [reason for reason, _ in scenario.levels(moving)] == ["opened"]
    scenario.tick(moving, "42.01", "14:02")
    assert scenario.levels(moving) == [("opened", Decimal("32.02")), ("re_evaluated", Decimal("34.02"))]
    assert scenario.levels(calm) == [("opened", Decimal("32.02"))]


@pytest.mark.covers("R7.5")
def test_r7_while_most_positions_decline_nothing_is_bought(scenario: Scenario) -> None:
    held = scenario.hold("A", "14:00"), scenario.hold("B", "14:01", sector="energy")
    candidate = scenario.symbol("C")
    scenario.enlist(candidate, "40.00", sector="health")
    for symbol, clock in zip(held, ("14:02", "14:03"), strict=True):
        scenario.tick(symbol, "39.20", clock)  # 2.05 % under what was paid
    assert scenario.buy(candidate, "14:04")["skip_reason"] == "broad_decline"
    assert scenario.status()["trading_state"] == "reducing"
    [alert] = [each for each in scenario.records("alert") if "decline" in each["subject"]]
    assert alert["at"] == scenario.at("14:03")

    for symbol in held:
        scenario.tick(symbol, "40.00", "14:10")
    assert scenario.buy(candidate, "14:39:50")["skip_reason"] == "broad_decline"
    assert scenario.buy(candidate, "14:40")["decision"] == "act"  # half an hour below the limit
    assert scenario.sells() == []


@pytest.mark.covers("R8.1", "R8.2", "R8.3", "R8.5", "R8.6")
def test_r8_on_monday_at_the_windows_open_what_has_grown_too_large_is_cut(scenario: Scenario) -> None:
    """Four shares and two of one sector, at 10.00; then 6.5 % of the pool for a stock, and 8.5 % for a sector."""
    scenario.begin_on(weekday=4)
    scenario.configure(gradual_entry_tranches=1)
    strong, weak = scenario.symbol("A"), scenario.symbol("B")
    for symbol, confidence, shares in ((strong, "0.9", "4"), (weak, "0.6", "2")):
        scenario.enlist(symbol, "10.00")
        assert scenario.buy(symbol, "14:00", "10.00", confidence=confidence)["quantity"] == shares
    scenario.configure(tiers={"moderate": {"max_position_pct": "0.065", "max_sector_pct": "0.085"}})
    scenario.tick(strong, "10.00", "14:30")
    assert scenario.sells() == []

    scenario.next_day()
    for symbol in (strong, weak):
        scenario.tick(symbol, "10.00", "13:40")
    assert scenario.sells() == []
    scenario.tick(strong, "10.00", "13:46")
    # 40 dollars are over 32.50: one share; then 30 + 20 are over 42.50: one share of the weaker
    orders = scenario.orders(side="sell")
    cut = [(each["symbol"], each["quantity"], each["purpose"], each["created_at"]) for each in orders]
    at_open = scenario.at("13:45")
    assert sorted(cut) == [(strong, "1", "rebalance", at_open), (weak, "1", "rebalance", at_open)]
    rationale = {each["symbol"]: each for each in scenario.records("rebalance_rationale")}
    rules = {symbol: each["rationale"]["rule"] for symbol, each in rationale.items()}
    assert rules == {strong: "max_position_pct", weak: "max_sector_pct"}
    decisions = {row["decision_id"]: row for row in scenario.decision_rows() if row["source_type"] == "rebalance"}
    assert {each["decision_id"] for each in orders} == decisions.keys()
    assert {each["decision_id"] for each in rationale.values()} == decisions.keys()
    quantities = {row["symbol"]: row["quantity"] for row in scenario.rows("positions")}
    assert quantities == {strong: 3, weak: 1}


@pytest.mark.covers("R8.6")
def test_r8_while_a_breaker_is_active_nothing_is_rebalanced(scenario: Scenario) -> None:
    scenario.begin_on(weekday=4)
    scenario.configure(gradual_entry_tranches=1)
    symbol = scenario.symbol()
    scenario.enlist(symbol, "10.00")
    assert scenario.buy(symbol, "14:00", "10.00")["quantity"] == "4"
    scenario.configure(tiers={"moderate": {"max_position_pct": "0.065"}})  # 40 dollars are over 32.50
    scenario.next_day()
    scenario.tick(symbol, "10.00", "13:40")
    scenario.send("market-stress", {"name": "vix", "value": "36", "at": scenario.at("13:44")})
    scenario.tick(symbol, "10.00", "13:46")
    scenario.tick(symbol, "10.00", "15:43")
    assert scenario.sells() == []
    assert scenario.status()["circuit_breaker"]["trigger"] == "market_stress"
    scenario.tick(symbol, "8.60", "15:43:30")  # protective exits go out all the same: the stop is at 8.01
    assert scenario.sells() == []
    scenario.tick(symbol, "8.50", "15:43:40")  # and 15 % under what was paid is 8.5085
    assert scenario.sells() == [("breaker", symbol, "4")]


@pytest.mark.covers("R8.4")
def test_r8_at_the_limit_of_positions_a_much_better_candidate_takes_the_weakest_ones_place(scenario: Scenario) -> None:
    scenario.configure(max_open_positions=1)
    weak, little_better, better = (scenario.symbol(letter) for letter in "ABC")
    for symbol in (weak, little_better, better):
        scenario.enlist(symbol, "30.00", sector={weak: "energy"}.get(symbol, "technology"))
    assert scenario.buy(weak, "14:00", "30.00", confidence="0.6")["decision"] == "act"
    refused = scenario.buy(little_better, "14:01", "30.00", confidence="0.74")
    assert refused["skip_reason"] == "position_limit_reached"
    scenario.tick(better, "30.00", "14:02")
    source_id = scenario.recommend(better, "14:02", confidence="0.75")
    scenario.tick(better, "30.00", "14:03")
    assert scenario.sells() == [("rebalance", weak, "1")]
    [decision] = scenario.decisions(source_id=source_id)
    assert (decision["decision"], decision["quantity"]) == ("act", "1")
    [rationale] = scenario.records("rebalance_rationale")
    assert rationale["rationale"]["rule"] == "position_limit_reached"
    assert [row["symbol"] for row in scenario.rows("positions")] == [better]


@pytest.mark.covers("R12.1", "R12.2", "R12.3", "R12.4")
def test_r12_a_loss_that_is_bought_back_within_thirty_days_is_a_wash_sale(scenario: Scenario) -> None:
    symbol = scenario.hold("A", "14:00")
    scenario.tick(symbol, "38.02", "14:01")
    loss = BOUGHT_AT - Decimal("38.00")
    [sold] = scenario.rows("trades")
    assert (sold["realized_pnl"], sold["wash_sale"], sold["tax_adjusted_pnl"]) == (-loss, False, -loss)

    scenario.next_day()
    assert scenario.buy(symbol, "14:00")["decision"] == "act"
    [washed] = scenario.rows("trades")
    assert (washed["realized_pnl"], washed["wash_sale"]) == (-loss, True)
    assert (washed["disallowed_loss"], washed["tax_adjusted_pnl"]) == (loss, 0)
    old, new = sorted(scenario.rows("tax_lots"), key=lambda lot: lot["acquired_at"])
    assert (old["status"], old["open_quantity"], old["disallowed_loss"]) == ("washed", 0, loss)
    assert (new["status"], new["open_quantity"], new["cost_basis_per_share"]) == ("open", 1, BOUGHT_AT + loss)
    [record] = scenario.records("wash_sale")
    assert (Decimal(record["disallowed_loss"]), record["replacement_lot_id"]) == (loss, new["lot_id"])
    exit_rows = [row for row in scenario.decision_rows() if row["source_type"] == "exit"]
    assert [row["wash_sale"] for row in exit_rows] == [True]
    assert scenario.get(f"/decisions/{exit_rows[0]['decision_id']}")["wash_sale"] is True

    scenario.tick(symbol, "43.02", "14:01")
    profit = Decimal("42.99") - BOUGHT_AT
    [last] = [row for row in scenario.rows("trades") if row["exit_purpose"] == "take_profit"]
    assert (last["realized_pnl"], last["tax_adjusted_pnl"]) == (profit, profit - loss)
    scenario.wait_until("20:00")
    metrics = scenario.records("portfolio_snapshot")[-1]["metrics"]
    assert Decimal(metrics["realized_pnl"]) == Decimal(metrics["tax_adjusted_pnl"]) == profit - loss


@pytest.mark.covers("R12.1", "R12.2", "R12.4")
def test_r12_a_loss_on_the_oldest_shares_is_washed_by_those_that_were_bought_after_them(scenario: Scenario) -> None:
    """Three tranches of one entry, 2 + 1 + 1 at 10.01; then a rebalance sells one share of the first lot at a loss."""
    scenario.begin_on(weekday=4)
    symbol = scenario.symbol()
    scenario.enlist(symbol, "10.00")
    assert scenario.buy(symbol, "14:00", "10.00")["quantity"] == "4"
    for clock in ("14:15", "14:30"):
        scenario.tick(symbol, "10.00", clock)
    scenario.configure(tiers={"moderate": {"max_position_pct": "0.065"}})
    scenario.next_day()
    scenario.tick(symbol, "9.80", "13:40")
    scenario.tick(symbol, "9.80", "13:46")
    assert scenario.sells() == [("rebalance", symbol, "1")]  # 39.20 dollars are over 32.50
    paid, brought = Decimal("10.01"), Decimal("9.79")
    [trade] = scenario.rows("trades")
    assert (trade["realized_pnl"], trade["wash_sale"]) == (brought - paid, True)
    assert (trade["disallowed_loss"], trade["tax_adjusted_pnl"]) == (paid - brought, 0)
    oldest_first = sorted(scenario.rows("tax_lots"), key=lambda lot: lot["acquired_at"])
    lots = [(lot["open_quantity"], lot["cost_basis_per_share"]) for lot in oldest_first]
    assert lots == [(1, paid), (1, paid + (paid - brought)), (1, paid)]  # never the rest of the lot that was sold
    [position] = scenario.rows("positions")
    assert (position["quantity"], position["avg_entry_price"]) == (3, paid)
