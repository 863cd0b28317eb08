"""Small files that others read while we write them: whole or not at all, and secrets for their owner alone."""

import json
import os
import pathlib
import tempfile
from typing import Any

from stack.errors import Missing


def write_private(path: pathlib.Path, text: str) -> None:
    """Write `text` to `path` in one step (mode 0600): a reader finds the old file or the new one, never a part."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # 0600 from the start
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def write_private_json(path: pathlib.Path, value: Any) -> None:
    """Write `value` as JSON, as `write_private` does."""
    write_private(path, json.dumps(value, indent=2) + "\n")


def read_json_object(path: pathlib.Path) -> dict[str, Any]:
    """Return the JSON object in `path`, empty when there is no such file; raise `Missing` when it cannot be read."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise Missing(f"{path} cannot be read ({error}): delete it to have it made anew") from error
    if not isinstance(value, dict):
        raise Missing(f"{path} is not a JSON object: delete it to have it made anew")
    return value


def make_private_dir(path: pathlib.Path) -> pathlib.Path:
    """Make the directory (mode 0700) where it does not exist; raise `Missing` when it cannot be made or written to."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError as error:
        raise Missing(
            f"no right to write to the directory {path} ({error.strerror}): "
            "mend its owner and mode, or name another one with STONKS_DATA_DIR"
        ) from error
