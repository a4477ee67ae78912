"""Runs and blocks say where they come from, so that several machines share one index; longer model names."""

import sqlalchemy as sa
from alembic import op

from bench.store.migrations.versions import r0001_initial as before

revision = "0002"
down_revision = "0001"

TEXT_COLUMNS = {**before.TEXT_COLUMNS, "model": 500}
RUN = ("run_id", "started_utc", "git_commit", "git_branch", "git_dirty", "folder", "fingerprint", "findings")
BLOCK = (
    "record_sha256",
    "run_id",
    "seq",
    "block",
    "line",
    *before.TEXT_COLUMNS,
    "reason",
    "value",
    "samples",
)
BLOCK += ("unit", "source", "first_ms", "compile_s", "max_abs_error", "failed_gates", "unknown_gates")
BLOCK += ("comparability_key",)


def upgrade() -> None:
    """Make both tables anew and copy what is there; its origin is not known (empty) until it is indexed again."""
    # Neither database changes a primary key that another table refers to.
    for table in ("blocks", "runs"):
        op.execute(f"CREATE TABLE old_{table} AS SELECT * FROM {table}")  # noqa: S608 - names of ours
        op.drop_table(table)
    _create()
    for table, columns in (("runs", RUN), ("blocks", BLOCK)):
        names = ", ".join(columns)
        op.execute(f"INSERT INTO {table} (origin, {names}) SELECT '', {names} FROM old_{table}")  # noqa: S608
        op.drop_table(f"old_{table}")


def _create() -> None:
    op.create_table(
        "runs",
        sa.Column("origin", sa.String(64), nullable=False),
        sa.Column("run_id", sa.String(200), nullable=False),
        sa.Column("started_utc", sa.String(40), nullable=False),
        sa.Column("git_commit", sa.String(64)),
        sa.Column("git_branch", sa.String(200)),
        sa.Column("git_dirty", sa.Boolean()),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("findings", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("origin", "run_id", name="pk_runs"),
    )
    op.create_index("ix_runs_started_utc", "runs", ["started_utc"])
    op.create_index("ix_runs_git_commit", "runs", ["git_commit"])
    op.create_table(
        "blocks",
        sa.Column("record_sha256", sa.String(64), nullable=False),
        sa.Column("origin", sa.String(64), nullable=False),
        sa.Column("run_id", sa.String(200), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("seq", "block", "line")),
        *(sa.Column(name, sa.String(size), nullable=False) for name, size in TEXT_COLUMNS.items()),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("value", sa.Float()),
        sa.Column("samples", sa.Integer(), nullable=False),
        sa.Column("unit", sa.String(20), nullable=False),
        sa.Column("source", sa.String(50), nullable=False),
        *(sa.Column(name, sa.Float()) for name in ("first_ms", "compile_s", "max_abs_error")),
        sa.Column("failed_gates", sa.JSON(), nullable=False),
        sa.Column("unknown_gates", sa.JSON(), nullable=False),
        sa.Column("comparability_key", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("record_sha256", name="pk_blocks"),
        sa.ForeignKeyConstraint(
            ["origin", "run_id"], ["runs.origin", "runs.run_id"], "fk_blocks_origin_runs", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["comparability_key"], ["comparability.key"], "fk_blocks_comparability_key_comparability"
        ),
    )
    op.create_index("ix_blocks_origin", "blocks", ["origin", "run_id"])
    op.create_index("ix_blocks_comparability_key", "blocks", ["comparability_key"])
    op.create_index("ix_blocks_series", "blocks", ["metric", "device", "backend", "model", "precision"])


def downgrade() -> None:
    """The tables of before, empty: an index of one origin is filled from the records."""
    for table in ("blocks", "runs", "comparability"):
        op.drop_table(table)
    before.upgrade()
