"""SHA-256 of files, remembered across processes: ViT-B's 346 MB take longer to hash than to start from the cache.

What is remembered holds for one path with one device, inode, size and times of modification and of change. Nobody
sets a time of change back, so that a file with other content has other facts; three cases are outside that: a clock set
back by an administrator, a file system that keeps no time of change (FAT), and a program that goes on
writing through a mapping it opened before.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from contextlib import suppress
from pathlib import Path

from ecp import checked

# Seconds after which a file's time stamps tell every later change.
SETTLED_S = 2.0
# A smaller file is hashed about as fast as its entry is read.
WORTH_BYTES = 1 << 20
# Entries in the cache, one a path; the oldest go.
MOST_ENTRIES = 256
# Elsewhere "time of change" is the time of creation, which tells nothing.
_HAS_CHANGE_TIME = os.name == "posix"
_HEX = re.compile("[0-9a-f]{64}")
_known: dict[tuple[str | int, ...], str] = {}


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of one file; OSError where it cannot be read.

    Remembered in this process and, from :data:`WORTH_BYTES` on, in the cache, with the facts that it holds for. A file
    changed within the last seconds is not remembered: its next change may leave the same time stamps.
    """
    with checked.open_regular(path, links=True) as stream:
        began = time.time()
        facts = os.fstat(stream.fileno())
        key = (
            *(str(path.absolute()), facts.st_dev, facts.st_ino, facts.st_size),
            *(facts.st_mtime_ns, facts.st_ctime_ns),
        )
        kept = _HAS_CHANGE_TIME and facts.st_size >= WORTH_BYTES
        found = _known.get(key) or (_recalled(key) if kept else None)
        if found:
            return _known.setdefault(key, found)
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if 0 <= max(facts.st_mtime, facts.st_ctime) < began - SETTLED_S:
        _known[key] = found
        if kept:
            with suppress(OSError):  # a cache that cannot be written costs time, not correctness
                _remember(key, found)
    return found


def _entry(key: tuple[str | int, ...]) -> Path:
    name = hashlib.sha256(os.fsencode(str(key[0]))).hexdigest()[:32]
    return checked.cache_dir() / "digests" / f"{name}.json"


def _recalled(key: tuple[str | int, ...]) -> str | None:
    content = checked.read_json(_entry(key))
    if not isinstance(content, dict) or content.get("file") != list(key):
        return None
    found = content.get("sha256")
    return found if isinstance(found, str) and _HEX.fullmatch(found) else None


def _remember(key: tuple[str | int, ...], found: str) -> None:
    entry = _entry(key)
    checked.folder(entry.parent)
    checked.write_json(entry, {"file": list(key), "sha256": found})
    ages = []
    for other in entry.parent.iterdir():
        with suppress(OSError):  # another process was faster
            ages.append((other.lstat().st_mtime_ns, other))
    for _, other in sorted(ages)[:-MOST_ENTRIES]:
        checked.discard(other)
