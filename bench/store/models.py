"""Tables of the index, in types that SQLite and PostgreSQL both have."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

# Named constraints, so that a later migration can alter them on every database.
NAMING = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Declarative base with portable constraint names."""

    metadata = MetaData(naming_convention=NAMING)


class Run(Base):
    """One results/<run-id> folder. ``fingerprint`` tells whether the folder changed since it was indexed.

    ``origin``: which machine's results folder it lies in (:func:`bench.store.index.origin_of`); an index that several
    machines share is brought up to date by each for its own rows.
    """

    __tablename__ = "runs"

    origin: Mapped[str] = mapped_column(String(64), primary_key=True)
    run_id: Mapped[str] = mapped_column(String(200), primary_key=True)
    started_utc: Mapped[str] = mapped_column(String(40), index=True)
    git_commit: Mapped[str | None] = mapped_column(String(64), index=True)
    git_branch: Mapped[str | None] = mapped_column(String(200))
    git_dirty: Mapped[bool | None] = mapped_column(Boolean)
    folder: Mapped[str] = mapped_column(Text)
    fingerprint: Mapped[str] = mapped_column(String(64))
    findings: Mapped[list[str]] = mapped_column(JSON)
    blocks: Mapped[list[Block]] = relationship(back_populates="run", cascade="all, delete-orphan")


class Comparability(Base):
    """What two measurements must share to be compared; ``inputs`` is the JSON whose SHA-256 is ``key``."""

    __tablename__ = "comparability"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    inputs: Mapped[dict[str, Any]] = mapped_column(JSON)


class Block(Base):
    """One block. ``value`` is the median of its samples in ``unit``; null unless ``status`` is ``measured``.

    ``line`` is the record's place (from 1) in the run's records.jsonl, where the raw samples are.
    """

    __tablename__ = "blocks"
    __table_args__ = (
        Index("ix_blocks_series", "metric", "device", "backend", "model", "precision"),
        Index("ix_blocks_origin", "origin", "run_id"),
        ForeignKeyConstraint(
            ["origin", "run_id"], ["runs.origin", "runs.run_id"], "fk_blocks_origin_runs", ondelete="CASCADE"
        ),
    )

    record_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    origin: Mapped[str] = mapped_column(String(64))
    run_id: Mapped[str] = mapped_column(String(200))
    seq: Mapped[int] = mapped_column(Integer)
    block: Mapped[int] = mapped_column(Integer)
    line: Mapped[int] = mapped_column(Integer)
    device: Mapped[str] = mapped_column(String(100))
    backend: Mapped[str] = mapped_column(String(100))
    backend_version: Mapped[str] = mapped_column(String(200))
    model: Mapped[str] = mapped_column(String(500))
    model_sha256: Mapped[str] = mapped_column(String(64))
    precision: Mapped[str] = mapped_column(String(20))
    metric: Mapped[str] = mapped_column(String(50))
    status: Mapped[str] = mapped_column(String(20))
    reason: Mapped[str] = mapped_column(Text)
    value: Mapped[float | None] = mapped_column(Float)
    samples: Mapped[int] = mapped_column(Integer)
    unit: Mapped[str] = mapped_column(String(20))
    source: Mapped[str] = mapped_column(String(50))
    first_ms: Mapped[float | None] = mapped_column(Float)
    compile_s: Mapped[float | None] = mapped_column(Float)
    max_abs_error: Mapped[float | None] = mapped_column(Float)
    failed_gates: Mapped[list[str]] = mapped_column(JSON)
    unknown_gates: Mapped[list[str]] = mapped_column(JSON)
    comparability_key: Mapped[str] = mapped_column(ForeignKey("comparability.key"), index=True)
    run: Mapped[Run] = relationship(back_populates="blocks")
