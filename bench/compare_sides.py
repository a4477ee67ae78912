"""The two sides of a comparison: a revision in a scratch worktree, this working tree, or a finished run."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.names import check_name
from bench.paths import cache_dir
from bench.records import iter_runs
from bench.validity_machine import git_state
from ecp.errors import UsageError

ROOT = Path(__file__).resolve().parent.parent
WORKING_TREE = "."


@dataclass(frozen=True)
class Side:
    """``kind``: ``revision``, ``tree`` (this working tree) or ``run``. ``folder`` only for runs."""

    text: str
    kind: str
    commit: str | None = None
    dirty: bool = False
    folder: Path | None = None

    @property
    def label(self) -> str:
        """For tables: the words that were given, and the commit they mean."""
        if self.kind == "run":
            return self.text
        name = "working tree" if self.kind == "tree" else self.text
        short = (self.commit or "no commit")[:10]
        return f"{name} ({short}{', with changes' if self.dirty else ''})"


def git(*arguments: str) -> str:
    """Output of a git command; :class:`UsageError` with git's own words where it fails."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError as error:
        raise UsageError(f"git is needed to compare revisions: {error.strerror}") from error
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UsageError(f"git {arguments[0]}: {said}")
    return done.stdout.strip()


def resolve(text: str, results: Path) -> Side:
    """What ``text`` names: a run of ``results``, ``.`` for the working tree, or any git revision.

    Raises :class:`UsageError` naming the nearest runs, branches and tags.
    """
    if text == WORKING_TREE:
        state = git_state(ROOT)
        return Side(text, "tree", state.get("commit"), bool(state.get("dirty")))
    folder = results / text
    if (folder / "run.json").is_file():
        return Side(text, "run", folder=folder)
    runs = [f.name for f in iter_runs(results)]
    try:
        commit = git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{text}^{{commit}}")
        return Side(text, "revision", commit)
    except UsageError:
        refs: list[str] = []
        with contextlib.suppress(UsageError):
            refs = git("for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags").split()
        check_name("revision or run", text, [*refs, *runs, "HEAD", WORKING_TREE])
        raise


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def remove_leftovers() -> list[str]:
    """Worktrees of comparisons that were killed; the names of those removed."""
    gone = []
    for path in cache_dir("worktrees").iterdir():
        pid = path.name.rpartition("-")[2]
        if pid.isdigit() and not _is_running(int(pid)):
            shutil.rmtree(path, ignore_errors=True)
            gone.append(path.name)
    if gone:
        git("worktree", "prune")
    return gone


@contextlib.contextmanager
def checkout(side: Side) -> Iterator[Path]:
    """The folder whose code this side runs: the working tree itself, or a worktree removed afterwards."""
    if side.kind == "tree":
        yield ROOT
        return
    if side.commit is None:
        raise UsageError(f"'{side.text}' is not a revision that can be checked out")
    remove_leftovers()
    path = cache_dir("worktrees") / f"{side.commit[:12]}-{os.getpid()}"
    if path.exists():
        # Both sides are the same commit (an A/A comparison): one worktree serves both.
        yield path
        return
    git("worktree", "add", "--detach", "--force", str(path), side.commit)
    try:
        yield path
    finally:
        with contextlib.suppress(UsageError):
            git("worktree", "remove", "--force", str(path))
        shutil.rmtree(path, ignore_errors=True)
