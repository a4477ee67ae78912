"""Alembic migrations of the index; run by :func:`bench.store.engine.migrate`, never by hand."""
