"""The account's key and secret."""

import hmac
from typing import Any, NamedTuple


class Keys(NamedTuple):
    """One pair; paper keys begin with PK, live ones with AK."""

    key_id: str = "PKFAKE0000000000TEST"
    secret_key: str = "fake-secret-0000000000000000000000000000"

    def are(self, key_id: Any, secret_key: Any) -> bool:
        """Return whether somebody has shown this pair."""
        shown = f"{key_id}:{secret_key}".encode()
        return hmac.compare_digest(shown, f"{self.key_id}:{self.secret_key}".encode())


TEST_KEYS = Keys()
