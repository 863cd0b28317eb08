"""How long the properties look: as long as an ordinary run may take, or, with `STONKS_SOAK=1`, a hundred times that.

`STONKS_SOAK=first` stops at the first failure instead of looking for the smallest one.
"""

import os

import exchange_calendars
import pytest
from hypothesis import Phase, settings

settings.register_profile("ordinary", deadline=None, max_examples=60, stateful_step_count=50)
settings.register_profile("1", deadline=None, max_examples=6_000, stateful_step_count=200)
settings.register_profile(
    "first", settings.get_profile("ordinary"), max_examples=300, phases=[Phase.explicit, Phase.generate]
)
settings.load_profile(os.environ.get("STONKS_SOAK", "ordinary"))


@pytest.fixture(autouse=True, scope="session")
def _calendar() -> None:
    """Build the exchange's calendar before the first test, so that no test is charged for it."""
    exchange_calendars.get_calendar("XNYS", start="2010-01-04", end="2040-12-31")
