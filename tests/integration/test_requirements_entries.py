"""Requirements 1, 2, 9, 10, 11 and 13 through Kafka on a running stack: what is bought, how much of it, and when.

500 dollars, the moderate tier: 5 % of the active pool x confidence / 0.55, x 1.2 for the first three sectors, at most
10 % of the active pool and 50 dollars; ATR 1 unless a scenario says otherwise.
"""

import datetime as dt
import itertools
import statistics
from decimal import Decimal

import pytest

from tests.integration import market
from tests.integration.harness import eventually
from tests.integration.scenario import Scenario, gate

pytestmark = pytest.mark.integration

GATES = [
    "not_actionable",
    "expired",
    "superseded",
    "unknown_symbol",
    "not_ready",
    "engine_paused",
    "circuit_breaker_active",
    "market_stress",
    "broad_decline",
    "active_pool_minimum",
    "outside_trading_window",
    "price_unavailable",
    "ticker_cooldown",
    "earnings_blackout",
    "insufficient_confidence",
    "no_position_to_sell",
    "already_held",
    "position_limit_reached",
    "correlation_too_high",
    "sector_limit",
    "portfolio_heat",
    "reserve_not_backed",
    "insufficient_active_pool",
    "below_one_share",
    "micro_daily_limit",
    "micro_too_late",
]
NEAR = Decimal("0.000001")


def size(decision: dict[str, object]) -> Decimal:
    """Return the dollars of a decision, to the millionth."""
    return Decimal(str(decision["computed_position_size"])).quantize(NEAR)


def formula(decision: dict[str, object], *, times: str) -> Decimal:
    """Return the dollars for a confidence of 0.9, times the factors that a scenario is about.

    They are a percentage of the active pool, of 500 at most.
    """
    pool = min(Decimal(500), Decimal(str(decision["active_pool"])))
    return (pool * Decimal("0.05") * Decimal("0.9") / Decimal("0.55") * Decimal(times)).quantize(NEAR)


@pytest.mark.covers("R1.1", "R1.2", "R1.3", "R1.4", "R1.5", "R17.1", "R17.2")
def test_r1_a_recommendation_is_decided_once_with_all_gates_and_one_order(scenario: Scenario) -> None:
    symbol = scenario.symbol()
    scenario.enlist(symbol, "40.00")
    decision = scenario.buy(symbol, "14:00")
    assert [each["name"] for each in decision["gates"]] == GATES
    assert (decision["decision"], decision["skip_reason"]) == ("act", None)
    [order] = scenario.orders()
    assert (order["decision_id"], order["side"], order["quantity"]) == (decision["decision_id"], "buy", "1")

    scenario.recommend(symbol, "14:01", recommendation_id=decision["source_id"], action="sell")
    [duplicate] = scenario.records("duplicate")
    assert (duplicate["source_id"], duplicate["symbol"]) == (decision["source_id"], symbol)
    assert (len(scenario.decisions()), len(scenario.orders())) == (1, 1)

    other = scenario.symbol("B")
    scenario.enlist(other, "40.00")
    weak = scenario.buy(other, "14:02", confidence="0.54")
    assert (weak["decision"], weak["skip_reason"]) == ("skip", "insufficient_confidence")
    rows = [(row["source_id"], row["decision"], row["skip_reason"]) for row in scenario.decision_rows()]
    assert rows == [(decision["source_id"], "act", None), (weak["source_id"], "skip", "insufficient_confidence")]
    [row] = scenario.rows("orders")
    assert (row["client_order_id"], row["status"]) == (order["client_order_id"], "filled")
    loops = [row["at"].isoformat() for row in scenario.rows("portfolio_heat")]
    assert len(loops) == len(set(loops)) > 0  # a loop tick each time a minute had passed


