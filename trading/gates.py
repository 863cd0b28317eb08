"""The gates: every reason for which a signal is not acted on, all evaluated, in the order of the contract.

A gate's `passed` is None where it does not apply (the entry gates for a sell) or where its input is missing because an
earlier one failed; the first that is False is the decision's skip reason.
"""

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Literal, NamedTuple

from trading import arming, circuit_breaker, dedupe, micro_trading, position_sizer, trading_window
from trading.candidates import Candidate, View, eligible_modes
from trading.effects import Check, EarningsFlag, Gate, GateName
from trading.money import ONE, ZERO
from trading.portfolio import Portfolio
from trading.position_sizer import Sized
from trading.stop_loss import Levels


class Evaluation(NamedTuple):
    """Every gate's result, and what they were computed from."""

    gates: tuple[Gate, ...]
    sized: Sized | None
    levels: Levels | None
    correlation: Check
    sector: Check
    earnings_flag: EarningsFlag

    @property
    def skip_reason(self) -> GateName | None:
        """Return the first gate that failed, None when the signal is acted on."""
        return next((gate.name for gate in self.gates if gate.passed is False), None)


Result = tuple[bool | None, object, object, str | None]
_NONE: Result = (None, None, None, None)


def evaluate(portfolio: Portfolio, candidate: Candidate) -> Evaluation:
    """Evaluate every gate for a signal at the account's now."""
    view = View(portfolio, candidate)
    gates = []
    for name, gate, for_sells in _GATES:
        passed, value, limit, detail = gate(view) if view.is_buy or for_sells else _NONE
        if passed is None:
            gates.append(Gate(name=name, passed=None))
        else:
            gates.append(Gate(name=name, passed=passed, value=_text(value), limit=_text(limit), detail=detail))
    return Evaluation(tuple(gates), view.sized, view.levels, _correlation_check(view), _sector_check(view), view.flag)


def _text(value: object) -> str:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, dt.datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else str(value)


def _not_actionable(view: View) -> Result:
    candidate, modes = view.candidate, eligible_modes(view.portfolio)
    if candidate.is_micro:
        return candidate.action != "hold", candidate.action, "buy or sell", "what the trend asks for"
    fits = candidate.action in ("buy", "sell") and candidate.mode in modes
    return fits, f"{candidate.action} {candidate.mode}", "buy or sell, " + " or ".join(modes), None


def _expired(view: View) -> Result:
    if view.candidate.building:
        return _NONE
    return view.candidate.expires_at > view.now, view.candidate.expires_at, view.now, None


def _superseded(view: View) -> Result:
    if view.candidate.building:
        return _NONE
    newer = view.candidate.superseded_by
    return newer is None, newer, "none", None


def _unknown_symbol(view: View) -> Result:
    known = view.candidate.known or (not view.is_buy and view.position is not None)
    return known, view.candidate.symbol, "a tracked company", None


def _not_ready(view: View) -> Result:
    portfolio = view.portfolio
    missing = []
    if portfolio.snapshot_at is None:
        missing.append("no account snapshot yet")
    if view.is_buy:
        if portfolio.snapshot_at is not None and not portfolio.reconciled:
            missing.append("not reconciled with the broker")
        if view.candidate.known and view.candidate.atr is None:
            missing.append("ATR needs 15 daily bars")
        if not view.candidate.is_micro and dedupe.count(portfolio.seen) > dedupe.MOST_IDS:
            missing.append("too many recommendations are remembered")
    return not missing, "; ".join(missing) or "ready", "ready", None


def _engine_paused(view: View) -> Result:
    portfolio = view.portfolio
    if not view.policy.enabled:
        return False, "disabled", "running", None
    if not view.is_buy:
        return _NONE
    state = "halted" if portfolio.halted else "paused" if portfolio.paused else "running"
    if state == "running" and arming.is_lacking(portfolio):
        return False, "not armed", "running", arming.MEND
    return state == "running", state, "running", None


def _circuit_breaker_active(view: View) -> Result:
    breakers = circuit_breaker.active(view.portfolio)
    names = ", ".join(breaker.trigger for breaker in breakers) or "inactive"
    return not breakers, names, "inactive", f"until {_text(breakers[0].until)}" if breakers else None


