"""The whole state machine: an account's days, and what holds between any two of its events.

The rules are those of `machine_account` (the fold), `machine_market`, `machine_broker`, `machine_operator`,
`machine_signals` and `machine_gates`; `laws` says which check holds which invariant.
"""

from hypothesis.stateful import invariant

from tests.trading.machine_gates import Gates


class Days(Gates):
    """An account's days, and what holds between any two of its events."""

    @invariant()
    def nothing_is_left_undone(self) -> None:
        self.nothing_is_due_that_has_not_been_done()

    @invariant()
    def nothing_is_sold_that_is_not_there(self) -> None:
        self.the_broker_has_never_been_asked_for_more_than_there_is()
