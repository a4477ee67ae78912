"""An adbd that misbehaves on request, in this process: what a bad cable, a locked phone or a reboot look like.

It speaks enough of adb's protocol (CNXN, OPEN, OKAY, WRTE, CLSE; shell v2; sync STAT, SEND, RECV) for the real
adb client, runs commands on this computer, and each fault happens once unless said otherwise.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import socket
import struct
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

MAX_DATA = 1 << 18
BANNER = b"device::ro.product.name=faulty;ro.product.model=Faulty;ro.product.device=faulty;features=shell_v2"


@dataclass
class Faults:
    """``unauthorized``, ``silent`` and ``delay_s`` hold until reset; the others fire once."""

    unauthorized: bool = False
    silent: bool = False
    delay_s: float = 0.0
    drop_after_push_bytes: int | None = None
    drop_in_shell: str | None = None
    garbage_in_shell: str | None = None
    flip_pushed_bit: bool = False
    seen: list[str] = field(default_factory=list)


class FaultyAdbd:
    """Listens on a free loopback port from construction to :meth:`close`."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.pushed_bytes = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: list[_Connection] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def serial(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        self._listener.close()
        for connection in self._connections:
            connection.drop()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            connection = _Connection(self, sock)
            self._connections.append(connection)
            threading.Thread(target=connection.serve, daemon=True).start()


