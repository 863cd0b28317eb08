"""Requirements 1, 2 and 9 through Kafka on a running stack: what is bought, and how much of it.

500 dollars, the moderate tier: 5 % of the active pool x confidence / 0.55, x 1.2 for the first three sectors, at most
10 % of the active pool and 50 dollars; ATR 1 unless a scenario says otherwise.
"""

import itertools
import statistics
from decimal import Decimal

import pytest

from tests.integration import market
from tests.integration.desk import GATES
from tests.integration.harness import eventually
from tests.integration.scenario import NEAR, Scenario, gate, size

pytestmark = pytest.mark.integration


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
