"""Gmail and Google's token endpoint as far as delivery uses them, with scripted faults.

`faults` are taken one a request, oldest first: `revoked`, `token-500` and `token-page` (the token endpoint, the last
one a page of somebody else's), `401`, `403`, `429`, `500`, `slow` (no answer in time), `late` (an answer after a second
and a half), `lost` (the mail is taken, the answer is not given), `half` (a part of it is). `always` stands until it is
None again.
"""

import asyncio
import base64
import collections
import contextlib
import email
import email.policy
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any

from aiohttp import web

from tests.fakes.local import PAGE, LocalServer, cut, half_of

SECONDS_TOO_SLOW, SECONDS_LATE = 60.0, 1.5
_OF_THE_TOKEN = {"revoked", "token-500", "token-page"}
REFRESH_TOKEN = "refresh-canary-77aa"


class FakeGmail(LocalServer):
    """Take mail for one mailbox; `mails` are those that were accepted, `requests` the paths that were asked for."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.requests: list[str] = []
        self.faults: collections.deque[str] = collections.deque()
        self.always: str | None = None
        self._tokens: set[str] = set()
        super().__init__(self._answer)

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables that lead the engine here, credentials included."""
        return {
            "STONKS_GMAIL_CLIENT_ID": "client-canary-11cc",
            "STONKS_GMAIL_CLIENT_SECRET": "secret-canary-22dd",
            "STONKS_GMAIL_REFRESH_TOKEN": REFRESH_TOKEN,
            "STONKS_GMAIL_SENDER": "engine@example.org",
            "STONKS_GMAIL_TOKEN_URL": f"{self.url}/token",
            "STONKS_GMAIL_API_URL": self.url,
        }

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request.path)
        if request.path == "/token":
            return await self._token(request)
        fault = self._fault(of_the_token=False)
        if fault == "slow":
            await asyncio.sleep(SECONDS_TOO_SLOW)
        if fault == "late":
            await asyncio.sleep(SECONDS_LATE)
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self._tokens:
            fault = "401"
        if fault and fault.isdigit():
            return _error(int(fault))
        if request.path == "/gmail/v1/users/me/profile":
            return web.json_response({"emailAddress": "engine@example.org", "messagesTotal": len(self.mails)})
        if request.path != "/gmail/v1/users/me/messages/send":
            return _error(404)
        raw = base64.urlsafe_b64decode((await request.json())["raw"])
        self.mails.append(email.message_from_bytes(raw, policy=email.policy.default))
        if fault == "lost":
            cut(request)
        if fault == "half":
            return await half_of(b'{"id": "mail", "labelIds": []}', request)
        return web.json_response({"id": f"mail-{len(self.mails)}", "labelIds": ["SENT"]})

    async def _token(self, request: web.Request) -> web.StreamResponse:
        asked: Any = await request.post()
        fault = self._fault(of_the_token=True)
        if fault == "token-500":
            return _error(500)
        if fault == "token-page":
            return web.Response(text=PAGE, content_type="text/html")
        if fault or asked.get("refresh_token") != REFRESH_TOKEN:
            refused = {
                "error": "invalid_grant",
                "error_description": f"Token {asked.get('refresh_token')} was revoked.",
            }
            return web.json_response(refused, status=400)
        token = f"access-{len(self._tokens)}"
        self._tokens.add(token)
        return web.json_response({"access_token": token, "expires_in": 3599, "token_type": "Bearer"})

    def _fault(self, *, of_the_token: bool) -> str | None:
        if self.always and (self.always in _OF_THE_TOKEN) == of_the_token:
            return self.always
        if self.faults and (self.faults[0] in _OF_THE_TOKEN) == of_the_token:
            return self.faults.popleft()
        return None


def _error(status: int) -> web.Response:
    return web.json_response(
        {"error": {"code": status, "message": "scripted, for operator@example.org"}}, status=status
    )


@contextlib.contextmanager
def fake_gmail() -> Iterator[FakeGmail]:
    """Run one until the end of the block."""
    server = FakeGmail()
    try:
        yield server
    finally:
        server.close()