@pytest.mark.covers("R2.1", "R2.2", "R2.3", "R2.4", "R2.7", "R16.1")
def test_r2_the_size_follows_confidence_to_the_dollar_under_both_caps_in_whole_shares(scenario: Scenario) -> None:
    dear, cheap = scenario.symbol("A"), scenario.symbol("B")
    scenario.enlist(dear, "60.00")
    scenario.enlist(cheap, "9.99")
    scenario.configure(gradual_entry_tranches=1)

    def sized(clock: str, confidence: str) -> tuple[Decimal, str | None]:
        """Ask for a share that costs more than any cap, so that nothing is bought and the next one starts from 500."""
        decision = scenario.buy(dear, clock, "60.00", confidence=confidence)
        assert decision["quantity"] == "0"
        return size(decision), decision["skip_reason"]

    at_minimum = Decimal(500) * Decimal("0.05") * 1 * Decimal("1.2")
    assert sized("14:00", "0.55") == (at_minimum, "below_one_share")
    scaled = (Decimal(25) * Decimal("0.8") / Decimal("0.55") * Decimal("1.2")).quantize(NEAR)
    assert sized("14:01", "0.8") == (scaled, "below_one_share")
    assert sized("14:02", "1") == (50, "below_one_share")  # 54.55 before the caps
    assert sized("14:03", "0.5499") == (0, "insufficient_confidence")
    scenario.configure(absolute_cap_pct="0.08")
    assert sized("14:04", "1") == (40, "below_one_share")  # 8 % of the total value
    scenario.configure(tiers={"moderate": {"max_position_pct": "0.07"}})
    assert sized("14:05", "1") == (35, "below_one_share")  # 7 % of the active pool is less

    bought = scenario.buy(cheap, "14:06", "9.99", confidence="0.55")
    assert (size(bought), bought["quantity"]) == (30, "3")  # 30 / 9.99 = 3.003
    [order] = scenario.orders()
    assert (order["quantity"], order["of_tranches"]) == ("3", 1)
    [row] = [row for row in scenario.decision_rows() if row["decision"] == "act"]
    assert (row["computed_position_size"].quantize(NEAR), row["quantity"]) == (30, 3)
    sizing = scenario.get(f"/decisions/{bought['decision_id']}")["sizing"]
    steps = ["formula", "correlation", "sector", "earnings", "bonus", "caps", "cash"]
    assert [Decimal(sizing[step]).quantize(NEAR) for step in steps] == [25, 25, 25, 25, 30, 30, 30]


@pytest.mark.covers("R2.7")
def test_r2_fractional_shares_are_bought_in_thousandths_where_they_are_enabled(scenario: Scenario) -> None:
    symbol = scenario.symbol()
    scenario.enlist(symbol, "140.00")
    assert scenario.buy(symbol, "14:00", "140.00")["skip_reason"] == "below_one_share"
    scenario.configure(fractional_enabled=True)
    bought = scenario.buy(symbol, "14:01", "140.00")
    assert (bought["decision"], bought["quantity"]) == ("act", "0.350")  # 49.0909 / 140 = 0.35065
    assert sum(Decimal(order["quantity"]) for order in scenario.orders()) == Decimal("0.350")
    for clock in ("14:16", "14:31", "14:46"):
        scenario.tick(symbol, "140.00", clock)
    [position] = scenario.rows("positions")
    assert (position["quantity"], position["avg_entry_price"]) == (Decimal("0.350"), Decimal("140.07"))
    scenario.recommend(symbol, "14:47", action="sell")
    assert scenario.sells() == [("signal", symbol, "0.350")]
    assert scenario.rows("positions") == []


@pytest.mark.covers("R2.6", "R9.4")
def test_r2_the_room_that_a_sector_has_left_bounds_the_size(scenario: Scenario) -> None:
    dear = scenario.symbol("D")
    scenario.enlist(dear, "31.00", sector="energy")
    scenario.configure(tiers={"moderate": {"max_sector_pct": "0.06"}})
    refused = scenario.buy(dear, "13:59", "31.00")
    assert (size(refused), refused["skip_reason"]) == (30, "sector_limit")  # the bonus of a new sector adds nothing
    scenario.configure(tiers={"moderate": {"max_sector_pct": "0.12"}})  # 60 dollars less 12 % of what slippage cost
    scenario.hold("A", "14:00")
    smaller, last = scenario.symbol("B"), scenario.symbol("C")
    for symbol in (smaller, last):
        scenario.enlist(symbol, "15.00")
    reduced = scenario.buy(smaller, "14:01", "15.00")
    pool = Decimal(500) - Decimal("0.02")
    room = pool * Decimal("0.12") - 40
    assert (size(reduced), reduced["quantity"]) == (room.quantize(NEAR), "1")
    check = reduced["sector_exposure_check_result"]
    assert (check["result"], Decimal(check["value"]), Decimal(check["limit"])) == (
        "reduced",
        40,
        pool * Decimal("0.12"),
    )
    refused = scenario.buy(last, "14:02", "15.00")  # less than five dollars are left
    assert (refused["skip_reason"], refused["sector_exposure_check_result"]["result"]) == ("sector_limit", "rejected")


