"""The listening sockets of web: bound before anything starts, so that a taken port is one line and nothing to undo.

Several web processes share a port through one socket each (SO_REUSEPORT). The kernel deals new connections out by
their addresses, evenly however they come; one socket for all gave one of two processes six times the other's
connections where a thousand came at once. Whoever starts the processes holds the sockets: what waits at the socket of
a process that died is answered by the next one.
"""

from __future__ import annotations

import socket

from collector.errors import PortTaken

BACKLOG = 2048


def listen(host: str, port: int, setting: str, count: int = 1) -> list[socket.socket]:
    """Return `count` listening sockets of one port; 0: any free one. Raises PortTaken."""
    if count == 1:
        return [_listen(host, port, setting, is_shared=False)]
    # A shared port could be joined by another program of this user, and be mistaken for a free one.
    with _listen(host, port, setting, is_shared=False) as probe:
        port = probe.getsockname()[1]
    listeners: list[socket.socket] = []
    try:
        listeners.extend(_listen(host, port, setting, is_shared=True) for _ in range(count))
    except PortTaken:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _listen(host: str, port: int, setting: str, *, is_shared: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if is_shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    # Inherited by connections: without it an answer with a body waits for the client's delayed acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise PortTaken(host, port, setting) from error
    return listener
