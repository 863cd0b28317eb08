"""Where a batch of records may be cut."""

from typing import Any

import pytest

from connectors.steps import complete
from tests.connectors.records import account_state, alert, lot


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        ([], 0),
        ([alert(1)], 1),
        ([lot(1), account_state(1)], 2),
        ([alert(1), lot(1)], 1),
        ([lot(1), account_state(1), alert(2), lot(2), alert(2)], 3),
        ([lot(1), account_state(1, account_id="other")], 0),
        ([lot(1), lot(1, account_id="other"), account_state(1)], 1),
        ([lot(1), lot(1, account_id="other"), account_state(1, account_id="other"), account_state(1)], 4),
    ],
)
def test_a_lot_never_goes_without_the_state_that_its_step_ends_with(models: list[Any], expected: int) -> None:
    assert complete(models) == expected
