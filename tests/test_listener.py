"""The listening sockets: one for each process, and a taken port is told from a shared one."""

from __future__ import annotations

import socket

import pytest

from collector.errors import PortTaken
from collector.listener import listen


def close(listeners: list[socket.socket]) -> None:
    """Close them all."""
    for listener in listeners:
        listener.close()


@pytest.mark.parametrize("count", [1, 4])
def test_all_have_one_port(count: int) -> None:
    """Port 0 becomes one free port for all of them, and connections reach them."""
    listeners = listen("127.0.0.1", 0, "PORT", count)
    try:
        [port] = {listener.getsockname()[1] for listener in listeners}
        assert len(listeners) == count
        with socket.create_connection(("127.0.0.1", port), 5):
            pass
    finally:
        close(listeners)


@pytest.mark.parametrize("there", [1, 3])
@pytest.mark.parametrize("wanted", [1, 3])
def test_a_port_with_somebody_on_it_is_taken(there: int, wanted: int) -> None:
    """Also where both would share it: another instance must not take half of our visitors."""
    first = listen("127.0.0.1", 0, "PORT", there)
    try:
        port = first[0].getsockname()[1]
        with pytest.raises(PortTaken, match=str(port)):
            listen("127.0.0.1", port, "PORT", wanted)
    finally:
        close(first)
    close(listen("127.0.0.1", port, "PORT", wanted))


def test_each_gets_its_share() -> None:
    """Of many connections every socket gets some: the kernel deals them out."""
    listeners = listen("127.0.0.1", 0, "PORT", 2)
    clients = []
    try:
        port = listeners[0].getsockname()[1]
        clients = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(200)]
        for listener in listeners:
            listener.setblocking(False)  # an accept that would wait fails
            for _ in range(50):
                listener.accept()[0].close()
    finally:
        close(listeners)
        close(clients)
