"""An index that several processes and machines use at once, and one that is damaged; SQLite and PostgreSQL."""

from __future__ import annotations

import multiprocessing
import shutil
import threading
import time

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text

from bench.cli import main
from bench.store import engine as store
from bench.store import index, query
from bench.store.models import Base

from .fake_runs import make_run
from .test_store import database

OPENINGS = 50


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    with database(request.param, tmp_path) as found:
        yield found


def _open(url, start, failures):
    try:
        start.wait()
        opened = store.open_store(url)
        query.counts(opened)
        opened.dispose()
    except Exception as error:
        failures.put(f"{type(error).__name__}: {error}")


@pytest.mark.slow
def test_fifty_processes_open_a_new_index_at_once(url):
    context = multiprocessing.get_context("fork")
    start, failures = context.Barrier(OPENINGS), context.Queue()
    processes = [context.Process(target=_open, args=(url, start, failures)) for _ in range(OPENINGS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [p.exitcode for p in processes] == [0] * OPENINGS
    assert failures.empty(), failures.get()
    opened = store.open_store(url)
    with opened.connect() as connection:
        assert MigrationContext.configure(connection).get_current_revision() == store.head()
    opened.dispose()


def test_a_reader_never_sees_an_empty_index_during_rebuilds(url, tmp_path):
    for n in range(8):
        make_run(tmp_path / "r", f"2026010{n + 1}T000000Z-latency-a", [1.0 + n] * 4, seed=n)
    opened = store.open_store(url)
    index.index_results(opened, [tmp_path / "r"])
    seen, stop, errors = set(), threading.Event(), []

    def read():
        reader = store.open_store(url)
        try:
            while not stop.is_set():
                seen.add(query.counts(reader)["blocks"])
        except Exception as error:
            errors.append(error)
        reader.dispose()

    readers = [threading.Thread(target=read) for _ in range(2)]
    [r.start() for r in readers]
    try:
        rebuilders = [
            threading.Thread(target=index.rebuild, args=(opened, [tmp_path / "r"])) for _ in range(4)
        ]
        [r.start() for r in rebuilders]
        [r.join() for r in rebuilders]
    finally:
        stop.set()
        [r.join() for r in readers]
    assert errors == [] and seen == {32}
    opened.dispose()


def test_two_machines_keep_each_others_rows(url, tmp_path, monkeypatch):
    for name, cpu in (("one", "CPU one"), ("two", "CPU two")):
        make_run(tmp_path / name, "20260101T000000Z-latency-a", [10.0, 11.0], seed=ord(name[0]), cpu=cpu)
        make_run(tmp_path / name, f"20260102T000000Z-latency-{name}", [10.0], seed=ord(name[1]), cpu=cpu)
    opened = store.open_store(url)
    for _ in range(2):
        for name in ("one", "two"):
            index.index_results(opened, [tmp_path / name])
            index.rebuild(opened, [tmp_path / name])
    assert query.counts(opened) == {"runs": 4, "blocks": 6, "series": 2}
    assert sorted(len(points) for points in query.series(opened, query.Filter()).values()) == [2, 2]
    shutil.rmtree(tmp_path / "one" / "20260101T000000Z-latency-a")
    assert index.index_results(opened, [tmp_path / "one"]).removed == 1
    assert query.counts(opened)["blocks"] == 4
    # The same folder on another machine is another place.
    monkeypatch.setattr("platform.node", lambda: "elsewhere")
    assert index.index_results(opened, [tmp_path / "one"]).removed == 0
    assert query.counts(opened)["blocks"] == 4
    opened.dispose()


def test_an_old_index_is_migrated_with_its_rows_and_they_are_claimed(url, tmp_path):
    folder = make_run(tmp_path / "r", "20260101T000000Z-latency-a", [10.0, 11.0], commit="abc")
    opened = store.open_store(url)
    index.index_results(opened, [tmp_path / "r"])
    with opened.begin() as connection:
        kept = [dict(r) for r in connection.execute(text("select * from blocks")).mappings()]
        config = store._config()
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
        connection.execute(
            text(
                "insert into runs values "
                "('20260101T000000Z-latency-a', '20260101T000000Z', 'abc', null, null, :f, 'x', '[]')"
            ),
            {"f": str(folder)},
        )
        connection.execute(
            text("insert into comparability values (:k, '{}')"), {"k": kept[0]["comparability_key"]}
        )
        for row in kept:
            names = [n for n in row if n != "origin"]
            values = {n: row[n] if not isinstance(row[n], list) else "[]" for n in names}
            holes = ", ".join(f":{n}" for n in names)
            connection.execute(text(f"insert into blocks ({', '.join(names)}) values ({holes})"), values)
    opened.dispose()
    again = store.open_store(url)
    with again.connect() as connection:
        assert (
            compare_metadata(
                MigrationContext.configure(connection, opts={"compare_type": True}), Base.metadata
            )
            == []
        )
        assert not {"old_runs", "old_blocks"} & set(inspect(connection).get_table_names())
    assert query.counts(again) == {"runs": 1, "blocks": 2, "series": 1}
    assert index.index_results(again, [tmp_path / "r"]).blocks == 2
    assert query.counts(again) == {"runs": 1, "blocks": 2, "series": 1}
    again.dispose()


def _garbage(path):
    path.write_bytes(b"\x00garbage" * 1000)


def _truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flipped(path):
    raw = path.read_bytes()
    path.write_bytes(raw[:4096] + b"\xff" * (len(raw) - 4096))


def _sql(*statements):
    def change(path):
        opened = store.create_engine(f"sqlite:///{path}")
        with opened.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))
        opened.dispose()

    return change


DAMAGE = {
    "garbage": _garbage,
    "truncated": _truncated,
    "flipped": _flipped,
    "a column is missing": _sql("alter table blocks rename column value to worth"),
    "a table is missing": _sql("drop table blocks"),
    "not ours": _sql("drop table alembic_version"),
    "newer": _sql("update alembic_version set version_num = '9999'"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_index_says_so_and_is_rebuilt(tmp_path, capsys, damage):
    results = tmp_path / "r"
    make_run(results, "20260101T000000Z-latency-a", [10.0, 11.0])
    assert main(["history", "--out", str(results)]) == 0
    path = results / "index.sqlite"
    _sql("select 1")(path)
    damage(path)
    capsys.readouterr()
    assert main(["history", "--out", str(results)]) == 2
    (said,) = capsys.readouterr().err.strip().splitlines()
    assert "--rebuild" in said and "index.sqlite" in said
    assert main(["history", "--out", str(results), "--rebuild"]) == 0
    assert "2 blocks of 1 runs" in capsys.readouterr().out
    assert main(["history", "--out", str(results)]) == 0


def test_a_locked_index_is_one_line_after_a_bounded_time(url, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "WAIT_SECONDS", 1)
    make_run(tmp_path / "r", "20260101T000000Z-latency-a", [10.0])
    opened = store.open_store(url)
    other = store.open_store(url)
    with store.writing(other).begin() as connection:
        if other.dialect.name == "postgresql":
            connection.execute(text("lock table runs in access exclusive mode"))
        start = time.monotonic()
        with pytest.raises(store.StoreError, match="being written by another process") as caught:
            index.index_results(opened, [tmp_path / "r"])
        assert 0.5 < time.monotonic() - start < 5 and "\n" not in str(caught.value)
    assert index.index_results(opened, [tmp_path / "r"]).blocks == 1
    opened.dispose()
    other.dispose()
