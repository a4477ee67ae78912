"""A digest that is remembered in the cache is served for the file it was made of, and for no other."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ecp.frontend import digests
from ecp.frontend.identity import model_sha256
from tests.frontend.test_identity import model, outside

MIB = 1 << 20


@pytest.fixture(autouse=True)
def settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache, and files that count as old as soon as they are written."""
    monkeypatch.setenv("ECP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "SETTLED_S", -60.0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "f").write_bytes(bytes(MIB))
    return tmp_path / "f"


def fresh(path: Path) -> str:
    """As another process sees it: nothing is known but what the cache holds."""
    digests._known.clear()
    return digests.file_sha256(path)


def entries() -> list[Path]:
    return sorted((digests.checked.cache_dir() / "digests").glob("*"))


def true_sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def served_from_cache(path: Path) -> bool:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashlib, "file_digest", lambda *_: hashlib.sha256(b"hashed again"))
        patch.setattr(digests, "_remember", lambda *_: None)
        return fresh(path) != hashlib.sha256(b"hashed again").hexdigest()


def rewrite(path: Path) -> None:
    path.write_bytes(b"\1" * MIB)


def replace(path: Path) -> None:
    (path.parent / "other").write_bytes(b"\1" * MIB)
    (path.parent / "other").replace(path)


def test_a_file_at_rest_is_hashed_once(file: Path) -> None:
    assert fresh(file) == true_sha256(file)
    assert served_from_cache(file)


@pytest.mark.parametrize("change", [rewrite, replace])
def test_other_content_with_the_old_time_stamp_is_seen(change: Callable[[Path], None], file: Path) -> None:
    fresh(file)
    stamp = file.stat()
    change(file)
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (stamp.st_size, stamp.st_mtime_ns)
    assert fresh(file) == true_sha256(file)


@pytest.mark.parametrize("fact", range(6))
def test_every_fact_counts(fact: int, file: Path) -> None:
    fresh(file)
    (entry,) = entries()
    content = digests.checked.read_json(entry)
    content["file"][fact] = "/elsewhere" if fact == 0 else content["file"][fact] + 1
    digests.checked.write_json(entry, content)
    assert not served_from_cache(file)


def test_a_changed_weights_file_is_another_model(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "m.onnx").write_bytes(model(outside("w")).SerializeToString())
    (folder / "w").write_bytes(np.zeros(MIB, np.uint8).tobytes())
    stamp, first = (folder / "w").stat(), model_sha256(folder / "m.onnx")
    assert served_from_cache(folder / "w")
    rewrite(folder / "w")
    os.utime(folder / "w", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    digests._known.clear()
    assert model_sha256(folder / "m.onnx") != first


def test_a_file_changed_just_now_is_not_remembered(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "SETTLED_S", 2.0)
    os.utime(file, (1.0, 1.0))  # an old time of modification does not make the file old
    fresh(file)
    assert not entries() and not digests._known


@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff", b'{"checksum": "0", "content": {}}'])
def test_a_damaged_entry_is_made_again(damage: bytes, file: Path) -> None:
    fresh(file)
    (entry,) = entries()
    entry.write_bytes(damage)
    assert fresh(file) == true_sha256(file)
    assert served_from_cache(file)


def test_another_digest_without_its_checksum_is_not_served(file: Path) -> None:
    truth = fresh(file)
    (entry,) = entries()
    entry.write_text(entry.read_text().replace(truth, "0" * 64))
    assert fresh(file) == truth


def test_a_cache_that_cannot_be_written_costs_only_time(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECP_CACHE", str(file / "no folder"))
    assert fresh(file) == true_sha256(file)
    assert fresh(file) == true_sha256(file)


def test_entries_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "MOST_ENTRIES", 3)
    for index in range(6):
        (tmp_path / str(index)).write_bytes(bytes([index]) * MIB)
        fresh(tmp_path / str(index))
    assert len(entries()) == 3
    assert served_from_cache(tmp_path / "5") and not served_from_cache(tmp_path / "0")


def test_writers_at_the_same_time_leave_a_whole_entry(file: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from ecp.frontend import digests\n"
        "digests.SETTLED_S = -60.0\n"
        "for _ in range(30):\n"
        "    digests._known.clear(); digests._recalled = lambda _: None\n"
        "    print(digests.file_sha256(Path(sys.argv[1])))\n"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(file)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = {line for process in started for line in process.communicate(timeout=60)[0].split()}
    assert said == {true_sha256(file)} and not any(process.returncode for process in started)
    assert len(entries()) == 1 and served_from_cache(file)
