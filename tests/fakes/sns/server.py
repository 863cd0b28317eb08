"""SNS by moto, behind a door that can be closed: scripted faults in AWS's own form before what moto answers.

`faults` are taken one a request, oldest first: an AWS error code such as `Throttling` or `InternalFailure`, `slow` (no
answer in time), `lost` (moto takes the message, the answer is not given), `page` (one of somebody else's). `always`
stands until it is None again.
"""

import asyncio
import collections
import contextlib
import logging
import urllib.parse
from collections.abc import Iterator
from typing import NamedTuple

import aiohttp
from aiohttp import web
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.server import ThreadedMotoServer
from moto.sns.models import sns_backends

from stack.ports import LOOPBACK, free_port
from tests.fakes.local import PAGE, LocalServer, cut

SECONDS_TOO_SLOW = 60.0
_STATUS = {"InternalFailure": 500, "ServiceUnavailable": 503, "Throttling": 400, "AuthorizationError": 403}

_SANDBOX = (
    '<GetSMSSandboxAccountStatusResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/">'
    "<GetSMSSandboxAccountStatusResult><IsInSandbox>{}</IsInSandbox></GetSMSSandboxAccountStatusResult>"
    "</GetSMSSandboxAccountStatusResponse>"
)


class Sms(NamedTuple):
    """One that SNS took."""

    number: str
    text: str


class FakeSns(LocalServer):
    """Take SMS; `actions` are what was asked for."""

    def __init__(self) -> None:
        self.actions: list[str] = []
        self.faults: collections.deque[str] = collections.deque()
        self.always: str | None = None
        self.in_sandbox = True
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._moto = ThreadedMotoServer(ip_address=LOOPBACK, port=free_port(), verbose=False)
        self._moto.start()
        self._taken_before = len(_taken())
        super().__init__(self._answer)

    @property
    def sms(self) -> list[Sms]:
        """Return what moto took since this one began."""
        return _taken()[self._taken_before :]

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables that lead the engine here, credentials included."""
        return {
            "STONKS_AWS_ACCESS_KEY_ID": "AKIACANARY33EE",
            "STONKS_AWS_SECRET_ACCESS_KEY": "aws-canary-44ff",
            "STONKS_AWS_REGION": "us-east-1",
            "STONKS_SNS_ENDPOINT_URL": self.url,
        }

    def close(self) -> None:
        """End the door and moto."""
        super().close()
        self._moto.stop()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        asked = dict(urllib.parse.parse_qsl(body.decode()))
        self.actions.append(asked.get("Action", ""))
        fault = self.always or (self.faults.popleft() if self.faults else None)
        if fault == "slow":
            await asyncio.sleep(SECONDS_TOO_SLOW)
        elif fault == "page":
            return _xml(PAGE)
        elif fault not in (None, "lost"):
            return _error(fault, asked.get("PhoneNumber", ""))
        if asked.get("Action") == "GetSMSSandboxAccountStatus":  # moto has none
            return _xml(_SANDBOX.format(str(self.in_sandbox).lower()))
        host, port = self._moto.get_host_and_port()
        headers = {name: value for name, value in request.headers.items() if name.lower() != "host"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"http://{host}:{port}/", data=body, headers=headers) as answer,
        ):
            given = await answer.read()
            if fault == "lost":
                cut(request)
            return web.Response(body=given, status=answer.status, headers={"Content-Type": "text/xml"})


def _error(code: str, number: str) -> web.Response:
    text = (
        '<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error><Type>Sender</Type>'
        f"<Code>{code}</Code><Message>scripted, for {number}</Message></Error><RequestId>r-1</RequestId>"
        "</ErrorResponse>"
    )
    return _xml(text, status=_STATUS.get(code, 403))


def _xml(text: str, *, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, content_type="text/xml")


def _taken() -> list[Sms]:
    found = sns_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].sms_messages.values()
    return [Sms(number, text) for number, text in found]


@contextlib.contextmanager
def fake_sns() -> Iterator[FakeSns]:
    """Run one until the end of the block."""
    server = FakeSns()
    try:
        yield server
    finally:
        server.close()
