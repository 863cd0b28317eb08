"""SMS by AWS SNS (R19.5): boto3 with credentials from the settings, one attempt a call, short timeouts.

The target is a phone number or the ARN of an SNS topic, whose region is then the one that counts. Errors give AWS's
code alone: its texts quote the number.
"""

import re
import threading
from collections.abc import Callable
from typing import Any

import boto3
from botocore import exceptions
from botocore.config import Config

from connectors.channels import NotDelivered
from connectors.wording import sms_of
from streams.settings import Settings
from trading.effects import Notification

_SECONDS_TO_CONNECT, _SECONDS_TO_ANSWER = 3, 5
_ONCE = Config(connect_timeout=_SECONDS_TO_CONNECT, read_timeout=_SECONDS_TO_ANSWER, retries={"total_max_attempts": 1})
_NOT_ALLOWED = {"AuthorizationError", "AuthorizationErrorException", "AccessDenied", "AccessDeniedException"}
_NEVER_LEFT = (exceptions.ConnectTimeoutError, exceptions.EndpointConnectionError, exceptions.ProxyConnectionError)


class Sns:
    """Send SMS with the settings' credentials."""

    lacks = ""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._clients: dict[str, Any] = {}
        self._making = threading.Lock()

    def send(self, message: Notification, *, target: str) -> None:
        """Publish once; raises `NotDelivered`."""
        text = sms_of(message)
        if target.startswith("arn:"):
            region = target.split(":")[3]
            _asked(lambda: self._client(region).publish(TopicArn=target, Message=text))
            return
        kind = {"AWS.SNS.SMS.SMSType": {"DataType": "String", "StringValue": "Transactional"}}
        _asked(lambda: self._client().publish(PhoneNumber=target, Message=text, MessageAttributes=kind))

    def probe(self) -> str:
        """Return the quota and whether the account is in the SMS sandbox; raises `NotDelivered`.

        A key that may publish and nothing else is a good one, of which no more can be told.
        """
        try:
            attributes = _asked(lambda: self._client().get_sms_attributes())["attributes"]
        except _NotAllowed:
            return "the key is accepted; it may not read the quota"
        quota = attributes.get("MonthlySpendLimit")
        told = f"the key is accepted; {quota or '1 (AWS default)'} USD a month"
        try:
            in_sandbox = _asked(lambda: self._client().get_sms_sandbox_account_status())["IsInSandbox"]
        except NotDelivered:
            return f"{told}; whether in the sandbox is not told"
        return f"{told}; " + ("in the SMS sandbox: verified numbers alone" if in_sandbox else "out of the sandbox")

    def _client(self, region: str | None = None) -> Any:
        """Return the client of a region, made once: it may be shared by threads, and takes a quarter of a second."""
        with self._making:
            wanted = region or self._settings.aws_region
            if wanted not in self._clients:
                self._clients[wanted] = self._made(wanted)
            return self._clients[wanted]

    def _made(self, region: str) -> Any:
        settings = self._settings
        return boto3.session.Session().client(
            "sns",
            region_name=region,
            endpoint_url=settings.sns_endpoint_url or None,
            aws_access_key_id=settings.aws_access_key_id.get_secret_value(),
            aws_secret_access_key=settings.aws_secret_access_key.get_secret_value(),
            aws_session_token=settings.aws_session_token.get_secret_value() or None,
            config=_ONCE,
        )


class _NotAllowed(NotDelivered):
    """The key is known, and may not do this."""


def _asked(ask: Callable[[], Any]) -> Any:
    """Return the answer of a call, its errors as `NotDelivered` without AWS's text."""
    try:
        return ask()
    except exceptions.ClientError as error:
        code = re.sub(r"[^A-Za-z0-9.]", "", str(error.response.get("Error", {}).get("Code")))[:60]
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        kind = _NotAllowed if code in _NOT_ALLOWED else NotDelivered
        raise kind(f"SNS refused: {code or status}", may_have_arrived=status >= 500) from None
    except _NEVER_LEFT as error:
        raise NotDelivered(f"SNS cannot be reached: {type(error).__name__}") from None
    except exceptions.ParamValidationError:
        raise NotDelivered("SNS cannot be asked with such settings or such a target") from None
    except ValueError:
        raise NotDelivered("STONKS_SNS_ENDPOINT_URL or the region is no address") from None
    except Exception as error:  # whatever it is, an answer of somebody else's too: the request may have left
        raise NotDelivered(f"SNS did not answer: {type(error).__name__}", may_have_arrived=True) from None
