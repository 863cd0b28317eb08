"""The operator's commands (R16): each answered once with a `command_result`; a repeated id does nothing."""

import datetime as dt
import json
import math
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from trading import dedupe, equity, exits, fills, ids, live_mode, preferences, prices, stale_prices, tier_control
from trading.events import EarningsChanged
from trading.inputs import (
    AdjustReserve,
    ArmLive,
    Command,
    FlagEarnings,
    Kill,
    Pause,
    ReleaseRiskTier,
    Resume,
    SendTestNotification,
    SetRiskTier,
    UpdateConfig,
    UpdateNotifications,
)
from trading.money import to_cents
from trading.policy import POLICY, RiskTier, TradingPolicy
from trading.portfolio import Confirmation
from trading.preferences import NotificationPreferences
from trading.records import CommandResult, ConfigChange
from trading.step import Step

LONGEST_ERROR = 500
MOST_COMMANDS = 1_000  # ids that are kept, so that no flood of commands can swell the row
BY_HAND = "sql"  # who issues what was edited in `trading_engine_config`, and reads no answer (decision 59)
CONFIRM_WITHIN = dt.timedelta(minutes=5)
SET_ELSEWHERE = {
    "mode": "is set by STONKS_MODE when the stack starts",
}
Answer = dict[str, Any]
ACCEPTED: Answer = {"accepted": True}


def on_command(step: Step, command: Command) -> None:
    """Carry a command out, unless its id was seen, and record what became of it."""
    key = "command " + command.command_id
    if dedupe.is_known(step.portfolio.commands, key=key):
        return
    until = step.now + dedupe.LONGEST  # never dropped for their age: a repeat may come late
    seen = dedupe.remember(step.portfolio.commands, key=key, until=until, now=step.now, newest=step.now)
    step.change(commands=dedupe.newest(seen, most=MOST_COMMANDS))
    handler = _HANDLERS.get(type(command))
    answer = handler(step, command) if handler is not None else refused("not_supported", command.kind)
    step.record(CommandResult, command_id=command.command_id, **answer)
    if command.issued_by == BY_HAND and not answer["accepted"] and "confirmation_token" not in answer:
        step.alert("A hand edit in PostgreSQL was refused and is undone", body=answer["error"])
    step.keep_state()


def refused(reason: str, detail: str) -> Answer:
    """Return the answer of a command that changed nothing; a name from outside is cut and made harmless."""
    return {"accepted": False, "error": f"{reason}: {detail}".replace("\x00", "?")[:LONGEST_ERROR]}


def _pause(step: Step, command: Pause) -> Answer:
    step.change(paused=True)
    return ACCEPTED


def _resume(step: Step, command: Resume) -> Answer:
    step.change(paused=False, halted=False)
    return ACCEPTED


def _kill(step: Step, command: Kill) -> Answer:
    """Halt, cancel every entry, and want every position sold: now, or on the first mark of the next session."""
    step.change(halted=True)
    for order in step.portfolio.orders:
        if order.side == "buy" and not order.cancel_sent:
            exits.cancel(step, order, reason="kill")
    for position in step.portfolio.positions:
        if position.exit is None or position.exit.revision == 0 or not position.is_leaving:
            exits.want(step, position, purpose="kill")
        exits.pursue(step, position.symbol)
    step.notify(
        "kill", severity="critical", subject="Trading is halted", body=f"Kill by {command.issued_by}: {command.reason}"
    )
    return ACCEPTED


def _set_risk_tier(step: Step, command: SetRiskTier) -> Answer:
    step.change(tier_held=True)
    if step.portfolio.risk_tier != command.risk_tier:
        metrics, why = {"issued_by": command.issued_by}, f"set by {command.issued_by}"
        tier_control.change(step, command.risk_tier, source="operator", metrics=metrics, why=why)
    return ACCEPTED


def _release_risk_tier(step: Step, command: ReleaseRiskTier) -> Answer:
    step.change(tier_held=False)
    return ACCEPTED


def _adjust_reserve(step: Step, command: AdjustReserve) -> Answer:
    if command.amount == 0 or command.amount != to_cents(command.amount):
        return refused("invalid_field", "amount: must be dollars and cents, and not zero")
    if command.amount < -step.portfolio.reserve:
        return refused("invalid_field", f"amount: the reserve holds {step.portfolio.reserve:f}")
    if command.amount > step.portfolio.spendable:
        return refused("invalid_field", f"amount: {step.portfolio.spendable:f} of cash is free")
    fills.move_reserve(step, command.amount, trigger="manual_adjustment", reason=command.reason)
    return ACCEPTED


def _flag_earnings(step: Step, command: FlagEarnings) -> Answer:
    """Take a date entered by hand over at once (R10.1); `intake` sends it on to `earnings-dates` for everybody else."""
    prices.on_earnings(
        step,
        EarningsChanged(
            account_id=command.account_id,
            symbol=command.symbol,
            earnings_on=command.earnings_on,
            session=command.session,
        ),
    )
    return ACCEPTED


