"""Opening an index: by path or URL, brought to the newest schema by the packaged migrations."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from filelock import FileLock, Timeout
from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url, select, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from bench.escape import line
from bench.store.models import Base
from ecp.errors import UsageError

MIGRATIONS = Path(__file__).parent / "migrations"
STORE_ENV = "ECP_STORE"
# How long a process waits for another one that writes the same index.
WAIT_SECONDS = 30
# "ecp" and the schema's name as the key of PostgreSQL's advisory lock: one process migrates, the others wait.
MIGRATION_LOCK = 0x656370_0001
_LOCKED = ("locked", "lock timeout", "lock_not_available", "deadlock")
_DAMAGED = (
    *("not a database", "malformed", "no such table", "no such column", "corrupt", "encrypted"),
    *("does not exist", "already exists"),
)
_REBUILD = "`python -m bench history --rebuild` makes it anew from the records, which are untouched"


class StoreError(UsageError):
    """The index cannot be opened or used; the records are untouched."""


class DamagedIndex(StoreError):
    """The index is no index of this program's; a SQLite file is made anew by ``open_store(..., rebuild=True)``."""


def store_url(results: Path) -> str:
    """``ECP_STORE`` (a path or a URL), else ``index.sqlite`` beside the run folders of ``results``."""
    asked = os.environ.get(STORE_ENV)
    return as_url(asked) if asked else as_url(str(results / "index.sqlite"))


def as_url(path_or_url: str) -> str:
    """A URL as it is (``postgresql://`` gets the installed driver), a path as a SQLite URL."""
    if "://" not in path_or_url:
        return f"sqlite:///{path_or_url}"
    if path_or_url.startswith(("postgresql://", "postgres://")):
        return "postgresql+psycopg://" + path_or_url.partition("://")[2]
    return path_or_url


def _on_connect(connection: Any, _record: Any) -> None:
    """SQLite: transactions are begun by :func:`_on_begin`, data definition included; nobody waits for ever."""
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (f"busy_timeout={WAIT_SECONDS * 1000}", "synchronous=NORMAL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _on_begin(connection: Connection) -> None:
    # A writer takes the lock at once: one that reads first and writes then is refused without waiting.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _on_connect_postgres(connection: Any, _record: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET lock_timeout = '{WAIT_SECONDS}s'")
    connection.commit()


def writing(engine: Engine) -> Engine:
    """The engine for transactions that write."""
    return engine.execution_options(writes=True)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def head() -> str:
    """Newest schema revision that this program knows."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    if revision is None:
        raise RuntimeError("the package has no migrations")
    return revision


def migrate(engine: Engine, revision: str = "head") -> None:
    """Bring the database to ``revision``. Raises :class:`StoreError` for an index of a newer program."""
    config = _config()
    try:
        with writing(engine).begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
    except CommandError as error:
        raise DamagedIndex(
            f"the index {shown(engine)} was written by a newer version of this program ({line(error)}); update, or "
            + (_REBUILD if engine.dialect.name == "sqlite" else "name another one with --store")
        ) from error


def shown(engine: Engine) -> str:
    """The URL without its password."""
    return line(engine.url.render_as_string(hide_password=True))


@contextmanager
def told(engine: Engine) -> Iterator[None]:
    """What the database refuses inside, as a :class:`StoreError` of one line."""
    try:
        yield
    except DBAPIError as error:
        reason = line(str(error.orig).strip().splitlines()[0]) if error.orig else type(error).__name__
        if any(word in str(error.orig).lower() for word in _LOCKED):
            raise StoreError(
                f"the index {shown(engine)} is being written by another process and was not free within "
                f"{WAIT_SECONDS} s ({reason}); try again, or name another one with --store"
            ) from error
        if any(word in str(error.orig).lower() for word in _DAMAGED):
            raise DamagedIndex(f"the index {shown(engine)} is damaged ({reason}); {_REBUILD}") from error
        raise StoreError(f"cannot use the index {shown(engine)}: {reason}") from error


def open_store(path_or_url: str, *, rebuild: bool = False) -> Engine:
    """Engine on a migrated index. Raises :class:`StoreError` where it cannot be opened.

    ``rebuild``: a SQLite file that is damaged or of a newer program is set aside (``NAME.damaged``) for a new one.
    """
    try:
        url = make_url(as_url(path_or_url))
        file = Path(url.database) if url.drivername == "sqlite" and url.database else None
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(url)
    except (ArgumentError, NoSuchModuleError, ImportError, OSError) as error:
        raise StoreError(
            f"cannot open the index '{line(path_or_url.split('@')[-1])}': {line(error)}"
        ) from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _on_connect)
        event.listen(engine, "begin", _on_begin)
    elif engine.dialect.name == "postgresql":
        event.listen(engine, "connect", _on_connect_postgres)
    try:
        _prepare(engine, file, whole=rebuild)
    except DamagedIndex:
        engine.dispose()
        if not rebuild or file is None:
            raise
        _set_aside(file)
        _prepare(engine, file, whole=False)
    return engine


def _prepare(engine: Engine, file: Path | None, whole: bool) -> None:
    """Migrate where that is needed, one process at a time, and look whether the tables are those of the models."""
    with ExitStack() as stack:
        stack.enter_context(told(engine))
        if not _is_current(engine):
            if file:
                stack.enter_context(_alone(engine, file))
            if not _is_current(engine):
                migrate(engine)
        with engine.connect() as connection:
            if file and whole and (found := connection.scalar(text("PRAGMA quick_check(1)"))) != "ok":
                raise DamagedIndex(f"the index {shown(engine)} is damaged ({line(found)}); {_REBUILD}")
            for table in Base.metadata.sorted_tables:
                connection.execute(select(table).limit(1)).first()


def _is_current(engine: Engine) -> bool:
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return False
        return connection.scalar(text("SELECT version_num FROM alembic_version")) == head()


@contextmanager
def _alone(engine: Engine, file: Path) -> Iterator[None]:
    """One process at a time makes a new SQLite file one of write-ahead logging, where readers and writers coexist."""
    try:
        with FileLock(file.with_name(file.name + ".lock"), timeout=WAIT_SECONDS):
            with engine.connect() as connection:
                connection.rollback()
                driver: Any = connection.connection.dbapi_connection
                driver.execute("PRAGMA journal_mode=WAL")
            yield
    except Timeout as error:
        raise StoreError(
            f"the index {shown(engine)} is being made by another process since {WAIT_SECONDS} s; try again"
        ) from error
    except OSError as error:
        raise StoreError(f"cannot open the index {shown(engine)}: {error.strerror or line(error)}") from error


def _set_aside(file: Path) -> None:
    """Out of the way, not deleted: it may be somebody's file that is no index at all."""
    try:
        file.replace(file.with_name(file.name + ".damaged"))
        for suffix in ("-wal", "-shm"):
            file.with_name(file.name + suffix).unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(
            f"cannot replace the damaged index {line(file)}: {error.strerror or error}"
        ) from error
