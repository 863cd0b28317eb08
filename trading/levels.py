"""The levels of a position inside a step (R4.7): set at each fill, raised to breakeven, recorded with their inputs.

`publish` tells `watch` what to compare each tick with, once a step for every symbol that the step touched.
"""

from trading import ids, overlays, stop_loss
from trading.effects import LevelsRemoved, StopLevels, WatchLevel
from trading.money import ONE, just_under
from trading.overlays import Raise
from trading.policy import CANARY
from trading.portfolio import Position
from trading.records import LevelReason, StopLevelSet
from trading.step import Step


def set_from_entry(step: Step, position: Position, *, reason: LevelReason) -> None:
    """Put a position whose stop and target are computed anew from its average fill.

    While its entry fills the stop may fall; a late fill of a complete entry only raises it (decision 13).
    """
    levels = stop_loss.initial_levels(
        position.avg_entry_price,
        atr=position.atr,
        multiplier=position.multiplier,
        reward_risk_ratio=position.reward_risk_ratio,
    )
    stop = max(levels.stop, position.base_stop) if position.entry_complete else levels.stop
    moved = position.model_copy(update={"base_stop": stop, "target_price": levels.target})
    _put(step, moved, reason=reason)


def raise_to_breakeven(step: Step, symbol: str) -> None:
    """Move the stop to the entry once the price is beyond half of the target distance (R4.6)."""
    position = step.portfolio.position(symbol)
    if position is None:
        return
    raised = stop_loss.breakeven_stop(position)
    if raised is not None:
        _put(step, position.model_copy(update={"base_stop": raised}), reason="breakeven")


def re_evaluate(step: Step, symbol: str) -> None:
    """Make the base stop anew when what it was made from has materially changed (R4.3)."""
    position = step.portfolio.position(symbol)
    moved = stop_loss.re_evaluated(step.portfolio, position) if position is not None else None
    if moved is not None:
        _put(step, moved, reason="re_evaluated")


def tighten(step: Step, symbol: str, raised: Raise) -> None:
    """Raise the effective stop by an overlay; one that asks for less than what stands changes nothing (decision 13)."""
    position = step.portfolio.position(symbol)
    if position is not None and raised.stop > position.stop_price:
        _put(step, overlays.with_overlay(position, name=raised.name, stop=raised.stop), reason=raised.name, by=raised)


def close(step: Step, position: Position) -> None:
    """Record that the levels of a position have ended."""
    _record(step, position.model_copy(update={"revision": position.revision + 1}), reason="closed")


def publish(step: Step) -> None:
    """Send the levels of every symbol that this step touched."""
    for symbol in sorted(step.touched):
        step.emit(_levels_of(step, symbol))


def _put(step: Step, position: Position, *, reason: LevelReason, by: Raise | None = None) -> None:
    revised = position.model_copy(update={"revision": position.revision + 1})
    step.put_position(revised)
    _record(step, revised, reason=reason, by=by)
    step.keep_state()


def _record(step: Step, position: Position, *, reason: LevelReason, by: Raise | None = None) -> None:
    """Record the levels with what they were made from: a base with its own inputs, an overlay with those of now."""
    step.record(
        StopLevelSet,
        level_id=ids.of("level", step.portfolio.account_id, position.position_id, position.revision),
        position_id=position.position_id,
        symbol=position.symbol,
        revision=position.revision,
        stop_price=position.stop_price,
        target_price=position.target_price,
        entry_price=position.avg_entry_price,
        atr=position.atr if by is None else position.atr_now,
        multiplier=position.multiplier if by is None else stop_loss.multiplier_of(step.portfolio, position),
        reward_risk_ratio=position.reward_risk_ratio,
        signal_confidence=position.confidence,
        reason=reason,
        last_price=None if by is None else position.last_price,
        factor=None if by is None else by.factor,
    )


def _levels_of(step: Step, symbol: str) -> StopLevels | LevelsRemoved:
    """Return what `watch` compares prices with; a watch level parts what is over it from what is not.

    Where a rule asks for a price strictly under a limit, the level is the greatest such price.
    """
    portfolio = step.portfolio
    position, entry = portfolio.position(symbol), portfolio.entry(symbol)
    is_queued = any(waiting.recommendation.symbol == symbol for waiting in portfolio.queue)
    is_canary = symbol == portfolio.policy.canary_symbol and symbol != CANARY
    if position is None and entry is None and not is_queued and not is_canary:
        return LevelsRemoved(account_id=portfolio.account_id, symbol=symbol)
    watch = []
    if position is not None:
        half, loss = (
            stop_loss.breakeven_above(position),
            stop_loss.position_loss_price(position, policy=portfolio.policy),
        )
        decline = position.avg_entry_price * (ONE - portfolio.policy.broad_decline_pct)
        if position.base_stop < position.avg_entry_price:
            watch.append(WatchLevel(reason="breakeven", price=half))
        watch.append(WatchLevel(reason="broad_decline", price=just_under(decline)))
        watch.append(WatchLevel(reason="position_loss", price=just_under(loss)))
    if entry is not None and entry.unsent > 0 and entry.first_fill_price is not None:
        low, high = entry.first_fill_price - entry.atr, entry.first_fill_price + entry.atr
        watch.extend(WatchLevel(reason="tranche", price=price) for price in (just_under(low), high) if price > 0)
    return StopLevels(
        account_id=portfolio.account_id,
        symbol=symbol,
        revision=step.seq,
        set_at=step.now,
        stop=position.stop_price if position is not None else None,
        target=position.target_price if position is not None else None,
        watch=tuple(watch),
        interval_seconds=portfolio.policy.polling_interval_seconds,
        fast_move_pct=portfolio.policy.fast_move_pct,
        fast_move_minutes=portfolio.policy.fast_move_minutes,
        canary=is_canary,
    )
