"""The risk tier controller (R5.2 to R5.6, R3.4, decisions 8, 20, 37): one level an evaluation, down before up."""

import datetime as dt
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import cents
from tests.trading.desk import MONDAY, Desk, at, days, policy
from trading import history
from trading.history import Result
from trading.policy import TIERS, TradingPolicy
from trading.risk_tier import Standing, verdict
from trading.trading_window import next_session

D = Decimal
CALM = Standing(
    win_rate=D("0.5"),
    closed_trades=10,
    sharpe_ratio=None,
    drawdown=D(0),
    reserve_share=D(0),
    may_change=True,
    is_calm=True,
)


def judged(tier: Any = "moderate", **fields: Any) -> tuple[str, str] | None:
    found = verdict(CALM._replace(**fields), tier=tier, policy=TradingPolicy())
    return None if found is None else tuple(found)


def with_trades(desk: Desk, *, wins: int, losses: int, on: dt.date = MONDAY) -> None:
    """Put results of a cent each into the account's past."""
    past = desk.row.history
    for place in range(wins + losses):
        profit = D("0.01") if place < wins else D("-0.01")
        past = history.with_result(past, Result(symbol="KO", profit=profit, on=on, is_micro=False))
    desk.portfolio = desk.row.model_copy(update={"history": past})


def close(desk: Desk) -> list[Any]:
    """Let time pass until the next close, and return what it did to the tier."""
    session = next_session(desk.now)
    assert session is not None
    return desk.records("tier_change", desk.clock(session.close_at))


def moved(changes: list[Any]) -> list[tuple[str, str]]:
    return [(change.previous_tier, change.new_tier) for change in changes]


@pytest.mark.covers("R5.3")
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"win_rate": D("0.40")}, None),  # equality passes
        ({"win_rate": D("0.399")}, ("conservative", "win_rate")),
        ({"win_rate": None}, None),
        ({"drawdown": D("0.15")}, None),
        ({"drawdown": D("0.151")}, ("conservative", "drawdown")),
        ({"win_rate": None, "drawdown": D("0.151")}, ("conservative", "drawdown")),
        ({"win_rate": D("0.399"), "may_change": False}, None),
        ({"drawdown": D("0.151"), "may_change": False}, ("conservative", "drawdown")),
    ],
)
def test_a_low_win_rate_or_a_deep_drawdown_downgrades(fields: dict[str, Any], expected: Any) -> None:
    assert judged(**fields) == expected


UP = {"win_rate": D("0.551"), "reserve_share": D("0.201"), "drawdown": D("0.049")}


@pytest.mark.covers("R5.4")
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ("aggressive", "performance")),
        ({"win_rate": D("0.55")}, None),
        ({"reserve_share": D("0.20")}, None),
        ({"drawdown": D("0.05")}, None),
        ({"win_rate": None}, None),
        ({"may_change": False}, None),
        ({"is_calm": False}, ("aggressive", "performance")),  # R5.4 knows no breakers
        ({"in_emergency": True}, None),
    ],
)
def test_a_good_record_and_a_full_reserve_upgrade(fields: dict[str, Any], expected: Any) -> None:
    assert judged(**(UP | fields)) == expected


HIGH_WATER = {"win_rate": D("0.40"), "reserve_share": D("0.301"), "drawdown": D("0.049")}


@pytest.mark.covers("R3.4")
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ("aggressive", "reserve_high_water")),
        ({"reserve_share": D("0.30")}, None),
        ({"win_rate": D("0.399")}, ("conservative", "win_rate")),
        ({"win_rate": None}, None),
        ({"drawdown": D("0.05")}, None),
        ({"is_calm": False}, None),
        ({"may_change": False}, None),
    ],
)
def test_a_reserve_over_its_high_water_mark_upgrades(fields: dict[str, Any], expected: Any) -> None:
    assert judged(**(HIGH_WATER | fields)) == expected


def test_there_is_nothing_below_conservative_and_nothing_above_aggressive() -> None:
    assert judged("conservative", drawdown=D("0.5")) is None
    assert judged("aggressive", drawdown=D("0.5")) == ("moderate", "drawdown")
    assert judged("aggressive", **UP) is None
    assert judged("conservative", **UP) == ("moderate", "performance")


shares = st.decimals(D(0), D(1), places=3)
STANDINGS = st.builds(
    Standing,
    win_rate=st.none() | shares,
    closed_trades=st.integers(0, 50),
    sharpe_ratio=st.none(),
    drawdown=shares,
    reserve_share=shares,
    may_change=st.booleans(),
    is_calm=st.booleans(),
    in_emergency=st.booleans(),
)


@given(STANDINGS, st.sampled_from(TIERS), shares, shares)
def test_a_verdict_moves_one_level_and_a_worse_standing_never_moves_up(
    standing: Standing, tier: Any, lower: Decimal, upper: Decimal
) -> None:
    rules = policy(tier_down_win_rate=lower, tier_up_win_rate=upper)
    found = verdict(standing, tier=tier, policy=rules)
    place = TIERS.index(tier)
    if found is not None:
        assert abs(TIERS.index(found.tier) - place) == 1
    worse = verdict(standing._replace(drawdown=D(1)), tier=tier, policy=rules)
    assert (worse.tier if worse else tier) == TIERS[max(0, place - 1)]


