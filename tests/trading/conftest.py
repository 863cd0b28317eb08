"""How long the properties look: as long as an ordinary run may take, or, with `STONKS_SOAK=1`, a hundred times that."""

import os

import exchange_calendars
import hypothesis
import pytest

hypothesis.settings.register_profile("ordinary", deadline=None, max_examples=60, stateful_step_count=60)
hypothesis.settings.register_profile("soak", deadline=None, max_examples=6_000, stateful_step_count=200)
hypothesis.settings.load_profile("soak" if os.environ.get("STONKS_SOAK") else "ordinary")


@pytest.fixture(autouse=True, scope="session")
def _calendar() -> None:
    """Build the exchange's calendar before the first test, so that no test is charged for it."""
    exchange_calendars.get_calendar("XNYS", start="2010-01-04", end="2040-12-31")
