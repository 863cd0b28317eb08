"""Whether a worker is ready: its tables are loaded, its accounts reconciled, and it reads what comes."""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from streams.keeper import Keeper
from trading.portfolio import Portfolio

STANDSTILL_SECONDS = 10.0


class Readiness:
    """Answer `/ready`, and remember since when each check has been as it is."""

    def __init__(
        self,
        *,
        keeper: Keeper,
        rows: Mapping[str, Portfolio],
        owned: Callable[[], Iterable[str]],
        broker_is_ours: bool,
        wall: Callable[[], dt.datetime],
        why_waiting: Callable[[], str] = lambda: "",
    ) -> None:
        self._keeper = keeper
        self._rows = rows
        self._owned = owned
        self._broker_is_ours = broker_is_ours
        self._wall = wall
        self._why_waiting = why_waiting
        self._since: dict[str, tuple[bool, str]] = {}

    def __call__(self) -> dict[str, Any]:
        """Return `{ready, checks}` as it is now."""
        checks = [self._state_loaded(), self._reconciled(), self._consuming()]
        return {"ready": all(check["ok"] for check in checks if check["required"]), "checks": checks}

    def _state_loaded(self) -> dict[str, Any]:
        missing = [account for account in self._owned() if account not in self._rows]
        if not self._keeper.is_open:
            return self._check("state_loaded", ok=False, detail="the tables are being recovered")
        why = self._why_waiting() or ", ".join(missing)
        detail = f"no row yet: {why}" if missing else "loaded"
        return self._check("state_loaded", ok=not missing, detail=detail)

    def _reconciled(self) -> dict[str, Any]:
        rows = [self._rows.get(account) for account in self._owned()]
        waiting = sum(row is None or not row.reconciled for row in rows)
        ok = self._keeper.is_open and not waiting
        detail = f"{waiting} of {len(rows)} accounts wait for the broker's account" if waiting else "clean"
        return self._check("reconciled", ok=ok, detail=detail, required=self._broker_is_ours)

    def _consuming(self) -> dict[str, Any]:
        if not self._keeper.is_open:
            return self._check("consuming", ok=False, detail="partitions are being assigned")
        if not self._keeper.sees_the_log:
            return self._check("consuming", ok=False, detail="the broker does not answer")
        stuck = self._keeper.stuck(STANDSTILL_SECONDS)
        detail = f"{len(stuck)} partitions stand still" if stuck else "reads what comes"
        return self._check("consuming", ok=not stuck, detail=detail)

    def _check(self, name: str, *, ok: bool, detail: str, required: bool = True) -> dict[str, Any]:
        known = self._since.get(name)
        if known is None or known[0] != ok:
            known = self._since[name] = ok, self._wall().isoformat().replace("+00:00", "Z")
        return {"name": name, "ok": ok, "required": required, "detail": detail, "since": known[1]}
