"""A known slow-down, planted in a kernel of a scratch commit: what the gate has to find. Nothing of it ships.

``planted_commit`` writes a commit that no branch names (git's garbage collection removes it one day): the given
revision, but in the matrix product on CPUs a share of the tiles waits for 300 dependent multiply-adds more.
``regress`` then measures it like any other revision.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from bench.compare_sides import ROOT, git
from ecp.errors import UsageError

SOURCE = "ecp/codegen/matmul_cpu.py"
ANCHOR = """\
        else:
            self._loop_views()
        if t.chunks > 1:
"""
# A chain that the compiler can neither drop nor vectorize, and that leaves the reduction's own code as it was. Which
# tiles wait is spread evenly over rows and columns.
PLANT = """\
        else:
            self._loop_views()
        with k.block("if ((tile*127 + panel*373) % 1009 < {per_1009})"):
            k.emit("float spin = c0_0.s0;")
            k.emit("#pragma unroll 1")
            k.emit("for (int s = 0; s < 300; ++s) spin = fma(spin, 0.5f, 1.0f);")
            k.emit("c0_0 += spin == -1.0f ? 1.0f : 0.0f;")
        if t.chunks > 1:
"""
AUTHOR = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "planted"), ("EMAIL", "planted@localhost"))
}


def plant(source: str, share: float) -> str:
    """The matrix product's source in which ``share`` (0..1) of the tiles wait.

    Raises :class:`UsageError` where the source has no such place (any more): then this module must follow it.
    """
    if source.count(ANCHOR) != 1:
        raise UsageError(f"{SOURCE} has changed: bench/planted.py finds no place for its slow-down")
    return source.replace(ANCHOR, PLANT.format(per_1009=round(1009 * share)))


def planted_commit(share: float, base: str) -> str:
    """Hash of a commit equal to ``base`` but for the planted slow-down."""
    text = plant(_git("show", f"{base}:{SOURCE}"), share)
    blob = _git("hash-object", "-w", "--stdin", given=text).strip()
    with tempfile.TemporaryDirectory(prefix="ecp-planted-") as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        _git("read-tree", base, **index)
        _git("update-index", "--cacheinfo", f"100644,{blob},{SOURCE}", **index)
        tree = _git("write-tree", **index).strip()
    words = f"Not for use: {share:.1%} of the matrix product's tiles wait for a useless chain"
    return _git("commit-tree", tree, "-p", git("rev-parse", base), "-m", words, **AUTHOR).strip()


def _git(*arguments: str, given: str | None = None, **environment: str) -> str:
    done = subprocess.run(
        ["git", *arguments],
        cwd=ROOT,
        input=given,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    if done.returncode:
        raise UsageError(f"git {arguments[0]}: {done.stderr.strip() or 'failed'}")
    return done.stdout
