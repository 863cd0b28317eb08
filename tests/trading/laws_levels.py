"""What holds of levels: in order when they open, never falling, and a price that crosses one is answered at once."""

import datetime as dt
from decimal import Decimal

from tests.trading.auditor import Seen, Turn, is_in_session
from trading.effects import Order, OrderCancel, StopLevels
from trading.events import Mark
from trading.portfolio import Portfolio, Position

TIGHTENING = ("event", "earnings", "heat", "breakeven")


def heat(_: Seen, turn: Turn) -> None:
    """Heat is never negative, of a position as of all (10); what is held has shares and levels."""
    assert turn.after.portfolio_heat >= 0
    for position in turn.after.positions:
        assert position.quantity > 0
        assert position.heat >= 0
        assert position.base_stop > 0
        assert position.target_price > position.avg_entry_price


def opened(_: Seen, turn: Turn) -> None:
    """0 < stop < entry < target when a position opens (16)."""
    for level in turn.records("stop_level"):
        if level.reason == "opened":
            assert 0 < level.stop_price < level.entry_price < level.target_price


def ratchet(_: Seen, turn: Turn) -> None:
    """A stop never falls once its entry is complete; past half of the target distance it is at least the entry (15)."""
    for held, position in _kept(turn):
        if held.entry_complete:
            assert position.stop_price >= held.stop_price
            assert position.base_stop >= held.base_stop
            shares = (held.quantity, held.avg_entry_price, held.last_price)
            if shares == (position.quantity, position.avg_entry_price, position.last_price):
                assert position.heat <= held.heat
        for overlay in held.overlays:
            assert any(kept.name == overlay.name and kept.stop >= overlay.stop for kept in position.overlays)
        if position.last_price > position.avg_entry_price + (position.target_price - position.avg_entry_price) / 2:
            assert position.base_stop >= position.avg_entry_price


def tightened(_: Seen, turn: Turn) -> None:
    """What tightens a stop raises it, and so never raises heat (10)."""
    reasons = {level.position_id: level.reason for level in turn.records("stop_level")}
    for held, position in _kept(turn):
        if reasons.get(held.position_id) in TIGHTENING:
            assert position.stop_price >= held.stop_price


def answered(_: Seen, turn: Turn) -> None:
    """A crossing is an exit in the same step, or, while an entry is live, its cancel (13)."""
    event, before = turn.event, turn.before
    if not isinstance(event, Mark) or before is None or not is_in_session(turn.after.now):
        return
    position = before.position(event.symbol)
    if position is None or event.price_at < position.last_price_at or not _crosses(position, event.last, before):
        return
    sold = [each for each in turn.of(Order) if (each.symbol, each.side) == (event.symbol, "sell")]
    buys = turn.after.live(event.symbol, side="buy")
    if buys:
        cancelled = {each.client_order_id for each in turn.of(OrderCancel)}
        assert all(order.cancel_sent or order.client_order_id in cancelled for order in buys)
        assert not sold
    else:
        assert sold or before.live(event.symbol, side="sell")
    after = turn.after.position(event.symbol)
    assert after is not None
    assert after.is_leaving
    for order in turn.after.live(event.symbol, side="sell"):
        assert order.remaining == after.quantity or order.cancel_sent  # a part that is sold stands in no way


def left(_: Seen, turn: Turn) -> None:
    """In the session nothing is kept whose last price lies beyond a level (13)."""
    if is_in_session(turn.after.now):
        for position in turn.after.positions:
            assert position.exit is not None or not _crosses(position, position.last_price, turn.after)


def audited(seen: Seen, turn: Turn) -> None:
    """The levels of a position are those of its newest record, revision by revision, and what is watched (R4.7)."""
    for watched in turn.of(StopLevels):
        seen.watched[watched.symbol] = watched
    for level in turn.records("stop_level"):
        known = seen.levels.get(level.position_id)
        assert level.revision == (known.revision + 1 if known is not None else 1)
        assert level.atr > 0 < level.multiplier
        if level.reason in ("event", "earnings", "heat"):
            assert known.stop_price < level.stop_price
            assert getattr(level, "last_price", None) is None or level.stop_price < level.last_price
            assert level.target_price == known.target_price
        if level.reason == "re_evaluated":
            assert (level.stop_price >= known.stop_price, level.target_price) == (True, known.target_price)
        seen.levels[level.position_id] = level
    for position in turn.after.positions:
        newest, watched = seen.levels[position.position_id], seen.watched[position.symbol]
        assert (newest.stop_price, newest.target_price) == (position.stop_price, position.target_price)
        assert (watched.stop, watched.target) == (position.stop_price, position.target_price)


def overdue(_: Seen, turn: Turn) -> None:
    """A micro position is on its way out once its hold is over (30)."""
    hold = dt.timedelta(minutes=turn.after.policy.micro_max_hold_minutes)
    for position in turn.after.positions:
        if position.is_micro and position.opened_at + hold <= turn.after.now:
            assert position.exit is not None


def _kept(turn: Turn) -> list[tuple[Position, Position]]:
    """Return the positions that were there before and are there after a step."""
    pairs = []
    for held in turn.before.positions if turn.before is not None else ():
        position = turn.after.position(held.symbol)
        if position is not None and position.position_id == held.position_id:
            pairs.append((held, position))
    return pairs


def _crosses(position: Position, price: Decimal, portfolio: Portfolio) -> bool:
    return (
        price <= position.stop_price
        or price >= position.target_price
        or price < position.avg_entry_price * (1 - portfolio.policy.position_loss_pct)
    )


RULES = (heat, opened, audited, ratchet, tightened, answered, left, overdue)
