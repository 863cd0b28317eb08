"""Ask the processes of a stack, over HTTP on loopback, whether they live and whether they are ready."""

import http.client
import json
from typing import Any

SECONDS = 2.0  # a process that answers later is as good as silent


def get(host: str, port: int, path: str, *, internal_token: str = "", bearer: str = "") -> tuple[int, dict[str, Any]]:
    """Return the status and the JSON object that `GET path` answers; status 0 when nobody does."""
    connection = http.client.HTTPConnection(host, port, timeout=SECONDS)
    headers = {"X-Internal-Token": internal_token, "Authorization": f"Bearer {bearer}" if bearer else ""}
    try:
        connection.request("GET", path, headers={name: value for name, value in headers.items() if value})
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException):
        return 0, {}
    finally:
        connection.close()
    try:
        answer = json.loads(body)
    except ValueError:
        answer = {}
    return response.status, answer if isinstance(answer, dict) else {}


def lacking(ready: dict[str, Any]) -> str:
    """Return the required checks of a `/ready` answer that do not hold, with their details, for a person to read."""
    checks = [check for check in ready.get("checks", []) if isinstance(check, dict)]
    failing = [check for check in checks if check.get("required") and not check.get("ok")]
    return "; ".join(f"{check.get('name')}: {check.get('detail') or 'not yet'}" for check in failing) or "no answer"
