"""What the machine has reached: a rule that random days never come to is not tested by them, however many there are."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, get_args

from trading import records
from trading.effects import Decision, Effect, GateName, Notification, Order, Purpose
from trading.events import Event, OwnEvent
from trading.inputs import BrokerEvent, Command
from trading.portfolio import Portfolio

EXPECTED: dict[str, tuple[str, ...]] = {
    "event": tuple(
        each.model_fields["kind"].default
        for union in (OwnEvent, get_args(BrokerEvent)[0], get_args(Command)[0])
        for each in get_args(union)
    ),
    "order": get_args(Purpose),
    "skip": get_args(GateName),
    "breaker": get_args(records.BreakerTrigger),
    "level": get_args(records.LevelReason),
    "lot": get_args(records.LotStatus),
    "tier": get_args(records.TierChange.model_fields["source"].annotation),
    "ledger": get_args(records.LedgerEntry.model_fields["trigger"].annotation),
    "record": tuple(each.model_fields["kind"].default for each in get_args(get_args(records.Record)[0])),
    "message": get_args(Notification.model_fields["event_type"].annotation),
    "source": get_args(Decision.model_fields["source_type"].annotation),
}
"""The closed vocabularies of the core: each word of them is something that can happen."""


class Occurred:
    """Counts events, and what came of them by the words of the core's own vocabularies."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self.events = 0
        self.counts: Counter[tuple[str, str]] = Counter()

    def add(self, events: int, counts: Counter[tuple[str, str]]) -> None:
        """Count what another process has seen."""
        self.events += events
        self.counts += counts

    def count(self, before: Portfolio | None, event: Event, effects: tuple[Effect, ...]) -> None:
        """Count one step."""
        self.events += 1
        self.counts["event", event.kind] += 1
        for effect in effects:
            for key in _words(effect):
                self.counts[key] += 1

    def never(self) -> list[str]:
        """Return what has not happened, as `group: word`."""
        return [
            f"{group}: {word}" for group, words in EXPECTED.items() for word in words if not self.counts[group, word]
        ]

    def lines(self) -> Iterator[str]:
        """Yield the report: a line a group, and what is missing."""
        yield f"{self.events} events"
        for group in EXPECTED:
            found = sorted(((word, count) for (name, word), count in self.counts.items() if name == group))
            yield f"{group}: " + ", ".join(f"{word} {count}" for word, count in found)
        yield "never: " + (", ".join(self.never()) or "nothing")


def _words(effect: Any) -> Iterator[tuple[str, str]]:
    kind = getattr(effect, "kind", None)
    if isinstance(effect, Order):
        yield "order", effect.purpose
    elif isinstance(effect, Decision):
        yield "source", effect.source_type
        if effect.skip_reason is not None:
            yield "skip", effect.skip_reason
    elif isinstance(effect, Notification):
        yield "message", effect.event_type
    elif kind is not None:
        yield "record", kind
        for group, name, field in _FIELDS:
            if kind == name:
                yield group, getattr(effect, field)


_FIELDS = (
    ("breaker", "breaker_event", "trigger"),
    ("level", "stop_level", "reason"),
    ("lot", "lot", "status"),
    ("tier", "tier_change", "source"),
    ("ledger", "ledger_entry", "trigger"),
)
OCCURRED = Occurred()
"""What this process has seen."""
