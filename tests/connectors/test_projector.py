"""The rows on a real PostgreSQL: each record in its place, twice or out of order the same, the refused put aside."""

import datetime as dt
import itertools
import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord
from pydantic import BaseModel

from connectors.projector import Projected, write
from connectors.quarantine import Quarantine
from connectors.rows import change_of
from migrations.runner import migrate
from streams.codec import DeadLetter, Deletion
from streams.settings import Settings
from streams.topics import TOPICS
from tests.connectors.examples import NOON, order
from tests.connectors.records import account_state, alert, at, common, decision, fill, lot, order_status
from trading import effects, inputs, records
from trading.deliveries import Delivery
from trading.policy import TradingPolicy
from trading.portfolio import Portfolio, row_bytes, row_hash

pytestmark = pytest.mark.integration


class Letters:
    """Keep dead letters instead of sending them."""

    def __init__(self) -> None:
        self.kept: list[DeadLetter] = []

    async def send_and_wait(self, topic: str, value: bytes, key: bytes) -> None:
        self.kept.append(DeadLetter.model_validate_json(value))


class Database:
    """A migrated database, and how records get into it."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection
        self.letters = Letters()
        self._offsets = itertools.count()

    async def project(self, *models: Any, topic: str = "records") -> None:
        place = TopicPartition(topic, 0)
        batch = [self._projected(topic, model) for model in models]
        quarantine = Quarantine(self.letters, Settings())
        await write(self.connection, batch, {place: batch[-1].record.offset + 1}, {topic: topic}, quarantine)

    def _projected(self, topic: str, model: Any) -> Projected:
        value = model.model_dump_json().encode() if isinstance(model, BaseModel) else None
        offset = next(self._offsets)
        record: ConsumerRecord[bytes, bytes] = ConsumerRecord(
            topic, 0, offset, 1_700_000_000_000, 0, b"key", value, None, 3, len(value or b""), ()
        )
        recorded_at = dt.datetime.fromtimestamp(1_700_000_000, dt.UTC)
        return Projected(TOPICS[topic], record, change_of(TOPICS[topic], model, recorded_at))

    async def rows(self, table: str) -> list[dict[str, Any]]:
        return [dict(row) for row in await self.connection.fetch(f"SELECT * FROM {table}")]  # noqa: S608 - our own names

    async def row(self, table: str) -> dict[str, Any]:
        (only,) = await self.rows(table)
        return only

    async def everything(self) -> dict[str, list[dict[str, Any]]]:
        names = await self.connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        apart = {"projection_offsets", "schema_migrations"}
        return {name: sorted(await self.rows(name), key=str) for (name,) in names if name not in apart}


@pytest.fixture
async def into(database: str) -> Any:
    await migrate(database)
    connection = await asyncpg.connect(database)
    yield Database(connection)
    await connection.close()


def one_of_each() -> list[Any]:
    """Return one record of every kind that has a row."""
    return [
        records.LedgerEntry(
            **common(1, "ledger"),
            entry_id="entry-1",
            seq=1,
            amount=Decimal("1.23"),
            balance_after=Decimal("1.23"),
            trigger="profit_siphon",
            trade_id="trade-1",
        ),
        records.TierChange(
            **common(1, "tier"),
            change_id="change-1",
            previous_tier="moderate",
            new_tier="conservative",
            source="auto",
            metrics={"drawdown": "0.16"},
        ),
        records.BreakerEvent(
            **common(1, "breaker"),
            event_id="event-1",
            event="triggered",
            trigger="daily_loss",
            threshold=Decimal("0.05"),
            actual_value=Decimal("0.061"),
            until=at(60),
        ),
        records.StopLevelSet(
            **common(1, "level"),
            level_id="level-1",
            position_id="position-1",
            symbol="AAPL",
            revision=1,
            stop_price=Decimal("95.5"),
            target_price=Decimal(110),
            entry_price=Decimal("100.05"),
            atr=Decimal("2.275"),
            multiplier=Decimal(2),
            reward_risk_ratio=Decimal("1.5"),
            signal_confidence=Decimal("0.8"),
            reason="opened",
        ),
        lot(1),
        fill(1, "10", quantity="10"),
        order_status(1, "filled", "10"),
        trade(1),
        records.HeatMeasured(
            **common(1, "heat"), heat=Decimal("4.55"), max_heat=Decimal(100), active_pool=Decimal(500)
        ),
        records.Metrics(**common(1, "metrics"), metrics={"win_rate": None, "undefined": {"win_rate": "no trades"}}),
        records.Snapshot(
            **common(1, "snapshot"),
            session_on=dt.date(2024, 3, 14),
            portfolio_value=Decimal(500),
            active_pool=Decimal(500),
            reserve_pool=Decimal(0),
            daily_return=None,
            cumulative_return=Decimal(0),
            positions=({"symbol": "AAPL", "quantity": "10"},),
            metrics={},
        ),
        records.ConfigChange(
            **common(1, "config"), version=2, before={"a": 1}, after={"a": 2}, source="operator", issued_by="me"
        ),
        alert(1),
        records.CommandResult(**common(1, "command"), command_id="c", accepted=True),
        records.Queued(**common(1, "queued"), source_type="recommendation", source_id="r", symbol="AAPL"),
        records.Reconciliation(**common(1, "reconciled"), clean=True, adjusted=False, differences=()),
        records.RebalanceRationale(**common(1, "why"), decision_id="decision-1", symbol="AAPL", rationale={}),
        wash_sale(1),
        account_state(1),
    ]


def trade(cause: int, **changes: Any) -> records.Trade:
    fields = {
        **common(cause, "trade"),
        "trade_id": "trade-1",
        "client_order_id": "order-1",
        "position_id": "position-1",
        "symbol": "AAPL",
        "entry_price": Decimal("100.05"),
        "exit_price": Decimal("99.95"),
        "quantity": Decimal(10),
        "opened_at": NOON,
        "closed_at": at(cause),
        "realized_pnl": Decimal(-1),
        "realized_pnl_pct": Decimal("-0.0009995"),
        "tax_adjusted_pnl": Decimal(-1),
        "wash_sale": False,
        "disallowed_loss": Decimal(0),
        "exit_purpose": "stop_loss",
        "is_micro": False,
    }
    return records.Trade(**{**fields, **changes})


def wash_sale(cause: int) -> records.WashSale:
    return records.WashSale(
        **common(cause, "wash"),
        trade_id="trade-1",
        symbol="AAPL",
        replacement_lot_id="lot-2",
        quantity=Decimal(1),
        disallowed_loss=Decimal("0.1"),
        decision_id="decision-1",
    )


ROWS_OF_ONE_EACH = {
    "reserve_pool_ledger": 1,
    "risk_tier_history": 1,
    "circuit_breaker_events": 1,
    "position_stop_levels": 1,
    "tax_lots": 1,
    "fills": 1,
    "order_statuses": 1,
    "trades": 1,
    "portfolio_heat": 1,
    "performance_metrics": 1,
    "portfolio_snapshots": 1,
    "config_audit": 1,
    "alerts": 1,
    "account_records": 5,
    "account_states": 1,
    "positions": 1,
    "trading_engine_config": 1,
    "notification_preferences": 1,
}


@pytest.mark.covers("R3.2", "R4.7", "R18.2", "R18.3")
async def test_every_kind_of_record_has_its_rows_and_twice_changes_nothing(into: Database) -> None:
    await into.project(*one_of_each())
    first = await into.everything()
    assert {table: len(rows) for table, rows in first.items() if rows} == ROWS_OF_ONE_EACH
    await into.project(*one_of_each())
    for record in reversed(one_of_each()):
        await into.project(record)
    assert await into.everything() == first
    assert into.letters.kept == []


async def test_every_kind_of_record_is_known_here(into: Database) -> None:
    """A kind that the engine gets later must be given its place, or be left out on purpose."""
    duplicate = records.Duplicate(**common(1, "twice"), source_type="recommendation", source_id="r", symbol="AAPL")
    kinds = {type(record) for record in (*one_of_each(), duplicate)}
    assert kinds == set(records.Record.__origin__.__args__)  # type: ignore[attr-defined]
    await into.project(duplicate)
    assert [table for table, rows in (await into.everything()).items() if rows] == []


@pytest.mark.covers("R17.1")
async def test_a_decision_keeps_every_figure_and_its_gates(into: Database) -> None:
    await into.project(decision(), topic="decisions")
    row = await into.row("trading_decisions")
    assert row["computed_position_size"] == Decimal("36.3636363636")  # never rounded
    assert (row["risk_tier_at_decision"], row["portfolio_heat_at_decision"]) == ("moderate", Decimal("4.55"))
    assert row["timestamp"] == row["decided_at"] == NOON
    gates = await into.connection.fetchval("SELECT gates -> 0 ->> 'name' FROM trading_decisions")
    factor = await into.connection.fetchval("SELECT correlation_check_result ->> 'factor' FROM trading_decisions")
    assert (gates, factor) == ("not_actionable", "1")


async def test_a_second_decision_on_one_source_is_refused_and_kept_aside(into: Database) -> None:
    await into.project(decision(1), topic="decisions")
    other = decision(2, source_id="recommendation-1")
    await into.project(other, decision(3), topic="decisions")
    assert {row["decision_id"] for row in await into.rows("trading_decisions")} == {"decision-1", "decision-3"}
    (letter,) = into.letters.kept
    assert (letter.topic, letter.offset) == ("decisions", 1)
    assert letter.error.startswith("invalid_field: PostgreSQL refuses: duplicate key")
    assert await into.connection.fetchval("SELECT next_offset FROM projection_offsets") == 3


@pytest.mark.parametrize("sequence", list(itertools.permutations(range(3))))
async def test_an_order_has_the_status_of_its_newest_event_whatever_comes_first(
    into: Database, sequence: Sequence[int]
) -> None:
    async def the_order() -> None:
        await into.project(order(quantity="10"), topic="orders")

    async def the_fill() -> None:
        await into.project(fill(5, "4", quantity="4"), order_status(5, "partially_filled", "4"))

    async def the_cancel() -> None:
        await into.project(order_status(6, "cancelled", "4", reason="expired"))

    for place in sequence:
        await [the_order, the_fill, the_cancel][place]()
    row = await into.row("orders")
    assert (row["status"], row["filled_quantity"], row["status_reason"]) == ("cancelled", Decimal(4), "expired")


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], ("new", Decimal(0))),
        ([order_status(1, "new")], ("new", Decimal(0))),
        ([order_status(1, "new"), order_status(2, "accepted")], ("accepted", Decimal(0))),
        ([order_status(2, "accepted"), fill(3, "4", quantity="4")], ("partially_filled", Decimal(4))),
        ([fill(3, "4", quantity="4"), fill(4, "10", quantity="6")], ("filled", Decimal(10))),
        ([order_status(2, "rejected", reason="no")], ("rejected", Decimal(0))),
        ([order_status(2, "unknown")], ("unknown", Decimal(0))),
    ],
)
async def test_an_orders_status_follows_its_records(
    into: Database, events: list[Any], expected: tuple[str, Decimal]
) -> None:
    await into.project(order(quantity="10"), topic="orders")
    if events:
        await into.project(*events)
        await into.project(events[0])  # once more
    row = await into.row("orders")
    assert (row["status"], row["filled_quantity"]) == expected


async def test_a_position_is_a_row_with_its_value_and_its_effective_stop(into: Database) -> None:
    await into.project(lot(1), account_state(1))
    row = await into.row("positions")
    assert (row["symbol"], row["sector"], row["quantity"]) == ("AAPL", "technology", Decimal(10))
    assert row["market_value"] == Decimal("1012.50")  # 10 x 101.25
    assert row["unrealized_pnl"] == Decimal("12.00")  # 10 x (101.25 - 100.05)
    assert (row["stop_price"], row["opened_at"], row["at"]) == (Decimal("95.5"), NOON, at(1))


async def test_an_older_state_changes_nothing_and_a_newer_one_replaces_the_positions(into: Database) -> None:
    await into.project(lot(3, left="4"), account_state(3, quantity="4"))
    await into.project(lot(2), account_state(2))
    assert (await into.row("positions"))["quantity"] == Decimal(4)
    assert (await into.row("tax_lots"))["open_quantity"] == Decimal(4)
    assert (await into.row("account_states"))["seq"] == 3
    await into.project(lot(4, left="0"), account_state(4, quantity="0"))
    assert await into.rows("positions") == []
    assert (await into.row("tax_lots"))["status"] == "closed"


async def test_a_symbol_that_was_sold_and_bought_again_has_one_position(into: Database) -> None:
    await into.project(lot(1), account_state(1))
    bought = account_state(2)
    (held,) = bought.state["positions"]
    state = {**bought.state, "positions": [{**held, "position_id": "another"}]}
    await into.project(bought.model_copy(update={"state": state}))
    assert (await into.row("positions"))["position_id"] == "another"


@pytest.mark.covers("R18.5")
async def test_the_state_is_kept_as_the_row_says_it(into: Database) -> None:
    state = account_state(7)
    await into.project(state)
    kept = await into.row("account_states")
    assert kept["hash"] == state.hash
    assert records.AccountState(**common(7, "state"), seq=7, state=json.loads(kept["state"]), hash=state.hash) == state


@pytest.mark.covers("R16.1")
async def test_the_config_follows_the_policy_and_the_tier(into: Database) -> None:
    await into.project(account_state(1))
    row = await into.row("trading_engine_config")
    assert (row["enabled"], row["risk_tier"], row["reserve_siphon_pct"]) == (True, "moderate", Decimal("0.20"))
    assert (row["daily_loss_pct"], row["gradual_entry_tranches"], row["version"]) == (Decimal("0.05"), 3, 1)
    policy = TradingPolicy(version=2, daily_loss_pct=Decimal("0.03"))
    await into.project(account_state(3, policy=policy, tier="conservative"))
    row = await into.row("trading_engine_config")
    assert (row["version"], row["daily_loss_pct"], row["risk_tier"]) == (2, Decimal("0.03"), "conservative")
    assert await into.connection.fetchval("SELECT policy ->> 'version' FROM trading_engine_config") == "2"
    await into.connection.execute("DELETE FROM trading_engine_config")
    await into.project(account_state(4, policy=policy, tier="conservative"))
    assert (await into.row("trading_engine_config"))["daily_loss_pct"] == Decimal("0.03")


HAND_EDITS = ["daily_loss_pct = 0.01", "risk_tier = 'aggressive'", "policy = policy || '{\"enabled\": false}'"]


@pytest.mark.covers("R16.1")
@pytest.mark.parametrize("edit", HAND_EDITS)
async def test_no_new_state_and_no_new_policy_writes_over_a_hand_edit(into: Database, edit: str) -> None:
    """It waits for `hand_edits`, which takes it up or refuses it as stale, and then writes the row anew."""
    await into.project(account_state(1))
    await into.connection.execute(f"UPDATE trading_engine_config SET {edit}")  # noqa: S608 - our own words
    edited = await into.row("trading_engine_config")
    await into.project(account_state(2))
    await into.project(account_state(3, policy=TradingPolicy(version=2, max_open_positions=5), tier="conservative"))
    assert await into.row("trading_engine_config") == edited


@pytest.mark.covers("R19.9")
async def test_notification_preferences_have_a_row_that_changes_with_their_version(into: Database) -> None:
    await into.project(account_state(1))
    assert (await into.row("notification_preferences"))["version"] == 1
    own = {
        "version": 2,
        "channels": {"sms": True, "email": False},
        "sms_target": "+15551234567",
        "email_target": None,
        "event_types": ["kill", "alert"],
        "sms_per_hour": 3,
        "emails_per_hour": 20,
        "summary_minutes_after_close": 45,
    }
    for seq, preferences in ((2, own), (3, own), (4, own | {"version": 3, "sms_target": None})):
        state = account_state(seq)
        await into.project(state.model_copy(update={"state": state.state | {"preferences": preferences}}))
        row = await into.row("notification_preferences")
        shown = preferences | {"sms_target": preferences["sms_target"] and "***67"}
        assert {name: _read(row[name]) for name in preferences} == shown
        assert row["at"] == at(2 if seq < 4 else 4)  # written when it changes, not with every state


def _read(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) and value[:1] in "{[" else value


@pytest.mark.covers("R12.3")
@pytest.mark.parametrize("decision_first", [True, False])
async def test_a_wash_sale_marks_its_decision_whichever_comes_first(into: Database, decision_first: bool) -> None:
    if decision_first:
        await into.project(decision(), topic="decisions")
    await into.project(wash_sale(2))
    if not decision_first:
        await into.project(decision(), topic="decisions")
    assert (await into.row("trading_decisions"))["wash_sale"] is True


@pytest.mark.covers("R10.1")
async def test_upstream_records_have_their_rows(into: Database) -> None:
    company = inputs.Company(symbol="AAPL", name="Apple", sector="technology")
    await into.project(company, company.model_copy(update={"name": "Apple Inc."}), topic="companies")
    assert (await into.row("companies"))["name"] == "Apple Inc."
    await into.project(Deletion("AAPL"), topic="companies")
    assert await into.rows("companies") == []
    await into.project(company, Deletion("AAPL"), company, topic="companies")
    assert len(await into.rows("companies")) == 1
    event = inputs.MacroEvent(
        event_id="e",
        severity="high",
        headline="Rates",
        started_at=NOON,
        estimated_duration_seconds=3600,
        sectors=("financials", "energy"),
    )
    await into.project(event, topic="macro-events")
    assert (await into.row("macro_events"))["sectors"] == ["financials", "energy"]
    day = inputs.EarningsDate(symbol="AAPL", earnings_on=dt.date(2024, 5, 2), session="amc", source="me")
    await into.project(day, topic="earnings-dates")
    assert (await into.row("earnings_calendar"))["earnings_on"] == dt.date(2024, 5, 2)
    bar = inputs.PriceBar(
        symbol="AAPL",
        interval="1d",
        open=Decimal(1),
        high=Decimal(3),
        low=Decimal(1),
        close=Decimal(2),
        volume=Decimal(9),
        at=NOON,
    )
    await into.project(bar, bar.model_copy(update={"close": Decimal("2.5")}), topic="price-bars")
    assert (await into.row("price_bars"))["close"] == Decimal("2.5")


async def test_a_repeated_recommendation_yields_no_row_whatever_else_it_says(into: Database) -> None:
    first = inputs.Recommendation(
        recommendation_id="r",
        symbol="AAPL",
        action="buy",
        mode="paper_eligible",
        confidence=Decimal("0.8"),
        generated_at=NOON,
    )
    await into.project(
        first, first.model_copy(update={"action": "sell", "confidence": Decimal(1)}), topic="recommendations"
    )
    row = await into.row("recommendations")
    assert (row["action"], row["confidence"], row["at"]) == ("buy", Decimal("0.8"), NOON)


async def test_a_notification_waits_for_its_delivery(into: Database) -> None:
    message = effects.Notification(
        notification_id="n",
        account_id="paper",
        event_type="kill",
        severity="critical",
        subject="s",
        body="b",
        created_at=NOON,
    )
    await into.project(message, topic="notifications")
    assert (await into.row("notifications"))["channel"] is None
    await into.connection.execute("UPDATE notifications SET delivery_status = 'sent', attempts = 1")
    await into.project(message, topic="notifications")
    assert (await into.row("notifications"))["delivery_status"] == "sent"


@pytest.mark.covers("R19.8")
@pytest.mark.parametrize("message_first", [True, False])
async def test_a_message_has_a_row_a_channel_that_ends_with_its_last_word(into: Database, message_first: bool) -> None:
    message = effects.Notification(
        notification_id="n",
        account_id="paper",
        event_type="kill",
        severity="critical",
        subject="s",
        body="b",
        created_at=NOON,
    )

    def on(channel: Any, status: Any, attempts: int, detail: str | None = None) -> Delivery:
        told = {"delivery_status": status, "attempts": attempts, "detail": detail, "at": at(attempts)}
        return Delivery(**message.model_dump(exclude={"channel"}), channel=channel, **told)

    if message_first:
        await into.project(message, topic="notifications")
    told = [
        on("sms", "pending", 0),
        on("email", "pending", 1),
        on("sms", "sent", 1),
        on("email", "failed", 3, "Gmail answered 500"),
    ]
    await into.project(*told, topic="notification-deliveries")
    await into.project(message, topic="notifications")
    await into.project(*told, topic="notification-deliveries")  # projecting twice changes nothing
    rows = {row["channel"]: row for row in await into.rows("notifications")}
    assert len(await into.rows("notifications")) == len(rows) == 2
    for channel, status, attempts, detail in (("sms", "sent", 1, None), ("email", "failed", 3, "Gmail answered 500")):
        row = rows[channel]
        assert (row["notification_id"], row["delivery_status"], row["attempts"]) == ("n", status, attempts)
        assert (row["subject"], row["at"], row["detail"], row["changed_at"]) == ("s", NOON, detail, at(attempts))


async def test_a_message_that_nobody_wants_says_so_in_its_only_row(into: Database) -> None:
    message = effects.Notification(
        notification_id="n",
        account_id="paper",
        event_type="alert",
        severity="warning",
        subject="s",
        body="b",
        created_at=NOON,
    )
    nobody = Delivery(
        **message.model_dump(exclude={"channel"}), channel=None, delivery_status="dropped", attempts=0, at=NOON
    )
    await into.project(nobody, topic="notification-deliveries")
    await into.project(message, topic="notifications")
    assert (await into.row("notifications"))["delivery_status"] == "dropped"


async def test_the_tables_hold_no_phone_number_and_no_address(into: Database) -> None:
    state = account_state(1)
    row = Portfolio.model_validate_json(json.dumps(state.state))
    secret = row.preferences.model_copy(update={"sms_target": "+15550009911", "email_target": "canary@example.org"})
    told = row.model_copy(update={"preferences": secret})
    state = state.model_copy(update={"state": json.loads(row_bytes(told)), "hash": row_hash(told)})
    await into.project(state)
    kept = await into.row("account_states")
    assert "0009911" not in kept["state"]
    assert "canary@" not in kept["state"]
    again = Portfolio.model_validate_json(kept["state"])
    assert again == row  # all but the targets
    assert kept["hash"] == row_hash(again)
    assert state.hash != kept["hash"]


async def test_nothing_is_committed_when_the_database_fails_in_the_middle(into: Database) -> None:
    await into.connection.execute("DROP TABLE account_states")
    with pytest.raises(asyncpg.UndefinedTableError):
        await into.project(lot(1), account_state(1))
    assert await into.rows("tax_lots") == []
    assert await into.rows("projection_offsets") == []
