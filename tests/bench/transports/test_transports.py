"""The same promises from every transport: exact arguments, real exit codes, both streams, whole files."""

from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.transports.base import CommandTimeout, TransferError
from bench.transports.local import LocalTransport
from bench.transports.store import Store
from ecp.errors import UsageError

ANY_TEXT = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=30)
FILE_NAMES = st.text(
    st.characters(blacklist_characters="\0/", blacklist_categories=("Cs",)), min_size=1, max_size=20
).filter(lambda name: name not in (".", "..") and len(name.encode()) < 80)
few = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def test_exit_code_and_both_streams(transport):
    done = transport.run(["sh", "-c", "echo out; echo err >&2; exit 7"])
    assert (done.code, done.stdout, done.stderr) == (7, b"out\n", b"err\n")


def test_exit_code_255_is_a_result(transport):
    assert transport.run(["sh", "-c", "exit 255"]).code == 255


def test_unknown_program_is_127(transport):
    assert transport.run(["no-such-program-here"]).code == 127


def test_stdin_and_binary(transport):
    data = bytes(range(256)) * 500
    assert transport.run(["cat"], stdin=data).stdout == data


def test_no_newline_at_the_end_and_mark_like_output(transport):
    done = transport.run(["sh", "-c", "printf 'ecp-0000:3' >&2"])
    assert (done.code, done.stderr) == (0, b"ecp-0000:3")


def test_environment(transport):
    done = transport.run(["sh", "-c", 'printf %s "$A_B"'], env={"A_B": "x 'y' $(z)"})
    assert done.text == "x 'y' $(z)"


@few
@given(arguments=st.lists(ANY_TEXT, min_size=1, max_size=4))
def test_arguments_arrive_exactly(transport, arguments):
    done = transport.run(["printf", "%s\\0", *arguments])
    assert done.stdout == b"".join(a.encode() + b"\0" for a in arguments)


def test_timeout_stops_the_command_there(transport, tmp_path):
    flag = tmp_path / "still running"
    start = time.monotonic()
    with pytest.raises(CommandTimeout, match="did not end within"):
        transport.run(["sh", "-c", 'sleep 30; touch "$1"', "sh", str(flag)], timeout_s=1)
    assert time.monotonic() - start < 10 and not flag.exists()
    assert transport.run(["true"]).code == 0


@few
@given(name=FILE_NAMES, content=st.binary(max_size=3000))
def test_files_of_any_name(transport, tmp_path_factory, name, content):
    folder = tmp_path_factory.mktemp("any")
    source, remote, back = folder / "source", folder / name, folder / "back.bin"
    if remote in (source, back):
        return
    source.write_bytes(content)
    transport.push(source, str(remote))
    assert remote.read_bytes() == content
    transport.pull(str(remote), back)
    assert back.read_bytes() == content
    assert transport.run(["test", "-f", str(remote)]).code == 0


def test_local_names_of_any_kind(transport, tmp_path):
    for number, name in enumerate(["-rf", "a b", "$(touch x)", "'", '"', "ü\n", "*", "a,33188"]):
        (tmp_path / name).write_bytes(b"content")
        transport.push(tmp_path / name, str(tmp_path / f"to{number}"))
        assert (tmp_path / f"to{number}").read_bytes() == b"content"


def test_failed_transfers(transport, tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(TransferError):
        transport.push(tmp_path / "file", str(tmp_path / "file" / "there"))  # its folder is a file
    with pytest.raises(TransferError):
        transport.pull(str(tmp_path / "absent"), tmp_path / "back")
    assert not (tmp_path / "back").exists()
    assert transport.read_text(str(tmp_path / "absent")) is None


def test_store_sends_nothing_twice(transport, tmp_path):
    source = tmp_path / "bundle"
    (source / "kernels").mkdir(parents=True)
    (source / "plan.json").write_text("{}")
    (source / "kernels" / "odd 'name'\n.cl").write_text("kernel")
    (source / "run").write_text("#!/bin/sh\necho started")
    (source / "run").chmod(0o755)
    store = Store(transport, str(tmp_path / "re mote"))
    first = store.put(source)
    assert first.sent_bytes == first.total_bytes > 0
    assert transport.run([f"{first.path}/run"]).text == "started\n"
    again = store.put(source)
    assert (again.path, again.sent_bytes) == (first.path, 0)
    (source / "plan.json").write_text("{ }")
    assert store.put(source).path != first.path
    store.remove_all()
    assert not (tmp_path / "re mote").exists()


def test_store_goes_on_where_it_was_cut_off(tmp_path):
    source = tmp_path / "bundle"
    source.mkdir()
    for i in range(4):
        (source / f"f{i}").write_bytes(bytes([i]) * 1000)
    store = Store(LocalTransport(), str(tmp_path / "remote"))
    done = store.put(source)
    remote = tmp_path / "remote" / done.path.rpartition("/")[2]
    (remote / ".complete").unlink()
    (remote / "f1").write_bytes(b"damaged")
    (remote / "f2").unlink()
    assert store.put(source).sent_bytes == 2000
    assert (remote / "f1").read_bytes() == b"\1" * 1000


def test_nul_and_bad_names_are_refused(transport):
    if isinstance(transport, LocalTransport):
        pytest.skip("the operating system refuses them itself")
    with pytest.raises(UsageError, match="NUL"):
        transport.run(["echo", "a\0b"])
    with pytest.raises(UsageError, match="environment variable"):
        transport.run(["true"], env={"A;B": "x"})
