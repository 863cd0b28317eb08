"""Random days of one account with an honest broker: the invariants of `reliability.md` after every step.

`laws` says which check holds which invariant. The rules are those of `machine_account` (the fold), `machine_market`,
`machine_broker`, `machine_operator` and `machine_signals`. An ordinary run folds some 10,000 events;
`STONKS_EVENTS=1000000` (`make soak`) goes on until it has folded so many, and says what occurred and what never did.
"""

import itertools
import os

import pytest
from hypothesis import Phase, seed, settings
from hypothesis.stateful import invariant, run_state_machine_as_test

from tests.trading.machine_signals import Signals
from tests.trading.occurred import OCCURRED

EVENTS = int(os.environ.get("STONKS_EVENTS", "0"))
pytestmark = pytest.mark.covers("R18.5")


class Days(Signals):
    """An account's days, and what holds between any two of its events."""

    @invariant()
    def nothing_is_left_undone(self) -> None:
        self.nothing_is_due_that_has_not_been_done()

    @invariant()
    def nothing_is_sold_that_is_not_there(self) -> None:
        self.the_broker_has_never_been_asked_for_more_than_there_is()


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


@pytest.mark.skipif(not EVENTS, reason="`make soak` sets STONKS_EVENTS")
def test_the_days_go_on_for_as_long_as_asked() -> None:
    """Fold `STONKS_EVENTS` events in batches of their own seeds, and print what occurred and what never did."""
    thorough = settings(
        max_examples=100, stateful_step_count=100, database=None, deadline=None, phases=[Phase.generate]
    )
    for number in itertools.count():
        run_state_machine_as_test(seed(number)(type("Batch", (Days,), {})), settings=thorough)
        print("", f"batch {number}", *OCCURRED.lines(), sep="\n", flush=True)
        if OCCURRED.events >= EVENTS:
            break
