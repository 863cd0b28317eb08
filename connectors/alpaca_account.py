"""Alpaca's account, positions and open orders as one `account_snapshot`."""

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import structlog
from pydantic import ValidationError

from connectors.alpaca_orders import number
from trading import ids
from trading.inputs import AccountSnapshot
from trading.money import ZERO

SHARES = "us_equity"
_log = structlog.get_logger(__name__)


class Figures(NamedTuple):
    """What Alpaca answered."""

    account: Any
    positions: Any
    orders: Any


def snapshot_of(
    figures: Figures, *, account_id: str, newest_order_id: str, serial: int, at: dt.datetime | None
) -> AccountSnapshot | None:
    """Return the account as the contract names it; None where its figures or a share's cannot be read.

    Coins, options and orders in dollars are left out: they are never ours. `serial` sets this snapshot apart from every
    other.
    """
    account = figures.account if isinstance(figures.account, dict) else {}
    named = {name: number(account.get(name)) for name in ("cash", "buying_power", "equity")}
    named["buying_power"] = max(ZERO, named["buying_power"] or ZERO)
    try:
        return AccountSnapshot.model_validate(
            {
                "event_id": ids.of("account_snapshot", account_id, serial),
                "account_id": account_id,
                "at": at,
                "newest_order_id": newest_order_id,
                **named,
                "positions": tuple(_position(raw) for raw in _of_shares(figures.positions)),
                "open_orders": tuple(_order(raw) for raw in _of_shares(figures.orders) if raw.get("qty") is not None),
            }
        )
    except ValidationError as error:
        _log.error("the account cannot be read", fields=[each["loc"] for each in error.errors(include_input=False)])
        return None


def _of_shares(raws: Any) -> Iterator[Mapping[str, Any]]:
    for raw in raws:
        if raw.get("asset_class", SHARES) == SHARES:
            yield raw


def _position(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "symbol": raw.get("symbol"),
        "quantity": number(raw.get("qty")),
        "avg_entry_price": number(raw.get("avg_entry_price")),
    }


def _order(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "client_order_id": raw.get("client_order_id") or None,
        "broker_order_id": raw.get("id"),
        "symbol": raw.get("symbol"),
        "side": raw.get("side"),
        "quantity": number(raw.get("qty")),
        "filled_quantity": number(raw.get("filled_qty")),
    }
