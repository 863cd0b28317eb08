"""Where a batch of records may be cut."""

from typing import Any

import pytest

from connectors.steps import complete
from tests.connectors.records import account_state, alert, ledger_entry, lot


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        ([], 0),
        ([alert(1)], 1),
        ([lot(1), account_state(1)], 2),
        ([alert(1), lot(1)], 1),
        ([lot(1), account_state(1), alert(2), lot(2), alert(2)], 3),
        ([lot(1), account_state(1, account_id="other")], 0),
        ([ledger_entry(1)], 0),
        ([alert(1), ledger_entry(2), account_state(2), ledger_entry(3)], 3),
        ([lot(1), lot(1, account_id="other"), account_state(1)], 1),
        ([lot(1), lot(1, account_id="other"), account_state(1, account_id="other"), account_state(1)], 4),
    ],
)
def test_lots_and_ledger_entries_never_go_without_the_state_that_its_step_ends_with(
    models: list[Any], expected: int
) -> None:
    assert complete(models) == expected
