"""Index over the records: a database that can be thrown away and rebuilt, because the records are the truth.

Only derived rows live here, never a measurement that is not in a records.jsonl. SQLite by default, PostgreSQL
by URL, one schema for both (Alembic migrations inside the package). Nothing here measures.
"""
