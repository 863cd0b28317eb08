"""What a person has changed by hand in `trading_engine_config` (R16.1, R20.8): its row against an account's state."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import asyncpg

from connectors import tables
from connectors.rows import number

_APART = {"account_id", "at", "version", "risk_tier", "policy"}
COLUMNS = tuple(name for name in tables.CONFIG.columns if name not in _APART)
"""The columns that are fields of the policy too; a column that was changed counts before the same field in `policy`."""


@dataclass(frozen=True)
class Edit:
    """The fields of the policy that were changed on top of `version`, and the tier if that was; values as found."""

    version: int
    changes: dict[str, Any]
    risk_tier: str | None
    is_there: bool


def edit_of(row: asyncpg.Record | Mapping[str, Any], config: Mapping[str, Any]) -> Edit:
    """Compare a row of the table with the policy and tier that an account's state has."""
    policy, risk_tier = config["policy"], config["risk_tier"]
    columns = {name: row[name] for name in COLUMNS if name in policy and row[name] != number(policy[name])}
    document = _document(row["policy"])
    changes = {"policy": "must be an object"} if document is None else _difference(document, policy)
    changes |= columns
    is_whole = document is not None and policy.keys() <= document.keys()
    return Edit(
        version=row["version"],
        changes=changes,
        risk_tier=row["risk_tier"] if row["risk_tier"] != risk_tier else None,
        is_there=bool(changes) or row["risk_tier"] != risk_tier or row["version"] != policy["version"] or not is_whole,
    )


def _document(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text, parse_float=Decimal)
    except (RecursionError, ValueError):  # PostgreSQL takes deeper objects and longer numbers than we read
        return None
    return found if isinstance(found, dict) else None


def _difference(edited: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `edited` has that `known` has not, objects field by field; what it lacks is no change."""
    found: dict[str, Any] = {}
    for name, value in edited.items():
        below = known.get(name)
        if isinstance(value, dict) and isinstance(below, dict):
            inner = _difference(value, below)
            if inner:
                found[name] = inner
        elif name not in known or not _is_same(value, below):
            found[name] = value
    return found


def _is_same(value: Any, known: Any) -> bool:
    """Tell whether two values of JSON say the same; 0.10 and "0.1" do, true and 1 do not."""
    if isinstance(known, str) and isinstance(value, str | int | Decimal) and not isinstance(value, bool):
        try:
            return Decimal(value) == Decimal(known)
        except InvalidOperation:
            return bool(value == known)
    return type(value) is type(known) and bool(value == known)