def _update_config(step: Step, command: UpdateConfig) -> Answer:
    """Put a changed policy in force; what loosens a limit needs the same request again with the token it is given."""
    before = step.portfolio.policy
    if command.version != before.version:
        return refused("stale_version", f"the policy is at version {before.version}")
    problem = _problem(command.changes, before)
    if problem is not None:
        return problem
    old = json.loads(before.model_dump_json())
    new = _merged(old, command.changes)
    try:
        after = POLICY.validate_json(json.dumps(new | {"version": before.version + 1}))
    except ValidationError as error:
        first = error.errors()[0]
        return refused("invalid_field", f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
    loosens = loosened(before, after)
    if loosens:
        unconfirmed = _confirm(step, command, loosens=loosens)
        if unconfirmed is not None:
            return unconfirmed
    _put_in_force(step, after)
    step.record(
        ConfigChange,
        version=after.version,
        before=old,
        after=json.loads(after.model_dump_json()),
        source="operator",
        issued_by=command.issued_by,
    )
    return ACCEPTED


def _update_notifications(step: Step, command: UpdateNotifications) -> Answer:
    """Put changed notification preferences in force (R19.9); who changed what is kept, targets masked."""
    before = step.portfolio.preferences
    if command.version != before.version:
        return refused("stale_version", f"the preferences are at version {before.version}")
    after = preferences.revised(before, command.changes)
    if not isinstance(after, NotificationPreferences):
        return refused(*after)
    step.change(preferences=after)
    body = f"Version {after.version}, by {command.issued_by}: {preferences.difference(before, after)}."
    step.alert("Notification preferences changed", body=body, severity="info")
    return ACCEPTED


def _send_test(step: Step, command: SendTestNotification) -> Answer:
    body = f"A test message on the channel {command.channel}, asked for by {command.issued_by}."
    step.notify("test", severity="info", subject="Test message", body=body, channel=command.channel)
    return ACCEPTED


def _arm_live(step: Step, command: ArmLive) -> Answer:
    """Arm live trading until the session's close at the latest; who did it is told to the operator."""
    refusal = live_mode.arm(step, command)
    return ACCEPTED if refusal is None else refused(*refusal)


def _put_in_force(step: Step, policy: TradingPolicy) -> None:
    """Change the policy; a changed capital limit is a deposit or a withdrawal, not a day's profit or loss."""
    value, canary = step.portfolio.total_value, step.portfolio.policy.canary_symbol
    step.change(policy=policy, confirmation=None)
    if policy.canary_symbol != canary:
        stale_prices.change_canary(step, canary)
    equity.shift(step, step.portfolio.total_value - value)
    step.touch_all()
    for position in step.portfolio.positions:
        exits.judge(step, position.symbol)


def _problem(changes: dict[str, Any], policy: TradingPolicy) -> Answer | None:
    for name, value in changes.items():
        if name not in type(policy).model_fields or name == "version":
            return refused("unknown_field", name)
        if name in SET_ELSEWHERE and value != getattr(policy, name):
            return refused("invalid_field", f"{name}: {SET_ELSEWHERE[name]}")
    return None


def _merged(old: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return `old` with changes laid over it, objects merged field by field."""
    merged = dict(old)
    for name, value in changes.items():
        below = merged.get(name)
        merged[name] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def loosened(before: TradingPolicy | RiskTier, after: TradingPolicy | RiskTier, path: str = "") -> tuple[str, ...]:
    """Return the fields whose change lets the engine risk more."""
    found: list[str] = []
    for name, field in type(before).model_fields.items():
        old, new = getattr(before, name), getattr(after, name)
        if name == "tiers":
            for tier in type(old).model_fields:
                found.extend(loosened(getattr(old, tier), getattr(new, tier), f"tiers.{tier}."))
            continue
        extra = field.json_schema_extra
        direction = extra.get("loosens") if isinstance(extra, dict) else None
        if isinstance(extra, dict) and extra.get("zero_is_never"):
            old, new = old or math.inf, new or math.inf
        if (direction == "up" and new > old) or (direction == "down" and new < old):
            found.append(path + name)
    return tuple(found)


def _confirm(step: Step, command: UpdateConfig, *, loosens: tuple[str, ...]) -> Answer | None:
    """Return None when this request confirms the one before it, else the refusal that carries a token."""
    changes = ids.of("changes", json.dumps(command.changes, sort_keys=True))
    pending = step.portfolio.confirmation
    if command.confirmation_token is not None:
        matches = (
            pending is not None
            and pending.token == command.confirmation_token
            and pending.changes == changes
            and pending.version == command.version
        )
        if not matches or pending is None:
            return refused("not_confirmed", "the token does not belong to this change")
        return None if step.now <= pending.expires_at else refused("not_confirmed", "the token has expired")
    token = step.next_id("confirmation")
    expires_at = step.now + CONFIRM_WITHIN
    step.change(confirmation=Confirmation(token=token, version=command.version, changes=changes, expires_at=expires_at))
    answer = refused("confirmation_required", "send the same change again with the confirmation token")
    return answer | {"confirmation_token": token, "expires_at": expires_at, "loosens": loosens}


_HANDLERS: dict[type[Any], Callable[[Step, Any], Answer]] = {
    Pause: _pause,
    Resume: _resume,
    Kill: _kill,
    SetRiskTier: _set_risk_tier,
    ReleaseRiskTier: _release_risk_tier,
    AdjustReserve: _adjust_reserve,
    FlagEarnings: _flag_earnings,
    UpdateConfig: _update_config,
    UpdateNotifications: _update_notifications,
    SendTestNotification: _send_test,
    ArmLive: _arm_live,
}
