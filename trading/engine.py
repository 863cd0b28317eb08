"""The engine: one pure step from an account and an event to the account after it and the effects it asks for.

No clock, no random number, no environment, no I/O and no logging: now is max(the row's now, the event's instant). Live
trading, replay, backtest and the property tests all fold the same `react`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from trading import (
    breakers,
    circuit_breaker,
    commands,
    entries,
    equity,
    fills,
    levels,
    live_mode,
    macro,
    micro_entries,
    prices,
    reconciliation,
    restoring,
    schedule,
    stale_prices,
    tranches,
)
from trading.effects import Effect
from trading.events import (
    AccountOpened,
    AccountRestored,
    BarClosed,
    Clock,
    EarningsChanged,
    Event,
    MacroEventReceived,
    Mark,
    RecommendationReceived,
    StressReceived,
    TrendReceived,
    Void,
    WorkerStarted,
)
from trading.inputs import (
    AccountSnapshot,
    AdjustReserve,
    ArmLive,
    FlagEarnings,
    Kill,
    OrderAccepted,
    OrderCancelled,
    OrderFill,
    OrderRejected,
    OrderUnknown,
    Pause,
    ReleaseRiskTier,
    Resume,
    SendTestNotification,
    SetRiskTier,
    UpdateConfig,
    UpdateNotifications,
)
from trading.portfolio import Portfolio
from trading.records import ConfigChange
from trading.step import Step


class Reaction(NamedTuple):
    """The account after a step, and what the step asks of the world, in order."""

    portfolio: Portfolio | None
    effects: tuple[Effect, ...]


def react(portfolio: Portfolio | None, event: Event, *, seq: int) -> Reaction:
    """Fold one inbox record at offset `seq` into an account.

    A record at or below the row's `seq` is a repeat and changes nothing; an account begins with `account_opened`, or
    with `account_restored` in a log that follows a lost one, and what comes before is left alone. The policy is the
    row's own, so that the log alone fixes every decision.
    """
    if isinstance(event, Void):
        return Reaction(portfolio, ())
    if isinstance(event, AccountRestored):
        if portfolio is not None and portfolio.seq > event.state.seq:
            return Reaction(portfolio, ())  # the account has gone on since
        portfolio = restoring.row_of(event)
    if portfolio is None:
        if not isinstance(event, AccountOpened):
            return Reaction(None, ())
        portfolio = Portfolio(account_id=event.account_id, build=event.build, mode=event.mode, policy=event.policy)
    if seq <= portfolio.seq:
        return Reaction(portfolio, ())
    step = Step(portfolio, seq=seq)
    schedule.advance(step, until=max(portfolio.now, event.at or portfolio.now))
    _HANDLERS[type(event)](step, event)
    _settle(step)
    return Reaction(*step.finish())


def _settle(step: Step) -> None:
    """Do what follows from the new figures, whichever event made them."""
    stale_prices.listen(step)
    if step.portfolio.snapshot_at is not None:
        equity.follow(step)
        breakers.check(step)
        if circuit_breaker.trading_state(step.portfolio) != "active":
            for entry in step.portfolio.entries:
                if entry.unsent > 0:
                    tranches.drop_tranches(step, entry, reason="trading is reducing")
    micro_entries.leave_overdue(step)
    schedule.begin(step)
    levels.publish(step)


def _opened(step: Step, event: AccountOpened) -> None:
    """Record the policy that the account starts under; on a row that exists, only note the build."""
    if step.portfolio.seq < 0:
        policy = event.policy.model_dump(mode="json")
        issued_by = f"build {event.build}"
        step.record(
            ConfigChange, version=event.policy.version, before={}, after=policy, source="start", issued_by=issued_by
        )
    live_mode.adopt(step, event.mode)
    step.change(build=event.build)
    step.keep_state()


def _worker_started(step: Step, event: WorkerStarted) -> None:
    live_mode.adopt(step, event.mode)
    step.change(build=event.build)
    if event.again:
        restoring.say_again(step)
    step.keep_state()


def _nothing_but_time(step: Step, event: Clock) -> None:
    """Do nothing: what fell due has been fired already."""


_HANDLERS: dict[Any, Callable[[Step, Any], None]] = {
    AccountOpened: _opened,
    WorkerStarted: _worker_started,
    AccountRestored: restoring.on_restored,
    Clock: _nothing_but_time,
    RecommendationReceived: entries.on_recommendation,
    TrendReceived: micro_entries.on_trend,
    MacroEventReceived: macro.on_event,
    StressReceived: prices.on_stress,
    Mark: prices.on_mark,
    BarClosed: prices.on_bar,
    EarningsChanged: prices.on_earnings,
    OrderAccepted: fills.on_accepted,
    OrderRejected: fills.on_rejected,
    OrderFill: fills.on_fill,
    OrderCancelled: fills.on_cancelled,
    OrderUnknown: fills.on_unknown,
    AccountSnapshot: reconciliation.on_snapshot,
}
_COMMANDS: tuple[Any, ...] = (
    Pause,
    Resume,
    Kill,
    UpdateConfig,
    SetRiskTier,
    ReleaseRiskTier,
    AdjustReserve,
    FlagEarnings,
    UpdateNotifications,
    SendTestNotification,
    ArmLive,
)
_HANDLERS |= dict.fromkeys(_COMMANDS, commands.on_command)
