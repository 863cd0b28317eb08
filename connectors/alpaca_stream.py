"""Alpaca's trade updates by WebSocket, as they come: nothing is dropped because it cannot be read.

The stream only makes us faster. What it does not say, or says twice, late or wrong, the answers to questions mend.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp

from connectors.alpaca_socket import TIMES, AlpacaSocket, StreamTimes, content
from connectors.checks import Check


class TradeUpdates(AlpacaSocket):
    """Follow the updates of one account; `hear` gets the data of each, None for one that cannot be read."""

    name = "trade updates"

    def __init__(
        self,
        url: str,
        login: Callable[[], Mapping[str, str]],
        *,
        hear: Callable[[Any], None],
        joined: Callable[[], None],
        check: Check,
        times: StreamTimes = TIMES,
    ) -> None:
        super().__init__(url, login, joined=joined, check=check, times=times)
        self._hear = hear

    async def _join(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        await socket.send_json({"action": "authenticate", "data": dict(self._login())})
        if (await _answer(socket)).get("data", {}).get("status") != "authorized":
            raise ValueError("Alpaca refuses the keys for its stream")
        await socket.send_json({"action": "listen", "data": {"streams": ["trade_updates"]}})
        await _answer(socket)

    def _take(self, message: aiohttp.WSMessage) -> bool:
        """Hear one message; what cannot be read is an update nobody understood, which a look at the orders replaces."""
        try:
            found = json.loads(message.data)
        except (TypeError, ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            self._hear(None)
        elif found.get("stream") == "trade_updates":
            self._hear(found.get("data"))
        return True


async def _answer(socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    found = json.loads(content(await socket.receive()))
    if not isinstance(found, dict):
        raise ValueError("the stream's answer is no object")
    return found
