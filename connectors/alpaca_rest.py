"""Alpaca's trading API as answers: alpaca-py's client in threads, with our timeouts, without its retries.

An answer says whether something was done, certainly not done, or nobody knows. Bodies are raw, because alpaca-py's
models raise on a word that they do not know; quantities and prices are sent as text, because its requests hold floats.
"""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import SecretStr

from connectors.alpaca_client import ThreadedClient, Timeouts
from trading.effects import Order

if TYPE_CHECKING:
    from alpaca.trading.client import TradingClient

Outcome = Literal["done", "missing", "refused", "duplicate", "held", "not_sent", "unclear"]
"""`refused` is for good; `held`: another order keeps the shares; `not_sent`: certainly not taken, try again;
`unclear`: it may have been taken."""

_THREADS = 32  # as many calls can hang without a stop exit waiting for a thread
_MOST_ORDERS = 500  # what Alpaca lists at once
_LONGEST_REASON = 300


class Answer(NamedTuple):
    """What came of a call: the body where it was done, else why not."""

    outcome: Outcome
    body: Any = None
    reason: str = ""


TIMEOUTS = Timeouts()


class AlpacaRest:
    """Call Alpaca's trading API for one account; no method raises for what the network or Alpaca does."""

    def __init__(
        self,
        *,
        key_id: SecretStr,
        secret_key: SecretStr,
        url: str = "",
        paper: bool = True,
        timeouts: Timeouts = TIMEOUTS,
    ) -> None:
        self._key_id, self._secret_key = key_id, secret_key
        self._url, self._paper = url.rstrip("/"), paper
        self._client = ThreadedClient(self._new_client, timeouts=timeouts, threads=_THREADS)

    def close(self) -> None:
        """Take no further call; those under way end by their timeouts."""
        self._client.close()

    async def place(self, fields: Mapping[str, str]) -> Answer:
        """Send an order, as `order_fields` gives it."""
        return await self._call(lambda client: client.post("/orders", dict(fields)), of_status=placing)

    async def look_up(self, client_order_id: str) -> Answer:
        """Return an order by our id; `missing` where Alpaca says that it has none, which a lagging read also says."""
        return await self._call(lambda client: client.get_order_by_client_id(client_order_id))

    async def cancel(self, broker_order_id: str) -> Answer:
        """Ask for an order's cancel; `refused` where it has already ended. Only the order tells whether it was."""
        return await self._call(lambda client: client.cancel_order_by_id(broker_order_id), empty=True)

    async def open_orders(self) -> Answer:
        """Return the orders that are open, some hundreds at most."""
        return await self._call(lambda client: client.get_orders(_open_ones()))

    async def account(self) -> Answer:
        """Return the account's figures."""
        return await self._call(lambda client: client.get_account())

    async def clock(self) -> Answer:
        """Return the exchange's clock."""
        return await self._call(lambda client: client.get_clock())

    async def positions(self) -> Answer:
        """Return every position."""
        return await self._call(lambda client: client.get_all_positions())

    async def position(self, symbol: str) -> Answer:
        """Return one position; `missing` where there is none."""
        return await self._call(lambda client: client.get_open_position(symbol))

    async def _call(
        self,
        call: Callable[["TradingClient"], Any],
        *,
        of_status: Callable[[int, str], Answer] | None = None,
        empty: bool = False,
    ) -> Answer:
        try:
            body = await self._client.ask(call)
        except TimeoutError as error:
            return Answer("unclear", reason=str(error))
        except Exception as error:  # whatever it is, it says whether the call can have left
            return _failed(error, of_status or asking)
        if not empty and not isinstance(body, dict | list):
            return Answer("unclear", reason="an answer that is neither an object nor a list")
        return Answer("done", body)

    def _new_client(self) -> "TradingClient":
        from alpaca.trading.client import TradingClient  # noqa: PLC0415 - slow to import

        key_id, secret_key = self._key_id.get_secret_value(), self._secret_key.get_secret_value()
        return TradingClient(key_id, secret_key, paper=self._paper, raw_data=True, url_override=self._url or None)

    @property
    def stream_url(self) -> str:
        """Return where the trade updates come from."""
        base = self._url or ("https://paper-api.alpaca.markets" if self._paper else "https://api.alpaca.markets")
        return base.replace("http", "ws", 1) + "/stream"

    def login(self) -> dict[str, str]:
        """Return what the stream is authenticated with."""
        return {"key_id": self._key_id.get_secret_value(), "secret_key": self._secret_key.get_secret_value()}


