"""The invariants of `reliability.md` that one step of one account can break, checked after each; numbers are theirs.

`Laws` remembers what an auditor would: every decision, order, ledger entry and fill, and its own first-in-first-out
lots in exact fractions.
"""

import json
from collections import defaultdict
from decimal import ROUND_DOWN, Decimal
from fractions import Fraction
from typing import Any

import exchange_calendars
import pandas

from trading.circuit_breaker import trading_state
from trading.effects import Decision, Effect, Order, OrderCancel
from trading.events import Event, Mark
from trading.policy import TIERS
from trading.portfolio import Portfolio, Position, row_bytes, row_hash, tier_of
from trading.trading_window import session_at

CALENDAR = exchange_calendars.get_calendar("XNYS", start="2010-01-04", end="2040-12-31")
CENT = Decimal("0.01")


def kind_of(effect: Any) -> str | None:
    return getattr(effect, "kind", None)


class Laws:
    """What was seen of one account so far."""

    def __init__(self) -> None:
        self.decisions: dict[str, Decision] = {}
        self.by_source: dict[tuple[str, str], str] = {}
        self.recommended: set[str] = set()
        self.outdated: set[str] = set()
        self.orders: dict[str, Order] = {}
        self.ended_entries: set[str] = set()
        self.reserve = Decimal(0)
        self.ledger_seq = 0
        self.lots: dict[str, list[list[Fraction]]] = defaultdict(list)
        self.record_ids: set[str] = set()
        self.peak: Decimal | None = None
        self.profits: dict[str, Decimal] = {}
        self.counted: dict[str, Decimal] = {}
        self.base: Decimal | None = None
        self.growth = Fraction(1)
        self.sessions: list[Any] = []
        self.told: set[tuple[str, Any]] = set()

    def check(self, before: Portfolio | None, event: Event, after: Portfolio, effects: tuple[Effect, ...]) -> None:
        """Fail when a step broke a law."""
        self.records(after, effects)
        self.figures(after)
        self.money(after, effects)
        self.deciding(event, after, effects)
        if before is not None:
            assert after.now >= before.now
            self.ordering(before, after, effects)
            self.protecting(before, event, after, effects)
            self.configuring(before, after, effects)
            self.recalling(before, after, effects)
            self.measuring(before, after, effects)
            self.rescuing(before, after, effects)
            self.telling(effects)

    def records(self, after: Portfolio, effects: tuple[Effect, ...]) -> None:
        """Ids are new, the state comes last and is the row, money is text (35)."""
        for effect in effects:
            json.loads(effect.model_dump_json(), parse_float=_no_float, parse_constant=_no_float)
            if (record_id := getattr(effect, "record_id", None)) is not None:
                assert record_id not in self.record_ids
                self.record_ids.add(record_id)
        states = [place for place, effect in enumerate(effects) if kind_of(effect) == "account_state"]
        assert len(states) <= 1
        if states:
            state: Any = effects[states[0]]
            assert states[0] == len(effects) - 1
            assert (state.seq, state.hash) == (after.seq, row_hash(after))
        row = row_bytes(after)
        json.loads(row, parse_float=_no_float, parse_constant=_no_float)
        assert len(row) < 512 * 1024

    def figures(self, after: Portfolio) -> None:
        """Pools add up (1), heat is never negative (10), lots are the positions (26), one live exit each (14)."""
        assert after.active_pool + after.reserve == after.total_value
        assert after.portfolio_heat >= 0
        for position in after.positions:
            assert position.quantity > 0
            assert position.heat >= 0
            assert position.base_stop > 0
            assert position.target_price > position.avg_entry_price
        held = {position.symbol: position.quantity for position in after.positions}
        opened: dict[str, Decimal] = defaultdict(Decimal)
        for lot in after.lots:
            assert 0 <= lot.open_quantity <= lot.quantity
            assert (lot.status == "open") == (lot.open_quantity > 0)
            opened[lot.symbol] += lot.open_quantity
        assert {symbol: quantity for symbol, quantity in opened.items() if quantity} == held
        assert len({position.symbol for position in after.positions}) == len(after.positions)
        assert len({entry.symbol for entry in after.entries}) == len(after.entries)
        for symbol in {order.symbol for order in after.orders}:
            sells = after.live(symbol, side="sell")
            assert len(sells) <= 1
            assert all(sell.remaining <= held.get(symbol, 0) for sell in sells)

    def money(self, after: Portfolio, effects: tuple[Effect, ...]) -> None:
        """The ledger is gapless and adds up (2), the siphon is exact and once a closing fill (3), oldest first (26)."""
        siphons: dict[str, Decimal] = {}
        for effect in effects:
            if kind_of(effect) == "ledger_entry":
                entry: Any = effect
                assert entry.seq == self.ledger_seq + 1
                assert entry.amount not in (0, None)
                assert entry.amount == entry.amount.quantize(CENT)
                assert entry.balance_after == self.reserve + entry.amount >= 0
                self.ledger_seq, self.reserve = entry.seq, entry.balance_after
                if entry.trigger == "profit_siphon":
                    assert entry.fill_id not in siphons
                    siphons[entry.fill_id] = entry.amount
        assert (after.reserve, after.ledger_seq) == (self.reserve, self.ledger_seq)
        for effect in effects:
            if kind_of(effect) == "fill":
                fill: Any = effect
                profit = self._booked(fill)
                if fill.side == "sell":
                    share = Fraction(after.policy.reserve_siphon_pct) * max(Fraction(0), profit)
                    exact = Decimal(share.numerator) / Decimal(share.denominator)
                    assert siphons.pop(fill.fill_id, Decimal(0)) == exact.quantize(CENT, rounding=ROUND_DOWN)
        assert not siphons
        for symbol, lots in self.lots.items():
            position = after.position(symbol)
            kept = Fraction(position.quantity) if position else Fraction(0)
            while sum(quantity for quantity, _ in lots) > kept:  # the broker had fewer: the oldest leave
                surplus = sum(quantity for quantity, _ in lots) - kept
                lots[0][0] -= min(surplus, lots[0][0])
                if not lots[0][0]:
                    lots.pop(0)
            assert sum(quantity for quantity, _ in lots) == kept
            cost = sum(quantity * basis for quantity, basis in lots)
            ours = sum(lot.open_quantity * lot.cost_basis_per_share for lot in after.lots if lot.symbol == symbol)
            assert abs(float(cost) - float(ours)) < 1e-9

    def _booked(self, fill: Any) -> Fraction:
        lots, quantity = self.lots[fill.symbol], Fraction(fill.quantity)
        value, fee = quantity * Fraction(fill.price), Fraction(fill.fee)
        if fill.side == "buy":
            lots.append([quantity, (value + fee) / quantity])
            return Fraction(0)
        cost, left = Fraction(0), quantity
        while left:
            sold = min(left, lots[0][0])
            cost, left = cost + sold * lots[0][1], left - sold
            lots[0][0] -= sold
            if not lots[0][0]:
                lots.pop(0)
        return value - fee - cost

    def deciding(self, event: Event, after: Portfolio, effects: tuple[Effect, ...]) -> None:
        """One decision a source (18), one for every recommendation that does not wait (19), its limits (6-11, 29)."""
        for effect in effects:
            if kind_of(effect) == "duplicate" and getattr(effect, "source_id", None) not in self.recommended:
                self.outdated.add(getattr(effect, "source_id", ""))
            if not isinstance(effect, Decision):
                continue
            assert effect.decision_id not in self.decisions
            assert (effect.source_type, effect.source_id) not in self.by_source
            self.decisions[effect.decision_id] = effect
            self.by_source[effect.source_type, effect.source_id] = effect.decision_id
            first = next((gate.name for gate in effect.gates if gate.passed is False), None)
            assert effect.skip_reason == first
            assert (effect.decision == "act") == (first is None)
            assert (effect.quantity > 0) == (effect.decision == "act")
            assert [gate.passed is None for gate in effect.gates] == [gate.value is None for gate in effect.gates]
            if effect.decision == "act" and effect.purpose == "entry":
                self._limits(effect, after)
        if event.kind == "recommendation":
            self.recommended.add(event.recommendation.recommendation_id)
        waiting = {each.recommendation.recommendation_id for each in after.queue}
        decided = {source_id for kind, source_id in self.by_source if kind == "recommendation"}
        assert not waiting & decided
        assert waiting | decided | self.outdated == self.recommended

    @staticmethod
    def _limits(decision: Decision, after: Portfolio) -> None:
        tier, policy = tier_of(after.policy, decision.risk_tier), after.policy
        assert decision.sizing is not None
        assert decision.sizing.price is not None
        value = decision.quantity * decision.sizing.price
        total = decision.active_pool + decision.reserve_pool
        basis = min(decision.active_pool, policy.capital_limit)
        near = decision.earnings_proximity_flag in ("within_3_days", "post_earnings")
        factor = Decimal("0.5") if near else Decimal(1)
        assert value <= decision.computed_position_size
        assert value <= tier.max_position_pct * basis * factor
        assert value <= policy.absolute_cap_pct * total * factor
        assert decision.quantity == int(decision.quantity)
        assert decision.earnings_proximity_flag != "within_1_day"
        correlation = decision.correlation_check_result
        assert correlation.value is None or correlation.value <= policy.correlation_limit

    def ordering(self, before: Portfolio, after: Portfolio, effects: tuple[Effect, ...]) -> None:
        """Orders follow from decisions, once (22), in the window (24), while nothing stops them (12), within limits."""
        for effect in effects:
            if not isinstance(effect, Order):
                continue
            assert effect.client_order_id not in self.orders
            assert len(effect.client_order_id) <= 48
            self.orders[effect.client_order_id] = effect
            decision = self.decisions[effect.decision_id]
            assert decision.decision == "act"
            assert decision.symbol == effect.symbol
            assert effect.quantity > 0
            instant = pandas.Timestamp(effect.created_at)
            assert CALENDAR.is_open_at_time(instant, side="left")
            if effect.side == "buy":
                self._entering(before, after, effect, decision)
            else:
                position = before.position(effect.symbol) or after.position(effect.symbol)
                assert position is not None
                assert (effect.tranche, effect.of_tranches) == (1, 1)
                assert not after.live(effect.symbol, side="buy")

    def _entering(self, before: Portfolio, after: Portfolio, order: Order, decision: Decision) -> None:
        session = CALENDAR.minute_to_session(pandas.Timestamp(order.created_at).floor("min"), direction="none")
        margin = pandas.Timedelta(minutes=before.policy.window_margin_minutes)
        opens, closes = CALENDAR.session_open(session) + margin, CALENDAR.session_close(session) - margin
        assert opens <= pandas.Timestamp(order.created_at) < closes
        assert order.valid_until == closes
        assert not before.halted
        assert not before.paused
        assert before.policy.enabled
        assert before.reconciled
        assert not [breaker for breaker in before.breakers if breaker.until > order.created_at]
        assert not [until for symbol, until in before.cooldowns if symbol == order.symbol and until > order.created_at]
        assert order.decision_id not in self.ended_entries
        sent = [each.quantity for each in self.orders.values() if each.decision_id == order.decision_id]
        assert sum(sent) <= decision.quantity
        assert len(sent) == order.tranche <= order.of_tranches
        if order.created_at < after.now:
            return  # sent in a gap; the figures after it are of another instant
        assert trading_state(after) in ("active", "reducing")
        assert after.spendable >= 0
        assert after.portfolio_heat <= after.max_portfolio_heat
        assert len(after.held_symbols) <= after.policy.max_open_positions
        entry = after.entry(order.symbol)
        assert entry is not None
        limit = after.tier.max_sector_pct * min(after.active_pool, after.policy.capital_limit)
        assert after.sector_exposure(entry.sector) <= limit

    def protecting(self, before: Portfolio, event: Event, after: Portfolio, effects: tuple[Effect, ...]) -> None:
        """A crossing is answered at once (13), stops never fall (15), levels are in order at opening (16)."""
        for held in before.positions:
            position = after.position(held.symbol)
            if position is None or position.position_id != held.position_id:
                continue
            if held.entry_complete:
                assert position.stop_price >= held.stop_price
            if position.last_price > position.avg_entry_price + (position.target_price - position.avg_entry_price) / 2:
                assert position.base_stop >= position.avg_entry_price
        for effect in effects:
            if kind_of(effect) == "stop_level" and getattr(effect, "reason", "") == "opened":
                level: Any = effect
                entry = level.entry_price
                assert 0 < level.stop_price <= max(entry, level.stop_price)
                assert level.target_price > entry
        if isinstance(event, Mark) and session_at(after.now) is not None:
            position = before.position(event.symbol)
            if position is not None and event.price_at >= position.last_price_at and _crosses(position, event, before):
                self._answered(before, after, event.symbol, effects)

    @staticmethod
    def _answered(before: Portfolio, after: Portfolio, symbol: str, effects: tuple[Effect, ...]) -> None:
        sold = [effect for effect in effects if isinstance(effect, Order) and effect.symbol == symbol]
        sold = [effect for effect in sold if effect.side == "sell"]
        buys = after.live(symbol, side="buy")
        if buys:
            cancelled = {effect.client_order_id for effect in effects if isinstance(effect, OrderCancel)}
            assert all(order.cancel_sent or order.client_order_id in cancelled for order in buys)
            assert not sold
        else:
            assert sold or before.live(symbol, side="sell")
        position = after.position(symbol)
        assert position is not None
        assert position.exit is not None

    @staticmethod
    def configuring(before: Portfolio, after: Portfolio, effects: tuple[Effect, ...]) -> None:
        """Each accepted change has one audit record (33); a tier moves one level a close, with one record each (27)."""
        changes = [effect for effect in effects if kind_of(effect) == "config_change"]
        assert len(changes) == (after.policy != before.policy) == after.policy.version - before.policy.version
        tier: str = before.risk_tier
        for change in (effect for effect in effects if kind_of(effect) == "tier_change"):
            assert_one_level(change)
            assert tier == change.previous_tier != change.new_tier
            tier = change.new_tier
        assert tier == after.risk_tier
        closes = [effect.at for effect in effects if kind_of(effect) == "portfolio_snapshot"]
        automatic = [effect.at for effect in tiers_of(effects, source="auto")]
        assert len(set(automatic)) == len(automatic)
        assert set(automatic) <= set(closes)
        assert not (before.tier_held and automatic)

    def recalling(self, before: Portfolio, after: Portfolio, effects: tuple[Effect, ...]) -> None:
        """After one failed re-check no tranche follows (23)."""
        for entry in before.entries:
            now = after.entry(entry.symbol)
            if now is None or now.decision_id != entry.decision_id or now.unsent == 0:
                self.ended_entries.add(entry.decision_id)

    def measuring(self, before: Portfolio, after: Portfolio, effects: tuple[Effect, ...]) -> None:
        """The curve, its returns and the trades are what was recorded; rates in 0..1, nothing undefined shown (31)."""
        is_paid = after.policy != before.policy or any(getattr(effect, "adjusted", False) for effect in effects)
        for effect in effects:
            if kind_of(effect) == "trade":
                trade: Any = effect
                self.profits[trade.client_order_id] = trade.realized_pnl
            elif kind_of(effect) in ("portfolio_snapshot", "performance_metrics"):
                self._metrics(effect)
            if kind_of(effect) == "portfolio_snapshot":
                self._snapshot(effect)
        live = {order.client_order_id for order in after.orders}
        for order_id, profit in self.profits.items():
            if order_id not in live:
                self.counted.setdefault(order_id, profit)
        counted, past = self.counted.values(), after.history
        assert past.trades == len(counted)
        assert (past.won, past.lost) == (sum(p for p in counted if p > 0), -sum(p for p in counted if p < 0))
        assert (past.wins, past.losses) == (sum(p > 0 for p in counted), sum(p < 0 for p in counted))
        if after.snapshot_at is None:
            return
        if self.base is None or self.peak is None:
            self.peak = self.base = after.total_value
        elif is_paid:  # money came or went, and no price moved
            moved = after.total_value - before.total_value
            self.peak, self.base = self.peak + moved, self.base + moved
        self.peak = max(self.peak, after.total_value)
        assert after.peak_value == self.peak
        assert before.max_drawdown <= after.max_drawdown <= 1
        assert after.day_base == self.base

    def _snapshot(self, snapshot: Any) -> None:
        assert snapshot.session_on not in self.sessions[-1:]
        self.sessions.append(snapshot.session_on)
        assert pandas.Timestamp(snapshot.at) == CALENDAR.session_close(pandas.Timestamp(snapshot.session_on))
        assert snapshot.active_pool + snapshot.reserve_pool == snapshot.portfolio_value
        if self.base is not None and self.base > 0:
            exact = Fraction(snapshot.portfolio_value) / Fraction(self.base)
            assert abs(Fraction(snapshot.daily_return) + 1 - exact) < Fraction(1, 10**11)
            self.growth *= exact
        else:
            assert snapshot.daily_return is None
        assert abs(Fraction(snapshot.cumulative_return) + 1 - self.growth) < Fraction(1, 10**9)
        self.base = snapshot.portfolio_value

    @staticmethod
    def _metrics(record: Any) -> None:
        metrics = record.metrics
        for fields in (metrics, metrics["micro"]):
            assert {name for name, value in fields.items() if value is None} - {"day"} == set(fields["undefined"])
        for name in ("win_rate", "max_drawdown", "current_drawdown"):
            assert metrics[name] is None or 0 <= Decimal(metrics[name]) <= 1
        assert Decimal(metrics["active_pool"]) + Decimal(metrics["reserve_pool"]) == Decimal(metrics["total_value"])
        assert metrics["win_count"] + metrics["loss_count"] <= metrics["trade_count"]

    @staticmethod
    def rescuing(before: Portfolio, after: Portfolio, effects: tuple[Effect, ...]) -> None:
        """At most one emergency an episode; afterwards the reserve is 0 and the tier conservative (4)."""
        fired = [effect for effect in effects if getattr(effect, "event_type", "") == "emergency_liquidation"]
        moved = [effect for effect in effects if getattr(effect, "trigger", "") == "emergency_liquidation"]
        assert len(moved) <= len(fired) <= 1
        if fired:
            assert not before.in_emergency
            assert after.in_emergency
            assert after.reserve == 0
            assert after.risk_tier == "conservative"
            assert after.tier_held == before.tier_held or any(kind_of(each) == "command_result" for each in effects)
        if after.peak_value is not None and after.initial_capital:
            fallen = (after.peak_value - after.total_value) / after.initial_capital
            policy = after.policy
            if after.in_emergency:
                assert fired or fallen >= min(policy.emergency_rearm_pct, policy.emergency_drawdown_pct)
            else:
                assert fallen <= policy.emergency_drawdown_pct
        assert not [change for change in tiers_of(effects, source="emergency") if not fired]

    def telling(self, effects: tuple[Effect, ...]) -> None:
        """Summaries and digests are told once."""
        for effect in effects:
            event_type = getattr(effect, "event_type", "")
            if event_type in ("daily_summary", "weekly_digest"):
                told = (event_type, getattr(effect, "subject", "").split(":")[0])
                assert told not in self.told
                self.told.add(told)


def tiers_of(effects: tuple[Effect, ...], *, source: str) -> list[Any]:
    return [each for each in effects if kind_of(each) == "tier_change" and getattr(each, "source", "") == source]


def assert_one_level(change: Any) -> None:
    """An evaluation moves the tier one level; an operator and an emergency may move it further."""
    if change.source == "auto":
        assert abs(TIERS.index(change.new_tier) - TIERS.index(change.previous_tier)) == 1


def _crosses(position: Position, mark: Mark, before: Portfolio) -> bool:
    return (
        mark.last <= position.stop_price
        or mark.last >= position.target_price
        or mark.last < position.avg_entry_price * (1 - before.policy.position_loss_pct)
    )


def _no_float(text: str) -> float:
    raise AssertionError(f"{text} is a float")
