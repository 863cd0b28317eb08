"""What the operator does: commands of every kind, changes of the policy, a kill, a new build."""

import datetime as dt
import json
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.trading.machine_account import SYMBOLS
from tests.trading.machine_broker import Broker
from trading.portfolio import hash_of, row_bytes

CHANGES: tuple[dict[str, Any], ...] = (
    {"max_open_positions": 3},
    {"max_open_positions": 12},
    {"capital_limit": "400"},
    {"capital_limit": "600"},
    {"enabled": False},
    {"enabled": True},
    {"position_loss_pct": "0.03"},
    {"polling_interval_seconds": 30},
    {"stop_check_seconds": 30},
    {"window_margin_minutes": 30},
    {"daily_loss_pct": "2"},
    {"daily_loss_pct": "0.01"},
    {"no_such_field": 1},
    {"micro_trading_enabled": True},
    {"micro_trading_enabled": False},
    {"micro_max_hold_minutes": 30},
    {"reserve_siphon_pct": "NaN"},
    {"stale_feed_action": "close"},
    {"earnings_action": "close"},
    {"swap_enabled": False},
    {"tiers": {"moderate": {"stop_loss_atr_multiplier": "1.0"}}},
    {"tiers": {"moderate": {"max_position_pct": "0.04", "max_sector_pct": "0.08"}}},
    {"tiers": {"conservative": {"max_portfolio_heat": "0.01"}}},
    {"tiers": {"moderate": {"max_portfolio_heat": "0.005"}}},
    {"event_stop_factor": "0.2", "earnings_stop_factor": "0.3"},
)
COMMANDS: tuple[dict[str, Any], ...] = (
    {"kind": "pause"},
    {"kind": "resume"},
    {"kind": "resume"},
    {"kind": "set_risk_tier", "risk_tier": "conservative"},
    {"kind": "set_risk_tier", "risk_tier": "moderate"},
    {"kind": "set_risk_tier", "risk_tier": "aggressive"},
    {"kind": "release_risk_tier"},
    {"kind": "release_risk_tier"},
    {"kind": "adjust_reserve", "amount": "100", "reason": "x"},
    {"kind": "adjust_reserve", "amount": "60", "reason": "x"},
    {"kind": "adjust_reserve", "amount": "-40.10", "reason": "x"},
    {"kind": "adjust_reserve", "amount": "0.001", "reason": "x"},
    {"kind": "test_notification", "channel": "sms"},
    {"kind": "test_notification", "channel": "email"},
    {"kind": "arm_live", "until": "2026-12-31T21:00:00Z"},
    {"kind": "update_notifications", "version": 1, "changes": {"summary_minutes_after_close": 0}},
    {"kind": "update_notifications", "version": 2, "changes": {"sms_target": "+15551234567"}},
)


class Operator(Broker):
    """The rules of commands."""

    @rule(command=st.sampled_from(COMMANDS))
    def command(self, command: dict[str, Any]) -> None:
        """Give a command: it has one result, and one that was refused has changed nothing (33)."""
        before = self.portfolio
        effects = self.send({"command_id": self.name("command"), "issued_by": "operator"} | command)
        [result] = [effect for effect in effects if getattr(effect, "kind", "") == "command_result"]
        if not result.accepted:
            same = ("policy", "risk_tier", "tier_held", "reserve", "ledger_seq", "paused", "halted")
            assert all(getattr(self.portfolio, name) == getattr(before, name) for name in same)

    @rule(symbol=SYMBOLS, days=st.integers(0, 5))
    def flag_earnings(self, symbol: str, days: int) -> None:
        on = (self.now + dt.timedelta(days=days)).date().isoformat()
        self.command({"kind": "flag_earnings", "symbol": symbol, "earnings_on": on, "session": "amc"})

    @precondition(lambda self: self.portfolio.positions or self.portfolio.orders)
    @rule(sure=st.integers(0, 3))
    def kill(self, sure: int) -> None:
        """Halt: everything is on its way out, or waits for the session."""
        if sure > 0:
            return
        self.command({"kind": "kill", "reason": "enough"})
        assert self.portfolio.halted
        assert all(position.exit is not None for position in self.portfolio.positions)
        assert all(order.cancel_sent for order in self.portfolio.orders if order.side == "buy")

    @rule(changes=st.sampled_from(CHANGES), confirmed=st.booleans())
    def configure(self, changes: dict[str, Any], confirmed: bool) -> None:
        """Change the policy: accepted or unchanged, and a loosening only with its token (33)."""
        body = {"kind": "update_config", "issued_by": "operator", "version": self.portfolio.policy.version}
        before = self.portfolio.policy
        effects = self.send(body | {"command_id": self.name("command"), "changes": changes})
        result = next(effect for effect in effects if getattr(effect, "kind", "") == "command_result")
        assert result.accepted == (self.portfolio.policy != before)
        if result.confirmation_token and confirmed:
            token = {"confirmation_token": result.confirmation_token}
            self.send(body | token | {"command_id": self.name("command"), "changes": changes})
            assert self.portfolio.policy != before

    @rule(build=st.sampled_from(["test", "next"]))
    def start_a_worker(self, build: str) -> None:
        """Let a worker take the account up, of this build or of another."""
        self.send({"kind": "worker_started", "mode": "paper", "build": build})

    @rule(sure=st.integers(0, 5))
    def lose_the_log(self, sure: int) -> None:
        """Go on from the row alone, as if all of Kafka's data were lost: what adds risk waits (R18.5)."""
        if sure > 0:
            return
        before = self.portfolio
        row = row_bytes(before)
        body = {"state": json.loads(row), "hash": hash_of(row), "mode": "paper", "build": "test"}
        self.send({"kind": "account_restored"} | body)
        assert (self.portfolio.paused, self.portfolio.reconciled) == (True, False)
        same = ("reserve", "ledger_seq", "cash", "seen")
        assert all(getattr(self.portfolio, name) == getattr(before, name) for name in same)
        rows = (before, self.portfolio)
        first, second = [{each.symbol: each.quantity for each in row.positions} for row in rows]
        assert first == second  # a pause cancels the tranches that were to come, and so completes their entries

    def carry_on(self) -> None:
        """End what stops entries: a pause, a night, a difference with the broker, an old price."""
        if not self.is_window_open():
            while not self.is_window_open():
                self.now = self.next_phase().at
            self.send({"kind": "clock"})
        if self.portfolio.paused or self.portfolio.halted:
            self.send({"kind": "resume", "command_id": self.name("command"), "issued_by": "operator"})
        if not self.portfolio.policy.enabled:
            self.configure(changes={"enabled": True}, confirmed=True)
        if not self.portfolio.reconciled:
            self.snapshot()
            self.snapshot()
        self.trade_along(minutes=0, drift=[0])