class _Connection:
    def __init__(self, daemon: FaultyAdbd, sock: socket.socket) -> None:
        self.daemon, self.faults, self._sock = daemon, daemon.faults, sock
        self._send_lock = threading.Lock()
        self._streams: dict[int, _Stream] = {}
        # Never used twice: the end of an abandoned stream must not close its successor.
        self._numbers = itertools.count(1)

    def send(self, command: bytes, arg0: int, arg1: int, data: bytes = b"") -> None:
        time.sleep(self.faults.delay_s)
        number = struct.unpack("<I", command)[0]
        head = struct.pack("<6I", number, arg0, arg1, len(data), sum(data) & 0xFFFFFFFF, number ^ 0xFFFFFFFF)
        with self._send_lock, contextlib.suppress(OSError):
            self._sock.sendall(head + data)

    def garbage(self) -> None:
        with self._send_lock, contextlib.suppress(OSError):
            self._sock.sendall(os.urandom(4096))
        self.drop()

    def drop(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        for stream in list(self._streams.values()):
            stream.end()

    def serve(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            while True:
                command, arg0, arg1, size, _, _ = struct.unpack("<4s5I", self._read(24))
                self._handle(command, arg0, arg1, self._read(size))
        self.drop()

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self._sock.recv(size - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def _handle(self, command: bytes, arg0: int, arg1: int, data: bytes) -> None:
        if command == b"CNXN" and self.faults.silent:
            return
        if command in (b"CNXN", b"AUTH") and self.faults.unauthorized:
            self.send(b"AUTH", 1, 0, os.urandom(20))
        elif command in (b"CNXN", b"AUTH"):
            self.send(b"CNXN", 0x01000000, MAX_DATA, BANNER)
        elif command == b"OPEN":
            local = next(self._numbers)
            stream = self._streams[local] = _Stream(self, local, arg0)
            self.send(b"OKAY", local, arg0)
            service = data.rstrip(b"\0").decode(errors="surrogateescape")
            threading.Thread(target=stream.serve, args=(service,), daemon=True).start()
        elif command == b"WRTE" and arg1 in self._streams:
            self._streams[arg1].incoming.put(data)
            self.send(b"OKAY", arg1, arg0)
        elif command == b"OKAY" and arg1 in self._streams:
            self._streams[arg1].ready.set()
        elif command == b"CLSE" and arg1 in self._streams:
            self._streams.pop(arg1).end()

    def finished(self, stream: _Stream) -> None:
        if self._streams.pop(stream.local, None):
            self.send(b"CLSE", stream.local, stream.remote)


class _Stream:
    def __init__(self, connection: _Connection, local: int, remote: int) -> None:
        self._connection, self.local, self.remote = connection, local, remote
        self.incoming: queue.Queue[bytes | None] = queue.Queue()
        self.ready = threading.Event()
        self._buffer = b""
        self._write_lock = threading.Lock()

    def end(self) -> None:
        self.incoming.put(None)
        self.ready.set()

    def serve(self, service: str) -> None:
        with contextlib.suppress(EOFError, OSError):
            if service.startswith("shell,v2"):
                self._shell(service.partition(":")[2])
            elif service == "sync:":
                while self._sync():
                    pass
        self._connection.finished(self)

    def read(self, size: int) -> bytes:
        while len(self._buffer) < size:
            part = self.incoming.get()
            if part is None:
                raise EOFError
            self._buffer += part
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def write(self, data: bytes) -> None:
        for start in range(0, len(data), MAX_DATA):
            self.ready.clear()
            self._connection.send(b"WRTE", self.local, self.remote, data[start : start + MAX_DATA])
            self.ready.wait(30)

    def _packet(self, kind: int, data: bytes) -> None:
        self.write(struct.pack("<BI", kind, len(data)) + data)

    def _shell(self, line: str) -> None:
        faults = self._connection.faults
        faults.seen.append(line)
        if faults.drop_in_shell is not None and faults.drop_in_shell in line:
            faults.drop_in_shell = None
            self._packet(1, b"half an ans")
            self._connection.drop()
            return
        if faults.garbage_in_shell is not None and faults.garbage_in_shell in line:
            faults.garbage_in_shell = None
            self._connection.garbage()
            return
        process = subprocess.Popen(
            ["/bin/sh", "-c", line], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        threading.Thread(target=self._feed, args=(process,), daemon=True).start()
        assert process.stdout and process.stderr
        pumps = [
            threading.Thread(target=self._pump, args=(stream, kind))
            for stream, kind in ((process.stdout, 1), (process.stderr, 2))
        ]
        for pump in pumps:
            pump.start()
        for pump in pumps:
            pump.join()
        self._packet(3, bytes([process.wait() & 0xFF]))

    def _pump(self, stream: object, kind: int) -> None:
        while data := stream.read1(32768):  # type: ignore[attr-defined]
            with self._write_lock:
                self._packet(kind, data)

    def _feed(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin
        with contextlib.suppress(EOFError, OSError):
            while True:
                kind, size = struct.unpack("<BI", self.read(5))
                data = self.read(size)
                if kind == 0:
                    process.stdin.write(data)
                    process.stdin.flush()
                else:
                    process.stdin.close()
            return

    def _sync(self) -> bool:
        kind, size = struct.unpack("<4sI", self.read(8))
        if kind == b"QUIT":
            return False
        name = os.fsdecode(self.read(size))
        if kind == b"STAT":
            found = Path(name).stat() if Path(name).exists() else None
            values = (found.st_mode, found.st_size, int(found.st_mtime)) if found else (0, 0, 0)
            self.write(b"STAT" + struct.pack("<3I", *values))
        elif kind == b"SEND":
            self._receive(*name.rsplit(",", 1))
        elif kind == b"RECV":
            data = Path(name).read_bytes()
            for start in range(0, len(data), 65536):
                part = data[start : start + 65536]
                self.write(b"DATA" + struct.pack("<I", len(part)) + part)
            self.write(b"DONE" + bytes(4))
        return True

    def _receive(self, name: str, mode: str) -> None:
        faults, daemon = self._connection.faults, self._connection.daemon
        with Path(name).open("wb") as file:
            while True:
                kind, size = struct.unpack("<4sI", self.read(8))
                if kind == b"DONE":
                    break
                data = self.read(size)
                daemon.pushed_bytes += len(data)
                if faults.flip_pushed_bit:
                    faults.flip_pushed_bit = False
                    data = bytes([data[0] ^ 1]) + data[1:]
                file.write(data)
                limit = faults.drop_after_push_bytes
                if limit is not None and daemon.pushed_bytes >= limit:
                    faults.drop_after_push_bytes = None
                    self._connection.drop()
                    raise EOFError
        Path(name).chmod(int(mode) & 0o777)
        self.write(b"OKAY" + bytes(4))