@pytest.mark.covers("R2.5", "R9.1", "R9.2", "R9.3", "R9.4", "R9.5")
def test_r9_what_moves_with_the_portfolio_is_cut_or_refused_and_a_new_sector_gets_more(scenario: Scenario) -> None:
    """Forty closes each: B moves like A, C partly, D not at all; the matrix is compared with Python's own."""
    first = [1, 1, -1, -1] * 10  # returns in percent; orthogonal to `second`
    second = [1, -1, 1, -1] * 10
    blends = {"A": (1.0, 0.0), "B": (1.0, 0.0), "C": (0.6, 0.8), "D": (0.0, 1.0)}
    closes = {letter: walk(first, second, blend) for letter, blend in blends.items()}
    sectors = {"A": "technology", "B": "energy", "C": "technology", "D": "health"}
    for letter, prices in closes.items():
        symbol = scenario.symbol(letter)
        scenario.stack.produce("companies", [market.company(symbol, sector=sectors[letter])])
        scenario.send("price-bars", *bars_with_closes(scenario, symbol, prices))

    def buy(letter: str, clock: str) -> dict[str, object]:
        return scenario.buy(scenario.symbol(letter), clock, closes[letter][-1])

    bought = buy("A", "14:00")
    assert bought["correlation_check_result"]["result"] == "not_applicable"
    refused = buy("B", "14:01")
    assert (refused["skip_reason"], refused["correlation_check_result"]["result"]) == (
        "correlation_too_high",
        "rejected",
    )
    assert gate(refused, "correlation_too_high")["passed"] is False

    pairs = {letter: statistics.correlation(returns(closes["A"]), returns(closes[letter])) for letter in "BCD"}
    assert pairs["B"] > 0.8 > pairs["C"] > 0.5 > pairs["D"]
    reduced = buy("C", "14:02")
    check = reduced["correlation_check_result"]
    factor = (0.8 - pairs["C"]) / 0.3
    assert (check["result"], float(check["value"])) == ("reduced", pytest.approx(pairs["C"], abs=1e-8))
    assert float(check["factor"]) == pytest.approx(factor, abs=1e-7)
    pool = float(reduced["active_pool"])
    assert float(size(reduced)) == pytest.approx(pool * 0.05 * 0.9 / 0.55 * factor, abs=1e-4)  # its sector is held
    held = Decimal(reduced["sector_exposure_check_result"]["value"])
    shares = sum(row["quantity"] for row in scenario.rows("positions") if row["symbol"] == scenario.symbol("A"))
    assert held == shares * Decimal(closes["A"][-1])

    diversifying = buy("D", "14:03")
    assert diversifying["correlation_check_result"]["result"] == "passed"
    full = float(diversifying["active_pool"]) * 0.05 * 0.9 / 0.55 * 1.2
    assert float(size(diversifying)) == pytest.approx(full, abs=1e-4)  # the second sector of less than three: 1.2 times

    query = "SELECT symbol_b, correlation, observations FROM correlation_matrix_cache WHERE symbol_a = $1"

    def matrix() -> dict[str, tuple[float, int]]:
        rows = scenario.stack.sql(query, scenario.symbol("A"))
        return {row["symbol_b"][-1]: (float(row["correlation"]), row["observations"]) for row in rows}

    eventually(lambda: matrix().keys() >= {"B", "C", "D"}, seconds=40, what="the matrix has the pairs")
    for letter, expected in pairs.items():
        assert matrix()[letter] == (pytest.approx(expected, abs=1e-8), len(first))


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


def walk(first: list[int], second: list[int], blend: tuple[float, float]) -> list[str]:
    """Return closes to the cent from 30 dollars on, whose returns blend two series of percents."""
    prices = [30.0]
    for one, other in zip(first, second, strict=True):
        prices.append(prices[-1] * (1 + (blend[0] * one + blend[1] * other) / 100))
    return [f"{price:.2f}" for price in prices]


def returns(closes: list[str]) -> list[float]:
    """Return simple returns."""
    prices = [float(close) for close in closes]
    return [later / earlier - 1 for earlier, later in itertools.pairwise(prices)]


def bars_with_closes(scenario: Scenario, symbol: str, closes: list[str]) -> list[dict[str, object]]:
    """Return daily bars with these closes, the last of them on the day before the scenario's."""
    days = [bar["at"] for bar in market.bars_before(symbol, scenario.day, "1", count=len(closes))]
    return [
        market.bar(symbol, scenario.day, close, half_range="0.25") | {"at": at}
        for at, close in zip(days, closes, strict=True)
    ]
