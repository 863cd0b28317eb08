"""What a part of this process says of itself: whether it works, what is wrong, and since when."""

import datetime as dt
from typing import Any


class Check:
    """One named condition; it does not hold until somebody says so."""

    def __init__(self, name: str, *, required: bool) -> None:
        self.name = name
        self.required = required
        self.ok = False
        self.detail = "starting"
        self.since = dt.datetime.now(dt.UTC)

    def holds(self, detail: str) -> None:
        """Note that the condition holds."""
        self._set(True, detail)

    def fails(self, detail: str) -> None:
        """Note that the condition does not hold, and why."""
        self._set(False, detail)

    def shown(self) -> dict[str, Any]:
        """Return the check as `/ready` shows it."""
        return {
            "name": self.name,
            "ok": self.ok,
            "required": self.required,
            "detail": self.detail,
            "since": self.since.isoformat(),
        }

    def _set(self, ok: bool, detail: str) -> None:
        if ok != self.ok:
            self.since = dt.datetime.now(dt.UTC)
        self.ok, self.detail = ok, detail
