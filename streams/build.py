"""Which code a process runs: the version and a digest of every source file, the same in all processes of one build."""

import functools
import hashlib
import pathlib

VERSION = "0.1.0"
ROOMS = ("trading", "streams", "tables", "agents", "connectors", "api", "stack", "migrations")


@functools.cache
def build() -> str:
    """Return the build's name, such as `0.1.0+3f9a1c2b77de`: it changes with any line of code or SQL."""
    root = pathlib.Path(__file__).parent.parent
    digest = hashlib.sha256()
    for room in ROOMS:
        for path in sorted((root / room).rglob("*")):
            if path.suffix in {".py", ".sql"}:
                digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{VERSION}+{digest.hexdigest()[:12]}"
