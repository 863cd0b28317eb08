"""Alpaca's trade updates by WebSocket, as they come: nothing is dropped because it cannot be read.

The stream only makes us faster. What it does not say, or says twice, late or wrong, the answers to questions mend.
"""

import json
from typing import Any

import aiohttp

from connectors.alpaca_socket import AlpacaSocket, received


class TradeUpdates(AlpacaSocket):
    """Follow the updates of one account; `hear` gets the data of each, None for one that cannot be read."""

    name = "trade updates"

    async def _join(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        await socket.send_json({"action": "authenticate", "data": dict(self._login())})
        answer = _read(await received(socket)).get("data")
        if not isinstance(answer, dict) or answer.get("status") != "authorized":
            raise ValueError("Alpaca refuses the keys for its stream")
        await socket.send_json({"action": "listen", "data": {"streams": ["trade_updates"]}})
        await received(socket)

    def _take(self, held: str | bytes) -> None:
        """Hear one message; what cannot be read is an update nobody understood, which a look at the orders replaces."""
        found = _read(held)
        if not found:
            self._news(None)
        elif found.get("stream") == "trade_updates":
            self._news(found.get("data"))


def _read(held: str | bytes) -> dict[str, Any]:
    """Return the object in a message, empty for what is none."""
    try:
        found = json.loads(held)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
