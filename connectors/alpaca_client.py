"""alpaca-py's REST clients as we use them: with our timeouts, and without retries of their own."""

from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from alpaca.common.rest import RESTClient

C = TypeVar("C", bound="RESTClient")


class Timeouts(NamedTuple):
    """Seconds for a connection, for silence in an answer, and for a call in all."""

    connect: float = 3.0
    read: float = 8.0
    whole: float = 12.0


def impatient(client: C, timeouts: Timeouts) -> C:
    """Let a client wait no longer than we do, and ask once: by itself it would POST again on 429 and 504."""
    from requests import PreparedRequest, Response  # noqa: PLC0415 - comes with alpaca-py, slow to import
    from requests.adapters import HTTPAdapter  # noqa: PLC0415

    class Impatient(HTTPAdapter):
        def send(self, request: PreparedRequest, *given: object, **options: object) -> Response:
            chosen = {**options, "timeout": (timeouts.connect, timeouts.read)}
            return super().send(request, *given, **chosen)  # type: ignore[arg-type]

    client._retry, client._retry_codes = 0, []
    for scheme in ("http://", "https://"):
        client._session.mount(scheme, Impatient(max_retries=0))
    return client
