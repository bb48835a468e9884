"""The listening socket of web: bound before anything starts, so that a taken port is one line and nothing to undo."""

from __future__ import annotations

import socket

from collector.errors import PortTaken


def listen(host: str, port: int, setting: str) -> socket.socket:
    """Return a listening socket. Raises PortTaken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Inherited by connections: without it an answer with a body waits for the client's delayed acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise PortTaken(host, port, setting) from error
    listener.listen(2048)
    return listener
