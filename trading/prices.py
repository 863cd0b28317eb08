"""What the market says to an account: marks and triggers, closed bars, earnings dates, macro events, stress."""

from collections.abc import Callable
from typing import Any

from trading import entries, exits, levels, market, stale_prices, stop_check
from trading.events import BarClosed, EarningsChanged, Mark, StressReceived
from trading.portfolio import Entry, Position, Reading, Waiting
from trading.step import Step


def on_mark(step: Step, event: Mark) -> None:
    """Take a price over, raise the stop, leave what is to be left, and decide what waited for this price.

    An older price than the newest known one changes nothing.
    """
    symbol = event.symbol
    position, entry = step.portfolio.position(symbol), step.portfolio.entry(symbol)
    if position is not None and event.price_at >= position.last_price_at:
        moved = position.model_copy(update={"last_price": event.last, "last_price_at": event.price_at})
        step.swap_position(moved)
        levels.raise_to_breakeven(step, symbol)
        stop_check.review(step, symbol) if event.reason == "fast_move" else exits.judge(step, symbol)
    stale_prices.on_price(step, symbol, at=event.price_at)
    entry = step.portfolio.entry(symbol)
    if entry is not None and event.price_at >= entry.price_at:
        _swap_entry(step, entry.model_copy(update={"price": event.last, "price_at": event.price_at}))
    waiting = next((known for known in step.portfolio.queue if known.recommendation.symbol == symbol), None)
    if waiting is not None and (waiting.last_price_at is None or event.price_at >= waiting.last_price_at):
        fresh = {"last_price": event.last, "last_price_at": event.price_at}
        _swap_waiting(step, waiting.model_copy(update=fresh))
        entries.release(step)


def on_bar(step: Step, event: BarClosed) -> None:
    """Take a closed session over: its close for correlation, its ATR for what is decided next (decision 52)."""

    def newer(kept: Any) -> dict[str, Any]:
        closes = market.with_close(kept.closes, on=event.on, close=event.close)
        newest = "newest_atr" if isinstance(kept, Position) else "atr"  # a position's levels keep the ATR they have
        return {"closes": closes} | ({newest: event.atr} if event.atr is not None else {})

    _update_symbol(step, event.symbol, newer)


def on_earnings(step: Step, event: EarningsChanged) -> None:
    """Take a changed earnings date over, and look at the position again at once (R10)."""
    fields = {
        "earnings_on": event.earnings_on,
        "earnings_session": event.session,
        "earnings_reported_at": event.reported_at,
    }
    _update_symbol(step, event.symbol, lambda _: fields)
    stop_check.review(step, event.symbol)


def on_stress(step: Step, event: StressReceived) -> None:
    """Keep the newest reading of each name, unless it is older than the one known or another symbol's."""
    reading = event.reading
    if reading.symbol not in (None, step.portfolio.policy.canary_symbol):
        return
    others = tuple(known for known in step.portfolio.stress if known.name != reading.name)
    known = next((known for known in step.portfolio.stress if known.name == reading.name), None)
    if known is None or reading.at >= known.at:
        newest = Reading(name=reading.name, value=reading.value, at=reading.at)
        step.change(stress=(*others, newest), stress_missed=False)


def _swap_entry(step: Step, entry: Entry) -> None:
    step.change(entries=tuple(entry if known.symbol == entry.symbol else known for known in step.portfolio.entries))


def _swap_waiting(step: Step, waiting: Waiting) -> None:
    symbol = waiting.recommendation.symbol
    step.change(
        queue=tuple(waiting if known.recommendation.symbol == symbol else known for known in step.portfolio.queue)
    )


def _update_symbol(step: Step, symbol: str, fields: Callable[[Any], dict[str, Any]]) -> None:
    """Update all that the row keeps of a symbol: its position, its entry, and what waits."""
    for position in step.portfolio.positions:
        if position.symbol == symbol:
            step.swap_position(position.model_copy(update=fields(position)))
    for entry in step.portfolio.entries:
        if entry.symbol == symbol:
            _swap_entry(step, entry.model_copy(update=fields(entry)))
    for waiting in step.portfolio.queue:
        if waiting.recommendation.symbol == symbol:
            _swap_waiting(step, waiting.model_copy(update=fields(waiting)))
