"""Every input on a whole stack: into the inboxes it concerns, onto the watch, into its table, and over HTTP.

The poison of every input topic is in `test_poison`; here is what good records become.
"""

import json
import math
from collections.abc import Iterator
from decimal import Decimal

import pytest

from tests.integration import market
from tests.integration.harness import Json, Stack, eventually

pytestmark = pytest.mark.integration

ACCOUNTS = ("paper", "other")
DAY = next(market.sessions())


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Give a stack whose accounts have no other visitors."""
    with Stack(accounts=ACCOUNTS) as stack:
        stack.start()
        stack.produce("companies", [market.company(symbol) for symbol in ("IN", "INB")])
        for symbol, step in (("IN", 3), ("INB", 5)):
            bars = market.bars_before(symbol, DAY, "10.00", count=40)
            stack.produce("price-bars", [moved(bar, step * place % 7) for place, bar in enumerate(bars)])
        stack.produce("price-ticks", [market.tick("IN", "10.00", at("13:59"))])
        stack.until_lag_zero(projected=True)
        yield stack


def moved(bar: Json, dollars: int) -> Json:
    """Return a bar some dollars higher."""
    return bar | {name: str(Decimal(bar[name]) + dollars) for name in ("open", "high", "low", "close")}


def at(clock: str) -> str:
    return market.instant(DAY, clock)


def inbox(stack: Stack, kind: str) -> list[Json]:
    """Return the inbox records of a kind, of all accounts."""
    stack.until_lag_zero(projected=True)
    bodies = [message.body for message in stack.read("account-inbox")]
    return [body for body in bodies if body["kind"] == kind]


def everybodys(found: list[Json]) -> list[Json]:
    """Return the records of the first account, after a look at the others' being the same."""
    by_account = [[body for body in found if body["account_id"] == account] for account in ACCOUNTS]
    first, second = ([{**body, "account_id": None} for body in bodies] for bodies in by_account)
    assert first == second
    return by_account[0]


def test_a_trend_enters_every_inbox_with_its_symbols_facts(stack: Stack) -> None:
    trend = {
        "trend_id": "t-1",
        "symbol": "IN",
        "window": "intraday",
        "interval": "5m",
        "direction": "bullish",
        "confidence": "0.9",
        "at": at("14:00"),
    }
    stack.produce("trend-summaries", [trend])
    [event] = everybodys(inbox(stack, "trend"))
    assert trend.items() <= event["trend"].items()
    facts = event["facts"]
    assert (facts["known"], facts["sector"], facts["last_price"]) == (True, "technology", "10.00")
    assert len(facts["closes"]) == 40


def test_a_macro_event_enters_every_inbox_and_has_a_row(stack: Stack) -> None:
    macro = {
        "event_id": "m-1",
        "severity": "low",
        "headline": "Nothing happened",
        "started_at": at("14:01"),
        "estimated_duration_seconds": 600,
        "sectors": ["technology", "energy"],
    }
    stack.produce("macro-events", [macro])
    [event] = everybodys(inbox(stack, "macro_event"))
    assert event["event"] == macro
    [row] = stack.sql("SELECT * FROM macro_events")
    assert (row["severity"], row["sectors"], row["estimated_duration_seconds"]) == ("low", macro["sectors"], 600)


def test_a_reading_of_market_stress_enters_every_inbox(stack: Stack) -> None:
    reading = {"name": "vix", "value": "20.5", "at": at("14:02")}
    stack.produce("market-stress", [reading])
    assert everybodys(inbox(stack, "market_stress"))[0]["reading"] == reading


@pytest.mark.covers("R10.1")
def test_an_earnings_date_has_a_row_and_a_hand_entered_one_replaces_it(stack: Stack) -> None:
    given = {
        "symbol": "IN",
        "earnings_on": "2026-05-05",
        "session": "bmo",
        "source": "feed",
        "reported_at": at("12:00"),
    }
    stack.produce("earnings-dates", [given])
    stack.until_lag_zero(projected=True)
    [shown] = stack.get("/api/trading/earnings")["items"]
    assert given.items() <= shown.items()
    flag = market.command("flag_earnings", "f-1", "other", symbol="IN", earnings_on="2026-05-07", session="amc")
    stack.produce("commands", [flag])
    eventually(lambda: len(stack.read("earnings-dates")) == 2, seconds=20, what="the date is sent on")
    stack.until_lag_zero(projected=True)
    [shown] = stack.get("/api/trading/earnings", account_id="other", symbol="IN")["items"]
    by_hand = {"symbol": "IN", "earnings_on": "2026-05-07", "session": "amc", "source": "operator", "reported_at": None}
    assert by_hand.items() <= shown.items()
    recommendation = market.recommendation("IN", "after", at("14:03"))
    stack.produce("recommendations", [recommendation])
    facts = everybodys(inbox(stack, "recommendation"))[0]["facts"]
    assert (facts["earnings_on"], facts["earnings_session"]) == ("2026-05-07", "amc")


