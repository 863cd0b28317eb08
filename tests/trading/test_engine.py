"""`react` is repeatable, total and bounded: the same bytes twice, no exception whatever comes, a small row."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trading.desk import ACCOUNT, MONDAY, Desk, as_bytes, at, days, minutes
from trading import dedupe, loss_sales, macro, tax_lots
from trading.commands import MOST_COMMANDS
from trading.effects import Order
from trading.engine import react
from trading.events import EVENT, AccountOpened, Clock, OwnEvent, Void
from trading.micro_entries import MOST_TRENDS
from trading.policy import TradingPolicy
from trading.portfolio import Portfolio, SeenIds, row_bytes, row_hash

D = Decimal


def busy_day() -> Desk:
    """Return a desk after a day in which most things happened."""
    desk = Desk()
    desk.hold("AAPL")
    desk.hold("KO", sector="staples")
    desk.recommend("JPM", sector="financials")
    desk.fill(desk.orders("buy", "JPM")[0], cumulative=1, fee="0.01")
    desk.mark("AAPL", "10.80")
    desk.mark("AAPL", "10.00")
    desk.fill(desk.orders("sell", "AAPL")[0], "10.01")
    desk.mark("KO", "11.50")
    desk.fill(desk.orders("sell", "KO")[0], "11.50")
    desk.stress("40")
    desk.configure(max_open_positions=5)
    desk.command("adjust_reserve", amount="10", reason="x")
    desk.snapshot()
    desk.recommend("CVX", at=at("22:00"), sector="energy")
    desk.bar("JPM", "10", on=MONDAY, atr="0.6")
    desk.earnings("JPM", MONDAY + days(9))
    desk.clock(at("15:00") + days(1))
    return desk


def replayed(desk: Desk) -> tuple[Portfolio | None, list[bytes]]:
    row: Portfolio | None = None
    sent: list[bytes] = []
    for seq, event in desk.log:
        row, effects = react(row, event, seq=seq)
        sent += as_bytes(list(effects))
    return row, sent


@pytest.mark.covers("R18.5")
def test_the_same_log_gives_the_same_bytes() -> None:
    desk = busy_day()
    row, sent = replayed(desk)
    assert sent == as_bytes(desk.effects)
    assert row is not None
    assert row_bytes(row) == row_bytes(desk.row)


def test_a_record_at_or_below_the_rows_seq_is_a_repeat() -> None:
    desk = busy_day()
    for seq, event in desk.log:
        assert react(desk.row, event, seq=seq) == (desk.row, ())


def test_nothing_happens_to_an_account_before_it_is_opened() -> None:
    assert react(None, Clock(account_id=ACCOUNT, at=at("15:00")), seq=7) == (None, ())


def test_an_account_that_exists_keeps_its_policy_when_it_is_opened_again() -> None:
    desk = Desk(max_open_positions=3)
    desk.send(AccountOpened(account_id=ACCOUNT, at=desk.now, policy=TradingPolicy(), mode="live", build="next"))
    assert desk.row.policy.max_open_positions == 3
    assert (desk.row.mode, desk.row.build) == ("live", "next")
    assert len(desk.records("config_change")) == 1


def test_every_kind_of_event_has_a_handler() -> None:
    from typing import get_args  # noqa: PLC0415 - this test alone

    from trading.engine import _HANDLERS  # noqa: PLC0415

    union = get_args(get_args(EVENT._type)[0])
    assert set(union) - {Void} <= set(_HANDLERS)  # a void is passed over before anything is done
    assert set(get_args(OwnEvent)) <= set(union)


def test_a_restart_after_any_step_of_a_day_changes_nothing() -> None:
    desk = busy_day()
    for stop in range(len(desk.log)):
        row: Portfolio | None = None
        for seq, event in desk.log[: stop + 1]:
            row, _ = react(row, event, seq=seq)
        assert row is not None
        row = Portfolio.model_validate_json(row_bytes(row))
        sent: list[bytes] = []
        for seq, event in desk.log[stop + 1 :]:
            row, effects = react(row, event, seq=seq)
            sent += as_bytes(list(effects))
        assert row is not None
        assert row_hash(row) == row_hash(desk.row)
        assert sent == as_bytes(desk.effects)[len(as_bytes(desk.effects)) - len(sent) :]


def test_the_last_record_of_a_step_that_changed_the_account_is_its_state() -> None:
    desk = Desk()
    effects = desk.recommend()
    state: Any = effects[-1]
    assert (state.kind, state.seq, state.hash) == ("account_state", desk.seq, row_hash(desk.row))
    assert Portfolio.model_validate_json(json.dumps(dict(state.state))) == desk.row


# Anything that passes the schemas of the input topics may come, in any order, about anything.

NUMBERS = st.sampled_from(
    ["0.000000000001", "0.01", "1", "2", "3", "10", "9.00", "11.5", "999999999999", "1E+2", "1000000000000"]
)
SIGNED = NUMBERS | NUMBERS.map(lambda text: f"-{text}") | st.just("0")
NATURAL = NUMBERS | st.just("0")
INSTANTS = st.sampled_from(
    [
        None,
        "1970-01-01T00:00:00Z",
        "2026-03-02T15:00:30Z",
        "2026-03-02T15:20:00+01:00",
        "2026-03-03T14:50:00Z",
        "2026-03-06T21:00:00Z",
        "2026-12-31T23:59:59.999999Z",
    ]
)
SYMBOLS = st.sampled_from(["AAPL", "KO", "ZZZ"])
ORDERS = st.sampled_from(["0", "1", "2", "-1", "nobody"])


def body(kind: str, **fields: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"kind": st.just(kind), "at": INSTANTS, **fields})


def told(kind: str, **fields: Any) -> st.SearchStrategy[dict[str, Any]]:
    named = {"event_id": st.sampled_from(["e-1", "e-2", "e-3"]), "client_order_id": ORDERS, "symbol": SYMBOLS}
    return body(kind, **(named | fields))


def ordered(kind: str, **fields: Any) -> st.SearchStrategy[dict[str, Any]]:
    return body(kind, command_id=st.text("abc", min_size=1, max_size=3), issued_by=st.just("x"), **fields)


ANYTHING = st.one_of(
    body(
        "recommendation",
        recommendation=st.fixed_dictionaries(
            {
                "recommendation_id": st.text("abcd", min_size=1, max_size=2),
                "symbol": SYMBOLS,
                "action": st.sampled_from(["buy", "sell", "hold"]),
                "mode": st.just("paper_eligible"),
                "confidence": st.sampled_from(["0", "0.55", "0.8", "1"]),
                "generated_at": INSTANTS.filter(bool),
                "reference_price": st.none() | NUMBERS,
            }
        ),
        facts=st.fixed_dictionaries(
            {
                "known": st.just(True),
                "sector": st.sampled_from(["technology", "staples"]),
                "last_price": st.none() | NUMBERS,
                "last_price_at": INSTANTS.filter(bool),
                "atr": st.none() | NATURAL,
                "closes": st.just([["2026-02-27", "10"]]) | st.just([]),
                "earnings_on": st.sampled_from([None, "1970-01-01", "2026-03-04", "2099-12-31"]),
                "earnings_session": st.sampled_from([None, "amc", "bmo"]),
                "earnings_reported_at": INSTANTS,
            }
        ),
    ),
    body("mark", symbol=SYMBOLS, last=NUMBERS, low=NUMBERS, high=NUMBERS, price_at=INSTANTS.filter(bool)),
    body("daily_bar", symbol=SYMBOLS, on=st.sampled_from(["1970-01-01", "2026-03-02"]), close=NUMBERS, atr=NATURAL),
    body("earnings_changed", symbol=SYMBOLS, earnings_on=st.sampled_from([None, "2026-03-03", "2099-12-31"])),
    body("clock"),
    body(
        "market_stress",
        reading=st.fixed_dictionaries({"name": st.just("vix"), "value": NATURAL, "at": INSTANTS.filter(bool)}),
    ),
    told("order_accepted"),
    told("order_rejected", reason=st.just("no")),
    told("order_unknown", reason=st.just("lost")),
    told("order_cancelled", cumulative_quantity=NATURAL),
    told(
        "order_fill",
        fill_id=st.sampled_from(["f-1", "f-2"]),
        quantity=NUMBERS,
        price=NUMBERS,
        cumulative_quantity=NUMBERS,
        leaves_quantity=NATURAL,
        fee=NATURAL,
    ),
    body(
        "account_snapshot",
        event_id=st.text("abc", min_size=1, max_size=2),
        cash=SIGNED,
        buying_power=NATURAL,
        equity=SIGNED,
        positions=st.lists(
            st.fixed_dictionaries({"symbol": SYMBOLS, "quantity": SIGNED, "avg_entry_price": NATURAL}), max_size=3
        ),
        open_orders=st.just([]),
    ),
    ordered("pause"),
    ordered("resume"),
    ordered("kill", reason=st.just("x")),
    ordered("adjust_reserve", amount=SIGNED, reason=st.just("x")),
    ordered("set_risk_tier", risk_tier=st.sampled_from(["conservative", "aggressive"])),
    ordered(
        "update_config",
        version=st.sampled_from([1, 2, 3, -1, 10**30]),
        changes=st.dictionaries(
            st.sampled_from([*TradingPolicy.model_fields, "nonsense"]),
            st.none() | st.booleans() | st.integers() | st.floats() | SIGNED | st.just({"moderate": {}}) | st.just([]),
            max_size=2,
        ),
    ),
)


@given(st.lists(ANYTHING, min_size=1, max_size=25))
def test_nothing_that_passes_the_schemas_raises_or_breaks_the_books(bodies: list[dict[str, Any]]) -> None:
    desk = Desk()
    desk.hold("AAPL")
    desk.recommend("KO", sector="staples")
    for each in bodies:
        if "client_order_id" in each and each["client_order_id"] != "nobody":
            place = int(each["client_order_id"])
            orders = desk.of(Order)
            each["client_order_id"] = orders[place % len(orders)].client_order_id
        desk.send(
            EVENT.validate_python(json.loads(json.dumps(each), parse_float=str) | {"account_id": ACCOUNT}, strict=False)
        )
        row = desk.row
        assert row.active_pool + row.reserve == row.total_value
        assert Portfolio.model_validate_json(row_bytes(row)) == row
        for position in row.positions:
            lots = [lot.open_quantity for lot in row.lots if lot.symbol == position.symbol]
            assert sum(lots) == position.quantity > 0
        assert all(len(row.live(order.symbol, side="sell")) <= 1 for order in row.orders)
    assert replayed(desk)[1] == as_bytes(desk.effects)


def _ids(count: int, *, hours: int) -> tuple[SeenIds, ...]:
    """Return so many remembered ids, spread over the hours after a day from now."""
    full = [count // hours + (1 if hour < count % hours else 0) for hour in range(hours)]
    first = at("15:00") + days(1)
    return tuple(
        SeenIds(until=first + minutes(60 * hour), newest=at("10:00"), ids="!" * each * dedupe.WIDTH)
        for hour, each in enumerate(full)
    )


@pytest.mark.covers("R1.5")
def test_the_row_stays_under_half_a_mebibyte_with_a_full_memory() -> None:
    """Fill all that is bounded to its bound at once: ids, queue, positions, lots, loss sales, orders, commands."""
    closes = tuple((MONDAY - days(each), D("1234.5678")) for each in range(90, 0, -1))
    desk = Desk(cash="100000", capital_limit="100000", max_open_positions=50, moderate={"max_portfolio_heat": "1"})
    for place in range(60):
        desk.recommend(f"S{place}", sector=f"sector {place}", price="100.0001", confidence="0.55", closes=closes)
        desk.fill(desk.orders("buy", f"S{place}")[0], "100.0001", cumulative=1, fee="0.01")
        if place >= 10:
            desk.recommend(f"S{place}", "sell")
            desk.cancelled(desk.orders("buy", f"S{place}")[0], cumulative=1)
            desk.fill(desk.orders("sell", f"S{place}")[0], "99.23", cumulative=1)
    lots = tuple(desk.row.lots[-1].model_copy(update={"lot_id": f"{place:036}"}) for place in range(900))
    desk.portfolio = desk.row.model_copy(update={"lots": (*desk.row.lots, *lots)})
    desk.fill(desk.orders("buy", "S1")[0], "100.0001", cumulative=2)
    desk.portfolio = desk.row.model_copy(
        update={
            "seen": _ids(dedupe.MOST_KEPT - 60, hours=140),
            "commands": _ids(MOST_COMMANDS, hours=140),
            "trends_seen": _ids(MOST_TRENDS, hours=25),
        }
    )
    for place in range(macro.MOST_SEEN + 1):
        desk.macro(f"{place:0256}", started_at=at("23:00"))
    desk.now = at("22:00")
    for place in range(60):
        thesis = "\N{SLIGHTLY SMILING FACE}" * 5_000
        desk.recommend(f"Q{place}", recommendation_id=f"{place:0256}", price="100", closes=closes, thesis=thesis)
    row = desk.row
    assert (len(row.positions), len(row.queue), len(row.done), dedupe.count(row.seen)) == (10, 20, 30, 21_000)
    assert len(row.sales) == loss_sales.MOST_SALES
    assert (dedupe.count(row.commands), dedupe.count(row.trends_seen)) == (1_000, MOST_TRENDS)
    assert (len(row.macro_events), len(row.macro_seen)) == (macro.MOST_EVENTS, macro.MOST_SEEN)
    assert len(row.lots) > tax_lots.KEPT_CLOSED
    assert len(row_bytes(row)) < 512 * 1024
