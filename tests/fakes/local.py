"""A local HTTP server in a thread of its own that can die and come back on the same port."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from stack.ports import LOOPBACK, free_port

PAGE = "<html><body>Sign in to this network</body></html>"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class LocalServer:
    """Serve a catch-all handler on loopback; `die` refuses connections until `revive`."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self.port = free_port()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._runner: web.AppRunner | None = None
        self._thread.start()
        self.revive()

    @property
    def url(self) -> str:
        """Return the address to put into a setting."""
        return f"http://{LOOPBACK}:{self.port}"

    def die(self) -> None:
        """Stop listening and cut every connection."""
        self._run(self._stop())

    def revive(self) -> None:
        """Listen again."""
        self._run(self._start())

    def close(self) -> None:
        """End the server and its thread."""
        self.die()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _start(self) -> None:
        if self._runner is None:
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", self._handler)
            self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
            await self._runner.setup()
            await web.TCPSite(self._runner, LOOPBACK, self.port, reuse_address=True).start()

    async def _stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _run(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)


async def half_of(body: bytes, request: web.Request) -> web.StreamResponse:
    """Answer with the first half of what was announced."""
    answer = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(body))})
    await answer.prepare(request)
    await answer.write(body[: len(body) // 2])
    cut(request)
    return answer


def cut(request: web.Request) -> None:
    """Reset a request's connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
