"""What an answer of Alpaca's means, and what is said of an account: nothing raises, nothing is guessed."""

import json
from decimal import Decimal
from typing import Any

import pytest
from pydantic import SecretStr

from connectors.alpaca_account import Figures, snapshot_of
from connectors.alpaca_client import Timeouts
from connectors.alpaca_rest import AlpacaRest, asking, order_fields, placing
from stack.ports import LOOPBACK, free_port
from tests.connectors.examples import NOON, order

HELD = {"code": 40310000, "message": "insufficient qty available for order (requested: 5, available: 0)"}


def rest_of(url: str, **options: Any) -> AlpacaRest:
    return AlpacaRest(key_id=SecretStr("PKTEST"), secret_key=SecretStr("canary-secret"), url=url, **options)


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (401, {"message": "request is not authorized"}, "not_sent"),
        (429, {"message": "too many requests."}, "not_sent"),
        (403, HELD | {"held_for_orders": "5", "existing_qty": "5"}, "held"),
        (403, HELD | {"held_for_orders": "0", "existing_qty": "2"}, "refused"),
        (403, {"code": 40310000, "message": "potential wash trade detected. use complex orders"}, "held"),
        (403, {"code": 40310000, "message": "insufficient buying power"}, "refused"),
        (403, {"message": "forbidden."}, "refused"),
        (422, {"code": 40010001, "message": "client_order_id must be unique"}, "duplicate"),
        (422, {"code": 42210000, "message": 'asset "X" not found'}, "refused"),
        (400, {"message": "request body format is invalid"}, "refused"),
        (404, {"message": "not found"}, "refused"),
        (408, {}, "unclear"),
        (500, {}, "unclear"),
        (503, {}, "unclear"),
        (504, {}, "unclear"),
    ],
)
def test_what_came_of_an_order_by_its_status(status: int, body: dict[str, Any], outcome: str) -> None:
    answer = placing(status, json.dumps(body))
    assert answer.outcome == outcome
    assert str(body.get("message", "")) in answer.reason


@pytest.mark.parametrize(
    ("status", "outcome"), [(404, "missing"), (401, "unclear"), (429, "unclear"), (504, "unclear"), (422, "refused")]
)
def test_what_came_of_a_question_by_its_status(status: int, outcome: str) -> None:
    assert asking(status, "<html>").outcome == outcome


async def test_where_nobody_listens_an_order_was_certainly_not_sent() -> None:
    rest = rest_of(f"http://{LOOPBACK}:{free_port()}", timeouts=Timeouts(1, 1, 30))
    answer = await rest.place(order_fields(order()))
    assert answer.outcome == "not_sent"
    assert (await rest.look_up("order-1")).outcome == "not_sent"
    assert "canary-secret" not in answer.reason
    assert "canary-secret" not in repr(vars(rest))


def test_an_order_goes_as_text_and_always_with_our_id() -> None:
    fields = order_fields(order(quantity="100", order_type="limit", limit_price=Decimal("187.10")))
    assert fields == {
        "symbol": "AAPL",
        "qty": "100",
        "side": "buy",
        "type": "limit",
        "time_in_force": "day",
        "limit_price": "187.10",
        "client_order_id": "order-1",
    }


@pytest.mark.parametrize(
    ("url", "paper", "stream"),
    [
        ("", True, "wss://paper-api.alpaca.markets/stream"),
        ("", False, "wss://api.alpaca.markets/stream"),
        ("http://127.0.0.1:1", True, "ws://127.0.0.1:1/stream"),
    ],
)
def test_the_stream_is_where_the_trading_api_is(url: str, paper: bool, stream: str) -> None:
    assert rest_of(url, paper=paper).stream_url == stream


ACCOUNT = {"cash": "100.5", "buying_power": "-3", "equity": "250.5"}
SHARES = {"symbol": "BRK.B", "asset_class": "us_equity", "qty": "3", "avg_entry_price": "50.0000000000001"}
COIN = {"symbol": "BTC/USD", "asset_class": "crypto", "qty": "1", "avg_entry_price": "9"}
OPEN = {"id": "b-1", "client_order_id": "c-1", "symbol": "KO", "side": "buy", "qty": "2", "filled_qty": "1"}


def test_a_snapshot_has_the_shares_and_leaves_out_what_is_never_ours() -> None:
    in_dollars = {**OPEN, "qty": None, "notional": "20"}
    figures = Figures(ACCOUNT, [SHARES, COIN], [OPEN, in_dollars])
    found = snapshot_of(figures, account_id="paper", newest_order_id="order-1", serial=1, at=NOON)
    assert found is not None
    assert (found.cash, found.buying_power, found.equity, found.at) == (Decimal("100.5"), 0, Decimal("250.5"), NOON)
    assert [(each.symbol, each.quantity, each.avg_entry_price) for each in found.positions] == [("BRK.B", 3, 50)]
    assert [(each.client_order_id, each.quantity, each.filled_quantity) for each in found.open_orders] == [
        ("c-1", 2, 1)
    ]


@pytest.mark.parametrize(
    "figures",
    [
        Figures({"cash": "x"}, [], []),
        Figures([], [], []),
        Figures(ACCOUNT, [{**SHARES, "qty": "many"}], []),
        Figures(ACCOUNT, [], [{**OPEN, "side": "both"}]),
    ],
)
def test_figures_that_cannot_be_read_are_no_snapshot_rather_than_a_wrong_one(figures: Figures) -> None:
    assert snapshot_of(figures, account_id="paper", newest_order_id="order-1", serial=1, at=None) is None
