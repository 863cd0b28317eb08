"""The operator's commands (R16): each answered once; what loosens a limit is asked for twice."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trading.desk import ACCOUNT, MONDAY, Desk, at, days, minutes
from trading import dedupe
from trading.commands import MOST_COMMANDS, loosened
from trading.events import EVENT
from trading.policy import TradingPolicy
from trading.portfolio import row_bytes

TUESDAY = MONDAY + days(1)

D = Decimal


def update(desk: Desk, version: int | None = None, token: str | None = None, **changes: Any) -> Any:
    fields: dict[str, Any] = {"version": desk.row.policy.version if version is None else version, "changes": changes}
    return desk.command("update_config", **(fields | ({"confirmation_token": token} if token else {})))


@pytest.mark.covers("R16.4")
def test_pause_and_resume_are_answered_and_idempotent() -> None:
    desk = Desk()
    for kind, paused in (("pause", True), ("pause", True), ("resume", False), ("resume", False)):
        result = desk.command(kind)
        assert (result.accepted, result.error) == (True, None)
        assert desk.row.paused is paused
        assert desk.row.policy.enabled is True


def test_a_repeated_command_id_does_nothing() -> None:
    desk = Desk()
    desk.command("pause", command_id="c-1")
    before = desk.row
    assert desk.command("resume", command_id="c-1") is None
    assert desk.row == before.model_copy(update={"seq": desk.row.seq})


def test_a_command_that_is_repeated_after_months_does_nothing() -> None:
    desk = Desk()
    desk.command("pause", command_id="c-1")
    desk.clock(at("15:00") + days(90))
    assert desk.command("resume", command_id="c-1") is None
    assert desk.row.paused is True


def test_a_flood_of_commands_does_not_swell_the_row() -> None:
    desk = Desk()
    for place in range(MOST_COMMANDS + 50):
        desk.send(
            EVENT.validate_python({"kind": "pause", "command_id": f"{place}", "account_id": ACCOUNT, "issued_by": "x"})
        )
    assert sum(len(bucket.ids) for bucket in desk.row.commands) == MOST_COMMANDS * dedupe.WIDTH
    desk.command("resume", command_id=f"{MOST_COMMANDS + 49}")
    assert desk.row.paused is True


@pytest.mark.covers("R16.3")
@pytest.mark.covers("R16.6")
def test_tightening_acts_at_once_and_leaves_one_audit_record() -> None:
    desk = Desk()
    result = update(desk, max_open_positions=5, active_pool_minimum="150")
    assert result.accepted
    assert (desk.row.policy.max_open_positions, desk.row.policy.active_pool_minimum) == (5, 150)
    record = desk.records("config_change")[-1]
    assert (record.version, record.source, record.issued_by) == (2, "operator", "operator")
    assert (record.before["max_open_positions"], record.after["max_open_positions"]) == (10, 5)
    assert record.after == json.loads(desk.row.policy.model_dump_json())
    assert len(desk.records("config_change")) == 2  # the first is the policy that the account started under


LOOSER = {
    "capital_limit": "501",
    "max_open_positions": 11,
    "absolute_cap_pct": "0.11",
    "daily_loss_pct": "0.06",
    "position_loss_pct": "0.16",
    "market_stress_threshold": "36",
    "stop_cluster_count": 4,
    "active_pool_minimum": "99",
    "correlation_limit": "0.9",
    "micro_max_position_pct": "0.04",
    "fractional_enabled": True,
    "gradual_entry_threshold_usd": "31",
    "tiers": {"moderate": {"max_position_pct": "0.11"}},
}


@pytest.mark.covers("R16.3")
@pytest.mark.parametrize("name", LOOSER)
def test_loosening_needs_the_same_request_again_with_its_token(name: str) -> None:
    desk = Desk()
    before = desk.row.policy
    refused = update(desk, **{name: LOOSER[name]})
    assert not refused.accepted
    assert refused.error.startswith("confirmation_required")
    path = "tiers.moderate.max_position_pct" if name == "tiers" else name
    assert refused.loosens == (path,)
    assert refused.expires_at == at("15:05")
    assert desk.row.policy == before
    assert len(desk.records("config_change")) == 1
    assert update(desk, token=refused.confirmation_token, **{name: LOOSER[name]}).accepted
    assert desk.row.policy.version == 2


def test_a_token_confirms_only_its_own_change_and_only_for_five_minutes() -> None:
    desk = Desk()
    token = update(desk, max_open_positions=11).confirmation_token
    assert not update(desk, token=token, max_open_positions=12).accepted
    assert not update(desk, token="guessed", max_open_positions=11).accepted
    desk.clock(at("15:05"))
    assert update(desk, token=token, max_open_positions=11).accepted
    assert not update(desk, token=token, max_open_positions=12).accepted
    token = update(desk, max_open_positions=13).confirmation_token
    desk.clock(at("15:10") + minutes(0.1))
    result = update(desk, token=token, max_open_positions=13)
    assert (result.accepted, result.error) == (False, "not_confirmed: the token has expired")
    assert desk.row.policy.max_open_positions == 11


@pytest.mark.parametrize(
    "changes", [{"enabled": True}, {"polling_interval_seconds": 30}, {"reserve_siphon_pct": "0.5"}]
)
def test_what_loosens_no_limit_acts_at_once(changes: dict[str, Any]) -> None:
    desk = Desk(enabled=False)
    assert update(desk, **changes).accepted


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"no_such_field": 1}, "unknown_field: no_such_field"),
        ({"version": 7}, "unknown_field: version"),
        ({"tiers": {"reckless": {}}}, "invalid_field: tiers.reckless"),
        ({"max_open_positions": 51}, "invalid_field: max_open_positions"),
        ({"max_open_positions": "five"}, "invalid_field: max_open_positions"),
        ({"daily_loss_pct": "NaN"}, "invalid_field: daily_loss_pct"),
        ({"daily_loss_pct": -1}, "invalid_field: daily_loss_pct"),
        ({"daily_loss_pct": 1e400}, "invalid_field: daily_loss_pct"),
        ({"daily_loss_pct": float("nan")}, "invalid_field: daily_loss_pct"),
        ({"tiers": 3}, "invalid_field: tiers"),
        ({"mode": "live"}, "invalid_field: mode"),
        ({"\x00": 1}, "unknown_field: ?"),
        ({"x" * 100_000: 1}, "unknown_field: xxx"),
    ],
)
def test_what_is_out_of_range_is_refused_and_changes_nothing(changes: dict[str, Any], error: str) -> None:
    desk = Desk()
    before = desk.row.policy
    body = {"kind": "update_config", "command_id": "c", "account_id": ACCOUNT, "issued_by": "x", "version": 1}
    effects = desk.send(EVENT.validate_python(body | {"changes": changes}))
    result = desk.records("command_result", effects)[0]
    assert not result.accepted
    assert result.error.startswith(error)
    assert "\x00" not in result.error
    assert len(result.error) <= 500
    assert desk.row.policy == before
    assert len(desk.records("config_change")) == 1


def test_a_stale_version_is_refused() -> None:
    desk = Desk()
    update(desk, max_open_positions=5)
    assert update(desk, version=1, max_open_positions=4).error.startswith("stale_version")


@given(st.sampled_from(sorted(LOOSER.keys() - {"tiers", "fractional_enabled"})), st.booleans())
def test_every_bound_loosens_in_one_direction_alone(name: str, twice: bool) -> None:
    before = TradingPolicy()
    moved = D(str(LOOSER[name])) - D(str(getattr(before, name)))
    kind = type(getattr(before, name))
    looser = before.model_copy(update={name: kind(getattr(before, name) + moved * (2 if twice else 1))})
    tighter = before.model_copy(update={name: kind(getattr(before, name) - moved)})
    assert loosened(before, looser) == (name,)
    assert loosened(before, tighter) == ()
    assert loosened(before, before) == ()


@pytest.mark.covers("R16.1")
def test_a_hand_edit_that_is_refused_is_told_and_one_that_waits_for_its_token_is_not() -> None:
    """Nobody reads the answer to what was typed into a table (decision 59)."""
    desk = Desk()
    for version, changes in ((1, {"daily_loss_pct": "7"}), (1, {"no_such_field": 1}), (9, {"daily_loss_pct": "0.01"})):
        fields = {"version": version, "changes": changes}
        result = desk.command("update_config", issued_by="sql", **fields)
        assert desk.command("update_config", issued_by="api:operator", **fields).error == result.error
        alert = desk.records("alert")[-1]
        assert (alert.severity, alert.body) == ("warning", result.error)
    told = desk.records("alert")
    assert len(told) == 3
    asked = desk.command("update_config", issued_by="sql", version=1, changes={"daily_loss_pct": "0.9"})
    assert asked.confirmation_token is not None
    assert desk.command("update_config", issued_by="sql", version=1, changes={"daily_loss_pct": "0.01"}).accepted
    assert desk.records("alert") == told


@pytest.mark.covers("R5.5")
@pytest.mark.covers("R5.6")
def test_a_tier_set_by_hand_is_recorded_told_and_held() -> None:
    desk = Desk()
    assert desk.command("set_risk_tier", risk_tier="aggressive").accepted
    change = desk.records("tier_change")[0]
    assert (change.previous_tier, change.new_tier, change.source) == ("moderate", "aggressive", "operator")
    assert desk.notifications[-1].event_type == "tier_changed"
    assert (desk.row.risk_tier, desk.row.tier_held) == ("aggressive", True)
    desk.command("set_risk_tier", risk_tier="aggressive")
    assert len(desk.records("tier_change")) == 1
    desk.command("release_risk_tier")
    assert (desk.row.risk_tier, desk.row.tier_held) == ("aggressive", False)


@pytest.mark.covers("R3.2")
def test_a_reserve_is_adjusted_within_free_cash_and_its_balance() -> None:
    desk = Desk()
    assert desk.command("adjust_reserve", amount="100.50", reason="save").accepted
    assert desk.command("adjust_reserve", amount="-0.50", reason="spend").accepted
    ledger = desk.records("ledger_entry")
    assert [(entry.seq, entry.amount, entry.balance_after, entry.trigger) for entry in ledger] == [
        (1, D("100.50"), D("100.50"), "manual_adjustment"),
        (2, D("-0.50"), D("100.00"), "manual_adjustment"),
    ]
    assert ledger[0].reason == "save"
    for amount in ("0", "0.001", "-100.01", "400.01"):
        result = desk.command("adjust_reserve", amount=amount, reason="no")
        assert (result.accepted, result.error.split(":")[0]) == (False, "invalid_field")
    assert desk.row.reserve == 100
    assert len(desk.records("ledger_entry")) == 2


@pytest.mark.covers("R18.2")
@given(st.lists(st.decimals(D(-300), D(300), places=2), max_size=20))
def test_the_ledger_adds_up_and_stays_backed(amounts: list[Decimal]) -> None:
    desk = Desk()
    for amount in amounts:
        desk.command("adjust_reserve", amount=str(amount), reason="x")
        assert 0 <= desk.row.reserve <= 500
        assert desk.row.spendable >= 0
        assert desk.row.active_pool + desk.row.reserve == desk.row.total_value
    balance = D(0)
    for place, entry in enumerate(desk.records("ledger_entry"), start=1):
        balance += entry.amount
        assert (entry.seq, entry.balance_after) == (place, balance)
        assert entry.amount != 0
    assert balance == desk.row.reserve


@pytest.mark.covers("R10.1")
def test_earnings_entered_by_hand_count_at_once_for_what_is_held_bought_and_waiting() -> None:
    desk = Desk(now=at("20:30"))
    desk.hold("KO", sector="staples", quantity=4)
    desk.clock(at("22:00"))
    desk.recommend("CVX", sector="energy")
    for symbol in ("KO", "CVX", "XOM"):
        result = desk.command("flag_earnings", symbol=symbol, earnings_on="2026-03-03", session="bmo")
        assert (result.accepted, result.error) == (True, None)
    position, waiting = desk.row.position("KO"), desk.row.queue[0]
    assert position is not None
    for kept in (position, waiting):
        assert (kept.earnings_on, kept.earnings_session, kept.earnings_reported_at) == (TUESDAY, "bmo", None)
    desk.mark("CVX", "10", at=at("14:45", on=TUESDAY))
    assert desk.decisions[-1].earnings_proximity_flag == "post_earnings"  # out at that open


@pytest.mark.covers("R10.1")
def test_earnings_entered_by_hand_break_off_an_entry_that_is_being_built() -> None:
    desk = Desk()
    desk.recommend()
    desk.fill(desk.orders()[0])
    desk.command("flag_earnings", symbol="AAPL", earnings_on="2026-03-03", session="amc")
    desk.mark("AAPL", "10", at=at("15:14"))
    desk.clock(at("15:15"))
    assert len(desk.orders("buy")) == 1
    assert "earnings_blackout" in desk.records("alert")[-1].body


def test_a_pending_confirmation_keeps_the_row_small() -> None:
    desk = Desk()
    long = "0" * 100_000 + "501"
    assert update(desk, capital_limit=long).confirmation_token is not None
    assert len(row_bytes(desk.row)) < 10_000
