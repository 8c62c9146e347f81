"""One TCP connection between two processes of a run: JSON messages, and a thread that reads them."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

LENGTH = struct.Struct(">I")
LONGEST = 2**24
"""Maximum bytes of a message: what is exchanged are decisions and digests."""
SILENT = {"TCP_KEEPIDLE": 4, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 4, "TCP_USER_TIMEOUT": 12_000}
"""A connection ends when the other machine has not answered for 12 s: seconds, seconds, times, and milliseconds."""


class Channel:
    """Sends and receives messages; `handle` gets each of them, and None when the connection ends."""

    def __init__(self, connection: socket.socket, timeout: float) -> None:
        """timeout: seconds that `receive` may wait before `start`."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in SILENT.items():
            if hasattr(socket, name):  # not every system has all of them
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        connection.settimeout(timeout)
        self._connection = connection
        self._sending = threading.Lock()
        self._handle: Callable[[Any], None] = lambda _: None

    @property
    def own_host(self) -> str:
        """The address of this end."""
        return str(self._connection.getsockname()[0])

    def start(self, handle: Callable[[Any], None]) -> None:
        """Read messages in a thread of its own."""
        self._handle = handle
        self._connection.settimeout(None)
        threading.Thread(target=self._read, name="unidl ranks", daemon=True).start()

    def send(self, message: Any) -> bool:
        """Send a message; return whether the other end could be reached."""
        encoded = json.dumps(message).encode()
        try:
            with self._sending:
                self._connection.sendall(LENGTH.pack(len(encoded)) + encoded)
        except OSError:
            return False
        return True

    def receive(self) -> Any:
        """Wait for a message; None if the connection has ended, or sent something else than messages."""
        head = self._exactly(LENGTH.size)
        length = 0 if head is None else LENGTH.unpack(head)[0]
        body = self._exactly(length) if 0 < length <= LONGEST else None
        try:
            return None if body is None else json.loads(body)
        except ValueError:
            return None

    def close(self) -> None:
        """Close the connection, which ends its thread."""
        with contextlib.suppress(OSError):  # the other end may have closed it
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def _read(self) -> None:
        while (message := self.receive()) is not None:
            self._handle(message)
        self._handle(None)

    def _exactly(self, count: int) -> bytes | None:
        received = b""
        while len(received) < count:
            try:
                part = self._connection.recv(count - len(received))
            except OSError:
                return None
            if not part:
                return None
            received += part
        return received
