"""Mail by the Gmail API (R19.6): google-api-python-client with an OAuth2 refresh token, one attempt a call.

Every send has a connection and an access token of its own, so that nothing is shared between threads and a revoked
refresh token shows at once. The API's description is the package's own file; nothing is discovered over the network.
"""

import base64
import re
import socket
from collections.abc import Callable
from typing import Any

import google_auth_httplib2
import httplib2
from google.auth import exceptions
from google.oauth2.credentials import Credentials
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError

from connectors.channels import NotDelivered
from connectors.wording import mail_of
from streams.settings import Settings
from trading.effects import Notification

_SECONDS_TO_ANSWER = 5.0


class Gmail:
    """Send mail as the settings' sender."""

    lacks = ""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def send(self, message: Notification, *, target: str) -> None:
        """Send once; raises `NotDelivered`."""
        try:
            mail = mail_of(message, sender=self._settings.gmail_sender, recipient=target)
        except ValueError:
            raise NotDelivered("STONKS_GMAIL_SENDER or the recipient is no address") from None
        raw = base64.urlsafe_b64encode(mail.as_bytes()).decode()
        users = self._users()
        _asked(lambda: users.messages().send(userId="me", body={"raw": raw}).execute(num_retries=0))

    def probe(self) -> str:
        """Return that the refresh token works and for how many messages the box is; raises `NotDelivered`."""
        users = self._users()
        try:
            _asked(lambda: users.getProfile(userId="me").execute(num_retries=0))
        except _Refused as refused:
            if refused.status != 403:
                raise
            return "the refresh token works; it may not read the profile"  # the scope gmail.send alone
        return "the refresh token works, and the mailbox answers"

    def _users(self) -> Any:
        """Return the API's `users` with a fresh access token."""
        settings = self._settings
        credentials = Credentials(  # type: ignore[no-untyped-call]
            token=None,
            refresh_token=settings.gmail_refresh_token.get_secret_value(),
            token_uri=settings.gmail_token_url,
            client_id=settings.gmail_client_id,
            client_secret=settings.gmail_client_secret.get_secret_value(),
        )
        try:
            credentials.refresh(_AskedOnce(_Http(timeout=_SECONDS_TO_ANSWER)))  # type: ignore[no-untyped-call]
        except exceptions.RefreshError as error:
            word = re.match(r"[a-z_]{1,40}", str(error.args[0] if error.args else ""))
            raise NotDelivered(f"the refresh token was refused: {word[0] if word else 'no reason given'}") from None
        except Exception as error:  # google-auth stumbles in many ways over an answer that is no token, a login page
            raise NotDelivered(f"the token endpoint did not answer: {type(error).__name__}") from None
        http = _Http(timeout=_SECONDS_TO_ANSWER)
        authorized = google_auth_httplib2.AuthorizedHttp(credentials, http=http, max_refresh_attempts=0)
        api = build(
            "gmail",
            "v1",
            http=authorized,
            static_discovery=True,
            cache_discovery=False,
            client_options={"api_endpoint": settings.gmail_api_url},
            num_retries=0,
        )
        return api.users()


class _ConnectsOnce:
    """Connect once: httplib2 would send a mail a second time over a new connection when the answer is lost."""

    _has_connected = False

    def connect(self) -> None:
        """Connect, or raise ConnectionAbortedError."""
        if self._has_connected:
            raise ConnectionAbortedError("the connection was lost")
        self._has_connected = True
        super().connect()  # type: ignore[misc]  # it is mixed into a connection


class _Plain(_ConnectsOnce, httplib2.HTTPConnectionWithTimeout):  # type: ignore[misc]
    pass


class _Secure(_ConnectsOnce, httplib2.HTTPSConnectionWithTimeout):  # type: ignore[misc]
    pass


class _Http(httplib2.Http):  # type: ignore[misc]
    """Send each request once."""

    def request(self, uri: str, *args: Any, **named: Any) -> Any:
        """Request as httplib2 does, over a connection that is made once."""
        kind = _Plain if uri.startswith("http:") else _Secure
        return super().request(uri, *args, **{**named, "connection_type": kind})


class _AskedOnce(google_auth_httplib2.Request):  # type: ignore[misc]  # the package ships no annotations
    """Ask the token endpoint once: google-auth would ask a failing one three times by itself."""

    def __init__(self, http: httplib2.Http) -> None:
        super().__init__(http)
        self._asked = False

    def __call__(self, *args: Any, **named: Any) -> Any:
        if self._asked:
            raise exceptions.TransportError("asked already")  # type: ignore[no-untyped-call]
        self._asked = True
        return super().__call__(*args, **named)


class _Refused(NotDelivered):
    """The API answered with an error."""

    def __init__(self, status: int) -> None:
        super().__init__(f"Gmail answered {status}", may_have_arrived=status >= 500)
        self.status = status


def _asked(ask: Callable[[], Any]) -> Any:
    """Return the answer of a call, its errors as `NotDelivered` without Google's text."""
    try:
        return ask()
    except HttpError as error:
        raise _Refused(int(error.resp.status)) from None
    except (ConnectionRefusedError, socket.gaierror, httplib2.ServerNotFoundError) as error:
        raise NotDelivered(f"Gmail cannot be reached: {type(error).__name__}") from None
    except Exception as error:  # whatever it is, an answer cut short too: the request may have left
        raise NotDelivered(f"Gmail did not answer: {type(error).__name__}", may_have_arrived=True) from None
