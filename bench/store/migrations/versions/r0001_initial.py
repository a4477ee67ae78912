"""Runs, comparability keys and blocks."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

TEXT_COLUMNS = {
    "device": 100,
    "backend": 100,
    "backend_version": 200,
    "model": 300,
    "model_sha256": 64,
    "precision": 20,
    "metric": 50,
    "status": 20,
}


def upgrade() -> None:
    """Create the three tables."""
    op.create_table(
        "runs",
        sa.Column("run_id", sa.String(200), nullable=False),
        sa.Column("started_utc", sa.String(40), nullable=False),
        sa.Column("git_commit", sa.String(64)),
        sa.Column("git_branch", sa.String(200)),
        sa.Column("git_dirty", sa.Boolean()),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("findings", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", name="pk_runs"),
    )
    op.create_index("ix_runs_started_utc", "runs", ["started_utc"])
    op.create_index("ix_runs_git_commit", "runs", ["git_commit"])
    op.create_table(
        "comparability",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("inputs", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_comparability"),
    )
    op.create_table(
        "blocks",
        sa.Column("record_sha256", sa.String(64), nullable=False),
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
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], "fk_blocks_run_id_runs", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["comparability_key"], ["comparability.key"], "fk_blocks_comparability_key_comparability"
        ),
    )
    op.create_index("ix_blocks_run_id", "blocks", ["run_id"])
    op.create_index("ix_blocks_comparability_key", "blocks", ["comparability_key"])
    op.create_index("ix_blocks_series", "blocks", ["metric", "device", "backend", "model", "precision"])


def downgrade() -> None:
    """Drop them; the records stay."""
    for table in ("blocks", "comparability", "runs"):
        op.drop_table(table)
