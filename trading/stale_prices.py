"""Stale prices inside a step (R4.8): ask for quotes, leave what stays silent, and hold still while the feed is mute."""

import datetime as dt

from trading import exits, staleness, trading_window
from trading.effects import QuoteRequest
from trading.portfolio import Position
from trading.records import Alert
from trading.step import Step


def check(step: Step) -> None:
    """Do at a loop tick what silence demands: of the feed at any time, of single symbols in the session."""
    if step.portfolio.feed_silent_since is None and staleness.is_feed_silent(step.portfolio):
        _hold(step)
    if trading_window.session_at(step.now) is None:
        return
    closes_all = step.portfolio.policy.stale_feed_action == "close"
    for position in step.portfolio.positions:
        _ask(step, position)
        if staleness.is_stale(step.portfolio, position):
            _leave(step, position.symbol, alone=True)
        elif closes_all and step.portfolio.feed_silent_since is not None:
            _leave(step, position.symbol, alone=False)


def listen(step: Step) -> None:
    """End the hold with the first price, or the last holding: from now on each symbol has its minutes anew."""
    if step.portfolio.feed_silent_since is None or staleness.is_feed_silent(step.portfolio):
        return
    step.change(feed_silent_since=None, feed_back_at=step.now)
    body = "The price feed is heard again, or nothing is held any more; entries may go on."
    step.alert("The price feed is silent no more", body=body, severity="info")
    step.keep_state()


def on_price(step: Step, symbol: str, *, at: dt.datetime) -> None:
    """Note that a price came: of the canary, and of the feed."""
    known = step.portfolio.canary_at
    if symbol == step.portfolio.policy.canary_symbol and (known is None or at > known):
        step.change(canary_at=at)
    listen(step)


def change_canary(step: Step, before: str) -> None:
    """Forget what the canary before has said, and follow it no more."""
    others = tuple(reading for reading in step.portfolio.stress if reading.name != "realised_volatility")
    step.change(stress=others, canary_at=None)
    step.touched.add(before)


def _hold(step: Step) -> None:
    """Stop entries, and tell once."""
    step.change(feed_silent_since=step.now)
    minutes, action = step.portfolio.policy.stale_price_minutes, step.portfolio.policy.stale_feed_action
    plan = "all positions are sold" if action == "close" else "positions and their stops stay as they are"
    body = f"No price of any holding for more than {minutes} minutes of the session: nothing is bought, {plan}."
    step.alert("The price feed is silent", body=body, severity="critical")
    step.keep_state()


def _ask(step: Step, position: Position) -> None:
    """Ask for a direct quote of a silent symbol, and warn once that its last price is used meanwhile."""
    minutes = step.portfolio.policy.quote_after_minutes
    if staleness.silence(step.portfolio, position) < dt.timedelta(minutes=minutes):
        return
    step.emit(QuoteRequest(symbol=position.symbol, account_id=step.portfolio.account_id, at=step.now))
    if position.silent_since == position.last_price_at:
        return
    step.swap_position(position.model_copy(update={"silent_since": position.last_price_at}))
    body = f"No price of {position.symbol} for {minutes} minutes of the session; the last one is used: "
    body += f"{position.last_price:f} of {position.last_price_at.isoformat()}."
    subject = f"No price of {position.symbol}"
    step.record(Alert, severity="warning", subject=subject, body=body, symbol=position.symbol)
    step.keep_state()


def _leave(step: Step, symbol: str, *, alone: bool) -> None:
    """Sell a position for want of prices, unless it is being left already."""
    position = step.portfolio.position(symbol)
    if position is None or (position.exit is not None and position.exit.is_firm):
        return
    if alone:
        minutes = step.portfolio.policy.stale_price_minutes
        body = f"No price and no quote for more than {minutes} minutes of the session; the last was"
        body += f" {position.last_price:f} of {position.last_price_at.isoformat()}."
        step.alert(f"{symbol} is sold: its price is stale", body=body, symbol=symbol)
    exits.want(step, position, purpose="stale_price")
    exits.pursue(step, symbol)
