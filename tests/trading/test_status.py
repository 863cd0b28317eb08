"""The status of `contracts.md`, computed from the row alone."""

import pytest

from tests.trading.desk import Desk, at, minutes
from trading.status import portfolio_summary, status_of

FIELDS = (
    "enabled paused trading_state risk_tier circuit_breaker active_pool reserve_pool total_value cash buying_power "
    "open_buy_holds portfolio_heat max_portfolio_heat open_positions queued last_decision_at mode armed_until "
    "build as_of"
)


@pytest.mark.covers("R16.2")
def test_the_status_has_the_fields_of_the_contract() -> None:
    shown = status_of(Desk().row, as_of=at("15:00"))
    assert list(shown) == FIELDS.split()
    assert shown["circuit_breaker"] == {
        "status": "inactive",
        "trigger": None,
        "until": None,
        "remaining_seconds": 0,
        "active": [],
    }
    assert (shown["total_value"], shown["max_portfolio_heat"], shown["last_decision_at"]) == ("500", "100.00", None)


@pytest.mark.covers("R3.7")
def test_money_is_text_and_everything_is_of_one_instant() -> None:
    desk = Desk()
    desk.hold()
    desk.recommend("KO", sector="staples")
    desk.command("adjust_reserve", amount="50.25", reason="x")
    shown = status_of(desk.row, as_of=desk.now + minutes(1))
    assert (shown["cash"], shown["open_buy_holds"], shown["reserve_pool"]) == ("460", "20", "50.25")
    assert (shown["active_pool"], shown["total_value"]) == ("449.75", "500")
    assert (shown["open_positions"], shown["queued"], shown["trading_state"]) == (1, 0, "active")
    assert shown["as_of"] == (desk.now + minutes(1)).isoformat().replace("+00:00", "Z")


def test_the_end_of_a_breaker_counts_down_to_zero() -> None:
    desk = Desk()
    desk.stress("40")
    assert status_of(desk.row, as_of=at("16:59:30"))["circuit_breaker"]["remaining_seconds"] == 30
    assert status_of(desk.row, as_of=at("17:00"))["circuit_breaker"]["status"] == "inactive"


def test_a_kill_is_halted_a_pause_reducing() -> None:
    desk = Desk()
    desk.command("pause")
    assert status_of(desk.row, as_of=desk.now)["trading_state"] == "reducing"
    desk.command("kill", reason="x")
    assert status_of(desk.row, as_of=desk.now)["trading_state"] == "halted"


def test_the_summary_shows_pools_sectors_heat_and_positions() -> None:
    desk = Desk()
    desk.hold()
    desk.mark("AAPL", "10.25")
    desk.recommend("KO", sector="staples")
    shown = portfolio_summary(desk.row, as_of=desk.now)
    assert (shown["invested"], shown["unrealized_pnl"], shown["total_value"]) == ("41.00", "1.00", "501.00")
    assert shown["sectors"] == [{"sector": "staples", "exposure": "20"}, {"sector": "technology", "exposure": "41.00"}]
    assert shown["positions"] == [
        {
            "symbol": "AAPL",
            "sector": "technology",
            "quantity": "4",
            "avg_entry_price": "10",
            "last_price": "10.25",
            "market_value": "41.00",
            "unrealized_pnl": "1.00",
        }
    ]