def _market_stress(view: View) -> Result:
    reading = circuit_breaker.stress(view.portfolio)
    limit = view.policy.market_stress_threshold
    return not circuit_breaker.is_stressed(view.portfolio), reading.value if reading else None, limit, None


def _broad_decline(view: View) -> Result:
    share = circuit_breaker.declining_share(view.portfolio)
    return not circuit_breaker.is_declining(view.portfolio), share, view.policy.broad_decline_share, None


def _active_pool_minimum(view: View) -> Result:
    if view.portfolio.snapshot_at is None:
        return _NONE
    pool = view.portfolio.active_pool
    return not circuit_breaker.is_under_minimum(view.portfolio), pool, view.policy.active_pool_minimum, None


def _outside_trading_window(view: View) -> Result:
    missed = view.candidate.window_missed
    is_open = trading_window.is_window_open(view.now, margin_minutes=view.policy.window_margin_minutes)
    return is_open and missed is None, view.now, f"{view.policy.window_margin_minutes} min inside the session", missed


def _price_unavailable(view: View) -> Result:
    limit = dt.timedelta(minutes=view.policy.stale_price_minutes)
    wanted = f"at most {view.policy.stale_price_minutes} min old"
    if view.candidate.price is None or view.stale_for is None:
        return False, "no price", wanted, None
    silent_since = view.portfolio.feed_silent_since
    if silent_since is not None:
        return False, "no price of any holding", wanted, f"the feed is silent since {_text(silent_since)}"
    minutes = int(view.stale_for.total_seconds() // 60)
    return view.stale_for <= limit, minutes, view.policy.stale_price_minutes, "minutes of session time"


def _ticker_cooldown(view: View) -> Result:
    until = circuit_breaker.cooldown_until(view.portfolio, symbol=view.candidate.symbol)
    return until is None, until, view.now, None


def _earnings_blackout(view: View) -> Result:
    return view.flag != "within_1_day", view.flag, "within_1_day", None


def _insufficient_confidence(view: View) -> Result:
    return (
        view.candidate.confidence >= view.tier.min_confidence,
        view.candidate.confidence,
        view.tier.min_confidence,
        None,
    )


def _no_position_to_sell(view: View) -> Result:
    if view.candidate.action != "sell":
        return _NONE
    held = view.position.quantity if view.position else ZERO
    if view.candidate.is_micro and view.position is not None and not view.position.is_micro:
        return False, held, ZERO, "a trend sells micro positions alone"
    wanted = view.position.exit if view.position else None
    leaving = wanted is not None and wanted.is_firm and wanted.quantity is None
    return held > 0 and not leaving, held, ZERO, "an exit is under way" if leaving else None


def _already_held(view: View) -> Result:
    if view.candidate.building:
        return _NONE
    symbol = view.candidate.symbol
    detail = None
    if any(order.symbol == symbol for order in view.portfolio.foreign_orders):
        detail = "an order that is not ours is open in it"
    if any(position.symbol == symbol and position.quantity != 0 for position in view.portfolio.foreign):
        detail = "the broker's account holds it besides us"
    held = symbol in view.portfolio.held_symbols or detail is not None
    return not held, symbol if held else "none", "none", detail


def _position_limit_reached(view: View) -> Result:
    count, limit = len(view.portfolio.held_symbols), view.policy.max_open_positions
    return count < limit, count, limit, None


def _correlation_too_high(view: View) -> Result:
    if view.sized is None:
        return _NONE
    rule = view.sized.correlation
    return not rule.rejected, rule.average, view.policy.correlation_limit, None


def _sector_limit(view: View) -> Result:
    if view.sized is None or view.candidate.price is None:
        return _NONE
    buys_one = position_sizer.shares(view.sized.sector_room, price=view.candidate.price, policy=view.policy) > 0
    return buys_one, view.sized.sector_exposure, view.sized.sector_limit, f"room {_text(view.sized.sector_room)}"


def _portfolio_heat(view: View) -> Result:
    if view.sized is None or view.levels is None or view.candidate.price is None:
        return _NONE
    quantity = view.sized.quantity if view.candidate.remaining is None else view.candidate.remaining
    added = quantity * (view.candidate.price - view.levels.stop)
    heat, limit = view.portfolio.portfolio_heat + added, view.portfolio.max_portfolio_heat
    return heat <= limit, heat, limit, None


def _reserve_not_backed(view: View) -> Result:
    if view.portfolio.snapshot_at is None:
        return _NONE
    return view.portfolio.spendable > 0, view.portfolio.spendable, ZERO, "cash - holds - reserve, more than the limit"


def _insufficient_active_pool(view: View) -> Result:
    if view.sized is None:
        return _NONE
    short = view.sized.shares_before_cash > 0 and view.sized.quantity == 0
    return not short, view.sized.sizing.cash, view.sized.sizing.caps, None


def _below_one_share(view: View) -> Result:
    if view.sized is None or view.candidate.price is None:
        return _NONE
    detail = f"price {_text(view.candidate.price)}, allocation {_text(view.sized.sizing.cash)}"
    smallest = position_sizer.MILLI_SHARE if view.policy.fractional_enabled else ONE
    return view.sized.quantity >= smallest, view.sized.quantity, smallest, detail


def _micro_daily_limit(view: View) -> Result:
    if not view.candidate.is_micro:
        return _NONE
    others = micro_trading.entries_today(view.portfolio) - view.candidate.building  # a later tranche is counted already
    limit = view.policy.micro_max_trades_per_day
    return others < limit, others, limit, None


def _micro_too_late(view: View) -> Result:
    latest = micro_trading.latest_entry_at(view.now, policy=view.policy)
    if not view.candidate.is_micro or latest is None:
        return _NONE
    return view.now <= latest, view.now, latest, None


def _correlation_check(view: View) -> Check:
    rule = view.sized.correlation if view.sized else None
    if rule is None or rule.average is None:
        return Check(result="not_applicable")
    return Check(
        result=_result(rejected=rule.rejected, factor=rule.factor),
        value=rule.average,
        limit=view.policy.correlation_limit,
        factor=rule.factor,
    )


def _sector_check(view: View) -> Check:
    if view.sized is None or view.candidate.price is None:
        return Check(result="not_applicable")
    before, after = view.sized.sizing.correlation, view.sized.sizing.sector
    fits = position_sizer.shares(view.sized.sector_room, price=view.candidate.price, policy=view.policy) > 0
    factor = after / before if before > 0 else ONE
    return Check(
        result=_result(rejected=not fits, factor=factor),
        value=view.sized.sector_exposure,
        limit=view.sized.sector_limit,
        factor=factor,
    )


def _result(*, rejected: bool, factor: Decimal) -> Literal["passed", "reduced", "rejected"]:
    if rejected:
        return "rejected"
    return "reduced" if factor < 1 else "passed"


_GATES: tuple[tuple[GateName, Callable[[View], Result], bool], ...] = (
    ("not_actionable", _not_actionable, True),
    ("expired", _expired, True),
    ("superseded", _superseded, True),
    ("unknown_symbol", _unknown_symbol, True),
    ("not_ready", _not_ready, True),
    ("engine_paused", _engine_paused, True),
    ("circuit_breaker_active", _circuit_breaker_active, False),
    ("market_stress", _market_stress, False),
    ("broad_decline", _broad_decline, False),
    ("active_pool_minimum", _active_pool_minimum, False),
    ("outside_trading_window", _outside_trading_window, True),
    ("price_unavailable", _price_unavailable, False),
    ("ticker_cooldown", _ticker_cooldown, False),
    ("earnings_blackout", _earnings_blackout, False),
    ("insufficient_confidence", _insufficient_confidence, True),
    ("no_position_to_sell", _no_position_to_sell, True),
    ("already_held", _already_held, False),
    ("position_limit_reached", _position_limit_reached, False),
    ("correlation_too_high", _correlation_too_high, False),
    ("sector_limit", _sector_limit, False),
    ("portfolio_heat", _portfolio_heat, False),
    ("reserve_not_backed", _reserve_not_backed, False),
    ("insufficient_active_pool", _insufficient_active_pool, False),
    ("below_one_share", _below_one_share, False),
    ("micro_daily_limit", _micro_daily_limit, False),
    ("micro_too_late", _micro_too_late, False),
)
"""Name, function, and whether it applies to a sell."""

NOT_ASKED: tuple[Gate, ...] = tuple(Gate(name=name, passed=None) for name, _, _ in _GATES)
"""The gates of an exit that the engine makes by itself: none applies."""
