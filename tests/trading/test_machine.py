"""Random days of one account with an honest broker: the invariants of `reliability.md` after every step.

An ordinary run folds some 10,000 events; `make soak` (`tests.trading.soak`) goes on until it has folded a million.
"""

import pytest

from tests.trading.machine import Days
from tests.trading.occurred import OCCURRED

pytestmark = pytest.mark.covers("R18.5")

TestDays = Days.TestCase


def test_the_days_were_worth_living() -> None:
    """What every account meets has been met; a machine that reaches nothing would hold every law."""
    if OCCURRED.events < 1_000:
        pytest.skip("the days above did not run")
    print("", *OCCURRED.lines(), sep="\n")
    met = {group: {word for (name, word) in OCCURRED.counts if name == group} for group, _ in OCCURRED.counts}
    assert met["order"] >= {"entry", "stop_loss", "take_profit", "signal", "breaker"}
    assert met["record"] >= {"trade", "ledger_entry", "breaker_event", "config_change", "queued", "duplicate"}
    assert met["record"] >= {"portfolio_heat", "reconciliation", "lot", "fill", "stop_level", "account_state"}
    assert met["skip"] >= {"already_held", "below_one_share", "not_actionable"}