def order_fields(order: Order) -> dict[str, str]:
    """Return an order as Alpaca takes it, always with our id."""
    fields = {
        "symbol": order.symbol,
        "qty": f"{order.quantity:f}",
        "side": order.side,
        "type": order.order_type,
        "time_in_force": order.time_in_force,
        "client_order_id": order.client_order_id,
    }
    if order.limit_price is not None:
        fields["limit_price"] = f"{order.limit_price:f}"
    return fields


def asking(status: int, text: str) -> Answer:
    """Read the status of a call that places nothing."""
    if status == 404:
        return Answer("missing", reason=_message(text))
    if status in (401, 403, 408, 429) or status >= 500:
        return Answer("unclear", reason=f"{status}: {_message(text)}")
    return Answer("refused", reason=_message(text))


def placing(status: int, text: str) -> Answer:
    """Read the status of an order that was not simply taken (400 and above)."""
    said = _object(text)
    message = _message(text)
    if status in (401, 429):
        return Answer("not_sent", reason=f"{status}: {message}")
    if status == 408 or status >= 500:
        return Answer("unclear", reason=f"{status}: {message}")
    if status == 422 and "client_order_id" in message and "unique" in message:
        return Answer("duplicate", reason=message)
    if status == 403 and _is_held(said, message):
        return Answer("held", body=said, reason=message)
    return Answer("refused", reason=message)


def _is_held(said: Mapping[str, Any], message: str) -> bool:
    """Tell whether another order stands in the way: it keeps the shares, or would trade with this one."""
    held = str(said.get("held_for_orders", ""))
    if held and "insufficient qty" in message:
        return held.strip("0.") != ""
    return "wash trade" in message or "held for orders" in message


def _message(text: str) -> str:
    said = _object(text)
    return _short(str(said.get("message") or said.get("error") or text or "no reason given"))


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _short(text: str) -> str:
    return text.replace("\x00", "")[:_LONGEST_REASON]


def _in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _failed(error: Exception, of_status: Callable[[int, str], Answer]) -> Answer:
    from alpaca.common.exceptions import APIError  # noqa: PLC0415 - slow to import; here the thread has done so

    if not isinstance(error, APIError):
        return Answer("not_sent" if _never_left(error) else "unclear", reason=_short(_in_words(error)))
    if error.response is None:
        return Answer("unclear", reason="an error without a status")
    return of_status(error.response.status_code, error.response.text)


def _never_left(error: Exception) -> bool:
    """Tell whether a call ended before its first byte was sent: there was no connection."""
    from requests.exceptions import ConnectionError as NoConnection  # noqa: PLC0415 - comes with alpaca-py
    from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError  # noqa: PLC0415

    cause = error.args[0] if isinstance(error, NoConnection) and error.args else None
    if isinstance(cause, MaxRetryError):
        cause = cause.reason
    return isinstance(cause, NewConnectionError | ConnectTimeoutError)


def _open_ones() -> Any:
    from alpaca.trading.enums import QueryOrderStatus  # noqa: PLC0415 - slow to import
    from alpaca.trading.requests import GetOrdersRequest  # noqa: PLC0415

    return GetOrdersRequest(status=QueryOrderStatus.OPEN, limit=_MOST_ORDERS)
