"""Start one worker process, give it a time limit, and make sure that nothing of it survives."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import tempfile

from bench.protocol import Reply, Request
from ecp import children

WORKER = (sys.executable, "-m", "bench.worker")


def run_block(request: Request, timeout_s: float) -> Reply:
    """One block in a fresh process. A crash, a hang or an unreadable answer is a ``failed`` reply with its reason.

    KeyboardInterrupt passes through after the process (and its children) are gone.
    """
    with tempfile.TemporaryFile() as errors:
        process = children.start(WORKER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        try:
            asked = json.dumps(request.to_dict()).encode()
            done = children.Conversation(process, complete=children.line_is_complete).hold(asked, timeout_s)
        except children.TooLate:
            return Reply(
                "failed", f"no answer within {timeout_s:g} s; the worker was stopped (raise --timeout)"
            )
        except children.TooMuch as error:
            return Reply("failed", f"the worker was stopped: {error} without an answer")
        finally:
            children.end(process)
        errors.seek(0)
        said = errors.read().decode(errors="replace")
    return parse_reply(done.stdout, done.returncode, said)


def parse_reply(out: bytes, returncode: int, said: str) -> Reply:
    """A worker's answer from its standard output; without one a ``failed`` reply with its last words (``said``)."""
    line = out.strip().rpartition(b"\n")[2]
    try:
        reply = Reply.from_dict(json.loads(line))
    except (ValueError, TypeError):
        return Reply(
            "failed", f"the worker {_ending(returncode)}{_last_words(said)}", extra={"stderr": said[-4000:]}
        )
    if reply.status == "failed" and said:
        return Reply(**{**reply.to_dict(), "extra": {**reply.extra, "stderr": said[-4000:]}})
    return reply


def _ending(returncode: int) -> str:
    if returncode < 0:
        with contextlib.suppress(ValueError):
            return f"was ended by signal {signal.Signals(-returncode).name}"
    return f"ended without an answer (exit status {returncode})"


def _last_words(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return f": {lines[-1][:300]}" if lines else ""
