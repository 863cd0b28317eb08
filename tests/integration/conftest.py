"""One stack for all contract scenarios, in event time; each test has an account, a day and symbols of its own.

The stacks end with the last test of this folder: idle ones would slow what runs after them down.
"""

import datetime as dt
import itertools
from collections.abc import Iterator

import pytest

from tests.integration import market
from tests.integration import scenario as scenario_of
from tests.integration.desk import Desk
from tests.integration.harness import Stack
from tests.integration.scenario import Calendar, Scenario

ACCOUNTS = tuple(f"desk-{number:02d}" for number in range(1, 41))


@pytest.fixture(scope="package")
def shared_stack() -> Iterator[Stack]:
    """Give a stack in event time whose accounts are all paused."""
    with Stack(accounts=ACCOUNTS) as stack:
        stack.start()
        stack.produce("commands", [market.command("pause", f"{account}-first", account) for account in ACCOUNTS])
        stack.until_lag_zero()
        yield stack


@pytest.fixture(scope="package")
def free_desks() -> Iterator[tuple[str, dt.date]]:
    """Yield an account and a day each time; the session after it is the test's own too."""
    return zip(ACCOUNTS, itertools.islice(market.sessions(), 0, None, 2), strict=False)


@pytest.fixture
def desk(shared_stack: Stack, free_desks: Iterator[tuple[str, dt.date]]) -> Iterator[Desk]:
    """Give a running account with 500 dollars, before the session of a new day."""
    account, day = next(free_desks, (None, None))
    assert account is not None, "more tests than accounts: add some to ACCOUNTS"
    desk = Desk(shared_stack, account, day, prefix=f"D{account[-2:]}")
    desk.command("resume", at=desk.at("09:00"))
    yield desk
    desk.command("pause")


@pytest.fixture(scope="package")
def law_stack() -> Iterator[Stack]:
    """Give the stack of the requirements' scenarios, in event time, its accounts paused."""
    with Stack(accounts=scenario_of.ACCOUNTS) as stack:
        stack.start()
        stack.produce("commands", [market.command("pause", f"{account}-first", account) for account in stack.accounts])
        stack.until_lag_zero()
        yield stack


@pytest.fixture(scope="package")
def scenarios(law_stack: Stack) -> Iterator[Scenario]:
    """Yield a running account on days of its own each time."""
    calendar = Calendar()
    return (scenario_of.begin(law_stack, account, calendar) for account in law_stack.accounts)


@pytest.fixture
def scenario(scenarios: Iterator[Scenario]) -> Iterator[Scenario]:
    """Give a running account with 500 dollars, before the session of a new day, and pause it in the end."""
    running = next(scenarios, None)
    assert running is not None, "more scenarios than accounts: add some to ACCOUNTS"
    yield running
    running.command("pause")
