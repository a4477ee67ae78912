"""The index on SQLite and, where ECP_TEST_POSTGRES names a database, on PostgreSQL."""

import contextlib
import json
import os
import shutil
import statistics
import threading
import uuid

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text

from bench.records import read_records
from bench.store import engine as store
from bench.store import index, query
from bench.store.key import comparability, difference
from bench.store.models import Base

from .fake_runs import cell, host, make_run


@contextlib.contextmanager
def database(kind, folder):
    """URL of an empty database of this kind."""
    if kind == "sqlite":
        yield str(folder / "index.sqlite")
        return
    url = os.environ.get("ECP_TEST_POSTGRES")
    if not url:
        pytest.skip("ECP_TEST_POSTGRES names no PostgreSQL database (.ci/run starts one)")
    schema = f"t_{uuid.uuid4().hex[:12]}"
    admin = create_engine(store.as_url(url))
    with admin.begin() as connection:
        connection.execute(text(f"create schema {schema}"))
    joint = "&" if "?" in url else "?"
    yield f"{url}{joint}options=-csearch_path%3D{schema}"
    with admin.begin() as connection:
        connection.execute(text(f"drop schema {schema} cascade"))
    admin.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request, tmp_path):
    with database(request.param, tmp_path) as url:
        opened = store.open_store(url)
        yield opened
        opened.dispose()


def test_migrations_make_exactly_the_models(engine):
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
        assert context.get_current_revision() == store.head()


def test_records_become_rows_and_medians(engine, tmp_path):
    make_run(tmp_path / "r", "20260101T000000Z-latency-a", [10.0, 11.0, 12.0], commit="abc123")
    done = index.index_results(engine, [tmp_path / "r"])
    assert (done.runs, done.blocks, done.findings) == (1, 3, [])
    ((identity, points),) = query.series(engine, query.Filter()).items()
    assert (identity.model, identity.backend, len(identity.key)) == ("vit_tiny", "ecp", 64)
    assert points[0].medians == [10.0, 11.0, 12.0]
    assert points[0].git_commit == "abc123"
    assert points[0].value() == 11.0
    assert query.run_ids(engine, "abc") == ["20260101T000000Z-latency-a"]
    assert query.run_ids(engine, "a%") == []


def test_indexing_twice_changes_nothing_and_appending_adds(engine, tmp_path):
    folder = make_run(tmp_path / "r", "20260101T000000Z-latency-a", [10.0])
    index.index_results(engine, [tmp_path / "r"])
    assert index.index_results(engine, [tmp_path / "r"]).unchanged == 1
    line = json.loads((folder / "records.jsonl").read_text())
    with (folder / "records.jsonl").open("a") as stream:
        stream.write(json.dumps({**line, "seq": 1, "block": 1}) + "\n")
    index.index_results(engine, [tmp_path / "r"])
    assert query.counts(engine)["blocks"] == 2


def test_rebuild_equals_incremental_and_forgets_deleted_runs(engine, tmp_path):
    for day in range(1, 5):
        make_run(tmp_path / "r", f"2026010{day}T000000Z-latency-a", [10.0 + day] * 3, seed=day)
        index.index_results(engine, [tmp_path / "r"])
    grown = query.series(engine, query.Filter())
    done = index.rebuild(engine, [tmp_path / "r"])
    assert (done.runs, done.blocks) == (4, 12)
    assert query.series(engine, query.Filter()) == grown
    shutil.rmtree(tmp_path / "r" / "20260101T000000Z-latency-a")
    assert index.index_results(engine, [tmp_path / "r"]).removed == 1
    assert query.counts(engine) == {"runs": 3, "blocks": 9, "series": 1}


def test_histories_merge_by_copying_files(engine, tmp_path):
    make_run(tmp_path / "a", "20260101T000000Z-latency-a", [10.0], seed=1)
    make_run(tmp_path / "b", "20260102T000000Z-latency-b", [11.0], seed=2)
    shutil.copytree(tmp_path / "a", tmp_path / "merged")
    shutil.copytree(tmp_path / "b", tmp_path / "merged", dirs_exist_ok=True)
    # The same run twice, under another name: its records count once.
    shutil.copytree(tmp_path / "a/20260101T000000Z-latency-a", tmp_path / "merged/zcopy")
    done = index.rebuild(engine, [tmp_path / "merged"])
    assert (done.blocks, done.duplicates) == (2, 1)
    assert any("zcopy: 1 of its records lie in another folder too" in text for text in done.findings)
    shutil.rmtree(tmp_path / "merged/20260101T000000Z-latency-a")
    index.index_results(engine, [tmp_path / "merged"])
    assert query.counts(engine)["blocks"] == 2