@pytest.mark.covers("R9.1")
def test_bars_and_companies_have_rows_and_their_pair_one_of_the_matrix(stack: Stack) -> None:
    assert {row["symbol"]: row["sector"] for row in stack.sql("SELECT * FROM companies")}.keys() >= {"IN", "INB"}
    assert len(stack.sql("SELECT * FROM price_bars WHERE symbol = 'IN' AND \"interval\" = '1d'")) == 40
    matrix = "SELECT * FROM correlation_matrix_cache WHERE (symbol_a, symbol_b) = ('IN', 'INB') AND observations = 39"
    eventually(lambda: len(stack.sql(matrix)) > 0, seconds=40, what="the matrix has the pair")
    assert all(abs(row["correlation"]) <= 1 for row in stack.sql(matrix))


@pytest.mark.covers("R6.3")
def test_an_hour_of_the_canary_is_a_reading_that_reaches_every_account(stack: Stack) -> None:
    """One percent up and down every five minutes: 145 points, far over 35."""
    clocks = [f"{14 + (30 + 5 * number) // 60}:{(30 + 5 * number) % 60:02d}" for number in range(13)]
    ticks = [market.tick("SPY", str(100 + number % 2), at(clock)) for number, clock in enumerate(clocks)]
    opening = market.tick("SPY", "100", at("14:29"))
    stack.produce("price-ticks", [opening, *ticks])
    eventually(lambda: len(stack.read("market-stress")) == 2, seconds=20, what="there is a reading")
    reading = stack.read("market-stress")[-1].body
    expected = math.log(1.01) * math.sqrt(12 / 11 * 252 * 78) * 100
    assert (reading["name"], reading["at"]) == ("realised_volatility", at("15:30"))
    assert float(reading["value"]) == pytest.approx(expected)
    assert everybodys(inbox(stack, "market_stress"))[-1]["reading"] == reading
    events = stack.sql("SELECT account_id, trigger, actual_value FROM circuit_breaker_events WHERE event = 'triggered'")
    assert sorted((row["account_id"], row["trigger"]) for row in events) == [
        (account, "market_stress") for account in sorted(ACCOUNTS)
    ]
    assert {row["actual_value"] for row in events} == {Decimal(reading["value"])}


def test_what_the_tables_hold_is_there_over_http(stack: Stack) -> None:
    for path in ("/metrics", "/snapshots", "/earnings", "/notifications", "/alerts", "/circuit-breakers", "/reserve"):
        assert {"items", "next_cursor"} <= stack.get(f"/api/trading{path}").keys(), path
    assert stack.get("/api/trading/notifications/config")["version"] == 1
    micro = stack.get("/api/trading/micro")
    assert (micro["enabled"], micro["today"]["on"], micro["trailing_7_days"]["win_rate"]) == (
        False,
        DAY.isoformat(),
        None,
    )
    told = [item["event_type"] for item in stack.get("/api/trading/notifications")["items"]]
    assert "breaker_triggered" in told


@pytest.mark.covers("R6.3")
def test_an_account_may_have_a_canary_of_its_own(stack: Stack) -> None:
    changes = {"canary_symbol": "INB"}
    stack.produce("commands", [market.command("update_config", "canary", "other", version=1, changes=changes)])
    stack.until_lag_zero()
    [asked] = [message.body for message in stack.read("stop-levels") if message.key == b"INB/other"]
    assert asked["canary"]
    clocks = [f"{15 + (30 + 5 * number) // 60}:{(30 + 5 * number) % 60:02d}" for number in range(13)]
    stack.produce(
        "price-ticks",
        [market.tick("INB", str(100 + 2 * (number % 2)), at(clock)) for number, clock in enumerate(clocks)],
    )

    def readings() -> list[Json]:
        return [each.body for each in stack.read("market-stress") if each.body.get("symbol") == "INB"]

    eventually(lambda: readings() != [], seconds=20, what="there is a reading")
    [reading] = readings()
    assert reading["at"] == at("16:30")
    stack.until_lag_zero()
    kept = {account: stack.bodies("records", kind="account_state", account_id=account)[-1] for account in ACCOUNTS}
    assert reading["value"] in json.dumps(kept["other"])
    assert reading["value"] not in json.dumps(kept["paper"])