@pytest.mark.covers("R5.2")
@pytest.mark.covers("R5.5")
def test_the_tier_is_evaluated_at_the_close_and_a_change_is_recorded_with_its_metrics_and_told() -> None:
    desk = Desk()
    with_trades(desk, wins=3, losses=7)
    desk.clock(at("20:59"))
    assert desk.records("tier_change") == []
    change = close(desk)[0]
    assert (change.previous_tier, change.new_tier, change.source) == ("moderate", "conservative", "auto")
    assert change.at == at("21:00")
    assert change.metrics == {
        "reason": "win_rate",
        "closed_trades": "10",
        "win_rate": "0.3",
        "sharpe_ratio": None,
        "drawdown": "0",
        "reserve_share": "0",
    }
    assert desk.row.risk_tier == "conservative"
    told = [notice for notice in desk.notifications if notice.event_type == "tier_changed"]
    assert [(notice.severity, notice.subject) for notice in told] == [
        ("warning", "Risk tier: moderate to conservative")
    ]
    assert "win rate of the last 30 days is 30.00%" in told[0].body


@pytest.mark.covers("R16.6")
def test_a_tier_that_the_engine_changes_is_audited_as_configuration_and_an_operators_stands_in_the_history() -> None:
    desk = Desk()
    desk.command("set_risk_tier", risk_tier="aggressive")
    desk.command("release_risk_tier")
    with_trades(desk, wins=3, losses=7)
    close(desk)
    assert [change.source for change in desk.records("tier_change")] == ["operator", "auto"]
    _, audit = desk.records("config_change")  # the first is the policy that the account started under
    assert (audit.source, audit.issued_by, audit.at, audit.version) == ("auto", "auto", at("21:00"), 1)
    assert (audit.before["risk_tier"], audit.after["risk_tier"]) == ("aggressive", "moderate")
    assert audit.before | {"risk_tier": ""} == audit.after | {"risk_tier": ""}


def test_the_snapshot_of_a_close_comes_before_its_change_of_tier() -> None:
    desk = Desk()
    with_trades(desk, wins=0, losses=10)
    close(desk)
    kinds = [getattr(effect, "kind", "") for effect in desk.effects]
    assert kinds.index("portfolio_snapshot") < kinds.index("tier_change")


@pytest.mark.covers("R5.3")
def test_nine_trades_are_too_few_to_judge_by() -> None:
    desk = Desk()
    with_trades(desk, wins=0, losses=9)
    assert close(desk) == []
    with_trades(desk, wins=0, losses=1)
    assert moved(close(desk)) == [("moderate", "conservative")]


def test_trades_of_more_than_thirty_days_ago_are_not_judged() -> None:
    desk = Desk()
    with_trades(desk, wins=0, losses=10)
    desk.portfolio = desk.row.model_copy(update={"tier_held": True})
    desk.clock(at("22:00", on=MONDAY + days(29)))
    desk.command("release_risk_tier")
    assert close(desk) == []


@pytest.mark.covers("R5.4")
def test_an_account_that_does_well_is_upgraded_one_level_a_week() -> None:
    desk = Desk()
    desk.command("set_risk_tier", risk_tier="conservative")
    desk.command("release_risk_tier")
    desk.command("adjust_reserve", amount="100.01", reason="test")  # 20.002 % of 500
    with_trades(desk, wins=6, losses=4)
    assert moved(close(desk)) == [("conservative", "moderate")]
    assert [close(desk) for _ in range(4)] == [[], [], [], []]
    assert moved(close(desk)) == [("moderate", "aggressive")]  # the next Monday, five sessions later
    assert desk.row.now == at("20:00", on=MONDAY + days(7))  # daylight saving began on the Sunday
    told = [notice.severity for notice in desk.notifications if notice.event_type == "tier_changed"]
    assert told == ["info", "info", "info"]


def test_win_rates_downgrade_at_most_once_in_five_sessions() -> None:
    desk = Desk()
    desk.command("set_risk_tier", risk_tier="aggressive")
    desk.command("release_risk_tier")
    with_trades(desk, wins=0, losses=10)
    found = [moved(close(desk)) for _ in range(7)]
    down = [("aggressive", "moderate")], [("moderate", "conservative")]
    assert found == [down[0], [], [], [], [], down[1], []]


def drawn_down(desk: Desk) -> None:
    """Hold four shares at 10 dollars and let them fall by 8 dollars, 6.4 % of 500."""
    desk.hold(atr="4")
    desk.mark("AAPL", "2")


@pytest.mark.covers("R5.3")
def test_a_drawdown_downgrades_at_every_close_at_once() -> None:
    desk = Desk(gradual_entry_tranches=1, tier_down_drawdown_pct="0.06")
    desk.command("set_risk_tier", risk_tier="aggressive")
    desk.command("release_risk_tier")
    drawn_down(desk)
    assert [moved(close(desk)) for _ in range(3)] == [
        [("aggressive", "moderate")],
        [("moderate", "conservative")],
        [],
    ]
    assert desk.records("tier_change")[-1].metrics["reason"] == "drawdown"


