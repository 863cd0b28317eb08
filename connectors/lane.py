"""One account's messages on one channel: one after the other, within the hour's limit, three tries each.

R19.7 and R19.11. A lane waits for nothing but its own channel, so that a dead one holds up neither the other nor
anything else.
"""

import asyncio
import contextlib
import datetime as dt
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from connectors.channels import NotDelivered, Outlet, in_a_thread
from connectors.checks import Check
from connectors.delivery_memory import Known, Memory
from connectors.delivery_rules import TRIES, Waiting, merged, plan
from streams.crash import crash_point
from trading.deliveries import Channel, Status
from trading.effects import Notification
from trading.preferences import NotificationPreferences

SECONDS_TO_SEND = 15.0
SECONDS_AT_THE_END = 3.0
FIRST_REST, REST_FACTOR = 2.0, 4
"""Seconds before the second try, and how much longer before the third."""
SECONDS_BETWEEN_LOOKS = 1.0
"""While messages wait for a slot: event time passes at its own pace, and preferences may change meanwhile."""
_UNTRIED = Known("pending", 0, may_have_arrived=False)


class Outcome(NamedTuple):
    """How a message stands, and why."""

    status: Status
    attempts: int = 0
    may_have_arrived: bool = False
    detail: str | None = None


def merged_in(notification_id: str) -> Outcome:
    """Return how a message stands that went out in another."""
    return Outcome("merged", detail=f"in {notification_id}")


class Office(Protocol):
    """What a lane needs of the account that it belongs to."""

    account_id: str

    async def look(self) -> tuple[NotificationPreferences, dt.datetime]:
        """Return the preferences and the account's now."""

    async def note(
        self, message: Notification, channel: Channel, outcome: Outcome, covers: tuple[str, ...] = ()
    ) -> None:
        """Return when the log has how a message stands."""

    async def report(self, channel: Channel, problem: str) -> None:
        """Say on the other channel that this one has failed, where it worked until now."""


class Lane:
    """Deliver what is offered, until cancelled or until the log cannot be written."""

    def __init__(self, channel: Channel, outlet: Outlet, office: Office, memory: Memory, *, check: Check) -> None:
        self._channel = channel
        self._outlet = outlet
        self._office = office
        self._memory = memory
        self._check = check
        self._waiting: dict[str, Waiting] = {}
        self._offered = asyncio.Event()

    def offer(self, message: Notification) -> None:
        """Put a message among those that wait; one that waits already changes nothing."""
        known = self._known(message)
        self._waiting.setdefault(message.notification_id, Waiting(message, known.attempts))
        self._offered.set()

    async def run(self) -> None:
        """Deliver; raises aiokafka's `KafkaError`."""
        while True:
            self._offered.clear()
            rest = await self._turn()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(rest):
                    await self._offered.wait()

    async def _turn(self) -> float | None:
        """Do one thing; return after how many seconds to look again, None when nothing waits."""
        if not self._waiting:
            return None
        preferences, now = await self._office.look()
        if not getattr(preferences.channels, self._channel):
            off = Outcome("dropped", detail="the channel was switched off")
            for each in list(self._waiting.values()):
                await self._settle(each.message, off._replace(attempts=each.attempts))
            return None
        limit = preferences.sms_per_hour if self._channel == "sms" else preferences.emails_per_hour
        sent = self._memory.sent(self._office.account_id, self._channel)
        chosen = plan(list(self._waiting.values()), sent, limit=limit, now=now)
        for each, reason in chosen.dropped:
            await self._settle(each.message, Outcome("dropped", each.attempts, detail=reason))
        if chosen.parcel:
            await self._deliver(chosen.parcel, preferences)
            return 0
        return SECONDS_BETWEEN_LOOKS if self._waiting else None

    async def _deliver(self, parcel: Sequence[Waiting], preferences: NotificationPreferences) -> None:
        """Send a message, or several as one, and settle each."""
        several = len(parcel) > 1
        message = merged([each.message for each in parcel]) if several else parcel[0].message
        covers = tuple(each.message.notification_id for each in parcel) if several else ()
        target = preferences.sms_target if self._channel == "sms" else preferences.email_target
        lacking = self._outlet.lacks or ("" if target else f"{self._channel}_target in the preferences")
        if target is None or lacking:
            known = self._known(message)
            outcome = Outcome("failed", known.attempts, known.may_have_arrived, detail=f"not set: {lacking}")
        else:
            outcome = await self._tried(message, target, covers)
        if outcome.status == "failed":
            self._check.fails(outcome.detail or "")
            await self._office.report(self._channel, outcome.detail or "")
        await self._settle(message, outcome, covers)
        for each in parcel if several else ():
            await self._settle(each.message, merged_in(message.notification_id))

    async def _tried(self, message: Notification, target: str, covers: tuple[str, ...]) -> Outcome:
        """Try three times at most, with those of before a restart; the log knows of each before it is begun."""
        _, attempts, may_have_arrived = self._known(message)
        problem = "the process ended while it was tried"
        while attempts < TRIES:
            attempts += 1
            await self._note(message, Outcome("pending", attempts, may_have_arrived=True), covers)
            crash_point("delivery.begun")
            sent = Outcome("sent", attempts, may_have_arrived=True)
            try:
                await self._send(message, target, sent, covers)
            except NotDelivered as error:
                problem, may_have_arrived = str(error), may_have_arrived or error.may_have_arrived
                self._check.fails(problem)
                await self._note(message, Outcome("pending", attempts, may_have_arrived, problem), covers)
                if attempts < TRIES:
                    await asyncio.sleep(FIRST_REST * REST_FACTOR ** (attempts - 1))
            else:
                crash_point("delivery.sent")
                self._check.holds("the last message was sent")
                return sent
        return Outcome("failed", attempts, may_have_arrived, problem)

    async def _send(self, message: Notification, target: str, sent: Outcome, covers: tuple[str, ...]) -> None:
        """Send once; where the process is asked to end meanwhile, wait a little, so that what has left is known."""
        sending = asyncio.ensure_future(in_a_thread(lambda: self._outlet.send(message, target=target)))
        try:
            async with asyncio.timeout(SECONDS_TO_SEND):
                await asyncio.shield(sending)
        except TimeoutError:
            raise NotDelivered(f"no end after {SECONDS_TO_SEND:.0f} s", may_have_arrived=True) from None
        except asyncio.CancelledError:
            await asyncio.wait({sending}, timeout=SECONDS_AT_THE_END)
            if sending.done() and sending.exception() is None:
                await self._settle(message, sent, covers)
            raise

    async def _settle(self, message: Notification, outcome: Outcome, covers: tuple[str, ...] = ()) -> None:
        await self._note(message, outcome, covers)
        self._waiting.pop(message.notification_id, None)

    async def _note(self, message: Notification, outcome: Outcome, covers: tuple[str, ...]) -> None:
        await self._office.note(message, self._channel, outcome, covers)

    def _known(self, message: Notification) -> Known:
        return self._memory.of(message.notification_id, self._channel) or _UNTRIED
