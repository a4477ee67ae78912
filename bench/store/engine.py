"""Opening an index: by path or URL, brought to the newest schema by the packaged migrations."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError

from ecp.errors import UsageError

MIGRATIONS = Path(__file__).parent / "migrations"
STORE_ENV = "ECP_STORE"


class StoreError(UsageError):
    """The index cannot be opened; the records are untouched."""


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


def _sqlite_pragmas(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    # WAL lets two harnesses read and write at once; an index that a power loss eats can be rebuilt.
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=30000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


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
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
    except CommandError as error:
        raise StoreError(
            f"the index {shown(engine)} was written by a newer version of this program ({error}); "
            "update, or delete it and rebuild it from the records with `python -m bench history --rebuild`"
        ) from error


def shown(engine: Engine) -> str:
    """The URL without its password."""
    return engine.url.render_as_string(hide_password=True)


def open_store(path_or_url: str) -> Engine:
    """Engine on a migrated index. Raises :class:`StoreError` where it cannot be opened."""
    try:
        url = make_url(as_url(path_or_url))
        if url.drivername == "sqlite" and url.database:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(url)
    except (ArgumentError, NoSuchModuleError, ImportError, OSError) as error:
        raise StoreError(f"cannot open the index '{path_or_url.split('@')[-1]}': {error}") from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _sqlite_pragmas)
    try:
        migrate(engine)
    except (OperationalError, DBAPIError) as error:
        reason = str(error.orig).strip().splitlines()[0] if error.orig else str(error)
        raise StoreError(f"cannot open the index {shown(engine)}: {reason}") from error
    return engine