@pytest.mark.covers("R3.4")
def test_a_breaker_within_the_last_five_sessions_keeps_a_full_reserve_from_upgrading() -> None:
    desk = Desk()
    desk.command("adjust_reserve", amount="151", reason="test")  # 30.2 %
    desk.stress("40")
    desk.stress("20")  # the breaker stays until 17:00
    with_trades(desk, wins=4, losses=6)
    found = [moved(close(desk)) for _ in range(6)]
    assert found == [[], [], [], [], [], [("moderate", "aggressive")]]
    assert desk.records("tier_change")[0].metrics["reason"] == "reserve_high_water"


@pytest.mark.covers("R5.6")
def test_a_tier_set_by_hand_holds_until_it_is_released() -> None:
    desk = Desk()
    desk.command("set_risk_tier", risk_tier="aggressive")
    with_trades(desk, wins=0, losses=10)
    assert close(desk) == []
    desk.command("release_risk_tier")
    assert moved(close(desk)) == [("aggressive", "moderate")]


@pytest.mark.covers("R5.2")
def test_the_evaluation_follows_its_configured_interval() -> None:
    desk = Desk(tier_evaluation_sessions=3)
    with_trades(desk, wins=0, losses=10)
    assert [moved(close(desk)) for _ in range(3)] == [[], [], [("moderate", "conservative")]]


def test_each_close_of_a_gap_is_evaluated_by_itself() -> None:
    desk = Desk(gradual_entry_tranches=1, tier_down_drawdown_pct="0.06")
    desk.command("set_risk_tier", risk_tier="aggressive")
    desk.command("release_risk_tier")
    drawn_down(desk)
    effects = desk.clock(at("22:00", on=MONDAY + days(1)))
    found = [(change.at, change.new_tier) for change in desk.records("tier_change", effects)]
    assert found == [(at("21:00"), "moderate"), (at("21:00", on=MONDAY + days(1)), "conservative")]


@pytest.mark.covers("R5.1")
@pytest.mark.covers("R5.6")
def test_the_limits_of_the_controller_are_policy_and_what_loosens_them_is_confirmed() -> None:
    desk = Desk()
    for name, looser in {
        "tier_down_win_rate": "0.30",
        "tier_down_drawdown_pct": "0.20",
        "tier_up_win_rate": "0.50",
        "tier_up_reserve_pct": "0.10",
        "tier_up_drawdown_pct": "0.10",
        "tier_minimum_trades": 5,
        "tier_change_sessions": 1,
        "tier_calm_sessions": 1,
        "tier_evaluation_sessions": 5,
    }.items():
        asked = desk.command("update_config", version=desk.row.policy.version, changes={name: looser})
        assert asked.loosens == (name,)
        assert desk.configure(**{name: looser}).accepted


SESSIONS = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 6), cents("0", "160"), st.sampled_from(["2", "6", "9", "10", "12"])),
    min_size=1,
    max_size=14,
)


@pytest.mark.covers("R5.3")
@pytest.mark.covers("R5.4")
@given(st.sampled_from(TIERS), SESSIONS)
def test_over_many_sessions_the_tier_is_what_the_rules_say_of_fractions(tier: str, sessions: list[Any]) -> None:
    """The rules again, in exact fractions and without the engine's own sums."""
    desk = Desk(gradual_entry_tranches=1, daily_loss_pct="1", position_loss_pct="1", tier_down_drawdown_pct="0.05")
    desk.command("set_risk_tier", risk_tier=tier)
    desk.command("release_risk_tier")
    quantity = int(desk.hold(atr="4", confidence="1").quantity)
    value = peak = Fraction(500)
    wins = losses = 0
    changed_at = -5
    for place, (won, lost, reserve, price) in enumerate(sessions):
        with_trades(desk, wins=won, losses=lost, on=desk.row.now.date())
        desk.command("adjust_reserve", amount=str(reserve - desk.row.reserve), reason="test")
        desk.mark("AAPL", price)
        wins, losses = wins + won, losses + lost
        value = 500 + quantity * (Fraction(price) - 10)
        peak = max(peak, value)
        rate = Fraction(wins, wins + losses) if wins + losses >= 10 else None
        fallen, share = (peak - value) / peak, Fraction(desk.row.reserve) / value
        is_free = place - changed_at >= 5
        step = 0
        if fallen > Fraction(5, 100):
            step = -1
        elif rate is not None and rate < Fraction(40, 100):
            step = -1 if is_free else 0
        elif rate is not None and fallen < Fraction(5, 100) and is_free:
            high = rate > Fraction(55, 100) and share > Fraction(20, 100)
            step = 1 if high or share > Fraction(30, 100) else 0
        expected = TIERS[min(2, max(0, TIERS.index(tier) + step))]
        changes = close(desk)
        assert moved(changes) == ([(tier, expected)] if expected != tier else [])
        if expected != tier and fallen <= Fraction(5, 100):
            changed_at = place
        tier = expected
    assert not desk.records("breaker_event")
