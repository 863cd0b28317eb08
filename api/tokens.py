"""Who may do what: bearer tokens, their roles, and how many requests a second each may send.

Tokens are held as SHA-256 hashes and compared in constant time; an unset one admits nobody.
"""

import enum
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from typing import Final

from streams.settings import Settings


class Role(enum.IntEnum):
    """What a token allows; each role may do what those below it may."""

    VIEWER = 1
    OPERATOR = 2
    ARMER = 3


class Tokens:
    """Tell the role of a presented token."""

    def __init__(self, secrets: Mapping[Role, str]) -> None:
        self._hashes = {role: _hash(secrets[role].encode()) for role in sorted(secrets) if secrets[role]}

    @classmethod
    def of(cls, settings: Settings) -> "Tokens":
        """Return the tokens of this process's settings."""
        return cls(
            {
                Role.VIEWER: settings.api_token_viewer.get_secret_value(),
                Role.OPERATOR: settings.api_token_operator.get_secret_value(),
                Role.ARMER: settings.api_token_armer.get_secret_value(),
            }
        )

    def role_of(self, authorization: bytes) -> Role | None:
        """Return the highest role of an `Authorization` header's bearer token; None when it admits nobody."""
        scheme, _, presented = authorization.partition(b" ")
        digest = _hash(presented.strip())
        found = None
        for role, known in self._hashes.items():  # all of them, always: the time tells nothing
            if hmac.compare_digest(digest, known):
                found = role
        return found if scheme.lower() == b"bearer" else None


def _hash(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()


REQUESTS_PER_SECOND: Final = 500.0


class RateLimit:
    """Let each caller send so many requests a second, a second's worth of them at once."""

    def __init__(
        self, per_second: float = REQUESTS_PER_SECOND, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second = per_second
        self._monotonic = monotonic
        self._buckets: dict[Role | None, tuple[float, float]] = {}

    def admits(self, caller: Role | None) -> bool:
        """Take one request from the caller's bucket; None are all without a token together."""
        now = self._monotonic()
        left, at = self._buckets.get(caller, (self._per_second, now))
        left = min(self._per_second, left + (now - at) * self._per_second)
        admitted = left >= 1
        self._buckets[caller] = (left - 1 if admitted else left, now)
        return admitted
