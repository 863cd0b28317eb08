"""The whole path with Alpaca's real client and no account: from a recommendation to a position at the fake Alpaca."""

import datetime as dt
import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.integration import market
from tests.integration.harness import Stack

pytestmark = pytest.mark.integration
SYMBOL = "BAC"  # some 16 dollars in the real prices of `data/`: a share fits into the caps of 500 dollars


class Outside:
    """The fake as a stranger sees it, with the keys of its own log for nothing: the control calls need none."""

    def __init__(self, stack: Stack) -> None:
        port = json.loads((stack.data_dir / "ports.json").read_text())["fake-alpaca"]
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}/fake", timeout=10)

    def log(self, what: str) -> list[dict[str, Any]]:
        return list(self._http.get("/log", params={"what": what}).json())

    def now(self) -> dt.datetime:
        return dt.datetime.fromisoformat(self._http.get("/health").json()["now"])

    def set_price(self, symbol: str, price: str) -> None:
        assert self._http.post("/prices", json={symbol: price}).status_code == 204

    def mute_prices(self) -> None:
        """Let the stream of prices stay open and say nothing more; REST goes on."""
        fault = {"kind": "mute", "path": "/v2/iex", "times": 0}
        assert self._http.post("/faults", json=fault).status_code == 200


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack(STONKS_BROKER="fake-alpaca") as started:
        started.start()
        yield started


def eventually(stack: Stack, found: Callable[[], Any], *, seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline, stack.logs(lines=30)
        time.sleep(0.2)
    return value


def buy(stack: Stack, outside: Outside) -> dict[str, Any]:
    """Recommend until the symbol has its past, since prices come by themselves; return the decision that acts."""
    stack.produce("companies", [market.company(SYMBOL, sector="financials")])

    def decided() -> Any:
        name = f"r-{time.monotonic_ns()}"
        stack.produce("recommendations", [market.recommendation(SYMBOL, name, outside.now().isoformat())])
        stack.until_lag_zero(projected=True)
        first = stack.get("/api/trading/decisions", ticker=SYMBOL)["items"][0]
        return first["decision"] == "act" and first

    return dict(eventually(stack, decided))


@pytest.mark.covers("R1.3", "R4.4")
def test_a_recommendation_becomes_an_order_a_fill_and_a_position_at_alpaca_and_a_fall_sells_it(stack: Stack) -> None:
    outside = Outside(stack)
    decision = buy(stack, outside)
    [position] = eventually(stack, lambda: stack.get("/api/trading/positions")["items"])
    assert position["symbol"] == SYMBOL

    def bought() -> float:
        return sum(float(one["qty"]) for one in outside.log("fill") if one["side"] == "buy")

    eventually(stack, lambda: bought() == float(position["quantity"]))
    orders = outside.log("created")
    assert len({one["client_order_id"] for one in orders}) == len(orders)
    chain = stack.get(f"/api/trading/decisions/{decision['decision_id']}")
    assert {one["client_order_id"] for one in chain["orders"]} >= {orders[0]["client_order_id"]}

    stop = float(stack.get("/api/trading/positions")["items"][0]["stop_price"])
    outside.set_price(SYMBOL, f"{stop - 0.05:.2f}")
    eventually(stack, lambda: not stack.get("/api/trading/positions")["items"])
    fills = outside.log("fill")
    assert sum(float(one["qty"]) * (1 if one["side"] == "buy" else -1) for one in fills) == 0


@pytest.mark.covers("R4.4", "R4.8")
def test_a_mute_stream_sells_nothing_and_rest_brings_the_price_that_does(stack: Stack) -> None:
    outside = Outside(stack)
    buy(stack, outside)
    [position] = eventually(stack, lambda: stack.get("/api/trading/positions")["items"])
    outside.mute_prices()
    silent = "The price stream is silent"
    told = eventually(stack, lambda: [one for one in stack.bodies("notifications") if one["subject"] == silent])
    assert [one["severity"] for one in told] == ["warning"]

    def prices() -> list[float]:
        bodies = [message.body for message in stack.read("price-ticks")]
        ticks = [tick for body in bodies if body["symbol"] == SYMBOL for tick in body.get("ticks") or [body]]
        return [float(tick["price"]) for tick in ticks]

    stop, target = float(position["stop_price"]), float(position["target_price"])
    chosen = float(f"{(stop + target) / 2 + 0.07:.2f}")
    outside.set_price(SYMBOL, f"{chosen}")
    eventually(stack, lambda: chosen in prices())  # within a minute, and not by the stream
    stack.until_lag_zero(projected=True)
    [still] = stack.get("/api/trading/positions")["items"]
    assert (still["quantity"], still["position_id"]) == (position["quantity"], position["position_id"])
    outside.set_price(SYMBOL, f"{stop - 0.05:.2f}")
    eventually(stack, lambda: not stack.get("/api/trading/positions")["items"])


def test_no_key_of_the_fake_is_in_any_log(stack: Stack) -> None:
    said = "".join(path.read_text(errors="replace") for path in stack.data_dir.glob("*.log"))
    assert not re.search(r"PKFAKE[0-9A-F]{14}", said)
