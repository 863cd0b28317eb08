"""Random days of one account with an honest broker: the invariants of `reliability.md` after every step.

An ordinary run folds some 10,000 events; `make soak` (`tests.trading.soak`) goes on until it has folded a million.
"""

import pytest
from hypothesis import settings

from tests.trading.machine import Days
from tests.trading.occurred import EXPECTED, OCCURRED

pytestmark = pytest.mark.covers("R18.5")

TestDays = Days.TestCase
TestDays.settings = settings(TestDays.settings, derandomize=True)  # what it meets is asserted; the soak meets the rest
SELDOM = {
    "broad_decline",
    "correlation_too_high",
    "emergency_liquidation",
    "insufficient_confidence",
    "kill",
    "market_stress",
}
"""What some runs of a few hundred days have missed; the printed table says which."""


def test_the_days_were_worth_living() -> None:
    """Nearly every skip reason and message has been met; a machine that reaches nothing would hold every law."""
    if OCCURRED.events < 1_000:
        pytest.skip("the days above did not run")
    print("", *OCCURRED.lines(), sep="\n")
    met = {group: {word for (name, word) in OCCURRED.counts if name == group} for group, _ in OCCURRED.counts}
    assert met["skip"] >= set(EXPECTED["skip"]) - SELDOM
    assert met["message"] >= set(EXPECTED["message"]) - SELDOM
    assert met["order"] >= {"entry", "stop_loss", "signal", "breaker"}
    assert met["record"] >= {"trade", "ledger_entry", "breaker_event", "config_change", "queued", "duplicate"}
    assert met["record"] >= {"portfolio_heat", "reconciliation", "lot", "fill", "stop_level", "account_state"}