def test_damage_is_told_and_everything_else_kept(engine, tmp_path):
    folder = make_run(tmp_path / "r", "20260101T000000Z-latency-a", [10.0, 11.0, 12.0])
    path = folder / "records.jsonl"
    lines = path.read_text().splitlines()
    lines[1] = lines[1].replace('"schema_version":1', '"schema_version":99')
    path.write_text("\n".join(lines) + '\n{"schema_version":1,"kind":"blo')
    (folder / "run.json").write_text("{")
    done = index.index_results(engine, [tmp_path / "r"])
    assert done.blocks == 2
    told = "\n".join(done.findings)
    assert "schema 99" in told
    assert "incomplete" in told
    assert "run.json cannot be read" in told


def test_statuses_without_value_are_kept_with_reason(engine, tmp_path):
    make_run(tmp_path / "r", "20260101T000000Z-latency-a", [1.0, 1.0], status="unsupported")
    index.index_results(engine, [tmp_path / "r"])
    ((point,),) = query.series(engine, query.Filter()).values()
    assert point.value() is None
    assert (point.statuses, point.reasons) == ({"unsupported": 2}, ["made up unsupported"])


def test_filters(engine, tmp_path):
    cells = [cell(), cell(model="vit_base"), cell(backend="torch"), cell(precision="fp16")]
    make_run(tmp_path / "r", "20260101T000000Z-latency-a", [1.0], cells=cells)
    index.index_results(engine, [tmp_path / "r"])
    assert len(query.series(engine, query.Filter())) == 4
    assert len(query.series(engine, query.Filter(models=("vit_tiny",), backends=("ecp",)))) == 2
    assert query.names(engine, "model") == ["vit_base", "vit_tiny"]


def test_two_indexers_at_once_lose_nothing(engine, tmp_path):
    for n in range(6):
        make_run(tmp_path / "r", f"2026010{n + 1}T000000Z-latency-a", [1.0 + n] * 4, seed=n)
    errors = []

    def work():
        try:
            index.index_results(engine, [tmp_path / "r"])
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert errors == []
    assert query.counts(engine)["blocks"] == 24


def test_key_changes_with_the_machine_and_not_with_versions(tmp_path):
    folder = make_run(tmp_path, "20260101T000000Z-latency-a", [1.0])
    record = read_records(folder / "records.jsonl").records[0]
    key, inputs = comparability(record, {"environment": host()})
    other, inputs_b = comparability(record, {"environment": host("Another CPU")})
    assert key != other
    assert difference(inputs, inputs_b) == ["cpu: 'Test CPU' against 'Another CPU'"]
    newer = type(record)(**{**record.__dict__, "cell": cell(backend_version="2")})
    assert comparability(newer, {"environment": host()})[0] == key
    assert comparability(record, {})[0] != key


def test_a_newer_index_is_refused_with_what_to_do(tmp_path):
    path = tmp_path / "i.sqlite"
    opened = store.open_store(str(path))
    with opened.begin() as connection:
        connection.execute(text("update alembic_version set version_num = '9999'"))
    opened.dispose()
    with pytest.raises(store.StoreError, match="rebuild"):
        store.open_store(str(path))


@pytest.mark.parametrize("url", ["postgresql://nobody:secret@127.0.0.1:1/x", "nonsense://x"])
def test_unreachable_index_is_one_clear_error_without_the_password(url):
    with pytest.raises(store.StoreError) as caught:
        store.open_store(url)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_migrations_go_down_and_up_again(tmp_path):
    from alembic import command

    opened = store.open_store(str(tmp_path / "i.sqlite"))
    config = store._config()
    with opened.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    assert set(inspect(opened).get_table_names()) == {"alembic_version"}
    store.migrate(opened)
    assert {"runs", "blocks", "comparability"} <= set(inspect(opened).get_table_names())


def test_value_is_the_median_of_the_samples(tmp_path):
    folder = make_run(tmp_path / "r", "20260101T000000Z-latency-a", [10.0], samples=9)
    (record,) = read_records(folder / "records.jsonl").records
    assert statistics.median(record.samples_ms) == 10.0
