"""Every gate of `contracts.md`: what fails it, its place in the order, and when it does not apply."""

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import get_args

import pytest

from tests.trading import prices as real
from tests.trading.desk import MONDAY, Desk, at, days, minutes
from trading.effects import GateName

D = Decimal
ORDER = [
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


@pytest.mark.covers("R1.2", "R17.1")
def test_every_decision_lists_every_gate_in_the_order_of_the_contract() -> None:
    desk = Desk()
    desk.recommend()
    desk.recommend("MSFT", "sell")
    desk.recommend("KO", "hold", confidence="0.1", price=None)
    assert list(get_args(GateName)) == ORDER
    for decision in desk.decisions:
        assert [gate.name for gate in decision.gates] == ORDER


def failing(signal: str = "recommend") -> dict[str, Callable[[], Desk]]:
    """One way for each gate to be the first that fails, for a recommendation or a `trend`."""

    def recommended(desk: Desk, **fields: object) -> Desk:
        getattr(desk, signal)(**fields)
        return desk

    def new(**changes: object) -> Desk:
        return Desk(micro_trading_enabled=True, **changes)

    def paused() -> Desk:
        desk = new()
        desk.command("pause")
        return recommended(desk)

    def breaker() -> Desk:
        desk = new()
        desk.stress("36")
        desk.clock(at("15:31"))  # the reading is old by now, its breaker active for two hours
        return recommended(desk)

    def stressed() -> Desk:
        desk = new(market_stress_threshold="40")
        desk.stress("39")
        desk.clock(desk.now)
        desk.configure(breaker_pause_minutes=1)
        desk.stress("41")
        desk.clock(at("15:01"))  # its breaker of one minute ends, and the reading trips the next at once
        return recommended(desk)

    def declining() -> Desk:
        desk = new()
        for symbol, sector in (("KO", "staples"), ("CVX", "energy")):
            desk.hold(symbol, sector=sector, atr="1")
            desk.mark(symbol, "9.79")
        return recommended(desk)

    def small() -> Desk:
        return recommended(new(cash="99.99"))

    def unready() -> Desk:
        return recommended(new(cash=None))

    def superseded() -> Desk:
        desk = new(now=at("13:00"))
        desk.recommend(generated_at=at("12:00"))
        desk.recommend(generated_at=at("11:00"))
        return desk

    def cooling() -> Desk:
        desk = new()
        desk.hold(atr="2")
        desk.mark("AAPL", "8.49")
        desk.fill(desk.orders("sell")[-1])
        return recommended(desk)

    def held() -> Desk:
        desk = new()
        desk.hold()
        return recommended(desk)

    def full() -> Desk:
        desk = new(max_open_positions=1)
        desk.hold()
        return recommended(desk, symbol="KO", sector="staples")

    def correlated() -> Desk:
        desk = new()
        desk.hold(closes=real.closes("JPM"))
        return recommended(desk, symbol="BAC", closes=real.closes("JPM"), sector="financials")

    def sector() -> Desk:
        desk = new(moderate={"max_sector_pct": "0.08"})  # 40 dollars
        desk.hold("S0")
        return recommended(desk, symbol="S1")

    def hot() -> Desk:
        return recommended(new(moderate={"max_portfolio_heat": "0.005"}), price="2")  # 2.50 dollars; 7 shares risk 3.50

    def unbacked() -> Desk:
        desk = new(active_pool_minimum="0")
        for symbol, sector in (("KO", "staples"), ("CVX", "energy"), ("JPM", "financials")):
            desk.hold(symbol, sector=sector, atr="0.2")
        desk.command("adjust_reserve", amount=str(desk.row.spendable), reason="all the cash")
        return recommended(desk, atr="0.2")

    def poor() -> Desk:
        desk = new()
        desk.snapshot(buying_power="1")
        return recommended(desk)

    tomorrow = {"earnings_on": MONDAY + days(1), "earnings_session": "bmo"}
    return {
        "not_actionable": lambda: recommended(new(), action="hold"),
        "expired": lambda: recommended(new(), expires_at=at("15:00"), generated_at=at("14:00")),
        "superseded": superseded,
        "unknown_symbol": lambda: recommended(new(), sector=None),
        "not_ready": unready,
        "engine_paused": paused,
        "circuit_breaker_active": breaker,
        "broad_decline": declining,
        "active_pool_minimum": small,
        "outside_trading_window": lambda: recommended(new(now=at("20:46")), confidence="0.1"),
        "price_unavailable": lambda: recommended(new(), price_at=at("14:44:59")),
        "ticker_cooldown": cooling,
        "earnings_blackout": lambda: recommended(new(), facts=tomorrow),
        "insufficient_confidence": lambda: recommended(new(), confidence="0.54"),
        "no_position_to_sell": lambda: recommended(new(), action="sell"),
        "already_held": held,
        "position_limit_reached": full,
        "correlation_too_high": correlated,
        "sector_limit": sector,
        "portfolio_heat": hot,
        "reserve_not_backed": unbacked,
        "insufficient_active_pool": poor,
        "below_one_share": lambda: recommended(new(), price="60", atr="1"),
        "market_stress": stressed,
    }


@pytest.mark.covers("R1.4")
@pytest.mark.parametrize("name", [name for name in ORDER if not name.startswith("micro") and name != "market_stress"])
def test_a_gate_that_fails_is_the_reason_of_the_skip(name: str) -> None:
    desk = failing()[name]()
    orders = len(desk.orders("buy"))
    decision = desk.decisions[-1]
    assert decision.decision == "skip"
    assert decision.skip_reason == name
    assert decision.quantity == 0
    assert desk.gate(name).passed is False
    assert all(gate.passed is not False for gate in decision.gates[: ORDER.index(name)])
    assert len(desk.orders("buy")) == orders


@pytest.mark.covers("R20.10")
@pytest.mark.parametrize(
    "name", [name for name in ORDER if not name.startswith("micro") and name not in ("superseded", "market_stress")]
)
def test_a_trend_meets_the_same_gates_as_a_recommendation(name: str) -> None:
    desk = failing("trend")[name]()
    decision = desk.decisions[-1]
    assert (decision.source_type, decision.decision, decision.skip_reason) == ("trend", "skip", name)
    assert [gate.name for gate in decision.gates] == ORDER
    assert not [order for order in desk.orders("buy") if order.decision_id == decision.decision_id]


@pytest.mark.covers("R6.3")
def test_stress_fails_its_own_gate_besides_the_breakers() -> None:
    desk = failing()["market_stress"]()
    assert desk.gate("market_stress").passed is False
    assert desk.gate("market_stress").value == "41"
    assert desk.gate("market_stress").limit == "40"
    assert desk.reason == "circuit_breaker_active"


@pytest.mark.covers("R17.1")
@pytest.mark.parametrize("name", [name for name in ORDER if not name.startswith("micro")])
def test_value_and_limit_are_text_exactly_where_a_gate_was_asked(name: str) -> None:
    for decision in failing()[name]().decisions:
        for gate in decision.gates:
            asked = gate.passed is not None
            assert (gate.value is not None) == asked
            assert (gate.limit is not None) == asked
        first = next((gate.name for gate in decision.gates if gate.passed is False), None)
        assert decision.skip_reason == first
        assert decision.decision == ("act" if first is None else "skip")


@pytest.mark.parametrize("name", [name for name in ORDER if not name.startswith("micro")])
def test_a_gate_without_its_input_has_an_earlier_one_that_failed(name: str) -> None:
    desk = failing()[name]()
    for decision in desk.decisions:
        if decision.source is None or decision.source.get("action") != "buy":
            continue
        failed = False
        for gate in decision.gates:
            if gate.passed is None:
                assert failed or gate.name in ("no_position_to_sell", "micro_daily_limit", "micro_too_late")
            failed = failed or gate.passed is False


def test_the_entry_gates_do_not_apply_to_a_sell() -> None:
    desk = Desk()
    desk.hold()
    desk.stress("99")
    desk.recommend(action="sell")
    decision = desk.decisions[-1]
    assert decision.decision == "act"
    asked = {gate.name for gate in decision.gates if gate.passed is not None}
    assert asked == {
        "not_actionable",
        "expired",
        "superseded",
        "unknown_symbol",
        "not_ready",
        "outside_trading_window",
        "insufficient_confidence",
        "no_position_to_sell",
    }


def test_in_paper_mode_both_eligibilities_are_actionable_and_in_live_mode_one() -> None:
    for mode, eligible, acts in (
        ("paper", "paper_eligible", True),
        ("paper", "live_eligible", True),
        ("paper", "informational", False),
        ("live", "paper_eligible", False),
        ("live", "live_eligible", True),
    ):
        desk = Desk(mode=mode)
        desk.command("arm_live", until=at("21:00"))
        desk.recommend(mode=eligible)
        assert (desk.reason is None) == acts
        assert desk.reason in (None, "not_actionable")


def test_a_recommendation_without_an_expiry_lives_a_day() -> None:
    desk = Desk()
    desk.recommend("AAPL", generated_at=at("15:00") - days(1))
    assert desk.reason == "expired"
    desk.recommend("KO", sector="staples", generated_at=at("15:00") - days(1) + dt.timedelta(seconds=1))
    assert desk.reason is None


def test_a_price_of_exactly_fifteen_session_minutes_is_fresh_enough() -> None:
    desk = Desk(now=at("15:05"))
    desk.recommend(price_at=at("14:50"))
    assert desk.reason is None
    assert (desk.gate("price_unavailable").value, desk.gate("price_unavailable").limit) == ("15", "15")


def test_a_price_of_the_last_session_is_as_old_as_the_sessions_since() -> None:
    desk = Desk(now=at("14:45"))
    desk.recommend(price_at=at("20:59:30") - days(3))  # Friday: half a minute then, 15 minutes today
    assert desk.reason == "price_unavailable"


@pytest.mark.covers("R9.3")
def test_a_correlation_that_is_rejected_says_its_value() -> None:
    decision = failing()["correlation_too_high"]().decisions[-1]
    check = decision.correlation_check_result
    assert (check.result, check.value, check.limit, check.factor) == ("rejected", D(1), D("0.8"), D(0))
    assert decision.computed_position_size == 0


def test_without_holdings_correlation_does_not_apply() -> None:
    desk = Desk()
    desk.recommend()
    check = desk.decisions[-1].correlation_check_result
    assert (check.result, check.value, check.limit, check.factor) == ("not_applicable", None, None, None)


@pytest.mark.covers("R13.2")
def test_heat_may_reach_its_limit_and_not_pass_it() -> None:
    # 4 shares with a stop a dollar away risk 4 dollars: 0.008 of 500
    for limit, reason in (("0.008", None), ("0.00799", "portfolio_heat")):
        desk = Desk(moderate={"max_portfolio_heat": limit})
        desk.recommend()
        assert desk.reason == reason
        assert desk.gate("portfolio_heat").value == "4.00"


@pytest.mark.covers("R13.1")
def test_heat_counts_positions_and_pending_entries() -> None:
    desk = Desk()
    desk.hold("KO", sector="staples")  # 4 shares, stop 9.00
    assert desk.row.portfolio_heat == 4
    desk.recommend("CVX", sector="energy")  # the first of three tranches: 2 shares
    assert desk.row.portfolio_heat == 6
    desk.mark("KO", "9.60")
    # 4 x 9.60 x (10 - 9) / 10 = 3.84, and 2 pending
    assert desk.row.portfolio_heat == D("5.84")


@pytest.mark.covers("R17.1")
def test_a_decision_carries_the_circumstances_it_was_made_in() -> None:
    desk = Desk()
    desk.command("adjust_reserve", amount="50", reason="test")
    desk.recommend(recommendation_id="r-1")
    decision = desk.decisions[-1]
    assert decision.recommendation_id == decision.source_id == "r-1"
    assert decision.risk_tier == "moderate"
    assert (decision.active_pool, decision.reserve_pool) == (D(450), D(50))
    assert decision.portfolio_heat == 0
    assert decision.circuit_breaker_status == "inactive"
    assert decision.earnings_proximity_flag == "unknown"
    assert decision.policy_version == 1
    assert decision.decided_at == at("15:00")


@pytest.mark.covers("R10.3")
@pytest.mark.parametrize(
    ("sessions", "flag"),
    [(0, "within_1_day"), (1, "within_1_day"), (2, "within_3_days"), (3, "within_3_days"), (4, "none")],
)
def test_days_to_earnings_are_sessions(sessions: int, flag: str) -> None:
    desk = Desk()
    desk.recommend(facts={"earnings_on": MONDAY + days(sessions), "earnings_session": "amc"})
    assert desk.decisions[-1].earnings_proximity_flag == flag


def test_earnings_on_monday_are_one_session_from_friday_and_from_saturday() -> None:
    for now in (at("15:00") - days(3), at("15:00") - days(2)):
        desk = Desk(now=now)
        desk.recommend(facts={"earnings_on": MONDAY, "earnings_session": "bmo"}, confidence="0.1")
        assert desk.decisions[-1].earnings_proximity_flag == "within_1_day"


@pytest.mark.covers("R10.4")
@pytest.mark.parametrize(
    ("now", "generated", "flag"),
    [
        # reported after Monday's close: out at Tuesday's open, 14:30
        (at("14:45") + days(1), at("14:45") + days(1), "post_earnings"),  # until one session later
        (at("15:00") + days(2), at("14:00") + days(1), "post_earnings"),  # and until a recommendation since
        (at("14:46") + days(2), at("14:30") + days(1), "none"),
    ],
)
def test_after_a_report_sizes_stay_halved_for_a_session_and_until_a_new_signal(
    now: dt.datetime, generated: dt.datetime, flag: str
) -> None:
    desk = Desk(now=now)
    desk.recommend(
        facts={"earnings_on": MONDAY, "earnings_session": "amc"}, generated_at=generated, expires_at=now + days(1)
    )
    decision = desk.decisions[-1]
    assert decision.earnings_proximity_flag == flag
    assert decision.sizing is not None
    assert (decision.sizing.earnings < decision.sizing.sector) == (flag == "post_earnings")


@pytest.mark.covers("R10.4")
@pytest.mark.parametrize(
    ("sessions", "now", "flag"),
    [
        (0, at("14:45") + days(1), "none"),  # reported after Monday's close: out at Tuesday's open
        (1, at("20:44") + days(1), "post_earnings"),
        (1, at("14:45") + days(2), "none"),
        (3, at("20:44") + days(3), "post_earnings"),
        (3, at("14:45") + days(4), "none"),
    ],
)
def test_the_cooldown_after_a_report_is_as_many_sessions_as_configured(
    sessions: int, now: dt.datetime, flag: str
) -> None:
    desk = Desk(now=now, post_earnings_days=sessions)
    desk.recommend(facts={"earnings_on": MONDAY, "earnings_session": "amc"})
    assert desk.decisions[-1].earnings_proximity_flag == flag


def test_a_report_before_the_open_is_out_at_that_days_open() -> None:
    desk = Desk(now=at("14:50") + days(1))
    desk.recommend(facts={"earnings_on": MONDAY, "earnings_session": "bmo"})
    assert desk.decisions[-1].earnings_proximity_flag == "none"  # out on Monday, a session has passed


def test_an_earnings_date_of_long_ago_says_nothing_of_the_next() -> None:
    desk = Desk()
    desk.recommend(facts={"earnings_on": MONDAY - days(90), "earnings_session": "amc"})
    assert desk.decisions[-1].earnings_proximity_flag == "unknown"


def test_too_many_live_ids_make_buys_not_ready_but_not_sells() -> None:
    from trading import dedupe  # noqa: PLC0415 - the limit of this test alone

    desk = Desk()
    desk.hold("KO", sector="staples")
    seen = desk.row.seen
    for place in range(dedupe.MOST_IDS):
        seen = dedupe.remember(seen, key=f"{place}", until=desk.now + days(1), now=desk.now, newest=desk.now)
    desk.portfolio = desk.row.model_copy(update={"seen": seen})
    desk.recommend("KO", "sell")
    assert desk.reason is None
    desk.recommend("AAPL")
    assert desk.reason == "not_ready"
    assert desk.now < at("16:00") + minutes(30)
