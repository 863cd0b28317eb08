"""Random days in an account that is not ours alone and whose broker loses its own word (R1.6): the laws hold."""

import pytest
from hypothesis import settings
from hypothesis.stateful import invariant

from tests.trading.machine_outside import Outside

pytestmark = [pytest.mark.covers("R1.6"), pytest.mark.covers("R18.5")]


class OutsideDays(Outside):
    """An account's days among others, and what holds between any two of its events."""

    @invariant()
    def nothing_is_left_undone(self) -> None:
        self.nothing_is_due_that_has_not_been_done()

    @invariant()
    def nothing_is_sold_that_is_not_there(self) -> None:
        self.the_broker_has_never_been_asked_for_more_than_there_is()


TestOutsideDays = OutsideDays.TestCase
TestOutsideDays.settings = settings(max_examples=20, stateful_step_count=40, deadline=None)
