"""Committed records are kept compressed: ``records.jsonl.zst`` stands for ``records.jsonl`` wherever one is read.

``python -m bench.archive reports/records`` compresses what a campaign added, before it is committed. The bytes come
back exactly, so a record's hash does not change.
"""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import zstandard

from ecp.errors import UsageError

RECORDS = "records.jsonl"
SUFFIX = ".zst"
# A compressed file can claim to hold anything; no run of this harness comes near.
MOST_BYTES = 1 << 30
# Smaller ones are read by people, and git compresses them itself.
LEAST_BYTES = 16 << 10


def stored(path: Path) -> Path | None:
    """The file that holds ``path``'s content: itself, else its compressed form, else None."""
    packed = path.with_name(path.name + SUFFIX)
    return path if path.is_file() else packed if packed.is_file() else None


def read(path: Path) -> bytes:
    """Content of ``path`` or of its compressed form; FileNotFoundError where neither is there.

    Raises OSError with what is wrong for a damaged archive, or one of more than ``MOST_BYTES``.
    """
    with opened(path) as stream:
        content = stream.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise _too_large()
    return content


def lines(path: Path, longest: int) -> Iterator[tuple[bytes | None, bool]]:
    """Lines of ``path`` or of its compressed form, each with whether a line feed ended it.

    A line of more than ``longest`` bytes is ``None`` and never held in memory. Raises as :func:`read` does.
    """
    left = math.inf if stored(path) == path else MOST_BYTES
    with opened(path) as stream:
        while line := stream.readline(longest + 1):
            whole, short = line.endswith(b"\n"), len(line) <= longest
            left -= len(line)
            while not whole and len(line) > longest:
                line = stream.readline(longest + 1)
                left -= len(line)
                whole = line.endswith(b"\n")
            if left < 0:
                raise _too_large()
            yield (line.removesuffix(b"\n") if short else None), whole


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """``path`` or its compressed form for reading. Damage found while it is read is an OSError with what is wrong."""
    found = stored(path)
    if found is None or found == path:
        with path.open("rb") as plain:
            yield plain
        return
    try:
        with found.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as unpacked:
            yield io.BufferedReader(unpacked)  # type: ignore[type-var]
    except zstandard.ZstdError as error:
        raise OSError(0, f"a damaged archive ({error})") from error


def _too_large() -> OSError:
    return OSError(0, f"more than {MOST_BYTES >> 20} MiB")


def record_files(folder: Path) -> Iterator[Path]:
    """Paths ``.../records.jsonl`` below ``folder`` that are there, as they are or compressed; in order."""
    plain = set(folder.rglob(RECORDS))
    packed = {p.with_name(RECORDS) for p in folder.rglob(RECORDS + SUFFIX)}
    yield from sorted(plain | packed)


def compress(folder: Path) -> tuple[int, int, int]:
    """Compress every large ``records.jsonl`` below ``folder``: files, bytes before, bytes after."""
    files = before = after = 0
    for path in sorted(folder.rglob(RECORDS)):
        content = path.read_bytes()
        if len(content) < LEAST_BYTES:
            continue
        packed = path.with_name(path.name + SUFFIX)
        partial = packed.with_name(packed.name + ".partial")
        partial.write_bytes(zstandard.ZstdCompressor(level=19).compress(content))
        partial.replace(packed)
        path.unlink()
        files, before, after = files + 1, before + len(content), after + packed.stat().st_size
    return files, before, after


def main() -> None:
    """Compress the folder named on the command line."""
    folder = Path(sys.argv[1]) if len(sys.argv) == 2 else None
    if folder is None or not folder.is_dir():
        print("usage: python -m bench.archive FOLDER, e.g. reports/records", file=sys.stderr)
        sys.exit(UsageError.exit_code)
    files, before, after = compress(folder)
    print(f"{files} files compressed: {before:,} -> {after:,} bytes")


if __name__ == "__main__":
    main()
