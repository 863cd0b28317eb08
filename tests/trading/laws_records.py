"""What holds of every record: new ids, plain numbers, one audit record a change, one message an event."""

import hashlib
import json
import re
from collections import Counter

from tests.trading.auditor import Seen, Turn
from trading.effects import Notification
from trading.policy import TIERS

NOT_A_NUMBER = re.compile(r'"-?s?(nan|inf(inity)?)\d*"')
MOST_BYTES = 512 * 1024


def plain(_: Seen, turn: Turn) -> None:
    """Money is text, and no number is NaN or infinite, in a row as in a record (35); the row is bounded."""
    assert len(turn.row) < MOST_BYTES
    for text in (
        turn.row,
        *(sent.replace(turn.row, b"{}") for sent in turn.sent),
    ):  # the row once, not in its state too
        json.loads(text, parse_float=_no_float, parse_constant=_no_float)
        assert not NOT_A_NUMBER.search(text.decode().lower()), text


def identified(seen: Seen, turn: Turn) -> None:
    """No id comes twice; the state comes last and is the row."""
    for effect in turn.effects:
        if (record_id := getattr(effect, "record_id", None)) is not None:
            assert record_id not in seen.record_ids
            seen.record_ids.add(record_id)
    states = turn.records("account_state")
    assert len(states) <= 1
    for state in states:
        assert turn.effects[-1] is state
        assert (state.seq, state.hash) == (turn.after.seq, hashlib.sha256(turn.row).hexdigest())
    if turn.before is not None:
        assert turn.after.now >= turn.before.now


def configured(_: Seen, turn: Turn) -> None:
    """Each accepted change has one audit record, with what was before and after it (33)."""
    if turn.before is None:
        return
    changes = [each for each in turn.records("config_change") if each.source != "auto"]
    old, new = turn.before.policy, turn.after.policy
    assert len(changes) == (new != old) == new.version - old.version
    for change in changes:
        assert (change.version, change.after.get("version", new.version)) == (new.version, new.version)


def tiers(seen: Seen, turn: Turn) -> None:
    """A tier moves with one history record each time, by one level at an evaluation, the engine's own audited (27)."""
    for change in turn.records("tier_change"):
        assert (change.previous_tier, change.new_tier != change.previous_tier) == (seen.tier, True)
        if change.source == "auto":
            assert abs(TIERS.index(change.new_tier) - TIERS.index(change.previous_tier)) == 1
        if change.source == "emergency":
            assert change.new_tier == "conservative"
        seen.tier = change.new_tier
    assert turn.after.risk_tier == seen.tier
    own = [(each.previous_tier, each.new_tier) for each in turn.records("tier_change") if each.source != "operator"]
    audits = [each for each in turn.records("config_change") if each.source == "auto"]
    assert [(each.before["risk_tier"], each.after["risk_tier"]) for each in audits] == own
    closes = [snapshot.at for snapshot in turn.records("portfolio_snapshot")]
    automatic = [change.at for change in turn.records("tier_change") if change.source == "auto"]
    assert len(set(automatic)) == len(automatic)
    assert set(automatic) <= set(closes)
    assert not (turn.before and turn.before.tier_held and automatic)


def told(_: Seen, turn: Turn) -> None:
    """Each breaker, end of one, tier change and emergency is told in the step that made it (34, R19.2)."""
    wanted: Counter[str] = Counter()
    for event in turn.records("breaker_event"):
        wanted["breaker_triggered" if event.event == "triggered" else "breaker_resumed"] += 1
    wanted["tier_changed"] = len(turn.records("tier_change"))
    sent = Counter(message.event_type for message in turn.of(Notification))
    for event_type in ("breaker_triggered", "breaker_resumed", "tier_changed"):
        assert sent[event_type] == wanted[event_type], event_type
    emergencies = [each for each in turn.records("ledger_entry") if each.trigger == "emergency_liquidation"]
    assert sent["emergency_liquidation"] >= len(emergencies)


def lasting(_: Seen, turn: Turn) -> None:
    """A breaker and a cooldown last until their instant, whatever else happens (17), and its end is recorded."""
    if turn.before is None:
        return
    now = turn.after.now
    for breaker in turn.before.breakers:
        if breaker.until > now:
            assert any(each.trigger == breaker.trigger and each.until >= breaker.until for each in turn.after.breakers)
    ends = dict(turn.after.cooldowns)
    resumed = {each.symbol for each in turn.records("breaker_event") if each.event == "resumed"}
    for symbol, until in turn.before.cooldowns:
        assert symbol in ends or symbol in resumed
        assert until <= now or ends[symbol] >= until
    assert all(breaker.until > now for breaker in turn.after.breakers)


def _no_float(text: str) -> float:
    raise AssertionError(f"{text} is a float")


RULES = (plain, identified, configured, tiers, told, lasting)
