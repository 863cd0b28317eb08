"""What a person has changed in `trading_engine_config`, told from what was there."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.edits import COLUMNS, edit_of
from connectors.hand_edits import commands_of
from connectors.rows import config_row
from connectors.tables import CONFIG
from tests.connectors.examples import NOON
from trading.inputs import COMMAND, SetRiskTier, UpdateConfig
from trading.policy import TradingPolicy

POLICY: dict[str, Any] = json.loads(TradingPolicy(version=4).model_dump_json())
STATE = {"policy": POLICY, "risk_tier": "moderate"}


def row(**changes: Any) -> dict[str, Any]:
    """Return the row that the projection writes, with changes; those of `policy` are laid over it."""
    known = dict(zip(CONFIG.columns, config_row("paper", NOON, STATE), strict=True))
    document = changes.pop("policy", {})
    text = json.dumps(POLICY | document) if isinstance(document, dict) else document
    return known | {"policy": text, "edited_in": "77", "config": json.dumps(STATE)} | changes


def test_what_the_projection_wrote_is_no_edit() -> None:
    assert edit_of(row(), STATE).is_there is False
    assert commands_of(row()) == []


@pytest.mark.covers("R16.1")
@given(st.dictionaries(st.sampled_from(COLUMNS), st.integers(1000, 2000), min_size=1))
def test_changed_columns_are_the_changes_and_nothing_else_is(changes: dict[str, int]) -> None:
    edit = edit_of(row(**changes), STATE)
    assert (edit.version, edit.changes, edit.risk_tier, edit.is_there) == (4, changes, None, True)


@given(st.dictionaries(st.sampled_from(sorted(POLICY.keys() - {"version", "tiers"})), st.just("edited"), min_size=1))
def test_changed_fields_of_the_policy_are_the_changes(changes: dict[str, str]) -> None:
    assert edit_of(row(policy=changes), STATE).changes == changes


@pytest.mark.parametrize(
    ("document", "changes"),
    [
        ({"daily_loss_pct": 0.05}, {}),  # the same number, written as one
        ({"daily_loss_pct": "0.0500"}, {}),
        ({"daily_loss_pct": 0.04}, {"daily_loss_pct": Decimal("0.04")}),
        ({"enabled": 1}, {"enabled": 1}),
        (
            {"tiers": POLICY["tiers"] | {"moderate": {"min_confidence": 0.6}}},
            {"tiers": {"moderate": {"min_confidence": Decimal("0.6")}}},
        ),
        ({"no_such_field": None}, {"no_such_field": None}),
        ({"version": 5}, {"version": 5}),
        ("[]", {"policy": "must be an object"}),
        ("null", {"policy": "must be an object"}),
        ("[" * 100_000 + "]" * 100_000, {"policy": "must be an object"}),
        ('{"capital_limit": ' + "9" * 5000 + "}", {"policy": "must be an object"}),
    ],
    ids=[str(number) for number in range(11)],
)
def test_the_policy_column_counts_too(document: Any, changes: dict[str, Any]) -> None:
    assert edit_of(row(policy=document), STATE).changes == changes


def test_a_column_counts_before_the_same_field_of_the_policy() -> None:
    edited = row(daily_loss_pct=Decimal("0.01"), policy={"daily_loss_pct": "0.02", "max_open_positions": 3})
    assert edit_of(edited, STATE).changes == {"daily_loss_pct": Decimal("0.01"), "max_open_positions": 3}


def test_a_field_that_was_taken_out_is_put_back_without_a_command() -> None:
    text = json.dumps({name: value for name, value in POLICY.items() if name != "enabled"})
    assert edit_of(row(policy=text), STATE).is_there is True
    assert commands_of(row(policy=text)) == []
    assert commands_of(row(version=3)) == []


@pytest.mark.covers("R20.8")
def test_an_edit_is_a_command_that_the_log_can_read() -> None:
    config, tier = commands_of(
        row(micro_trading_enabled=True, risk_tier="conservative", daily_loss_pct=Decimal("0.04"))
    )
    assert COMMAND.validate_json(config.model_dump_json()) == UpdateConfig(
        command_id=config.command_id,
        account_id="paper",
        issued_by="sql",
        version=4,
        changes={"micro_trading_enabled": True, "daily_loss_pct": "0.04"},
    )
    assert tier == SetRiskTier(
        command_id=tier.command_id, account_id="paper", issued_by="sql", risk_tier="conservative"
    )


def test_a_commands_id_is_a_function_of_the_edit() -> None:
    edited = row(daily_loss_pct=Decimal("0.01"))
    (first,), (again,) = commands_of(edited), commands_of(dict(edited))
    assert first == again
    others = [
        edited | {"daily_loss_pct": Decimal("0.02")},
        edited | {"edited_in": "78"},
        edited | {"version": 3},
        edited | {"account_id": "other"},
    ]
    assert len({first.command_id, *(commands_of(other)[0].command_id for other in others)}) == 5


@pytest.mark.parametrize("value", ["x" * 300_000, json.loads("[" * 400 + "]" * 400)])
def test_what_the_log_would_not_take_becomes_what_the_engine_refuses(value: Any) -> None:
    (command,) = commands_of(row(policy={"canary_symbol": value}))
    assert isinstance(command, UpdateConfig)
    assert command.changes == {"policy": "cannot be read"}
